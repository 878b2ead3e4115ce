import MeshModel
import MeshWire
import Testing

/// Anthropic's Messages at a node: passed on to whoever offers them, a chat for everybody else.
@Suite(.serialized, .nodeLog) struct MessagesTests {
    private static let path = "/v1/messages"

    private static func start(_ shop: Shop, _ body: String, path: String = path, headers: [String] = []) async throws
        -> RawConnection
    {
        let connection = try await RawConnection.open(port: shop.node.buyerPort)
        connection.request("POST", path, key: shop.buyer.key, headers: headers, body: Array(body.utf8))
        return connection
    }

    @Test func aWorkerOfChatsGetsAChat() async throws {
        try await Shop.open { shop in
            let connection = try await Self.start(
                shop,
                #"{"model":"lab/m1","max_tokens":9,"top_k":3,"system":"S","messages":[{"role":"user","content":"hi"}]}"#
            )
            defer { connection.close() }
            let request = try await shop.worker.request("chat.completions")
            #expect(
                request["payload"] == [
                    "model": "m1", "max_tokens": 9,
                    "messages": [["role": "system", "content": "S"], ["role": "user", "content": "hi"]],
                ])
            shop.worker.answer(
                request,
                payload:
                    #"{"id":"c","choices":[{"index":0,"message":{"role":"assistant","content":"ho"},"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":2}}"#
            )
            let reply = try await connection.reply()
            #expect(reply.status == 200 && reply["content-type"] == "application/json")
            #expect(reply["aisbf-translation"] == "messages; chat/completions" && reply["aisbf-warnings"] == "top_k")
            #expect(reply["request-id"] == reply["x-request-id"])
            #expect(reply.document?["model"]?.text == "lab/m1" && reply.document?["stop_reason"]?.text == "end_turn")
            #expect(reply.document?["content"] == [["type": "text", "text": "ho"]])
            #expect(reply.document?["usage"]?["input_tokens"]?.integer == 7)
            // It is counted like any other.
            let record = try await eventually("the record of the request") {
                let found = try await shop.buyer.call("GET", "/v1/generation?id=\(reply["x-request-id"] ?? "")")
                return found.status == 200 ? found.document?["data"] : nil
            }
            #expect(record["tokens_prompt"]?.integer == 7 && record["tokens_completion"]?.integer == 2)
        }
    }

    @Test func aStreamOfAChatIsAStreamOfAMessage() async throws {
        try await Shop.open { shop in
            let connection = try await Self.start(
                shop, #"{"model":"lab/m1","stream":true,"messages":[{"role":"user","content":"hi"}]}"#)
            defer { connection.close() }
            let request = try await shop.worker.request("chat.completions")
            #expect(request["payload"]?["stream_options"]?["include_usage"]?.flag == true)
            shop.worker.chunk(request, #"data: {"choices":[{"index":0,"delta":{"content":"h"}}]}"# + "\n\ndata: {\"cho")
            shop.worker.chunk(
                request,
                #"ices":[{"index":0,"delta":{"content":"o"},"finish_reason":"stop"}]}"# + "\n\ndata: [DONE]\n\n")
            shop.worker.done(request)
            let reply = try await connection.reply()
            #expect(reply.status == 200 && reply["content-type"] == "text/event-stream")
            let names = reply.text.split(separator: "\n").filter { $0.hasPrefix("event: ") }.map { $0.dropFirst(7) }
            #expect(
                names == [
                    "message_start", "ping", "content_block_start", "content_block_delta", "content_block_delta",
                    "content_block_stop", "message_delta", "message_stop",
                ])
            #expect(!reply.text.contains("[DONE]"))
        }
    }

    @Test func whoOffersTheAPIGetsItByteForByte() async throws {
        try await Shop.open(capabilities: #"{"openai_compat":{"messages":true}}"#) { shop in
            let rest = #""top_k":3,"new": [1.0],"messages":[{"role":"user","content":[{"type":"odd"}]}],"stream":true}"#
            let connection = try await Self.start(
                shop, #"{"model":"lab/m1", "aisbf":{"prefer":"local"},\#(rest)"#, path: "/api/v1/messages?beta=true",
                headers: ["anthropic-version: 2023-06-01", "anthropic-beta: a", "anthropic-beta: b", "x-app: cli"])
            defer { connection.close() }
            let request = try await shop.worker.request("proxy")
            #expect(request["payload"]?["endpoint_path"]?.text == "/v1/messages")
            #expect(request["payload"]?["headers"] == ["anthropic-version": "2023-06-01", "anthropic-beta": "a, b"])
            #expect(request["payload"]?["body"] == (try JSONValue.parse(Array(#"{"model":"m1",\#(rest)"#.utf8))))
            let events = [
                ("message_start", #","message":{"usage":{"input_tokens":4,"cache_read_input_tokens":6}}"#),
                ("content_block_start", #","index":0,"content_block":{"type":"new","x": [1.0]}"#),
                ("content_block_delta", #", "index":0,"delta":{"type":"new_delta","text":"x"}"#),
                ("new", ""), ("content_block_stop", #","index":0"#),
                ("message_delta", #","delta":{"stop_reason":"new"},"usage":{"output_tokens":3}"#),
                ("message_stop", ""),
            ]
            let text = events.map { "event: \($0)\ndata: {\"type\":\"\($0)\"\($1)}\n\n" }.joined()
            shop.worker.chunk(request, text)
            shop.worker.done(request)
            let reply = try await connection.reply()
            #expect(reply.status == 200 && reply.text == text && reply["aisbf-translation"] == nil, "\(reply.text)")
            let record = try await eventually("the record of the request") {
                let found = try await shop.buyer.call("GET", "/v1/generation?id=\(reply["x-request-id"] ?? "")")
                return found.status == 200 ? found.document?["data"] : nil
            }
            #expect(record["tokens_prompt"]?.integer == 10 && record["tokens_completion"]?.integer == 3)
        }
    }

    struct Failure: Sendable, CustomStringConvertible {
        var description: String
        var method = "POST"
        var path = MessagesTests.path
        var key: String?
        var body: String
        var status: Int
        var type: String
        var says: String
    }

    private static let failures: [Failure] = [
        Failure(
            description: "a wrong key", key: "sk-aisbf-x", body: "{}", status: 401, type: "authentication_error",
            says: "API key"),
        Failure(
            description: "no such model", body: #"{"model":"lab/m2","messages":[{"role":"user","content":"x"}]}"#,
            status: 404, type: "not_found_error", says: "lab/m1"),
        Failure(
            description: "another method", method: "GET", body: "", status: 405, type: "invalid_request_error",
            says: "POST"),
        Failure(
            description: "no such route", path: "/v1/messages/batches", body: "{}", status: 404,
            type: "not_found_error", says: "count_tokens"),
        Failure(
            description: "too large for its route", path: "/v1/messages/batches",
            body: String(repeating: "x", count: Limits.coldBodyBytes + 1), status: 413, type: "request_too_large",
            says: "larger"),
        Failure(
            description: "no messages", body: #"{"model":"lab/m1"}"#, status: 400, type: "invalid_request_error",
            says: "messages"),
        Failure(
            description: "models, for a program of this API", method: "GET", path: "/v1/models/none", body: "",
            status: 404, type: "not_found_error", says: "none"),
    ]

    @Test func everyFailureIsOneOfTheAPIs() async throws {
        try await Shop.open { shop in
            for failure in Self.failures {
                let buyer = Buyer(port: shop.node.buyerPort, key: failure.key ?? shop.buyer.key)
                let reply = try await buyer.call(
                    failure.method, failure.path, headers: ["anthropic-version: 2023-06-01"], body: failure.body)
                #expect(reply.status == failure.status, "\(failure): \(reply.text)")
                #expect(reply.document?["type"]?.text == "error", "\(failure)")
                #expect(reply.document?["error"]?["type"]?.text == failure.type, "\(failure): \(reply.text)")
                #expect(reply.errorMessage.contains(failure.says), "\(failure): \(reply.errorMessage)")
                #expect(reply.document?["request_id"]?.text == reply["x-request-id"])
                #expect(reply["request-id"] == reply["x-request-id"], "\(failure)")
                #expect(reply["x-should-retry"] == "false", "\(failure)")
            }
        }
    }

    @Test func whatAWorkerRefusesIsToldInTheWordsOfTheAPI() async throws {
        try await Shop.open { shop in
            let rows: [(status: Int, said: String, told: Int, type: String, words: String, again: String)] = [
                (
                    400,
                    "This model's maximum context length is 10 tokens. However, your request has 12 input tokens.", 400,
                    "invalid_request_error", "prompt is too long: 12 tokens > 10 maximum", "false"
                ),
                (422, "temperature is odd", 422, "invalid_request_error", "temperature is odd", "false"),
                (429, "slow down", 429, "rate_limit_error", "slow down", "true"),
                (500, "broken", 500, "api_error", "broken", "true"),
            ]
            for row in rows {
                let connection = try await Self.start(
                    shop, #"{"model":"lab/m1","messages":[{"role":"user","content":"hi"}]}"#)
                defer { connection.close() }
                shop.worker.answer(
                    try await shop.worker.request("chat.completions"),
                    payload: #"{"status_code":\#(row.status),"body":{"error":{"message":"\#(row.said)","type":"x"}}}"#)
                let reply = try await connection.reply()
                #expect(reply.status == row.told, "\(row): \(reply.text)")
                #expect(reply.document?["error"]?["type"]?.text == row.type, "\(row): \(reply.text)")
                #expect(reply.errorMessage.hasPrefix(row.words), "\(row): \(reply.text)")
                #expect(reply["x-should-retry"] == row.again, "\(row)")
            }
        }
    }

    /// What broke off before the buyer had any of it is a failure with a status, and costs nothing.
    @Test func anAnswerThatBreaksOffWhileItIsHeldCostsNothing() async throws {
        try await Shop.open { shop in
            let connection = try await Self.start(
                shop, #"{"model":"lab/m1","messages":[{"role":"user","content":"hi"}]}"#)
            defer { connection.close() }
            let request = try await shop.worker.request("chat.completions")
            shop.worker.say(
                #"{"request_id":"\#(request.id)","event":"start","payload":{"status_code":200,"content_type":"application/json"}}"#
            )
            shop.worker.chunk(request, #"{"choices":[{"index":0,"message":{"content":"half"#)
            shop.worker.connection.close()
            let reply = try await connection.reply()
            #expect(reply.status >= 500 && reply.document?["type"]?.text == "error", "\(reply.text)")
            let usage = try await shop.buyer.call("GET", "/v1/usage?by=model")
            let served = usage.document?["data"]?.elements?.compactMap { $0["served"]?.integer }.reduce(0, +)
            #expect(served == 0, "\(usage.text)")
        }
    }

    /// Nothing came that could be paid for: programs are told, and are not to pay for it again.
    @Test func anEmptyTurnIsAFailure() async throws {
        try await Shop.open { shop in
            let connection = try await Self.start(
                shop, #"{"model":"lab/m1","messages":[{"role":"user","content":"hi"}]}"#)
            defer { connection.close() }
            shop.worker.answer(
                try await shop.worker.request("chat.completions"),
                payload: #"{"choices":[{"index":0,"message":{"content":""},"finish_reason":"stop"}]}"#)
            let reply = try await connection.reply()
            #expect(reply.status == 502 && reply.document?["error"]?["type"]?.text == "api_error", "\(reply.text)")
            #expect(reply["x-should-retry"] == "false")
        }
    }

    @Test func tokensAreCountedHere() async throws {
        try await Shop.open { shop in
            let body = #"{"model":"lab/m1","system":"Be brief","messages":[{"role":"user","content":"one two three"}]}"#
            let reply = try await shop.buyer.call("POST", "/v1/messages/count_tokens", body: body)
            #expect(reply.status == 200, "\(reply.text)")
            #expect((5...20).contains(reply.document?["input_tokens"]?.integer ?? 0), "\(reply.text)")
            #expect(reply.document?["aisbf"]?["is_estimated"]?.flag == true)
            let unknown = try await shop.buyer.call(
                "POST", "/v1/messages/count_tokens", body: body.replacing("lab/m1", with: "lab/m9"))
            #expect(unknown.status == 404 && unknown.document?["type"]?.text == "error")
        }
    }

    /// However the worker is found: by a rotation, a policy or an alias.
    @Test(arguments: [false, true]) func rotationsAndPoliciesChooseLikewise(passes: Bool) async throws {
        try await Shop.open(capabilities: #"{"openai_compat":{"messages":\#(passes)}}"#) { shop in
            _ = try await shop.node.administer("POST", "rotations", #"{"name":"one","members":["lab/m1"]}"#)
            for name in ["rotation/one", "auto:cheap", "claude/one", "claude/auto"] {
                let connection = try await Self.start(
                    shop, #"{"model":"\#(name)","messages":[{"role":"user","content":"hi"}]}"#)
                defer { connection.close() }
                let request = try await shop.worker.request(passes ? "proxy" : "chat.completions")
                let model = passes ? request["payload"]?["body"]?["model"] : request["payload"]?["model"]
                #expect(model?.text == "m1", "\(name)")
                shop.worker.answer(
                    request,
                    payload: passes
                        ? #"{"status_code":200,"body":{"type":"message","content":[]}}"#
                        : #"{"choices":[{"index":0,"message":{"content":"ho"},"finish_reason":"stop"}]}"#)
                let reply = try await connection.reply()
                #expect(reply.status == 200 && reply.document?["type"]?.text == "message", "\(name): \(reply.text)")
                #expect((reply["aisbf-translation"] == nil) == passes, "\(name)")
            }
        }
    }

    @Test(arguments: [false, true]) func explainSaysWhatBecomesOfIt(passes: Bool) async throws {
        try await Shop.open(capabilities: #"{"openai_compat":{"messages":\#(passes)}}"#) { shop in
            let reply = try await shop.buyer.call(
                "POST", "/v1/route/explain?endpoint=messages",
                body: #"{"model":"lab/m1","top_k":3,"messages":[{"role":"user","content":"hi"}]}"#)
            #expect(reply.document?["endpoint"]?.text == "/v1/messages", "\(reply.text)")
            #expect(
                reply.document?["served_as"]?.text == (passes ? "/v1/messages" : "/v1/chat/completions"),
                "\(reply.text)")
            #expect(reply.document?["warnings"] == (passes ? [] : ["top_k"]))
            #expect(reply.document?["winner"]?["model"]?.text == "m1")
        }
    }
}
