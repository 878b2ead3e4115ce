import Foundation

/// What `Package.swift` declares, read as text: which target may import what.
struct PackageManifest: Sendable {
    /// Module names by target.
    let imports: [String: [String]]

    init(_ text: String) throws {
        let text = Self.withoutComments(text)
        let products = try Self.matches(#"static\s+let\s+(\w+)\s*=\s*(?:Self)?\.product\(name:\s*"(\w+)""#, text)
        let modules = Dictionary(products.map { ($0[0], $0[1]) }) { first, _ in first }
        var imports: [String: [String]] = [:]
        for start in try Self.ranges(
            #"(?:\bring|\btests|\.target|\.executableTarget|\.testTarget)\(\s*(?:name:\s*)?"([\w-]+)""#, text)
        {
            let call = Self.balanced(text, from: start.range.lowerBound)
            let list = call.dropFirst(text.distance(from: start.range.lowerBound, to: start.range.upperBound))
            imports[start.name] = try Self.dependencies(String(list), modules: modules)
        }
        self.imports = imports
    }

    /// The target's own modules among what it may import.
    func targets(of target: String) -> [String] {
        (imports[target] ?? []).filter { imports[$0] != nil || RingRules.systemLibraries.contains($0) }
    }

    private static func dependencies(_ list: String, modules: [String: String]) throws -> [String] {
        // Paths, exclusions and resources are no dependencies.
        let text = list.replacing(#/(path|exclude|resources|swiftSettings):[^\n]*/#, with: "")
        let nio = try matches(#"\.nio\("(\w+)"\)"#, text).map { $0[0] }
        let rest = text.replacing(#/\.nio\("\w+"\)/#, with: "")
        let own = try matches(#""([\w-]+)""#, rest).map { $0[0] }
        let products = try matches(#"(?<![\w)])\.(\w+)"#, rest).compactMap { modules[$0[0]] }
        return own + nio + products
    }

    private static func withoutComments(_ text: String) -> String {
        text.split(separator: "\n", omittingEmptySubsequences: false)
            .map { $0.trimmingPrefix(#/\s*/#).hasPrefix("//") ? "" : String($0) }.joined(separator: "\n")
    }

    private static func balanced(_ text: String, from start: String.Index) -> Substring {
        var depth = 0
        for index in text[start...].indices {
            if text[index] == "(" { depth += 1 }
            if text[index] == ")" {
                depth -= 1
                if depth == 0 { return text[start...index] }
            }
        }
        return text[start...]
    }

    private static func ranges(_ pattern: String, _ text: String) throws -> [(range: Range<String.Index>, name: String)]
    {
        try NSRegularExpression(pattern: pattern).matches(in: text, range: NSRange(text.startIndex..., in: text))
            .compactMap { match in
                guard let range = Range(match.range, in: text), let name = Range(match.range(at: 1), in: text)
                else { return nil }
                return (range, String(text[name]))
            }
    }

    /// The captures of every match.
    static func matches(_ pattern: String, _ text: String) throws -> [[String]] {
        try NSRegularExpression(pattern: pattern, options: [.anchorsMatchLines])
            .matches(in: text, range: NSRange(text.startIndex..., in: text)).map { match in
                (1..<match.numberOfRanges).map { index in
                    Range(match.range(at: index), in: text).map { String(text[$0]) } ?? ""
                }
            }
    }
}
