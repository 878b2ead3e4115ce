import MeshNode
import MeshWire
import Testing

/// Text completions, and other answers of models that are one document: of a worker at this node, of an upstream of its own, and
/// of one at another node.
@Suite(.serialized, .nodeLog) struct CompletionsTests {
    private struct Side: Sendable {
        var place: String
        var provider: String
        var node: TestNode
        var buyer: Buyer

        func post(_ route: String, _ more: String = "") async throws -> Reply {
            try await buyer.call(
                "POST", "/v1/\(route)", headers: ["content-type: application/json"],
                body: #"{"model":"\#(provider)/m"\#(more)}"#)
        }

        /// The documents of a stream; that of its end is a text.
        func stream(_ more: String) async throws -> [JSONValue] {
            let reply = try await post("completions", #","prompt":"\#(more)","stream":true"#)
            #expect(reply.status == 200 && reply["content-type"]?.hasPrefix("text/event-stream") == true)
            return reply.text.split(separator: "\n\n").map { event in
                let data = event.split(separator: "\n").last?.dropFirst("data: ".count) ?? ""
                return (try? JSONValue.parse(Array(data.utf8))) ?? .string(String(data))
            }
        }
    }

    private static let endpoints = ["v1/completions", "v1/embeddings", "v1/moderations", "v1/rerank"]

    private static func open(_ body: @escaping @Sendable (_ sides: [Side]) async throws -> Void) async throws {
        let backend = ScriptedBackend(models: ["m"]) { request in
            Self.play(request.document?["prompt"]?.text ?? request.document?["input"]?.text ?? "")
        }
        let southern = try await PreparedNode("south")
        try await withNode("north", allow: [southern.summary.nodeID], firstContentMs: 5_000) { north in
            let peer = "\(north.nodeID)@127.0.0.1:\(north.linkPort)"
            try await withNode("south", prepared: southern, peers: [peer], firstContentMs: 5_000) { south in
                try await backend.run { port in
                    try await north.upstream(port: port, endpoints: endpoints)
                    let token = try await north.provider("den")
                    try await withAgent(
                        at: north, provider: "den", token: token, backendPort: port, endpoints: endpoints
                    ) {
                        var sides: [Side] = []
                        for (node, provider) in [(north, "lab"), (north, "den"), (south, "lab"), (south, "den")] {
                            if provider == "lab" { try await node.user("bob") }
                            let buyer = try await node.key(of: "bob")
                            try await node.offers("\(provider)/m", to: buyer)
                            sides.append(
                                Side(place: "\(node.nodeID)/\(provider)", provider: provider, node: node, buyer: buyer))
                        }
                        try await body(sides)
                    }
                }
            }
        }
    }

    private static func events(_ chunks: [String], ends: Bool = true) -> [ScriptedBackend.Step] {
        let text = chunks.map { "data: \($0)\n\n" }.joined() + (ends ? ScriptedBackend.done : "")
        return [ScriptedBackend.chunked(), ScriptedBackend.chunk(text), ScriptedBackend.lastChunk]
    }

    private static let word = #"{"id":"cmpl-1","object":"text_completion","choices":[{"text":"one two"}]}"#

    private static func play(_ named: String) -> [ScriptedBackend.Step] {
        switch named {
        case "odd":
            return events([
                word, "waiting",
                #"{"choices":[{"index":0,"text":" three","finish_reason":"stop"}]}"#,
                #"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}"#,
                #"{"choices":[{"index":0,"text":null,"finish_reason":"length"}]}"#,
            ])
        case "silent": return events([word])
        case "cut": return events([word], ends: false)
        case "broken": return events([word, #"{"error":{"message":"out of memory"}}"#])
        case "unasked": return events([word])
        case "empty": return ScriptedBackend.whole("")
        case "page": return ScriptedBackend.whole("<!doctype html><html></html>", type: "text/html")
        case "detail": return ScriptedBackend.whole(#"{"detail":"no such thing"}"#)
        case "refused": return ScriptedBackend.whole(#"{"detail":"too hot"}"#, status: 422)
        default:
            return ScriptedBackend.whole(#"{"id":"cmpl-2","choices":[{"index":0,"text":"hello there"}],"odd":1.50}"#)
        }
    }

    @Test func streamsAreToTheLetter() async throws {
        try await Self.open { sides in
            for side in sides {
                let odd = try await side.stream("odd")
                #expect(odd.map { $0["choices"]?.elements?.count } == [1, 1, 0, nil], "\(side.place): \(odd)")
                #expect(odd.last == "[DONE]")
                let choices = odd.compactMap { $0["choices"]?.elements?.first }
                #expect(choices.allSatisfy { $0["index"] == 0 && $0["text"]?.text != nil }, "\(odd)")
                #expect(choices.map { $0["finish_reason"]?.text } == [nil, "stop"], "\(odd)")
                // Who asks is told; who does not is not.
                let silent = try await side.stream(#"silent","stream_options":{"include_usage":true},"x":""#)
                let usage = silent.dropLast().last
                #expect(usage?["object"]?.text == "text_completion" && usage?["choices"] == [], "\(silent)")
                #expect(
                    usage?["usage"]?["completion_tokens"]?.integer == 2 && usage?["id"]?.text == "cmpl-1", "\(silent)")
                #expect(silent.dropLast(2).last?["choices"]?.elements?.first?["finish_reason"] == "stop", "\(silent)")
                let quiet = try await side.stream("silent")
                #expect(quiet.allSatisfy { $0["usage"] == nil } && quiet.last == "[DONE]", "\(quiet)")

                for (name, words) in [("cut", "broke off"), ("broken", "out of memory")] {
                    let failed = try await side.stream(name)
                    #expect(failed.first?["choices"]?.elements?.first?["text"]?.text == "one two", "\(failed)")
                    #expect(
                        failed.last?["error"]?["message"]?.text?.contains(words) == true, "\(side.place): \(failed)")
                }
            }
        }
    }

    @Test func aDocumentIsWhatWasAskedFor() async throws {
        try await Self.open { sides in
            for side in sides {
                let plain = try await side.post("completions", #","prompt":"x""#)
                #expect(plain.text.hasSuffix(#""odd":1.50}"#) && plain.status == 200, "\(plain.text)")
                for route in ["completions", "embeddings", "moderations", "rerank"] {
                    for name in ["unasked", "empty", "page", "detail"] {
                        let reply = try await side.post(route, #","prompt":"\#(name)","input":"\#(name)""#)
                        let error = reply.document?["error"]
                        #expect(
                            reply.status == 502 && error?["message"]?.text != nil && error?["code"]?.text != nil,
                            "\(side.place) \(route) \(name): \(reply.status) \(reply.text)")
                        #expect(reply["x-should-retry"] != nil, "\(route) \(name)")
                    }
                    let refused = try await side.post(route, #","prompt":"refused","input":"refused""#)
                    #expect(
                        refused.status == 422
                            && refused.document?["error"]?["message"]?.text?.contains("too hot") == true,
                        "\(side.place) \(route): \(refused.status) \(refused.text)")
                    #expect(refused["x-should-retry"] == "false")
                }
            }
        }
    }

    /// Of what nobody told and nobody asked for.
    @Test func everyRequestIsMetered() async throws {
        try await Self.open { sides in
            let side = sides[0]
            _ = try await side.post("completions", #","prompt":"one two three""#)
            _ = try await side.stream("silent")
            _ = try await side.stream("odd")
            let used = try await side.buyer.call("GET", "/v1/usage?by=model").document
            let line = try #require(used?["data"]?.elements?.first { $0["model"] == "m" })
            #expect(line["served"] == 3 && line["estimated_requests"] == 2, "\(line)")
            #expect((6...10).contains(line["output_tokens"]?.integer ?? 0), "\(line)")
            #expect((6...14).contains(line["input_tokens"]?.integer ?? 0), "\(line)")
        }
    }
}
