import MeshWire
import Testing

/// Why a session ends is told to a worker that is in the middle of something, too.
@Suite(.serialized, .nodeLog) struct CloseFrameTests {
    /// Sends chunks as fast as the node takes them, until the connection is gone.
    private static func flood(_ worker: ScriptedWorker, _ request: JSONValue) async throws {
        let event = "data: " + String(repeating: "x", count: 30_000) + "\n\n"
        while !worker.connection.isClosed, !Task.isCancelled {
            if let unsent = try? await worker.connection.unsent(), unsent < 2 << 20 {
                worker.chunk(request, event)
            } else {
                try await Task.sleep(for: .milliseconds(1))
            }
        }
    }

    /// What is still on its way from the worker must not reset the connection before the close frame was read.
    @Test(arguments: ["rotate", "replace", "garbage"])
    func aFloodingWorkerIsToldWhyItIsClosed(cause: String) async throws {
        try await Shop.open(streamIdleMs: 20_000) { shop in
            let buyer = try await shop.buyer.start(#"{"model":"lab/m1","stream":true}"#)
            let request = try await shop.worker.request("chat.completions")
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await Self.flood(shop.worker, request) }
                try await eventually("the flood at the buyer", within: 20) { buyer.received > 1 << 20 }
                let expected: (code: Int, reason: String)
                switch cause {
                case "rotate":
                    _ = try await shop.node.administer("POST", "providers/global/lab/rotate-token", "{}")
                    expected = (1008, "this registration token is no longer valid")
                case "replace":
                    _ = try await ScriptedWorker.admitted(at: shop.node, token: shop.token)
                    expected = (1011, "replaced by a new connection of the same client")
                default:
                    for _ in 0..<100 { shop.worker.say("nonsense") }
                    expected = (1008, "too many unreadable messages")
                }
                let close = try await shop.worker.closed()
                #expect(close.code == expected.code && close.reason == expected.reason)
                group.cancelAll()
            }
            try await eventually("the end of the stream", within: 20) { () -> Bool in
                String(decoding: buyer.pending.suffix(512), as: UTF8.self).contains("stream_interrupted")
            }
        }
    }

    /// One that reads late finds the close frame all the same.
    @Test func aFloodingWorkerThatReadsLateIsToldToo() async throws {
        try await Shop.open(streamIdleMs: 20_000) { shop in
            let buyer = try await shop.buyer.start(#"{"model":"lab/m1","stream":true}"#)
            let request = try await shop.worker.request("chat.completions")
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await Self.flood(shop.worker, request) }
                try await eventually("the flood at the buyer", within: 20) { buyer.received > 1 << 20 }
                try await shop.worker.connection.readNothing()
                _ = try await shop.node.administer("POST", "providers/global/lab/rotate-token", "{}")
                try await eventually("the end of the session", within: 20) { try await shop.node.sessions().isEmpty }
                try await shop.worker.connection.readAgain()
                let close = try await shop.worker.closed()
                #expect(close.code == 1008 && close.reason == "this registration token is no longer valid")
                group.cancelAll()
            }
        }
    }
}
