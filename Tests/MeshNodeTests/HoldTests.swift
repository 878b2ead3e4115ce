import MeshModel
import MeshNode
import MeshWire
import Testing

/// Workers come and go, and the requests of buyers wait a moment for them.
@Suite(.serialized, .nodeLog) struct HoldTests {
    /// A node whose only worker can leave and come back.
    private struct Place: Sendable {
        var node: TestNode
        var bob: Buyer
        var token: String

        func worker() async throws -> ScriptedWorker { try await ScriptedWorker.admitted(at: node, token: token) }

        func leaves(_ worker: ScriptedWorker) async throws {
            worker.connection.close()
            try await eventually("the worker is gone") { try await node.session(of: "w1")?["models"] == nil }
        }

        static func open(
            holdSeconds: Int, _ body: @escaping @Sendable (Place, ScriptedWorker) async throws -> Void
        ) async throws {
            try await withNode(holdSeconds: holdSeconds) { node in
                try await node.user("bob")
                let bob = try await node.key(of: "bob")
                let place = Place(node: node, bob: bob, token: try await node.provider("lab"))
                let worker = try await place.worker()
                try await node.offers("lab/m1", to: bob)
                try await body(place, worker)
            }
        }
    }

    /// Whatever way leads to it: its name, a policy, a rotation.
    @Test(arguments: ["lab/m1", "auto", "rotation/alone"]) func aWorkerThatComesBackAnswers(model: String) async throws
    {
        try await Place.open(holdSeconds: 30) { place, worker in
            _ = try await place.node.administer(
                "POST", "rotations", #"{"name":"alone","members":["lab"],"settings":{"queue_ms":30000}}"#)
            try await place.leaves(worker)
            let body = #"{"model":"\#(model)","messages":[]}"#
            let connections = [try await place.bob.start(body), try await place.bob.start(body)]
            // They wait, and nothing is written meanwhile.
            try await Task.sleep(for: .milliseconds(600))
            #expect(connections.allSatisfy { $0.received == 0 })
            let back = try await place.worker()
            for _ in connections {
                back.answer(try await back.request("chat.completions"), payload: #"{"choices":[]}"#)
            }
            var positions: [String] = []
            for connection in connections {
                let reply = try await connection.reply(within: 20)
                #expect(reply.status == 200 && reply["aisbf-attempts"] == "1", "\(reply.text)")
                let told = try #require(reply["aisbf-queue"])
                positions.append(String(told.prefix { $0 != ";" }))
                let waited = Int(told.split(separator: "=").last ?? "") ?? 0
                #expect((500..<30_000).contains(waited), "\(told)")
            }
            #expect(positions.sorted() == ["position=1", "position=2"])
            let quick = try await place.bob.start(body)
            back.answer(try await back.request("chat.completions"), payload: #"{"choices":[]}"#)
            #expect(try await quick.reply()["aisbf-queue"] == nil, "it has not waited")
        }
    }

    /// A policy's only candidate has no free place, or reads its model into memory: it is asked again a little later.
    @Test func aPolicyAsksAgainWhoHadNoPlace() async throws {
        try await Place.open(holdSeconds: 30) { place, worker in
            let connection = try await place.bob.start(#"{"model":"auto","messages":[]}"#)
            for payload in [
                #"{"status_code":503,"content_type":"application/json","body":"{\"error\":{\"message\":\"Loading model\"}}"}"#,
                #"{"choices":[]}"#,
            ] {
                worker.answer(try await worker.request("chat.completions"), payload: payload)
            }
            let reply = try await connection.reply(within: 20)
            #expect(reply.status == 200, "\(reply.text)")
            #expect(reply["aisbf-queue"]?.hasPrefix("position=1") == true)
        }
    }

    @Test(arguments: ["lab/m1", "auto"]) func whoWaitedLongEnoughIsToldToComeAgain(model: String) async throws {
        try await Place.open(holdSeconds: 1) { place, worker in
            try await place.leaves(worker)
            let reply = try await place.bob.ask(model: model)
            #expect(reply.status == 503 && reply.errorCode == "worker_unavailable", "\(reply.text)")
            #expect(reply["aisbf-queue"]?.hasPrefix("position=1; waited_ms=") == true)
            #expect(Int(reply["retry-after"] ?? "").map { (1...30).contains($0) } == true)
            #expect(reply["x-should-retry"] == "true")
        }
    }

    /// Nobody waits for what is not coming: an operation that a worker does not offer, a provider that nobody has seen.
    @Test func whatIsNotComingIsNotWaitedFor() async throws {
        try await Place.open(holdSeconds: 30) { place, _ in
            _ = try await place.node.provider("never")
            let started = ContinuousClock.now
            #expect(try await place.bob.ask(#"{"model":"lab/m1","input":"x"}"#, path: "/v1/rerank").status == 404)
            #expect(try await place.bob.ask(model: "never/m1").status >= 400)
            #expect(try await place.bob.ask(model: "lab/m9").status == 404)
            #expect(ContinuousClock.now - started < .seconds(20))
        }
    }

    /// A buyer who leaves while he waits leaves nothing behind.
    @Test func whoLeavesWaitsNoMore() async throws {
        try await Place.open(holdSeconds: 30) { place, worker in
            try await place.leaves(worker)
            let connection = try await place.bob.start(#"{"model":"lab/m1","messages":[]}"#)
            try await Task.sleep(for: .milliseconds(300))
            connection.close()
            try await eventually("no request in flight", within: 10) { try await place.node.requestsInFlight() == 0 }
            let back = try await place.worker()
            let next = try await place.bob.start(#"{"model":"lab/m1","messages":[]}"#)
            back.answer(try await back.request("chat.completions"), payload: #"{"from":"back"}"#)
            #expect(try await next.reply().text == #"{"from":"back"}"#)
            #expect(back.connection.pending.isEmpty)
        }
    }
}
