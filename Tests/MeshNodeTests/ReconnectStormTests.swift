import Foundation
import MeshModel
import MeshWire
import Testing

/// A thousand workers that lose their node at the same moment and come back, over real sockets.
@Suite(.serialized, .nodeLog) struct ReconnectStormTests {
    private static let workers = 1_000

    /// Both ends of every connection are in this process.
    private static func raiseDescriptorLimit(to wanted: UInt) throws {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else {
            throw NotSeen(description: "the limit of open files")
        }
        if limit.rlim_cur >= wanted { return }
        limit.rlim_cur = min(wanted, limit.rlim_max)
        let isRaised = setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0
        try #require(
            isRaised && limit.rlim_cur >= wanted,
            "this test needs \(wanted) open files at once; raise the hard limit (ulimit -Hn)")
    }

    private static func openDescriptors() throws -> Int {
        try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count
    }

    @Test func aThousandWorkersComeBackWhileABuyerIsServed() async throws {
        try Self.raiseDescriptorLimit(to: 4_096)
        try await withNode(firstContentMs: 20_000) { node in
            let token = try await node.provider("lab")
            let steadyToken = try await node.provider("steady")
            let steady = Storm(port: node.buyerPort) {
                ScriptedWorker.identity("steady", token: steadyToken, client: $0)
            }
            steady.dial("steady")
            try await node.offers("steady/m1", to: node.admin)
            let before = try Self.openDescriptors()
            let storm = Storm(port: node.buyerPort) { ScriptedWorker.identity("lab", token: token, client: $0) }
            defer {
                for storm in [storm, steady] {
                    storm.change { $0.isOver = true }
                    storm.closeAll()
                }
            }
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await Self.buy(node, while: storm) }
                group.addTask { try await Self.rage(storm, node) }
                // The first failure, and not the others' cancellation.
                while try await group.next() != nil {}
            }
            let counts = storm.counts
            #expect(counts.unexpected.isEmpty, "\(counts.unexpected.prefix(5))")
            try await eventually("nobody of the storm is left", within: 20) {
                let sessions = try await node.sessions()
                return sessions.compactMap { $0["client_id"]?.text } == ["steady"]
                    && sessions.allSatisfy { $0["in_flight"]?.integer == 0 }
            }
            try await eventually("as many open files as before, nearly", within: 20) {
                try Self.openDescriptors() <= before + 16
            }
        }
    }

    private static func buy(_ node: TestNode, while storm: Storm) async throws {
        var answered = 0
        while !storm.counts.isOver {
            let reply = try await node.admin.call("POST", Buyer.chat, body: #"{"model":"steady/m1"}"#, within: 20)
            #expect(reply.status == 200 && reply.text == #"{"by":"steady"}"#, "\(reply.text)")
            answered += 1
            try await Task.sleep(for: .milliseconds(50))
        }
        // How many depends on how busy the machine is; each had its time.
        #expect(answered > 3)
    }

    /// All come, and leave, and come back at once.
    private static func rage(_ storm: Storm, _ node: TestNode) async throws {
        defer { storm.change { $0.isOver = true } }
        for _ in 0..<2 {
            let (begun, deferred) = (ContinuousClock.now, storm.counts.deferrals)
            for number in 0..<workers { storm.dial("w\(number)") }
            try await eventually("all are registered", within: 60) {
                guard storm.counts.live.count == workers else { return false }
                return try await node.sessions().count == workers + 1
            }
            // Without anybody being sent away this takes three seconds at least.
            let seconds = (ContinuousClock.now - begun).components.seconds
            let isSlow = seconds >= (workers - Limits.workerAdmissionsBurst) / Limits.workerAdmissionsPerSecond
            #expect(storm.counts.deferrals > deferred || isSlow, "let in within \(seconds) s")
            let reply = try await node.admin.call("POST", Buyer.chat, body: #"{"model":"lab/m1"}"#, within: 20)
            #expect(reply.status == 200, "\(reply.text)")
            storm.closeAll()
        }
    }

    /// Whoever stops a node with many workers stops it in the middle of signing what becomes of them.
    @Test func aNodeThatStopsWhileItSignsEndsWell() async throws {
        let storm = try await withNode { node in
            let token = try await node.provider("lab")
            let storm = Storm(port: node.buyerPort) { ScriptedWorker.identity("lab", token: token, client: $0) }
            for number in 0..<200 { storm.dial("w\(number)") }
            try await eventually("all are registered", within: 60) { storm.counts.live.count == 200 }
            storm.change { $0.isOver = true }
            return storm
        }
        storm.closeAll()
        #expect(storm.counts.unexpected.isEmpty)
    }
}
