import MeshModel
import MeshWire
import Testing

/// Chat streams at a node, to the letter of what programs take.
@Suite(.serialized, .nodeLog) struct ChatStreamTests {
    private static func stream(_ shop: Shop, _ more: String, _ chunks: [String]) async throws -> Reply {
        let connection = try await shop.buyer.start(
            #"{"model":"lab/m1","stream":true\#(more),"messages":[{"role":"user","content":"hi"}]}"#)
        defer { connection.close() }
        let request = try await shop.worker.request("chat.completions")
        for chunk in chunks { shop.worker.chunk(request, "data: \(chunk)\n\n") }
        shop.worker.done(request)
        return try await connection.reply()
    }

    @Test func whatAWorkerLeavesOutIsPutIn() async throws {
        try await Shop.open { shop in
            let end = #"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#
            let plain = try await Self.stream(
                shop, "", [#"{"choices":[{"index":0,"delta":{"content":"a"}}]}"#, end, "[DONE]"])
            #expect(
                plain.text
                    == #"data: {"choices":[{"index":0,"delta":{"role":"assistant","content":"a"}}]}"#
                    + "\n\ndata: \(end)\n\ndata: [DONE]\n\n")
            let calls = try await Self.stream(
                shop, #","tools":[]"#,
                [
                    #"{"choices":[{"index":0,"delta":{"role":"assistant","tool_calls":[{"id":"a","function":{"name":"f","arguments":"{}"}}]}}]}"#,
                    #"{"choices":[{"index":0,"delta":{"tool_calls":[{"id":"b","function":{"name":"g","arguments":"{}"}}]}}]}"#,
                    end, "[DONE]",
                ])
            #expect(calls.text.contains(#"{"index":0,"type":"function","id":"a""#), "\(calls.text)")
            #expect(calls.text.contains(#"{"index":1,"type":"function","id":"b""#), "\(calls.text)")
            // What lacks nothing passes as it was written.
            let whole = [
                #"{"choices": [ {"index":0,"delta":{"role":"assistant","content":""}}]}"#,
                #"{"choices": [ {"index":0,"delta":{"content":"a"}}]}"#, end,
            ]
            let passed = try await Self.stream(shop, #","tools":[]"#, whole + ["[DONE]"])
            #expect(passed.text == (whole + ["[DONE]"]).map { "data: \($0)\n\n" }.joined())
        }
    }

    @Test func whoAsksForUsageIsToldIt() async throws {
        try await Shop.open { shop in
            let asked = #","stream_options":{"include_usage":true}"#
            let end =
                #"{"id":"c1","choices":[{"index":0,"delta":{"role":"assistant","content":"one two"},"finish_reason":"stop"}]}"#
            let counted = try await Self.stream(shop, asked, [end, "[DONE]"])
            let events = counted.text.split(separator: "\n\n").map { $0.dropFirst(6) }
            let usage = try JSONValue.parse(Array(try #require(events.dropLast().last).utf8))
            #expect(usage["choices"] == [] && usage["aisbf"]?["is_estimated"]?.flag == true, "\(counted.text)")
            #expect(usage["id"]?.text == "c1" && usage["usage"]?["completion_tokens"]?.integer == 2, "\(counted.text)")
            let told = #"{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":6}}"#
            let own = try await Self.stream(shop, asked, [end, told, "[DONE]"])
            #expect(own.text.ranges(of: "\"usage\"").count == 1, "\(own.text)")
            let silent = try await Self.stream(shop, "", [end, "[DONE]"])
            #expect(!silent.text.contains("usage"), "\(silent.text)")
        }
    }
}
