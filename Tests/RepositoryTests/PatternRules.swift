import Foundation

/// A rule that is one regular expression over code, comments or names.
struct PatternRule: Sendable {
    enum Subject: Sendable {
        /// Code without comments and literals.
        case code
        /// The whole text, comments too.
        case text
    }

    let name: String
    let pattern: String
    let subject: Subject
    let applies: @Sendable (SourceFile) -> Bool

    init(
        _ name: String, _ pattern: String, subject: Subject = .code,
        applies: @escaping @Sendable (SourceFile) -> Bool = { _ in true }
    ) {
        self.name = name
        self.pattern = pattern
        self.subject = subject
        self.applies = applies
    }

    func findings(in file: SourceFile) throws -> [Finding] {
        guard applies(file) else { return [] }
        let expression = try NSRegularExpression(pattern: pattern, options: [.anchorsMatchLines])
        let text = subject == .code ? file.code : file.text
        let matches = expression.matches(in: text, range: NSRange(text.startIndex..., in: text))
        return matches.compactMap { match in
            guard let range = Range(match.range, in: text) else { return nil }
            let line = text[..<range.lowerBound].utf8.reduce(1) { $1 == 0x0A ? $0 + 1 : $0 }
            return Finding(rule: name, path: file.path, line: line, text: String(text[range]))
        }
    }
}

extension PatternRule {
    /// The targets that must give the same run for the same seed.
    static let pureTargets = [
        "MeshModel", "MeshWire", "MeshGossip", "MeshSessions", "MeshRouting", "MeshAccounting", "MeshBroker",
        "MeshTopology", "MeshSimulation",
    ]

    private static func isPure(_ file: SourceFile) -> Bool {
        file.path.hasPrefix("Sources/") && pureTargets.contains(file.target ?? "")
    }

    private static func isProgram(_ file: SourceFile) -> Bool { !file.isTest && file.target != nil }

    /// Everywhere in Swift code.
    static let everywhere: [PatternRule] = [
        PatternRule("fatal-error", #"\bfatalError\s*\("#),
        PatternRule("forced-try", #"\btry!"#),
        PatternRule("forced-cast", #"\bas!"#),
        PatternRule("unchecked-sendable", #"@unchecked\s+Sendable"#),
        PatternRule("unsafe-isolation", #"nonisolated\s*\(\s*unsafe\s*\)"#),
        PatternRule("preconcurrency", #"@preconcurrency\b"#),
        PatternRule(
            "public-access",
            #"^\s*(@\w+\s+)*public\s+(final|struct|class|enum|actor|protocol|func|var|let|init|typealias|extension|static|subscript|import|mutating|indirect)\b"#
        ),
        PatternRule("unfinished", "\\b(TO" + "DO|FIX" + "ME|X" + "XX|HA" + "CK)\\b", subject: .text),
        PatternRule(
            "empty-name",
            #"\b(struct|class|enum|actor|protocol|typealias)\s+\w*(Utils?|Utilities|Helpers?|Common|Manager|Misc)\b"#),
    ]

    /// In everything that is shipped.
    static let program: [PatternRule] = [
        PatternRule(
            "unstructured-task", #"\bTask(\s*<[^>]*>)?\s*(\.(detached|immediate)\b|\s*\{|\()"#, applies: isProgram),
        // The channel of an HTTP/2 stream ends the process when it is asked for any other option. Sockets are asked in
        // one place.
        PatternRule(
            "channel-option",
            #"\.(get|set)Option\s*\((?!\s*\.autoRead\b)|\bChannelOptions\b|\.socketOption\(\s*\.tcp_"#,
            applies: { isProgram($0) && $0.path != "Sources/MeshTransport/HTTP/Carrier.swift" }),
        PatternRule("testing-in-program", #"^\s*@testable\b|^\s*import\s+(Testing|XCTest)\b"#, applies: isProgram),
    ]

    /// In the pure targets: nothing that reads a clock, draws luck, waits, locks, prints or depends on hash order.
    static let purity: [PatternRule] = [
        PatternRule(
            "pure-clock",
            #"\b(Date|ContinuousClock|SuspendingClock|DispatchTime|clock_gettime|gettimeofday|mach_absolute_time)\b"#,
            applies: isPure),
        PatternRule(
            "pure-luck",
            #"\b(SystemRandomNumberGenerator|UUID)\b|\.random\((?![^)\n]*using:)|\.(shuffled|randomElement|shuffle)\(\)"#,
            applies: isPure),
        PatternRule("pure-waiting", #"\b(await|async)\b|\bTask\b|\bAsyncStream\b"#, applies: isPure),
        PatternRule("pure-lock", #"\b(Mutex|Atomic|NSLock|DispatchQueue|NIOLock)\b"#, applies: isPure),
        PatternRule("pure-printing", #"\b(print|debugPrint|dump)\s*\("#, applies: isPure),
        PatternRule("pure-hashing", #"\bHasher\s*\(|\.hashValue\b|\bObjectIdentifier\s*\("#, applies: isPure),
        PatternRule("pure-floating-point", #"\b(Double|Float|Float16|CGFloat)\b"#, applies: isPure),
    ]

    /// In tests: none that is skipped, none in another framework.
    static let tests: [PatternRule] = [
        PatternRule(
            "skipped-test",
            #"@(Test|Suite)\s*\([^{]*?\.(disabled|enabled)\b|\bwithKnownIssue\b|\bXCTSkip\w*"#, applies: \.isTest),
        PatternRule("xctest", #"^\s*import\s+XCTest\b|\bXCTestCase\b"#, applies: \.isTest),
    ]

    /// In any text file: paths that exist on one machine only. Homes of `somebody` and `you` are examples.
    static let machinePath = PatternRule(
        "machine-path", #"(?<![\w.~-])/(work|root|Users|home/(?!somebody/|you/)[a-z][a-z0-9_-]*)/[\w.]"#, subject: .text
    )
}
