import MeshModel
import MeshWire
import Testing

/// `aisbf worker` before a backend that behaves in odd ways, and the node that asks it itself, as buyers at its node and
/// at another one see it.
@Suite(.serialized, .nodeLog) struct SellerAgentTests {
    private struct Side: Sendable {
        var node: TestNode
        var buyer: Buyer

        /// What a chat request is answered, streamed or not.
        func ask(_ model: String, stream: Bool = false, bytes: Int = 0) async throws -> Reply {
            let filler = String(repeating: "x", count: bytes)
            let connection = try await buyer.start(
                #"{"model":"lab/\#(model)","stream":\#(stream),"messages":[{"role":"user","content":"\#(filler)"}]}"#
            )
            defer { connection.close() }
            return try await connection.reply()
        }

        func lists(_ model: String) async throws -> Bool {
            try await buyer.call("GET", "/v1/models").text.contains("\"lab/\(model)\"")
        }
    }

    /// What sells is at the north node; the second buyer at the south one.
    private static func open(
        _ seller: Seller, _ backend: ScriptedBackend, endpoints: [String] = [], first model: String,
        _ body: @escaping @Sendable ([Side]) async throws -> Void
    ) async throws {
        try await withTwoNodes { north, south in
            try await backend.run { port in
                try await seller.sell(at: north, backendPort: port, endpoints: endpoints) {
                    var sides: [Side] = []
                    for node in [north, south] {
                        try await node.user("bob")
                        let buyer = try await node.key(of: "bob")
                        try await node.offers("lab/\(model)", to: buyer)
                        sides.append(Side(node: node, buyer: buyer))
                    }
                    try await body(sides)
                }
            }
        }
    }

    private static let models = ["plain", "away", "slash", "key", "paths", "limited", "brotli"]

    /// One backend with a behaviour for each model.
    private static func answer(_ request: ScriptedBackend.Request) -> [ScriptedBackend.Step] {
        let secret = "Incorrect API key provided: sk-seller-0123"
        switch request.model {
        case "away":
            return ScriptedBackend.whole("", status: 307, ["location: https://other.example.com/v1/"])
        case "slash" where !request.target.hasSuffix("/"):
            return ScriptedBackend.whole("", status: 307, ["location: \(request.target)/"])
        case "key":
            return ScriptedBackend.whole(
                #"{"error":{"message":"\#(secret)","code":"invalid_api_key"}}"#, status: 401)
        case "paths":
            return ScriptedBackend.whole(
                #"{"error":{"message":"no /srv/models/x.gguf at http://127.0.0.1:9/v1","type":"server_error"}}"#,
                status: 422)
        case "limited":
            return ScriptedBackend.whole(
                #"{"error":{"message":"slow down","type":"requests"}}"#, status: 429,
                ["x-should-retry: false", "retry-after-ms: 17250", "retry-after: 18"])
        case "brotli": return ScriptedBackend.whole("xyz", ["content-encoding: br"])
        default: return ScriptedBackend.whole(ScriptedBackend.completion("hello"))
        }
    }

    @Test(arguments: Seller.allCases) func whatABackendDoesIsNotLaidOnItsBuyers(seller: Seller) async throws {
        let backend = ScriptedBackend(models: Self.models, answer: Self.answer)
        try await Self.open(seller, backend, first: "plain") { sides in
            for side in sides {
                for stream in [false, true] {
                    let plain = try await side.ask("slash", stream: stream)
                    switch seller {
                    case .worker: #expect(plain.status == 200 && plain.text.contains("hello"), "\(plain.text)")
                    // The node asks where its operator wrote, and nowhere else.
                    case .upstream: #expect(plain.status == 502 && plain.errorMessage.contains("redirects"))
                    }
                    for (model, words) in [
                        ("away", "redirects"), ("key", "Incorrect API key provided: (secret)"),
                        ("brotli", "compresses"),
                    ] {
                        let reply = try await side.ask(model, stream: stream)
                        #expect(reply.status == 502 && reply.errorMessage.contains(words), "\(reply.text)")
                        #expect(reply.errorCode != "invalid_api_key" && reply["location"] == nil)
                        #expect(!reply.text.contains("127.0.0.1") && !reply.text.contains("sk-seller"))
                    }
                    let paths = try await side.ask("paths", stream: stream)
                    #expect(
                        paths.status == 422 && paths.errorMessage == "no (path) at (address)", "\(paths.text)")
                    let limited = try await side.ask("limited", stream: stream)
                    #expect(limited.status == 429 && limited["x-should-retry"] == "false", "\(limited.text)")
                    #expect(limited["retry-after-ms"] == "17250" && limited["retry-after"] == "18")
                }
            }
        }
    }

    /// Nothing was done and nobody is at fault: the buyer is told when to come again, at whatever node.
    @Test(arguments: Seller.allCases) func aModelThatIsBeingLoadedIsNoFailure(seller: Seller) async throws {
        let words = #"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#
        let backend = ScriptedBackend(models: ["m"]) { request in
            request.model == "m" ? ScriptedBackend.whole(words, status: 503) : []
        }
        try await Self.open(seller, backend, first: "m") { sides in
            for side in sides {
                for stream in [false, true] {
                    let reply = try await side.ask("m", stream: stream)
                    #expect(reply.status == 503 && reply.errorCode == "worker_unavailable", "\(reply.text)")
                    #expect(reply.errorMessage.contains("being loaded"), "\(reply.text)")
                    #expect(Int(reply["retry-after"] ?? "").map { (1...30).contains($0) } == true)
                    #expect(reply["x-should-retry"] == "true")
                }
            }
        }
    }

    @Test(arguments: Seller.allCases) func aConnectionThatTheBackendClosesCostsNoRequest(seller: Seller) async throws {
        let backend = ScriptedBackend(models: ["m"]) { request in
            request.turn == 0 ? ScriptedBackend.whole(ScriptedBackend.completion("hello")) : [.close]
        }
        try await Self.open(seller, backend, first: "m") { sides in
            for side in sides {
                for number in 0..<6 {
                    let reply = try await side.ask("m", stream: number % 2 == 1)
                    #expect(reply.status == 200, "\(number): \(reply.text)")
                }
            }
        }
    }

    @Test(arguments: Seller.allCases) func anAnswerBeforeTheBodyWasReadIsTheAnswer(seller: Seller) async throws {
        let words =
            #"{"error":{"message":"too large for this backend","type":"invalid_request_error"}}"#
        let backend = ScriptedBackend(
            models: ["m"],
            early: { request in
                guard request.method == "POST" else { return nil }
                return ScriptedBackend.whole(words, status: 413, ["connection: close"]) + [.closeOutput]
            }, answer: { _ in [] })
        try await Self.open(seller, backend, first: "m") { sides in
            for side in sides {
                for number in 0..<10 {
                    let reply = try await side.ask("m", bytes: 4 << 20)
                    #expect(
                        reply.status == 413 && reply.text == words, "\(number): \(reply.status) \(reply.text)")
                }
            }
        }
    }

    @Test(arguments: Seller.allCases) func aPartOfAFileComesFromTheBackend(seller: Seller) async throws {
        let backend = ScriptedBackend(models: ["m"]) { request in
            guard request["range"] == "bytes=1-2" else {
                return ScriptedBackend.whole("abcd", type: "text/plain", ["accept-ranges: bytes"])
            }
            return ScriptedBackend.whole(
                "bc", status: 206, type: "text/plain",
                ["content-range: bytes 1-2/4", "accept-ranges: bytes", "etag: \"v\""])
        }
        try await Self.open(seller, backend, endpoints: ["v1/files"], first: "m") { sides in
            for side in sides {
                for (range, status, text) in [(["range: bytes=1-2"], 206, "bc"), ([], 200, "abcd")] {
                    let connection = try await RawConnection.open(port: side.node.buyerPort)
                    connection.request(
                        "GET", "/v1/files/f/content?model=lab/m", key: side.buyer.key, headers: range)
                    let reply = try await connection.reply()
                    #expect(reply.status == status && reply.text == text && reply["accept-ranges"] == "bytes")
                    #expect(reply["content-range"] == (status == 206 ? "bytes 1-2/4" : nil))
                    connection.close()
                }
            }
        }
    }
}
