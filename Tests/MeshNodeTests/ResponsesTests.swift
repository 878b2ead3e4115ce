import MeshModel
import MeshWire
import Testing

/// OpenAI's Responses at a node: passed on to whoever offers them, a chat for everybody else.
@Suite(.serialized, .nodeLog) struct ResponsesTests {
    private static let path = "/v1/responses"

    private static func start(
        _ shop: Shop, _ body: String, path: String = path, headers: [String] = []
    ) async throws -> RawConnection {
        let connection = try await RawConnection.open(port: shop.node.buyerPort)
        connection.request("POST", path, key: shop.buyer.key, headers: headers, body: Array(body.utf8))
        return connection
    }

    /// As the Codex CLI asks: streamed, everything in `input`, tools of a namespace and a free-form one.
    private static func codex(_ input: String) -> String {
        #"{"model":"lab/m1","instructions":"You are a coding agent.","input":[{"type":"message","role":"developer","content":[{"type":"input_text","text":"sandbox"}]},{"type":"message","role":"user","content":[{"type":"input_text","text":"echo hi"}]}\#(input)],"tools":[{"type":"function","name":"shell","description":"Runs","strict":false,"parameters":{"type":"object","properties":{"command":{"type":"array","items":{"type":"string"}}},"required":["command"]}},{"type":"custom","name":"apply_patch","description":"Edits","format":{"type":"grammar","syntax":"lark","definition":"start: x"}},{"type":"namespace","name":"mcp__rmcp","description":"","tools":[{"type":"function","name":"echo","strict":false,"parameters":{"type":"object"}}]},{"type":"web_search"}],"tool_choice":"auto","parallel_tool_calls":false,"reasoning":{"effort":"medium","summary":"auto"},"store":false,"stream":true,"include":["reasoning.encrypted_content"],"prompt_cache_key":"0197","text":{"verbosity":"low"},"client_metadata":{"x":"y"}}"#
    }

    private static func events(_ reply: Reply) throws -> [JSONValue] {
        try reply.text.split(separator: "\n").filter { $0.hasPrefix("data: ") }.map {
            try JSONValue.parse(Array($0.dropFirst(6).utf8))
        }
    }

    @Test func codexIsServedByAWorkerOfChats() async throws {
        try await Shop.open { shop in
            let first = try await Self.start(shop, Self.codex(""))
            defer { first.close() }
            let asked = try await shop.worker.request("chat.completions")
            let names = asked["payload"]?["tools"]?.elements?.map { $0["function"]?["name"]?.text }
            #expect(names == ["shell", "apply_patch", "mcp__rmcp__echo"])
            #expect(
                asked["payload"]?["messages"]?.elements?.first?["content"]?.text == "You are a coding agent.\n\nsandbox"
            )
            shop.worker.chunk(asked, #"data: {"choices":[{"index":0,"delta":{"reasoning_content":"hm"}}]}"# + "\n\n")
            for (id, name, arguments) in [
                ("a", "mcp__rmcp__echo", #"{\"m\":1}"#), ("b", "apply_patch", #"{\"input\":\"*** x\"}"#),
            ] {
                shop.worker.chunk(
                    asked,
                    #"data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":\#(id == "a" ? 0 : 1),"id":"\#(id)","type":"function","function":{"name":"\#(name)","arguments":"\#(arguments)"}}]}}]}"#
                        + "\n\n")
            }
            shop.worker.chunk(
                asked,
                #"data: {"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"# + "\n\n"
                    + #"data: {"choices":[],"usage":{"prompt_tokens":40,"completion_tokens":9}}"#
                    + "\n\ndata: [DONE]\n\n")
            shop.worker.done(asked)
            let reply = try await first.reply()
            #expect(reply.status == 200 && reply["content-type"] == "text/event-stream", "\(reply.text)")
            #expect(reply["aisbf-translation"] == "responses; chat/completions")
            #expect(reply["aisbf-warnings"] == "tools, reasoning.effort, text.verbosity")
            let events = try Self.events(reply)
            #expect(events.map { $0["sequence_number"]?.integer } == (0..<Int64(events.count)).map { $0 })
            #expect(events.first?["type"]?.text == "response.created" && !reply.text.contains("[DONE]"))
            let items = events.filter { $0["type"]?.text == "response.output_item.done" }.compactMap { $0["item"] }
            #expect(items.map { $0["type"]?.text } == ["reasoning", "function_call", "custom_tool_call"])
            #expect(items[1]["namespace"]?.text == "mcp__rmcp" && items[1]["name"]?.text == "echo")
            #expect(items[2]["input"]?.text == "*** x" && items[2]["call_id"]?.text == "b")
            let last = events.last?["response"]
            #expect(last?["status"]?.text == "completed" && last?["output"] == .array(items))
            #expect(last?["usage"]?["input_tokens"]?.integer == 40 && last?["store"]?.flag == false)

            // What came out goes in again, with what the tools said.
            let history = items.map { "," + String(decoding: $0.bytes, as: UTF8.self) }.joined()
            let outputs =
                #",{"type":"function_call_output","call_id":"a","output":"one"},{"type":"custom_tool_call_output","call_id":"b","output":"two"}"#
            let second = try await Self.start(shop, Self.codex(history + outputs))
            defer { second.close() }
            let again = try await shop.worker.request("chat.completions")
            let messages = again["payload"]?["messages"]?.elements ?? []
            #expect(messages.map { $0["role"]?.text } == ["system", "user", "assistant", "tool", "tool"])
            #expect(messages[2]["reasoning_content"]?.text == "hm")
            let calls = messages[2]["tool_calls"]?.elements
            #expect(calls?.map { $0["function"]?["name"]?.text } == ["mcp__rmcp__echo", "apply_patch"])
            #expect(messages[3] == ["role": "tool", "tool_call_id": "a", "content": "one"])
            shop.worker.chunk(
                again,
                #"data: {"choices":[{"index":0,"delta":{"content":"done"},"finish_reason":"stop"}]}"#
                    + "\n\ndata: [DONE]\n\n")
            shop.worker.done(again)
            #expect(try Self.events(try await second.reply()).last?["response"]?["status"]?.text == "completed")
        }
    }

    @Test func aWholeAnswerIsAResponse() async throws {
        try await Shop.open { shop in
            let connection = try await Self.start(
                shop, #"{"model":"lab/m1","input":"hi","store":true,"top_logprobs":2}"#, path: "/api/v1/responses")
            defer { connection.close() }
            let request = try await shop.worker.request("chat.completions")
            #expect(request["payload"] == ["model": "m1", "messages": [["role": "user", "content": "hi"]]])
            shop.worker.answer(
                request,
                payload:
                    #"{"choices":[{"index":0,"message":{"role":"assistant","content":"ho"},"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":2}}"#
            )
            let reply = try await connection.reply()
            #expect(reply.status == 200 && reply["content-type"] == "application/json", "\(reply.text)")
            #expect(reply["aisbf-warnings"] == "store, top_logprobs")
            #expect(reply.document?["object"]?.text == "response" && reply.document?["model"]?.text == "lab/m1")
            #expect(reply.document?["output"]?.elements?.first?["content"]?.elements?.first?["text"]?.text == "ho")
            let record = try await eventually("the record of the request") {
                let found = try await shop.buyer.call("GET", "/v1/generation?id=\(reply["x-request-id"] ?? "")")
                return found.status == 200 ? found.document?["data"] : nil
            }
            #expect(record["tokens_prompt"]?.integer == 7 && record["tokens_completion"]?.integer == 2)
        }
    }

    @Test func whoOffersTheAPIGetsItByteForByte() async throws {
        try await Shop.open(capabilities: #"{"openai_compat":{"responses":true}}"#) { shop in
            let kept = #"{"type":"reasoning","encrypted_content":"gAAAA"}"#
            let ours = #"{"type":"reasoning","encrypted_content":"aisbf-thought-1.c.bTE="}"#
            let connection = try await Self.start(
                shop, #"{"model":"lab/m1","new":[1.0],"input":[\#(ours),\#(kept)],"stream":true}"#)
            defer { connection.close() }
            let request = try await shop.worker.request("proxy")
            #expect(request["payload"]?["endpoint_path"]?.text == "/v1/responses")
            let sent = try JSONValue.parse(Array(#"{"model":"m1","new":[1.0],"input":[\#(kept)],"stream":true}"#.utf8))
            #expect(request["payload"]?["body"] == sent)
            let text = [
                #"{"type":"response.created","sequence_number":0,"response":{"id":"r"}}"#,
                #"{"type":"response.output_text.delta","sequence_number":1,"delta":"x"}"#,
                #"{"type":"response.completed","sequence_number":2,"response":{"usage":{"input_tokens":4,"output_tokens":3}}}"#,
            ].map { "event: e\ndata: \($0)\n\n" }.joined()
            shop.worker.chunk(request, text)
            shop.worker.done(request)
            let reply = try await connection.reply()
            #expect(reply.status == 200 && reply.text == text && reply["aisbf-translation"] == nil, "\(reply.text)")
        }
    }

    /// The number that is next stands in the last event, whoever wrote those before it.
    @Test(arguments: [false, true]) func aStreamThatBreaksOffCountsOn(passes: Bool) async throws {
        try await Shop.open(capabilities: #"{"openai_compat":{"responses":\#(passes)}}"#) { shop in
            let connection = try await Self.start(shop, #"{"model":"lab/m1","input":"hi","stream":true}"#)
            defer { connection.close() }
            let request = try await shop.worker.request(passes ? "proxy" : "chat.completions")
            shop.worker.chunk(
                request,
                passes
                    ? "event: e\ndata: {\"type\":\"response.output_text.delta\",\"sequence_number\":6,\"delta\":\"x\"}\n\n"
                    : #"data: {"choices":[{"index":0,"delta":{"content":"x"}}]}"# + "\n\n")
            try await eventually("a piece of it came") {
                String(decoding: connection.pending, as: UTF8.self).contains("delta")
            }
            shop.worker.connection.close()
            let last = try #require(try Self.events(try await connection.reply()).last)
            #expect(last["type"]?.text == "response.failed", "\(last)")
            #expect(last["sequence_number"]?.integer == (passes ? 7 : 5))
            #expect(last["response"]?["error"]?["code"]?.text != nil && last["response"]?["id"]?.text != nil)
        }
    }

    struct Failure: Sendable, CustomStringConvertible {
        var description: String
        var method = "POST"
        var path = ResponsesTests.path
        var body: String
        var status: Int
        var code: String
        var parameter: String?
    }

    private static let failures: [Failure] = [
        Failure(
            description: "an earlier response",
            body: #"{"model":"lab/m1","input":"x","previous_response_id":"resp_1"}"#,
            status: 400, code: "previous_response_not_found", parameter: "previous_response_id"),
        Failure(
            description: "in the background", body: #"{"model":"lab/m1","input":"x","background":true}"#, status: 400,
            code: "invalid_request", parameter: "background"),
        Failure(
            description: "no such model", body: #"{"model":"lab/m9","input":"x"}"#, status: 404,
            code: "model_not_found", parameter: "model"),
        Failure(
            description: "no input", body: #"{"model":"lab/m1"}"#, status: 400, code: "invalid_request",
            parameter: "input"),
        Failure(description: "another method", method: "GET", body: "", status: 405, code: "method_not_allowed"),
    ]

    /// Whoever may answer: what is kept nowhere is refused where the API passes, too.
    @Test(arguments: [false, true]) func everyFailureHasItsCode(passes: Bool) async throws {
        try await Shop.open(capabilities: #"{"openai_compat":{"responses":\#(passes)}}"#) { shop in
            for failure in Self.failures where !passes || failure.description != "no input" {
                let reply = try await shop.buyer.call(failure.method, failure.path, body: failure.body)
                #expect(reply.status == failure.status, "\(failure): \(reply.text)")
                #expect(reply.errorCode == failure.code, "\(failure): \(reply.text)")
                if let parameter = failure.parameter {
                    #expect(reply.document?["error"]?["param"]?.text == parameter, "\(failure)")
                }
                #expect(reply["x-should-retry"] == "false", "\(failure)")
            }
        }
    }

    /// A model is named once in a conversation, by its owner.
    @Test func aConversationKeepsItsModel() async throws {
        try await Shop.open { shop in
            func ask(_ members: String) async throws -> Reply {
                let asking = try await Self.start(shop, "{\(members)}")
                defer { asking.close() }
                let asked = try await shop.worker.request("chat.completions")
                shop.worker.answer(
                    asked, payload: #"{"choices":[{"index":0,"finish_reason":"stop","message":{"content":"ok"}}]}"#)
                return try await asking.reply()
            }
            let early = try await shop.buyer.call("POST", Self.path, body: #"{"input":"x","prompt_cache_key":"k"}"#)
            #expect(early.status == 400 && early.document?["error"]?["param"]?.text == "model", "\(early.text)")
            #expect(try await ask(#""model":"lab/m1","input":"x","prompt_cache_key":"k""#).status == 200)
            let next = try await ask(#""input":"y","prompt_cache_key":"k""#)
            #expect(next.status == 200 && next.document?["model"]?.text == "lab/m1", "\(next.text)")
            let other = try await shop.buyer.call("POST", Self.path, body: #"{"input":"x","prompt_cache_key":"l"}"#)
            #expect(other.status == 400)
        }
    }

    /// Where nobody names a model it is the conversation's, else the key's, of each API.
    @Test func aKeyMayHaveADefaultModel() async throws {
        try await Shop.open { shop in
            let made = try await shop.node.administer(
                "POST", "keys", #"{"username":"bob","default_model":"lab/m1"}"#)
            #expect(made["default_model"] == "lab/m1")
            let buyer = Buyer(port: shop.node.buyerPort, key: made["key"]?.text)
            let answer =
                #"{"choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"ok"}}]}"#
            for (path, body) in [
                ("/v1/chat/completions", #"{"messages":[]}"#),
                ("/v1/messages", #"{"max_tokens":9,"messages":[{"role":"user","content":"x"}]}"#),
                (Self.path, #"{"input":"x"}"#), (Self.path, #"{"input":"x","prompt_cache_key":"new"}"#),
            ] {
                let connection = try await RawConnection.open(port: shop.node.buyerPort)
                defer { connection.close() }
                connection.request("POST", path, key: buyer.key ?? "", body: Array(body.utf8))
                let asked = try await shop.worker.request("chat.completions")
                #expect(asked["payload"]?["model"] == "m1", "\(asked)")
                shop.worker.answer(asked, payload: answer)
                let reply = try await connection.reply()
                #expect(reply.status == 200, "\(path): \(reply.text)")
            }
            #expect(try await buyer.call("POST", "/v1/messages/count_tokens", body: #"{"messages":[]}"#).status == 200)
            // What names one is for that, and what other routes need is not a chat's model.
            let named = try await buyer.call("POST", Buyer.chat, body: #"{"model":"lab/none","messages":[]}"#)
            #expect(named.status == 404, "\(named.text)")
            #expect(try await buyer.call("POST", "/v1/embeddings", body: #"{"input":"x"}"#).status == 400)

            let id = made["key_id"]?.text ?? ""
            let other = try await shop.node.administer("PATCH", "keys/\(id)", #"{"default_model":"lab/none"}"#)
            #expect(other["default_model"] == "lab/none" && other["key"] == nil)
            #expect(try await buyer.call("POST", Buyer.chat, body: #"{"messages":[]}"#).status == 404)
            let turned = try await shop.node.administer("POST", "keys/\(id)/rotate", #"{"overlap_seconds":60}"#)
            #expect(turned["default_model"] == "lab/none")
            let none = try await shop.node.administer("PATCH", "keys/\(id)", #"{"default_model":null}"#)
            #expect(none["default_model"] == .null)
            let reply = try await buyer.call("POST", Buyer.chat, body: #"{"messages":[]}"#)
            #expect(reply.status == 400 && reply.document?["error"]?["param"]?.text == "model", "\(reply.text)")
            for wrong in [#"{}"#, #"{"default_model":""}"#, #"{"default_model":5}"#] {
                let refused = try await shop.node.admin.call("PATCH", "/api/admin/v1/keys/\(id)", body: wrong)
                #expect(refused.status == 400, "\(wrong): \(refused.text)")
            }
        }
    }

    @Test(arguments: ["GET", "DELETE"]) func noResponseIsKept(method: String) async throws {
        try await Shop.open { shop in
            let reply = try await shop.buyer.call(method, "/v1/responses/resp_1")
            #expect(reply.status == 404 && reply.errorCode == "not_found", "\(reply.text)")
            #expect(reply.errorMessage.contains("keeps no responses"))
        }
    }

    /// Programs go on with HTTP at 426: for a WebSocket of another version there is none.
    @Test func aWebSocketIsToldToUseHTTP() async throws {
        try await Shop.open { shop in
            for path in ["/v1/responses", "/responses", "/api/u/bob/responses"] {
                let connection = try await RawConnection.open(port: shop.node.buyerPort)
                defer { connection.close() }
                connection.request(
                    "GET", path, key: shop.buyer.key,
                    headers: [
                        "connection: Upgrade", "upgrade: websocket", "sec-websocket-version: 8",
                        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==", "openai-beta: responses_websockets=2026-02-06",
                    ], body: [])
                let reply = try await connection.reply()
                #expect(reply.status == 426, "\(path): \(reply.text)")
                #expect(reply["x-should-retry"] == "false" && reply.errorMessage.contains("POST"))
            }
        }
    }

    /// Some programs compress what they send.
    @Test func compressedBodiesAreTaken() async throws {
        try await Shop.open { shop in
            let bodies = [
                (
                    "gzip",
                    "H4sIAAAAAAACA6tWys1PSc1RslLKSUzSzzVU0lHKTS0uTkxPLVayiq5WKsrPSQVKlhanFgGlkvPzSlLzSoACGZlKtbG1ANHkhYU+AAAA"
                ),
                ("deflate", "eJyrVsrNT0nNUbJSyklM0s81VNJRyk0tLk5MTy1WsoquVirKz0kFSpYWpxYBpZLz80pS80qAAhmZSrWxtQB7UBRn"),
                (
                    "zstd",
                    "KLUv/SA+8QEAeyJtb2RlbCI6ImxhYi9tMSIsIm1lc3NhZ2VzIjpbeyJyb2xlIjoidXNlciIsImNvbnRlbnQiOiJoaSJ9XX0="
                ),
            ]
            for (encoding, text) in bodies {
                let connection = try await RawConnection.open(port: shop.node.buyerPort)
                defer { connection.close() }
                connection.request(
                    "POST", Buyer.chat, key: shop.buyer.key, headers: ["content-encoding: \(encoding)"],
                    body: try #require(Base64.bytes(Array(text.utf8))))
                let request = try await shop.worker.request("chat.completions")
                #expect(request["payload"] == ["model": "m1", "messages": [["role": "user", "content": "hi"]]])
                shop.worker.answer(
                    request, payload: #"{"choices":[{"message":{"content":"ho"},"finish_reason":"stop"}]}"#)
                #expect(try await connection.reply().status == 200)
            }
        }
    }

    @Test func tokensAreCountedHere() async throws {
        try await Shop.open { shop in
            let reply = try await shop.buyer.call(
                "POST", "/v1/responses/input_tokens", body: #"{"model":"lab/m1","input":"one two three"}"#)
            #expect(reply.status == 200 && reply.document?["object"]?.text == "response.input_tokens", "\(reply.text)")
            #expect((2...20).contains(reply.document?["input_tokens"]?.integer ?? 0), "\(reply.text)")
        }
    }

    @Test(arguments: [false, true]) func explainSaysWhatBecomesOfIt(passes: Bool) async throws {
        try await Shop.open(capabilities: #"{"openai_compat":{"responses":\#(passes)}}"#) { shop in
            let reply = try await shop.buyer.call(
                "POST", "/v1/route/explain?endpoint=responses", body: #"{"model":"lab/m1","input":"hi","store":true}"#)
            #expect(
                reply.document?["served_as"]?.text == (passes ? "/v1/responses" : "/v1/chat/completions"),
                "\(reply.text)")
            #expect(reply.document?["warnings"] == (passes ? [] : ["store"]))
            #expect(reply.document?["winner"]?["model"]?.text == "m1")
        }
    }
}
