import Foundation

/// What nobody misses until it has grown over: declarations and dependencies without a use, and switches that do not
/// notice a new case.
enum TidyRules {
    // MARK: Dependencies

    /// Modules that a target may import and none of its files does.
    static func dependencyFindings(_ manifest: PackageManifest, _ files: [SourceFile]) throws -> [Finding] {
        var imported: [String: Set<String>] = [:]
        for file in files where file.isSwift {
            guard let target = file.target else { continue }
            for (module, _) in try RingRules.imports(of: file) {
                imported[target, default: []].insert(RingRules.productOfModule[module] ?? module)
            }
        }
        return manifest.imports.keys.sorted().flatMap { target -> [Finding] in
            (manifest.imports[target] ?? []).filter { module in
                // A test that runs a program needs it built.
                imported[target]?.contains(module) != true && RingRules.rings[module] ?? 0 < 8
            }.map { finding("dependency-unused", "Package.swift", 1, "\(target) does not import \($0)") }
        }
    }

    // MARK: Declarations

    /// `package` declarations whose name stands nowhere else: what only a protocol of another package asks for is named
    /// in `requirements`.
    static func declarationFindings(_ files: [SourceFile]) throws -> [Finding] {
        var uses: [Substring: Int] = [:]
        for file in files { for word in words(file.code) { uses[word, default: 0] += 1 } }
        return try files.filter { $0.path.hasPrefix("Sources/") }.flatMap { file in
            try lines(of: file).flatMap { line, number in
                try PackageManifest.matches(
                    #"^\s*(?:@\w+(?:\([^)]*\))?\s+)*package\s+(?:(?:private|internal|fileprivate)\(set\)\s+)?(?:(?:static|final|mutating|lazy|indirect)\s+)*(?:func|var|let|struct|enum|class|protocol|typealias)\s+`?(\w+)"#,
                    line
                ).map { $0[0] }.filter { uses[Substring($0), default: 0] < 2 && !requirements.contains($0) }
                    .map { finding("package-unused", file.path, number, "nobody uses \($0)") }
            }
        }
    }

    /// Of swift-metrics' factory and Swift's mirrors.
    private static let requirements: Set<String> = [
        "makeCounter", "makeFloatingPointCounter", "makeMeter", "makeRecorder", "makeTimer", "destroyCounter",
        "destroyFloatingPointCounter", "destroyMeter", "destroyRecorder", "destroyTimer", "customMirror",
    ]

    private static func words(_ code: String) -> [Substring] {
        code.split { !($0.isLetter || $0.isNumber || $0 == "_") }
    }

    // MARK: Switches

    /// `default:` beside cases that begin with a dot: a switch over an enum, which would take a new case for an old
    /// one. Over an enum of another package it may be right, and is an exception with its reason.
    static func switchFindings(in file: SourceFile) -> [Finding] {
        guard file.path.hasPrefix("Sources/") else { return [] }
        var findings: [Finding] = []
        let lines = file.code.split(separator: "\n", omittingEmptySubsequences: false)
        for (index, line) in lines.enumerated() where line.trimmingPrefix(while: \.isWhitespace).hasPrefix("default:") {
            let indent = line.prefix(while: \.isWhitespace)
            // Backwards to the switch that has it: its cases stand under each other.
            for earlier in lines[..<index].reversed() where earlier.prefix(while: \.isWhitespace).count <= indent.count
            {
                let text = earlier.trimmingPrefix(while: \.isWhitespace)
                if text.hasPrefix("case .") || text.hasPrefix("case let .") {
                    findings.append(finding("enum-default", file.path, index + 1, String(text.prefix(60))))
                    break
                }
                if text.hasPrefix("switch ") || text.contains(" switch ") { break }
            }
        }
        return findings
    }

    private static func lines(of file: SourceFile) -> [(String, Int)] {
        file.code.split(separator: "\n", omittingEmptySubsequences: false).enumerated().map { (String($1), $0 + 1) }
    }

    private static func finding(_ rule: String, _ path: String, _ line: Int, _ text: String) -> Finding {
        Finding(rule: rule, path: path, line: line, text: text)
    }
}
