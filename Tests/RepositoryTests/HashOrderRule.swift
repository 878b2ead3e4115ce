import Foundation

/// Finds loops over `Set` and `Dictionary` in pure code: their order differs from run to run. It knows the names that
/// are declared with such a type in the same file, which covers this project's style, not all of Swift.
enum HashOrderRule {
    static let name = "pure-hash-order"

    static func findings(in file: SourceFile) throws -> [Finding] {
        guard file.path.hasPrefix("Sources/"), PatternRule.pureTargets.contains(file.target ?? "") else { return [] }
        let code = file.code
        let declaration = try NSRegularExpression(
            pattern:
                #"\b(?:var|let)\s+(\w+)\s*(?::\s*(?:Set<|Dictionary<|\[(?!\()[^\[\]\n]+:[^\[\]\n]+\])|=\s*(?:Set[<(]|Dictionary[<(]|\[(?!\()[^\[\]\n]+:[^\[\]\n]+\]\())"#
        )
        let declared = declaration.matches(in: code, range: NSRange(code.startIndex..., in: code))
            .compactMap { Range($0.range(at: 1), in: code).map { String(code[$0]) } }
        return try declared.flatMap { try uses(of: $0, in: code, path: file.path) }
    }

    private static func uses(of variable: String, in code: String, path: String) throws -> [Finding] {
        let accessor = #"(?:(?<![\w.])self\.|(?<![\w.]))\b"# + variable + #"\b"#
        let order = #"(map|flatMap|compactMap|forEach|reduce|first|randomElement|enumerated|prefix|popFirst)\b"#
        let patterns = [
            #"\bfor\s+[^{}\n]*\bin\s+"# + accessor + #"(\.(keys|values))?\s*(where\b[^{]*)?\{"#,
            accessor + #"(\.(keys|values))?\."# + order,
            #"\bArray\(\s*"# + accessor + #"(\.(keys|values))?\s*\)"#,
        ]
        return try patterns.flatMap { pattern in
            try NSRegularExpression(pattern: pattern)
                .matches(in: code, range: NSRange(code.startIndex..., in: code))
                .compactMap { match -> Finding? in
                    guard let range = Range(match.range, in: code) else { return nil }
                    let line = code[..<range.lowerBound].utf8.reduce(1) { $1 == 0x0A ? $0 + 1 : $0 }
                    return Finding(rule: name, path: path, line: line, text: String(code[range]))
                }
        }
    }
}
