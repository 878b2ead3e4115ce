import Logging
import MeshRuntime
import Synchronization
import Testing

/// What the nodes of one test log, printed when the test fails.
final class NodeLog: Sendable {
    @TaskLocal static var current: NodeLog?

    private struct State {
        var nodes: [(name: String, lines: LogLines)] = []
        var hasFailed = false
    }

    private let state = Mutex(State())

    /// As many lines of a node as tell what led to a failure.
    private static let most = 200

    /// - Parameter lines: where the node's log goes already.
    func node(_ name: String, _ lines: LogLines?) -> LogLines {
        let lines = lines ?? LogLines(keeping: Self.most) { SystemClock.wall }
        state.withLock { $0.nodes.append((name, lines)) }
        return lines
    }

    func failed() { state.withLock { $0.hasFailed = true } }

    /// What is to be printed; nil when nothing failed.
    func report(of test: String) -> String? {
        let (nodes, hasFailed) = state.withLock { ($0.nodes, $0.hasFailed) }
        guard hasFailed else { return nil }
        let text = nodes.flatMap { node in
            ["log of node \(node.name) in \(test):"] + node.lines.all.suffix(Self.most).map { "  " + $0 }
        }
        return text.map { "│ " + $0.trimmingLineEnd }.joined(separator: "\n")
    }
}

extension String {
    fileprivate var trimmingLineEnd: String { hasSuffix("\n") ? String(dropLast()) : self }
}

/// Prints the log of a test's nodes when it fails.
struct NodeLogTrait: SuiteTrait, TestTrait, TestScoping {
    var isRecursive: Bool { true }

    func scopeProvider(for test: Test, testCase: Test.Case?) -> Self? { testCase == nil ? nil : self }

    func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
    ) async throws {
        let log = NodeLog()
        let watch = IssueHandlingTrait.compactMapIssues { issue in
            log.failed()
            return issue
        }
        defer { if let report = log.report(of: test.name) { print(report) } }
        try await NodeLog.$current.withValue(log) {
            try await watch.provideScope(for: test, testCase: testCase) {
                do { try await function() } catch {
                    log.failed()
                    throw error
                }
            }
        }
    }
}

extension Trait where Self == NodeLogTrait {
    /// For suites whose tests run whole nodes.
    static var nodeLog: Self { Self() }
}

@Suite struct NodeLogTests {
    @Test func whatANodeSaidIsThereWhenATestFails() async throws {
        let log = NodeLog()
        let silent = NodeLog()
        for (log, fails) in [(log, true), (silent, false)] {
            try await NodeLog.$current.withValue(log) {
                try await withNode("loud") { node in
                    let reply = try await node.admin.call("GET", "/v1/nothing")
                    #expect(reply.status == 404)
                }
            }
            if fails { log.failed() }
        }
        let report = try #require(log.report(of: "t"))
        #expect(
            report.hasPrefix("│ log of node loud in t:\n│   ") && report.contains("error.code=not_found"), "\(report)")
        #expect(silent.report(of: "t") == nil)
    }

    @Test func onlyTheEndIsKept() {
        let lines = LogLines(keeping: 3)
        for number in 0..<10 { lines.logger.info("line \(number)") }
        #expect(lines.all.count == 3 && lines.all.last?.contains("line 9") == true)
    }
}
