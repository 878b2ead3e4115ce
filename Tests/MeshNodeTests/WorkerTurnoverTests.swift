import MeshWire
import Testing

/// What becomes of running requests, and of what is known of a worker, when its connection gives way to another.
@Suite(.serialized, .nodeLog) struct WorkerTurnoverTests {
    private static let ask = #"{"model":"lab/m1"}"#
    private static let stream = #"{"model":"lab/m1","stream":true}"#

    private static func isIdle(_ node: TestNode) async throws {
        try await eventually("no request in flight", within: 20) {
            let workers = try await node.administer("GET", "providers/global/lab")["workers"]?.elements ?? []
            let counted = workers.allSatisfy { $0["in_flight"]?.integer == 0 }
            return try await node.requestsInFlight() == 0 && counted
        }
    }

    @Test func aTakeoverLosesTheRequestsOfTheOldConnection() async throws {
        try await Shop.open { shop in
            let whole = try await shop.buyer.start(Self.ask)
            _ = try await shop.worker.request("chat.completions")
            let streamed = try await shop.buyer.start(Self.stream)
            let request = try await shop.worker.request("chat.completions")
            shop.worker.chunk(request, "data: 1\n\n")
            try await eventually("the first event") { streamed.received > 0 }
            let second = try await ScriptedWorker.admitted(at: shop.node, token: shop.token)
            let lost = try await whole.reply()
            #expect(lost.status == 502 && lost.errorCode == "worker_lost")
            let broken = try await streamed.reply()
            #expect(broken.status == 200)
            #expect(broken.text.hasPrefix("data: 1\n\ndata: {\"error\":{") && !broken.text.contains("[DONE]"))
            // What the old connection still says of its requests reaches nobody.
            shop.worker.answer(request, payload: #"{"late":true}"#)
            #expect(try await shop.worker.closed().code == 1011)
            try await Self.isIdle(shop.node)
            let next = try await shop.buyer.start(Self.ask)
            second.answer(try await second.request("chat.completions"), payload: #"{"from":"second"}"#)
            #expect(try await next.reply().text == #"{"from":"second"}"#)
        }
    }

    @Test func aSiblingAnswersWhatATakeoverInterrupted() async throws {
        try await Shop.open { shop in
            let sibling = try await ScriptedWorker.admitted(at: shop.node, token: shop.token, client: "w2")
            try await eventually("both workers") {
                try await shop.node.sessions().filter { $0["models"] == ["m1"] }.count == 2
            }
            let connection = try await shop.buyer.start(Self.ask)
            let isFirst = try await eventually("the request at one of them") { () -> Bool? in
                if !shop.worker.connection.pending.isEmpty { return true }
                return sibling.connection.pending.isEmpty ? nil : false
            }
            let (busy, other) = isFirst ? (shop.worker, sibling) : (sibling, shop.worker)
            _ = try await busy.request("chat.completions")
            _ = try await ScriptedWorker.admitted(at: shop.node, token: shop.token, client: isFirst ? "w1" : "w2")
            other.answer(try await other.request("chat.completions"), payload: #"{"from":"sibling"}"#)
            let reply = try await connection.reply()
            #expect(reply.status == 200 && reply.text == #"{"from":"sibling"}"#)
            #expect(reply["aisbf-attempts"] == "2")
            #expect(try await busy.closed().reason == "replaced by a new connection of the same client")
            try await Self.isIdle(shop.node)
        }
    }

    @Test func aRotationEndsRunningRequestsWithAnError() async throws {
        try await Shop.open { shop in
            let whole = try await shop.buyer.start(Self.ask)
            _ = try await shop.worker.request("chat.completions")
            let streamed = try await shop.buyer.start(Self.stream)
            shop.worker.chunk(try await shop.worker.request("chat.completions"), "data: 1\n\n")
            try await eventually("the first event") { streamed.received > 0 }
            let rotated = try await shop.node.administer("POST", "providers/global/lab/rotate-token", "{}")
            let lost = try await whole.reply()
            #expect(lost.status == 502 && lost.errorCode == "worker_lost")
            let broken = try await streamed.reply()
            #expect(broken.text.hasPrefix("data: 1\n\ndata: {\"error\":{") && !broken.text.contains("[DONE]"))
            #expect(try await shop.worker.closed().reason == "this registration token is no longer valid")
            try await Self.isIdle(shop.node)
            let token = try #require(rotated["registration_token"]?.text)
            let next = try await ScriptedWorker.admitted(at: shop.node, token: token)
            try await shop.node.offers("lab/m1", to: shop.buyer)
            let connection = try await shop.buyer.start(Self.ask)
            next.answer(try await next.request("chat.completions"), payload: "{}")
            #expect(try await connection.reply().status == 200)
        }
    }

    // MARK: What is known of a worker

    @Test func whatWasMeasuredBelongsToTheClientIDAndNotToItsSocket() async throws {
        try await Shop.open { shop in
            func answered(by worker: ScriptedWorker) async throws -> String? {
                let connection = try await shop.buyer.start(Self.ask)
                worker.answer(
                    try await worker.request("chat.completions"),
                    payload: #"{"usage":{"completion_tokens":5,"total_tokens":9}}"#)
                return try await connection.reply()["aisbf-worker"]
            }
            func performance() async throws -> JSONValue? {
                try await eventually("the session") { try await shop.node.session(of: "w1") }["performance"]
            }
            let mark = try #require(try await answered(by: shop.worker))
            _ = try await answered(by: shop.worker)
            let before = try await performance()
            #expect(before?["sample_count"] == 2 && before?["avg_total_tokens"] == 9)
            // A takeover.
            let second = try await ScriptedWorker.admitted(at: shop.node, token: shop.token)
            #expect(try await performance() == before)
            #expect(try await answered(by: second) == mark)
            #expect(try await performance()?["sample_count"] == 3)
            // A reconnect.
            second.connection.close()
            try await eventually("no session", within: 20) { try await shop.node.sessions().isEmpty }
            let third = try await ScriptedWorker.admitted(at: shop.node, token: shop.token)
            #expect(try await performance()?["sample_count"] == 3)
            try await shop.node.offers("lab/m1", to: shop.buyer)
            #expect(try await answered(by: third) == mark)
            // Another client starts with nothing.
            _ = try await ScriptedWorker.admitted(at: shop.node, token: shop.token, client: "w2")
            let other = try await eventually("the other session") { try await shop.node.session(of: "w2") }
            #expect(other["performance"]?["sample_count"] == 0)
            #expect(other["worker"]?.text != mark)
        }
    }

    @Test func aWorkerThatMovesKeepsItsMarkAtTheOtherNode() async throws {
        try await withTwoNodes { north, south in
            let token = try await north.provider("lab")
            try await south.user("bob")
            let bob = try await south.key(of: "bob")
            var marks: [String] = []
            for (node, name) in [(north, "north"), (south, "south")] {
                let worker = try await ScriptedWorker.admitted(at: node, token: token)
                try await eventually("the worker at \(name) is offered", within: 20) {
                    let list = try await bob.call("GET", "/v1/models").document?["data"]?.elements
                    return list?.first?["aisbf"]?["nodes"] == .strings([name])
                }
                let connection = try await bob.start(Self.ask)
                worker.answer(try await worker.request("chat.completions"), payload: "{}")
                let reply = try await connection.reply()
                #expect(reply.status == 200 && reply["aisbf-node"] == name)
                marks.append(try #require(reply["aisbf-worker"]))
                worker.connection.close()
                try await eventually("no session", within: 20) { try await node.sessions().isEmpty }
            }
            #expect(marks[0] == marks[1] && marks[0].count == 12)
        }
    }
}
