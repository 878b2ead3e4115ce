import Foundation
import MeshModel
import MeshNode
import MeshWire
import Testing

/// A request that is sent again with its idempotency key is not done again.
@Suite(.serialized, .nodeLog) struct IdempotencyTests {
    private static let body = #"{"model":"lab/m1","messages":[{"role":"user","content":"hi"}]}"#
    private static let streamed = #"{"model":"lab/m1","stream":true,"messages":[]}"#

    private static func ask(_ buyer: Buyer, key: String, _ body: String = body) async throws -> Reply {
        try await buyer.call("POST", Buyer.chat, headers: ["idempotency-key: \(key)"], body: body)
    }

    private static func start(_ buyer: Buyer, key: String, _ body: String = body) async throws -> RawConnection {
        let connection = try await RawConnection.open(port: buyer.port)
        connection.request(
            "POST", Buyer.chat, key: buyer.key, headers: ["idempotency-key: \(key)"], body: Array(body.utf8))
        return connection
    }

    @Test func theAnswerIsGivenAgain() async throws {
        try await TwoSellers.open { shop in
            let first = try await Self.ask(shop.bob, key: "a")
            #expect(first.status == 200, "\(first.text)")
            #expect(first["aisbf-idempotent-replay"] == nil)
            let second = try await Self.ask(shop.bob, key: "a")
            #expect(second.status == 200)
            #expect(second.text == first.text)
            #expect(second["aisbf-idempotent-replay"] == "true")
            #expect(second["content-type"] == first["content-type"])
            #expect(second["aisbf-provider"] == first["aisbf-provider"])
            #expect(second["aisbf-original-request-id"] == first["x-request-id"])
            #expect(second["x-request-id"] != first["x-request-id"])
            #expect(shop.first.count == 1)
            let usage = try await shop.bob.call("GET", "/v1/usage").document
            #expect(usage?["total"]?["requests"]?.integer ?? 1 == 1, "\(String(describing: usage))")
        }
    }

    @Test func anotherRequestNeedsAnotherKey() async throws {
        try await TwoSellers.open { shop in
            #expect(try await Self.ask(shop.bob, key: "a").status == 200)
            let other = try await Self.ask(shop.bob, key: "a", #"{"model":"lab/m1","messages":[]}"#)
            #expect(other.status == 422)
            #expect(other.errorCode == "idempotency_key_reused")
            #expect(other["x-should-retry"] == "false")
            #expect(try await Self.ask(shop.bob, key: "b", #"{"model":"lab/m1","messages":[]}"#).status == 200)
            // Somebody else's keys are his own.
            try await shop.node.user("eve")
            let eve = try await shop.node.key(of: "eve")
            let hers = try await Self.ask(eve, key: "a")
            #expect(hers.status == 200)
            #expect(hers["aisbf-idempotent-replay"] == nil)
            for key in ["", String(repeating: "x", count: 256), "a b"] {
                #expect(try await Self.ask(shop.bob, key: key).status == 400, "'\(key.prefix(3))'")
            }
            #expect(shop.first.count == 3)
        }
    }

    @Test func whoAsksMeanwhileIsToldToComeAgain() async throws {
        try await TwoSellers.open { shop in
            shop.first.answers(Serving.silent)
            let connection = try await Self.start(shop.bob, key: "a")
            try await eventually("the worker has it") { shop.first.count == 1 }
            let second = try await Self.ask(shop.bob, key: "a")
            #expect(second.status == 409)
            #expect(second.errorCode == "idempotency_in_progress")
            #expect(second["x-should-retry"] == "true")
            #expect(second["retry-after"] == "1")
            let request = try #require(shop.first.asked)
            Serving.well(shop.first.worker, request)
            #expect(try await connection.reply().status == 200)
            #expect(try await Self.ask(shop.bob, key: "a")["aisbf-idempotent-replay"] == "true")
            #expect(shop.first.count == 1)
        }
    }

    /// The case for which there are keys: the connection broke, and nobody knows what became of the request.
    @Test func aBuyerWhoseConnectionBrokeGetsTheAnswer() async throws {
        try await TwoSellers.open { shop in
            shop.first.answers(Serving.silent)
            let connection = try await Self.start(shop.bob, key: "a")
            try await eventually("the worker has it") { shop.first.count == 1 }
            connection.close()
            let request = try #require(shop.first.asked)
            try await eventually("the node knows that he left") {
                try await shop.node.administer("GET", "status")["requests_in_flight"]?.integer ?? 0 == 0
            }
            Serving.well(shop.first.worker, request)
            try await eventually("the answer") { try await Self.ask(shop.bob, key: "a").status == 200 }
            #expect(shop.first.count == 1)
        }
    }

    @Test func aStreamIsGivenAgainWhole() async throws {
        try await TwoSellers.open { shop in
            shop.first.answers { worker, request in
                worker.chunk(
                    request, "data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\n")
                worker.done(request)
            }
            let first = try await Self.ask(shop.bob, key: "a", Self.streamed)
            #expect(first.text.hasSuffix("data: [DONE]\n\n"))
            let second = try await Self.ask(shop.bob, key: "a", Self.streamed)
            #expect(second.text == first.text)
            #expect(second["content-type"] == first["content-type"])
            #expect(second["aisbf-idempotent-replay"] == "true")
            #expect(shop.first.count == 1)
        }
    }

    @Test func anAnswerThatIsTooLargeIsNotGivenAgainAndNotDoneAgain() async throws {
        try await TwoSellers.open { shop in
            let text = String(repeating: "x", count: Limits.idempotencyAnswerBytes)
            shop.first.answers { $0.answer($1, payload: #"{"id":"\#(text)"}"#) }
            #expect(try await Self.ask(shop.bob, key: "a").status == 200)
            let second = try await Self.ask(shop.bob, key: "a")
            #expect(second.status == 409)
            #expect(second.errorCode == "idempotency_no_answer")
            #expect(second["x-should-retry"] == "false")
            #expect(shop.first.count == 1)
        }
    }

    @Test func whatFailedIsDoneAnew() async throws {
        try await TwoSellers.open { shop in
            shop.first.answers(Serving.status(500, "oops"))
            #expect(try await Self.ask(shop.bob, key: "a").status >= 500)
            shop.first.answers(Serving.well)
            try await eventually("it is asked again") { try await Self.ask(shop.bob, key: "a").status == 200 }
            #expect(try await Self.ask(shop.bob, key: "a")["aisbf-idempotent-replay"] == "true")
        }
    }

    // MARK: Across nodes

    /// Two nodes of one operator, whose own key is the same at both, and a third that hosts the worker.
    @Test func twoEntryNodesOfOneOwnerHaveItDoneOnce() async throws {
        let east = try await PreparedNode("east")
        let west = try await PreparedNode("west", operatorOf: east)
        try await withNode("host", allow: [east.summary.nodeID, west.summary.nodeID]) { host in
            let token = try await host.provider("lab")
            let peer = "\(host.nodeID)@127.0.0.1:\(host.linkPort)"
            try await withNode("east", prepared: east, peers: [peer], allow: [west.summary.nodeID]) { east in
                try await withNode("west", prepared: west, peers: [peer], allow: [east.nodeID]) { west in
                    let worker = try await eventually("the worker is admitted", within: 20) {
                        try? await ScriptedWorker.attach(host.buyerPort, provider: "lab", token: token)
                    }
                    let serving = Serving(worker)
                    let running = Task { await serving.run() }
                    defer { running.cancel() }
                    let body = Self.body.replacing("lab/m1", with: "global@host/lab/m1")
                    for node in [east, west] {
                        try await node.offers("lab/m1", to: node.admin)
                    }
                    let first = try await Self.ask(east.admin, key: "a", body)
                    #expect(first.status == 200, "\(first.text)")
                    let second = try await Self.ask(west.admin, key: "a", body)
                    #expect(second.status == 200, "\(second.text)")
                    #expect(second.text == first.text)
                    #expect(second["aisbf-idempotent-replay"] == "true")
                    #expect(serving.count == 1)
                    let other = try await Self.ask(
                        west.admin, key: "a", body.replacing("hi", with: "ho"))
                    #expect(other.status == 422)
                    #expect(try await Self.ask(west.admin, key: "b", body)["aisbf-idempotent-replay"] == nil)
                    #expect(serving.count == 2)
                }
            }
        }
    }

    /// An answer that is too long to be kept goes on for nobody when its buyer has left.
    @Test func whatIsTooLongToBeKeptEndsWithItsBuyer() async throws {
        try await TwoSellers.open { shop in
            shop.first.answers(Serving.silent)
            let connection = try await Self.start(shop.bob, key: "long", Self.streamed)
            try await eventually("the worker has it") { shop.first.count == 1 }
            let request = try #require(shop.first.asked)
            let piece =
                #"data: {"choices":[{"delta":{"content":"\#(String(repeating: "x", count: 60_000))"}}]}"# + "\n\n"
            shop.first.worker.chunk(request, piece)
            try await eventually("the first event") { connection.received > 0 }
            connection.close()
            // It goes on, and is more than is kept.
            for _ in 0..<20 { shop.first.worker.chunk(request, piece) }
            try await eventually("it has ended", within: 10) { try await shop.node.requestsInFlight() == 0 }
            shop.first.answers(Serving.well)
            let again = try await Self.ask(shop.bob, key: "long", Self.streamed)
            #expect(again["aisbf-idempotent-replay"] == nil)
            #expect(shop.first.count == 2, "nobody had it, and it is done anew")
        }
    }
}
