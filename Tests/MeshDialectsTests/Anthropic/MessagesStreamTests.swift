import MeshDialects
import MeshModel
import MeshWire
import Testing

/// A chat's stream as the events of a message.
@Suite struct MessagesStreamTests {
    static let context = MessagesContext(
        model: "lab/m1", requestID: "req_0a", stopSequences: ["END"], promptTokens: 12)

    struct Row: Sendable, CustomStringConvertible {
        var description: String
        /// The deltas of the one choice; with `=` in front a whole chunk.
        var chunks: [String]
        /// What is told, in short.
        var told: [String]
    }

    static func chunk(_ text: String) -> [UInt8] {
        text.hasPrefix("=")
            ? Array("data: \(text.dropFirst())\n\n".utf8)
            : Array(#"data: {"id":"c","choices":[{"index":0,"delta":\#(text)}]}"#.utf8) + [10, 10]
    }

    static func finish(_ reason: String, more: String = "") -> String {
        #"={"choices":[{"index":0,"delta":{},"finish_reason":"\#(reason)"\#(more)}]}"#
    }

    static func call(_ index: Int?, id: String? = nil, name: String? = nil, _ arguments: String? = nil) -> String {
        var members: [String] = []
        if let index { members.append(#""index":\#(index)"#) }
        if let id { members.append(#""id":"\#(id)","type":"function""#) }
        let parts = [name.map { #""name":"\#($0)""# }, arguments.map { #""arguments":"\#($0)""# }].compactMap(\.self)
        members.append(#""function":{\#(parts.joined(separator: ","))}"#)
        return #"{"tool_calls":[{\#(members.joined(separator: ","))}]}"#
    }

    static let rows: [Row] = [
        Row(
            description: "text",
            chunks: [
                #"{"role":"assistant","content":""}"#, #"{"content":"He"}"#, #"{"content":"\"y\" \u00e4"}"#,
                finish("stop"),
            ],
            told: ["text 0", #"+text He"#, #"+text "y" ä"#, "stop 0", "end_turn"]),
        Row(
            description: "thinking, then text",
            chunks: [#"{"reasoning_content":"hm"}"#, #"{"reasoning":"so"}"#, #"{"content":"ok"}"#, finish("stop")],
            told: ["thinking 0", "+thinking hm", "+thinking so", "stop 0", "text 1", "+text ok", "stop 1", "end_turn"]),
        Row(
            description: "a name in pieces, one that repeats, and 'stop' for a call",
            chunks: [
                call(0, id: "a", name: "get_", ""), call(0, name: "time"), call(0, name: "get_time", #"{\"z\":"#),
                call(0, name: "get_time", "1}"), finish("stop"),
            ],
            told: ["tool 0 a get_time", #"+json {"z":"#, "+json 1}", "stop 0", "tool_use"]),
        Row(
            description: "two calls, one after the other",
            chunks: [
                #"{"content":"let me"}"#, call(0, id: "a", name: "f", "{}"), call(1, id: "b", name: "g", #"{\"a\":"#),
                call(1, "2}"), finish("tool_calls"),
            ],
            told: [
                "text 0", "+text let me", "stop 0", "tool 1 a f", "+json {}", "stop 1", "tool 2 b g", #"+json {"a":"#,
                "+json 2}", "stop 2", "tool_use",
            ]),
        Row(
            description: "calls whose pieces interleave",
            chunks: [
                call(0, id: "a", name: "f", #"{\"a\":"#), call(1, id: "b", name: "g", #"{\"b\":"#), call(0, "1}"),
                call(1, "2}"), finish("tool_calls"),
            ],
            told: [
                "tool 0 a f", #"+json {"a":"#, "+json 1}", "stop 0", "tool 1 b g", #"+json {"b":"#, "+json 2}",
                "stop 1",
                "tool_use",
            ]),
        Row(
            description: "calls of one number",
            chunks: [
                call(0, id: "a", name: "f", "{}"), call(0, id: "b", name: "g", #"{\"b\":"#), call(0, "2}"),
                finish("tool_calls"),
            ],
            told: [
                "tool 0 a f", "+json {}", "stop 0", "tool 1 b g", #"+json {"b":"#, "+json 2}", "stop 1", "tool_use",
            ]),
        Row(
            description: "calls without indices and without ids",
            chunks: [
                call(nil, id: "a", name: "f", "{}"), call(nil, id: "b", name: "g", "{}"), call(nil, name: "g", "{}"),
                finish("tool_calls"),
            ],
            told: ["tool 0 a f", "+json {}", "stop 0", "tool 1 b g", "+json {}", "stop 1", "tool_use"]),
        Row(
            description: "a call without an id or arguments, and two of one id",
            chunks: [
                call(0, name: "f"), call(1, id: "x", name: "g", "{}"), call(2, id: "x", name: "h", "{}"),
                finish("tool_calls"),
            ],
            told: [
                "tool 0 toolu_0a_0 f", "stop 0", "tool 1 x g", "+json {}", "stop 1", "tool 2 toolu_0a_2 h", "+json {}",
                "stop 2",
                "tool_use",
            ]),
        Row(
            description: "arguments as an object",
            chunks: [
                #"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":{"a":"\"b"}}}]}"#,
                finish("stop"),
            ],
            told: ["tool 0 a f", #"+json {"a":"\"b"}"#, "stop 0", "tool_use"]),
        Row(
            description: "text behind a call, whole and cut",
            chunks: [
                call(0, id: "a", name: "f", "{}"), #"{"content":"\n"}"#, #"{"content":"and"}"#,
                call(1, id: "b", name: "g", "{"),
                #"{"content":"late"}"#, call(1, "}"), finish("tool_calls"),
            ],
            told: [
                "tool 0 a f", "+json {}", "stop 0", "text 1", "+text and", "stop 1", "tool 2 b g", "+json {", "+json }",
                "stop 2", "text 3", "+text late", "stop 3", "tool_use",
            ]),
        Row(
            description: "what was met, and what was not asked for",
            chunks: [#"{"content":"x"}"#, finish("stop", more: #","stop_reason":"END""#)],
            told: ["text 0", "+text x", "stop 0", "stop_sequence END"]),
        Row(
            description: "too long", chunks: [call(0, id: "a", name: "f", "{"), finish("length")],
            told: ["tool 0 a f", "+json {", "stop 0", "max_tokens"]),
        Row(description: "nothing but length", chunks: [finish("length")], told: ["max_tokens"]),
        Row(description: "filtered", chunks: [finish("content_filter")], told: ["refusal"]),
        Row(
            description: "refused", chunks: [#"{"refusal":"no"}"#, finish("stop")],
            told: ["text 0", "+text no", "stop 0", "refusal"]),
        Row(
            description: "no reason", chunks: [#"{"content":"x"}"#], told: ["text 0", "+text x", "stop 0", "end_turn"]),
        Row(description: "an empty turn", chunks: [finish("stop")], told: ["error api_error"]),
        Row(
            description: "other choices, chunks that are none, comments",
            chunks: [
                #"={"choices":[{"index":1,"delta":{"content":"other"}}]}"#, #"={"object":"x"}"#, "=[1]", "=nothing",
                #"={"object":"chat.completion.chunk","choices":[],"aisbf":{"resumed":{}}}"#, #"{"content":"x"}"#,
            ],
            told: ["text 0", "+text x", "stop 0", "end_turn"]),
    ]

    static func translate(_ pieces: [[UInt8]], _ totals: AnswerTotals = AnswerTotals()) throws -> [UInt8] {
        var stream = MessagesStream(context)
        var output: [UInt8] = []
        for piece in pieces { output += try stream.append(piece) }
        return output + stream.finish(totals, outputTokens: 5)
    }

    /// What the events say, in short; checks on the way that they are what programs take.
    static func told(_ bytes: [UInt8]) throws -> [String] {
        var told: [String] = []
        var open: Int?
        var next = 0
        for block in String(decoding: bytes, as: UTF8.self).split(separator: "\n\n") {
            let lines = block.split(separator: "\n")
            let event = try JSONValue.parse(Array(try #require(lines.last).dropFirst(6).utf8))
            let type = try #require(event["type"]?.text)
            #expect(lines.count == 2 && lines[0] == "event: \(type)" && lines[1].hasPrefix("data: {"))
            let index = event["index"]?.integer.map(Int.init)
            switch type {
            case "message_start":
                #expect(told.isEmpty && event["message"]?["usage"]?["input_tokens"]?.integer != nil)
                #expect(event["message"]?["content"] == [] && event["message"]?["stop_reason"] == .null)
            case "ping": break
            case "content_block_start":
                #expect(open == nil && index == next)
                open = index
                let body = event["content_block"]
                let kind = body?["type"]?.text ?? ""
                told.append(
                    kind == "tool_use"
                        ? "tool \(next) \(body?["id"]?.text ?? "") \(body?["name"]?.text ?? "")" : "\(kind) \(next)")
            case "content_block_delta":
                #expect(index == open)
                let delta = event["delta"]
                let text = delta?["text"]?.text ?? delta?["thinking"]?.text ?? delta?["partial_json"]?.text ?? "?"
                let kind = delta?["type"]?.text?.split(separator: "_").first ?? ""
                told.append("+\(kind == "input" ? "json" : kind) \(text)")
            case "content_block_stop":
                #expect(index == open)
                told.append("stop \(next)")
                open = nil
                next += 1
            case "message_delta":
                #expect(open == nil && event["usage"]?["output_tokens"]?.integer != nil)
                let sequence = event["delta"]?["stop_sequence"]?.text.map { " \($0)" } ?? ""
                told.append((event["delta"]?["stop_reason"]?.text ?? "") + sequence)
            case "message_stop": #expect(open == nil)
            case "error": told.append("error \(event["error"]?["type"]?.text ?? "")")
            default: told.append("? \(type)")
            }
        }
        return told
    }

    @Test(arguments: rows) func everyStream(row: Row) throws {
        let output = try Self.translate(row.chunks.map(Self.chunk))
        let told = try Self.told(output)
        #expect(told == row.told, "\(told)")
    }

    /// Cut at any byte, and at all of them, it is the same.
    @Test(arguments: rows) func anyCutGivesTheSameEvents(row: Row) throws {
        let whole = row.chunks.flatMap(Self.chunk)
        let expected = try Self.translate([whole])
        #expect(try Self.translate(whole.map { [$0] }) == expected)
        for cut in 0...whole.count {
            #expect(try Self.translate([Array(whole[..<cut]), Array(whole[cut...])]) == expected, "\(cut)")
        }
        var dice = SeededGenerator(seed: 7)
        for _ in 0..<20 {
            var pieces: [[UInt8]] = []
            var rest = whole[...]
            while !rest.isEmpty {
                let length = Int.random(in: 1...17, using: &dice)
                pieces.append(Array(rest.prefix(length)))
                rest = rest.dropFirst(length)
            }
            #expect(try Self.translate(pieces) == expected)
        }
    }

    /// Byte for byte, as it goes out.
    @Test func aWholeStream() throws {
        let output = try Self.translate(
            [
                Self.chunk(#"{"content":"Hi"}"#), Self.chunk(Self.finish("stop")),
                Self.chunk(
                    #"={"choices":[],"usage":{"prompt_tokens":20,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":8}}}"#
                ),
                Array("data: [DONE]\n\n".utf8),
            ])
        #expect(
            String(decoding: output, as: UTF8.self) == """
                event: message_start
                data: {"type":"message_start","message":{"id":"msg_0a","type":"message","role":"assistant","model":"lab/m1","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":12,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":0}}}

                event: ping
                data: {"type":"ping"}

                event: content_block_start
                data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

                event: content_block_delta
                data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}

                event: content_block_stop
                data: {"type":"content_block_stop","index":0}

                event: message_delta
                data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"input_tokens":12,"cache_creation_input_tokens":0,"cache_read_input_tokens":8,"output_tokens":3}}

                event: message_stop
                data: {"type":"message_stop"}


                """)
    }

    @Test func whatNobodyTellsIsCountedHere() throws {
        var totals = AnswerTotals()
        totals.promptTokens = 40
        let chunks = [Self.chunk(#"{"content":"Hi"}"#), Self.chunk(Self.finish("stop"))]
        let text = String(decoding: try Self.translate(chunks, totals), as: UTF8.self)
        #expect(
            text.contains(
                #""usage":{"input_tokens":40,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":5}"#
            ))
    }

    @Test func whatWouldFillTheNodeEndsTheStream() throws {
        var stream = MessagesStream(Self.context)
        _ = try stream.append(Self.chunk(Self.call(0, id: "a", name: "f", "{")))
        let piece = String(repeating: "x", count: 100_000)
        #expect(throws: MeshError.self) {
            for _ in 0..<12 { _ = try stream.append(Self.chunk(Self.call(1, id: "b", name: "g", piece))) }
        }
        var many = MessagesStream(Self.context)
        #expect(throws: MeshError.self) {
            for number in 0...Limits.translatedCalls {
                _ = try many.append(Self.chunk(Self.call(number, id: "i\(number)", name: "f")))
            }
        }
        #expect(
            String(decoding: stream.failure(MeshError(.workerBadAnswer, "no")), as: UTF8.self).hasPrefix(
                "event: error\n"))
        #expect(stream.finish(AnswerTotals(), outputTokens: 0).isEmpty)
    }
}
