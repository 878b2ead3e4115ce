import MeshModel
import MeshWire
import Testing

/// A node with one public provider, its worker, and a buyer.
struct Shop: Sendable {
    var node: TestNode
    var buyer: Buyer
    var worker: ScriptedWorker
    var token: String

    static func open(
        models: [String] = ["m1"], firstContentMs: Int = 2_000, streamIdleMs: Int = 5_000, capabilities: String = "{}",
        _ body: @escaping @Sendable (Shop) async throws -> Void
    ) async throws {
        try await withNode(firstContentMs: firstContentMs, streamIdleMs: streamIdleMs) { node in
            try await node.user("bob")
            let buyer = try await node.key(of: "bob")
            let token = try await node.provider("lab")
            let worker = try await eventually("the worker is admitted") {
                try? await ScriptedWorker.attach(
                    node.buyerPort, provider: "lab", token: token, models: models, capabilities: capabilities)
            }
            try await node.offers("lab/\(models[0])", to: buyer)
            try await body(Shop(node: node, buyer: buyer, worker: worker, token: token))
        }
    }

    /// Asks and plays the worker's part once.
    func exchange(_ body: String, answer: String) async throws -> (reply: Reply, request: JSONValue) {
        let connection = try await buyer.start(body)
        defer { connection.close() }
        let request = try await worker.request("chat.completions")
        worker.answer(request, payload: answer)
        return (try await connection.reply(), request)
    }
}

@Suite(.serialized, .nodeLog) struct BuyerErrorTests {
    struct Bad: Sendable, CustomStringConvertible {
        var body: String
        var code: String
        var says: String
        var status = 400
        var description: String { String(body.prefix(60)) }
    }

    static let bodies: [Bad] = [
        Bad(body: #"{"model":"lab/m1","#, code: "invalid_json", says: "18"),
        Bad(body: "", code: "invalid_json", says: "JSON object"),
        Bad(body: "[1]", code: "invalid_json", says: "object"),
        Bad(body: #""text""#, code: "invalid_json", says: "object"),
        Bad(body: "{}", code: "invalid_request", says: "'model'"),
        Bad(body: #"{"model":5}"#, code: "invalid_request", says: "'model'"),
        Bad(body: #"{"model":null}"#, code: "invalid_request", says: "'model'"),
        Bad(body: #"{"model":""}"#, code: "invalid_request", says: "'model'"),
        Bad(body: #"{"model":"lab/m1","model":"lab/m2"}"#, code: "invalid_request", says: "twice"),
        Bad(body: #"{"model":"lab/m1","mod\u0065l":"lab/m2"}"#, code: "invalid_request", says: "twice"),
        Bad(body: #"{"model":"lab/m1","stream":1}"#, code: "invalid_request", says: "'stream'"),
        Bad(body: #"{"model":"lab/m1","stream":"true"}"#, code: "invalid_request", says: "'stream'"),
        Bad(body: #"{"model":"lab/m1","stream":true,"stream":false}"#, code: "invalid_request", says: "twice"),
        Bad(body: #"{"model":"lab/m1"},"op":"proxy","payload":{}"#, code: "invalid_json", says: "18"),
        Bad(body: #"{"model":"lab/m1"}{"op":"proxy"}"#, code: "invalid_json", says: "18"),
        Bad(
            body: #"{"model":"lab/m1","a":"# + String(repeating: "[", count: 5_000)
                + String(repeating: "]", count: 5_000) + "}", code: "invalid_json", says: "deep"),
        Bad(body: #"{"model":"lab/m2x"}"#, code: "model_not_found", says: "lab/m1", status: 404),
        Bad(body: #"{"model":"nobody@nowhere/lab/m1"}"#, code: "model_not_found", says: "no provider", status: 404),
    ]

    @Test func everyBadBodyIsRefusedWithAReasonAndTheConnectionLives() async throws {
        try await Shop.open { shop in
            let connection = try await RawConnection.open(port: shop.node.buyerPort)
            for bad in Self.bodies {
                connection.request("POST", Buyer.chat, key: shop.buyer.key, body: Array(bad.body.utf8))
                let reply = try await connection.reply()
                #expect(reply.status == bad.status, "\(bad)")
                #expect(reply.errorCode == bad.code, "\(bad)")
                #expect(reply.errorMessage.contains(bad.says), "\(bad): \(reply.errorMessage)")
                #expect(reply["x-request-id"]?.hasPrefix("req_") == true)
                #expect(reply.document?["error"]?["request_id"]?.text == reply["x-request-id"])
            }
            // Bytes that are no UTF-8 must not reach a worker inside a text frame.
            connection.request(
                "POST", Buyer.chat, key: shop.buyer.key,
                body: Array(#"{"model":"lab/m1","a":""#.utf8) + [0xFF, 0xC0] + Array(#""}"#.utf8))
            #expect(try await connection.reply().errorCode == "invalid_json")
            connection.request("GET", "/v1/models", key: shop.buyer.key)
            #expect(try await connection.reply().status == 200)
        }
    }

    @Test func keysThatDoNotFitAreRefused() async throws {
        try await Shop.open { shop in
            let key = shop.buyer.key ?? ""
            let body = #"{"model":"lab/m1"}"#
            for wrong in ["", "x", String(key.prefix(30)), key + "a", shop.token, String(key.reversed()), "sk-aisbf-"] {
                let reply = try await Buyer(port: shop.node.buyerPort, key: wrong).ask(body)
                #expect(reply.status == 401)
                #expect(reply.errorCode == "invalid_api_key")
                #expect(reply["www-authenticate"] == "Bearer")
                #expect(wrong.count < 8 || !reply.text.contains(wrong))
            }
            #expect(try await Buyer(port: shop.node.buyerPort, key: nil).ask(body).status == 401)
            #expect(
                try await shop.buyer.ask(body, path: "/api/u/alice/chat/completions").errorCode == "insufficient_scope")
            #expect(try await shop.buyer.call("GET", "/api/u/alice/models").status == 403)
            #expect(try await shop.buyer.call("GET", "/api/u/bob/models").status == 200)
            #expect(try await shop.buyer.call("GET", "/api/admin/v1/users").status == 403)
            let operatorOnly = try await shop.node.key(of: "bob", scopes: #"["admin"]"#)
            #expect(try await operatorOnly.ask(body).errorCode == "insufficient_scope")
        }
    }

    @Test func aRevokedKeyEndsAtOnce() async throws {
        try await Shop.open { shop in
            let keys = try await shop.node.administer("GET", "keys")["keys"]?.elements ?? []
            let id = keys.first { $0["username"]?.text == "bob" }?["key_id"]?.text ?? ""
            #expect(try await shop.buyer.call("GET", "/v1/models").status == 200)
            _ = try await shop.node.administer("DELETE", "keys/\(id)")
            #expect(try await shop.buyer.call("GET", "/v1/models").status == 401)
            #expect(try await shop.buyer.ask(model: "lab/m1").status == 401)
        }
    }

    @Test func aNameThatSeveralProvidersHaveMeansTheFirst() async throws {
        try await withNode { node in
            var workers: [ScriptedWorker] = []
            for owner in ["alice", "carol"] {
                try await node.user(owner)
                let token = try await node.provider("den", owner: owner)
                workers.append(
                    try await ScriptedWorker.admitted(at: node, provider: "den", token: token, username: owner))
            }
            try await node.user("bob")
            let buyer = try await node.key(of: "bob")
            for name in ["den/m1", "carol@north/den/m1"] { try await node.offers(name, to: buyer) }
            for (name, worker) in zip(["den/m1", "alice@north/den/m1", "carol@north/den/m1"], [0, 0, 1]) {
                let connection = try await buyer.start(#"{"model":"\#(name)"}"#)
                workers[worker].answer(try await workers[worker].request("chat.completions"), payload: "{}")
                #expect(try await connection.reply().status == 200, "\(name)")
            }
            // The second keeps its own full name when the first is gone, and gets no other.
            _ = try await node.administer("DELETE", "providers/alice/den")
            try await eventually("the first one's end") { try await buyer.ask(model: "den/m1").status == 404 }
            let named = try await buyer.call("GET", "/v1/models").document?["data"]?.elements?.compactMap {
                $0["id"]?.text
            }
            #expect(named == ["carol@north/den/m1"])
        }
    }
}
