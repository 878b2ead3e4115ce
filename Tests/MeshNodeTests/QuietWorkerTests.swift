import MeshWire
import Testing

/// Sessions that end because nothing moves on them.
@Suite(.serialized, .nodeLog) struct QuietWorkerTests {
    /// Runs the three at the same time, because each takes as long as the bound that it shows.
    @Test func silenceAndUnreadRequestsAndAMissingRegisterEndTheSession() async throws {
        try await withNode(firstContentMs: 60_000) { node in
            let token = try await node.provider("lab")
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await Self.silent(node, token) }
                group.addTask { try await Self.notReading(node, try await node.provider("slow")) }
                group.addTask { try await Self.unregistered(node, token) }
                try await group.waitForAll()
            }
            #expect(try await node.sessions().isEmpty)
        }
    }

    /// Neither sends nor answers pings.
    private static func silent(_ node: TestNode, _ token: String) async throws {
        let worker = try await ScriptedWorker.admitted(at: node, token: token, client: "silent")
        let said = ContinuousClock.now
        try await node.offers("lab/m1", to: node.admin)
        let close = try await eventually("the close frame", within: 20) { () -> (code: Int, reason: String)? in
            guard let (frame, length) = ScriptedWorker.decode(worker.connection.pending) else { return nil }
            worker.connection.drop(length)
            return frame.close
        }
        let quiet = ContinuousClock.now - said
        #expect(close.code == 1011 && close.reason == "no sign of life")
        #expect(quiet > .seconds(8) && quiet < .milliseconds(11_000), "\(quiet)")
        try await eventually("it is not offered any more", within: 20) {
            try await node.admin.call("GET", "/v1/models").document?["data"]?.elements?
                .allSatisfy { $0["id"]?.text != "lab/m1" } ?? false
        }
        #expect(try await node.admin.ask(model: "lab/m1").status == 503)
    }

    /// Talks all the time and takes nothing of what waits for it.
    private static func notReading(_ node: TestNode, _ token: String) async throws {
        let connection = try await RawConnection.open(port: node.buyerPort, receiveBuffer: 4_096)
        let worker = try await ScriptedWorker.attach(
            on: connection, headers: ScriptedWorker.identity("slow", token: token, client: "slow"))
        try await node.offers("slow/m1", to: node.admin)
        try await connection.readNothing()
        let body = #"{"model":"slow/m1","x":""# + String(repeating: "y", count: 900_000) + #""}"#
        var buyers: [RawConnection] = []
        for _ in 0..<12 { buyers.append(try await node.admin.start(body)) }
        try await eventually("the session ended", within: 60) {
            worker.say(#"{"op":"heartbeat","request_id":"hb"}"#)
            try await Task.sleep(for: .milliseconds(500))
            return try await node.session(of: "slow") == nil
        }
        for buyer in buyers {
            let reply = try await buyer.reply(within: 20)
            #expect(reply.status == 502 && reply.errorCode == "worker_lost", "\(reply.text)")
        }
        connection.close()
    }

    /// Was greeted and still does not say who it is; pings of its own do not help.
    private static func unregistered(_ node: TestNode, _ token: String) async throws {
        let worker = try await ScriptedWorker.connect(node.buyerPort, provider: "lab", token: token, client: "mute")
        _ = try await worker.event("registered")
        let close = try await eventually("the close frame", within: 60) { () -> (code: Int, reason: String)? in
            worker.frame(9, [])
            try await Task.sleep(for: .milliseconds(200))
            while let (frame, length) = ScriptedWorker.decode(worker.connection.pending) {
                worker.connection.drop(length)
                if let close = frame.close { return close }
            }
            return nil
        }
        #expect(close.code == 1008 && close.reason == "registration timeout")
    }
}
