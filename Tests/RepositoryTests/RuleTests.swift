import MeshModel
import Testing

/// Each rule against a small bad sample and its good neighbour: a rule that finds nothing protects nothing.
@Suite struct RuleTests {
    private func rules(_ code: String, path: String) throws -> [String] {
        let all = PatternRule.everywhere + PatternRule.program + PatternRule.purity + PatternRule.tests
        let file = SourceFile(path: path, text: code)
        return try (all + [PatternRule.machinePath]).flatMap { try $0.findings(in: file) }.map(\.rule)
    }

    @Test(arguments: [
        ("fatal-error", "func f() { fatalError(\"x\") }"),
        ("forced-try", "let a = try! f()"),
        ("forced-cast", "let a = b as! C"),
        ("unchecked-sendable", "final class A: @unchecked Sendable {}"),
        ("unsafe-isolation", "nonisolated(unsafe) var a = 1"),
        ("preconcurrency", "@preconcurrency import A"),
        ("public-access", "    public static func f() {}"),
        ("unfinished", "// TO" + "DO: later"),
        ("empty-name", "enum StringUtils {}"),
        ("empty-name", "final class SessionManager {}"),
        ("unstructured-task", "Task { await f() }"),
        ("unstructured-task", "Task.detached { }"),
        ("unstructured-task", "Task<Void, Never> { }"),
        ("channel-option", "let a = try channel.syncOptions?.getOption(.bufferedWritableBytes)"),
        ("channel-option", "bootstrap.channelOption(ChannelOptions.autoRead, value: true)"),
        ("channel-option", "channel.setOption( .writeSpin, value: 1)"),
        // Another level's option of the same number: only root may set it, and everybody else loses the connection.
        ("channel-option", "bootstrap.childChannelOption(.socketOption(.tcp_nodelay), value: 1)"),
        ("testing-in-program", "import Testing"),
        ("machine-path", "let path = \"/" + "root/x\""),
        ("machine-path", "// see /" + "home/mia/notes"),
    ])
    func programRuleFindsIt(rule: String, code: String) throws {
        #expect(try rules(code, path: "Sources/MeshRuntime/A.swift") == [rule])
    }

    @Test(arguments: [
        ("pure-clock", "let now = ContinuousClock.now"),
        ("pure-clock", "let now = Date()"),
        ("pure-luck", "let a = Int.random(in: 0..<3)"),
        ("pure-luck", "let a = list.shuffled()"),
        ("pure-luck", "var g = SystemRandomNumberGenerator()"),
        ("pure-waiting", "let a = await f()"),
        ("pure-lock", "let a = Mutex(1)"),
        ("pure-printing", "print(a)"),
        ("pure-hashing", "let a = b.hashValue"),
        ("pure-floating-point", "var a: Double"),
    ])
    func pureRuleFindsItInPureTargetsOnly(rule: String, code: String) throws {
        #expect(try rules(code, path: "Sources/MeshGossip/A.swift") == [rule])
        #expect(try rules(code, path: "Sources/MeshNode/A.swift") == [])
    }

    @Test(arguments: [
        ("skipped-test", "@Test(.disabled(\"slow\")) func a() {}"),
        ("skipped-test", "@Suite(\"x\", .enabled(if: fast)) struct A {}"),
        ("skipped-test", "withKnownIssue { }"),
        ("xctest", "import XCTest"),
    ])
    func testRuleFindsIt(rule: String, code: String) throws {
        #expect(try rules(code, path: "Tests/ATests/A.swift") == [rule])
    }

    @Test(arguments: [
        "// fatalError( and try! in a comment",
        "let a = \"fatalError( try! as! Task {\"",
        "let a = #\"a \" Task { \"#",
        "let a = \"\\(b(\"Task {\")) as! \"",
        "/* try! /* as! */ try! */ let a = 1",
        "let a = \"\"\"\n    try! \"quoted\" as!\n    \"\"\"",
        "case .public: break",
        "channel.setOption(.autoRead, value: false)",
        "case `public`",
        "let a = Int.random(in: 0..<3, using: &generator)",
        "func handle(_ task: TaskKind) {}",
        "struct Managerial {}",
        "let a = \"https://example.org/home/page\"",
        "let url = \"/v1/models\"",
    ])
    func goodNeighbourPasses(code: String) throws {
        #expect(try rules(code, path: "Sources/MeshGossip/A.swift") == [])
    }

    @Test(arguments: [
        ("var a: Set<Int> = []\nfor b in a { f(b) }", 1),
        ("let a: [String: Int]\nlet b = a.map { $0 }", 1),
        ("var a = [String: Int]()\nfor (k, v) in self.a where v > 1 { }", 1),
        ("var a = Set<Int>()\nlet b = Array(a)", 1),
        ("var a: [String: Int]\nlet b = a.values.reduce(0, +)", 1),
        ("var a: OrderedDictionary<String, Int>\nfor b in a { }", 0),
        ("var a: Set<Int> = []\nif a.contains(1) { a.insert(2) }", 0),
        ("var a: [Int]\nfor b in a { }", 0),
        ("let a: [(key: Int, value: Int)]\nfor b in a { }", 0),
        ("let a = Dictionary(b, uniquingKeysWith: f)\nlet c = records.a.map { $0 }", 0),
    ])
    func hashOrder(code: String, count: Int) throws {
        #expect(
            try HashOrderRule.findings(in: SourceFile(path: "Sources/MeshModel/A.swift", text: code)).count == count)
    }

    @Test func longFilesAreFound() {
        let longest = String(repeating: "\n", count: LengthRules.fileLines)
        #expect(LengthRules.fileFindings(in: SourceFile(path: "A.swift", text: longest)).isEmpty)
        #expect(LengthRules.fileFindings(in: SourceFile(path: "A.swift", text: longest + "\n")).count == 1)
    }

    @Test(arguments: [
        ("func f(a: Int = { 1 }()) -> [Int] {", 1), ("init() {", 1), ("subscript(a: Int) -> Int {", 1),
        ("struct A {", 0), ("protocol P { func f()\nvar a: Int {", 0), ("self.init(a) {", 0),
    ])
    func longFunctionsAreFound(head: String, count: Int) {
        func findings(_ lines: Int) -> [Finding] {
            let text = head + String(repeating: "\n", count: lines - 1) + "}"
            return LengthRules.functionFindings(in: SourceFile(path: "A.swift", text: text))
        }
        #expect(findings(LengthRules.functionLines).isEmpty)
        #expect(findings(LengthRules.functionLines + 2).count == count)
    }

    @Test(arguments: [
        ("switch a {\ncase .b: 1\ndefault: 2\n}", 1), ("switch a {\ncase let .b(c):\n    c\ndefault: 2\n}", 1),
        (
            "let d = switch a {\n    case .b:\n        switch e {\n        case 1: 1\n        default: 3\n        }\n    }",
            0
        ),
        ("switch a {\ncase \"b\": .c\ndefault: .d\n}", 0), ("switch a {\ncase 1: 1\n// case .b\ndefault: 2\n}", 0),
        ("switch a {\ncase .b: 1\n}\nswitch c {\ncase 1: 1\ndefault: 2\n}", 0),
    ])
    func switchesNoticeNewCases(code: String, count: Int) {
        #expect(TidyRules.switchFindings(in: SourceFile(path: "Sources/MeshNode/A.swift", text: code)).count == count)
    }

    @Test func floorsRestOnWhatIsBelow() throws {
        let files = [
            SourceFile(path: "Sources/MeshRuntime/Clock.swift", text: "package enum SystemClock {}\nlet a: View"),
            SourceFile(path: "Sources/MeshRuntime/Keys/A.swift", text: "struct Key {}\n/// View\nlet a: SystemClock"),
            SourceFile(
                path: "Sources/MeshRuntime/Views/B.swift", text: "final class View { let a: Key }\nprivate enum P {}"),
            SourceFile(path: "Sources/MeshRuntime/Keys/C.swift", text: "let a: P"),
            SourceFile(path: "Sources/MeshRuntime/Attic/D.swift", text: ""),
        ]
        let findings = try FolderRules.findings(files).map { "\($0.path.split(separator: "/").last ?? ""): \($0.text)" }
        #expect(findings == ["Clock.swift: View of Views", "D.swift: Attic"])
    }

    @Test func whatNobodyUsesIsFound() throws {
        let files = [
            SourceFile(
                path: "Sources/MeshNode/A.swift",
                text: "package struct Used {\n    package static let idle = 1\n    package func makeTimer() {}\n}\n"),
            SourceFile(path: "Tests/MeshNodeTests/B.swift", text: "let a = Used()"),
        ]
        #expect(try TidyRules.declarationFindings(files).map(\.text) == ["nobody uses idle"])
    }

    @Test func dependenciesWithoutAUseAreFound() throws {
        let files = [
            SourceFile(path: "Sources/MeshNode/A.swift", text: "import MeshModel"),
            SourceFile(path: "Sources/MeshWire/A.swift", text: "package import MeshModel\nimport DequeModule"),
        ]
        let findings = try TidyRules.dependencyFindings(PackageManifest(manifest), files).map(\.text)
        #expect(
            findings == [
                "MeshCrypto does not import CSodium", "MeshCrypto does not import MeshNode",
                "MeshNode does not import NIOCore",
            ])
    }

    private let manifest = """
        // ring("MeshGhost", ["MeshNode"])
        extension Target.Dependency { static let deque = Self.product(name: "DequeModule", package: "c") }
        let targets = [
            .systemLibrary(name: "CSodium"),
            ring("MeshModel"),
            .target(name: "MeshWire", dependencies: ["MeshModel", .deque], exclude: ["Protos"], swiftSettings: strict),
            ring("MeshNode", ["MeshModel", .nio("NIOCore")]),
            ring("MeshCrypto", ["CSodium", "MeshNode"]),
            ring("MeshStranger", []),
        ]
        """

    @Test func manifestIsRead() throws {
        let manifest = try PackageManifest(manifest)
        #expect(manifest.imports["MeshModel"] == [])
        #expect(manifest.imports["MeshWire"] == ["MeshModel", "DequeModule"])
        #expect(manifest.imports["MeshNode"] == ["MeshModel", "NIOCore"])
        #expect(manifest.imports["MeshGhost"] == nil)
    }

    @Test func theSimulatorsBuildGraphIsChecked() throws {
        let networked = manifest + "\n.executableTarget(name: \"mesh-sim\", dependencies: [\"MeshCrypto\", .deque]),"
        #expect(try RingRules.simulatorFindings(PackageManifest(networked)).map(\.text) == ["NIOCore through MeshNode"])
        #expect(try RingRules.simulatorFindings(PackageManifest(manifest)).isEmpty)
    }

    @Test func ringsAreChecked() throws {
        let findings = RingRules.manifestFindings(try PackageManifest(manifest)).map { "\($0.rule) \($0.text)" }
        #expect(findings == ["ring-direction MeshCrypto depends on MeshNode", "ring-unknown MeshStranger"])
    }

    @Test(arguments: [
        ("Sources/MeshNode/A.swift", "package import MeshModel\nimport NIOCore\nimport Foundation", []),
        ("Sources/MeshNode/A.swift", "import MeshWire", ["import-undeclared"]),
        ("Sources/MeshNode/A.swift", "@_spi(X) internal import struct NIOHTTP1.Head", ["import-undeclared"]),
        ("Sources/MeshNode/A.swift", "import CSodium", ["import-reserved"]),
        ("Sources/MeshCrypto/A.swift", "import CSodium", []),
        ("Sources/MeshNode/A.swift", "// import MeshWire", []),
    ])
    func importsAreChecked(path: String, code: String, rules: [String]) throws {
        let file = SourceFile(path: path, text: code)
        #expect(try RingRules.importFindings(in: file, manifest: PackageManifest(manifest)).map(\.rule) == rules)
    }

    @Test(arguments: [
        ("Sources/MeshGossip/A.swift", "import Foundation", 1), ("Sources/MeshGossip/A.swift", "import NIOCore", 1),
        ("Sources/MeshGossip/A.swift", "import OrderedCollections\nimport MeshModel", 0),
        ("Sources/MeshWire/A.swift", "import FoundationEssentials", 0),
        ("Sources/MeshTopology/A.swift", "import Yams", 0), ("Sources/MeshNode/A.swift", "import Foundation", 0),
    ])
    func pureTargetsImportNoWorld(path: String, code: String, count: Int) throws {
        #expect(try RingRules.purityFindings(in: SourceFile(path: path, text: code)).count == count)
    }

    @Test(arguments: [
        ("[a](../README.md)", true), ("[a](README.md)", false), ("[a](../Package.swift#x)", true),
        ("[a](https://example.org/nowhere)", true), ("`[a](nowhere.md)`", true), ("![a](nowhere.png)", false),
        ("```\n[a](nowhere.md)\n```", true), ("[a](#here-it-is)", true), ("[a](#gone)", false),
        ("[a](../../../x.md)", false), ("[a](other.md#section)", true), ("[a](other.md#none)", false),
    ])
    func linksAreChecked(text: String, isGood: Bool) throws {
        let file = SourceFile(path: "Docs/page.md", text: "# Here `it` is\n\n\(text)\n")
        let tree = SourceTree(
            root: SourceTree.repository.root,
            files: [
                file, SourceFile(path: "README.md", text: ""), SourceFile(path: "Docs/other.md", text: "## Section\n"),
            ])
        #expect(try MarkdownRules.linkFindings(in: file, tree: tree).isEmpty == isGood)
    }

    @Test func errorPageIsChecked() throws {
        let rows = ErrorCode.allCases.map { "| `\($0.rawValue)` | \($0.status) | words |" }
        #expect(try ReferenceRules.errorFindings(page: rows.joined(separator: "\n")) == [])
        #expect(try ReferenceRules.errorFindings(page: rows.dropFirst().joined(separator: "\n")).count == 1)
        #expect(
            try ReferenceRules.errorFindings(page: (rows + ["| `gone` | 400 | x |"]).joined(separator: "\n")).count == 1
        )
    }

    @Test func limitPageIsChecked() throws {
        let source = "    package static let a = 1\n    package static let b: Int64 = 2\n"
        #expect(try ReferenceRules.limitFindings(page: "| `a` | 1 | x |\n| `b` | 2 | y |", source: source) == [])
        #expect(try ReferenceRules.limitFindings(page: "| `a` | 1 |  |\n| `c` | 2 | y |", source: source).count == 3)
    }

    @Test func closeReasonsAreChecked() throws {
        let source = """
                case a = "one"
                case bb = "two"
                    case .a,
                        .c: 1008
                    case .bb: 1011
            """
        #expect(try ReferenceRules.closeReasonFindings(page: "| 1008 | one |\n| 1011 | two |", source: source) == [])
        #expect(try ReferenceRules.closeReasonFindings(page: "| 1011 | one |", source: source).count == 3)
    }

    @Test func metricPageIsChecked() throws {
        let names = try ReferenceRules.metricNames(
            in: "Counter(label: \"a.b\")\nTimer(\n    label: \"t\", dimensions: [])")
        #expect(names == ["a.b", "t"])
        #expect(try ReferenceRules.metricFindings(page: "| `a_b_total` | x |\n| `t_seconds` | x |", names: names) == [])
        #expect(try ReferenceRules.metricFindings(page: "| `t` | x |", names: names).count == 1)
    }
}
