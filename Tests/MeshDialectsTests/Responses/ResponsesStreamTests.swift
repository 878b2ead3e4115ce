import MeshDialects
import MeshModel
import MeshWire
import Testing

/// A chat's stream as the events of a response.
@Suite struct ResponsesStreamTests {
    /// - Parameter request: members of a request beside its input.
    static func context(_ request: String = tools, served: String? = nil) throws -> ResponsesContext {
        let body = #"{"model":"lab/m1","input":"x",\#(request)}"#
        return ResponsesContext(
            model: "lab/m1", requestID: "req_0a", terms: try ResponsesRequest(Array(body.utf8)).terms,
            promptTokens: 12, servedModel: served, createdAt: 1_700_000_000)
    }

    static let tools =
        #""tools":[{"type":"custom","name":"patch"},{"type":"namespace","name":"mcp__n","tools":[{"type":"function","name":"g"}]}]"#

    /// What the same chunks tell here; the chunks are those of Messages, so that both APIs are held to the same cases.
    static let told: [String: [String]] = [
        "text": [
            "+message 0", #"text He"y" ä"#, "-message 0", "completed",
        ],
        "thinking, then text": [
            "+reasoning 0", "thought hmso", "-reasoning 0", "+message 1", "text ok", "-message 1", "completed",
        ],
        "calls whose pieces interleave": [
            "+function_call 0 a f", #"arguments {"a":1}"#, "-function_call 0", "+function_call 1 b g",
            #"arguments {"b":2}"#, "-function_call 1", "completed",
        ],
        "a call without an id or arguments, and two of one id": [
            "+function_call 0 call_0a_0 f", "-function_call 0", "+function_call 1 x g", "arguments {}",
            "-function_call 1", "+function_call 2 call_0a_2 h", "arguments {}", "-function_call 2", "completed",
        ],
        "too long": ["+function_call 0 a f", "arguments {", "-function_call 0", "incomplete"],
        "nothing but length": ["incomplete"], "filtered": ["incomplete"],
        "refused": ["+message 0", "refusal no", "-message 0", "completed"],
        "no reason": ["+message 0", "text x", "-message 0", "completed"],
        "an empty turn": ["failed worker_bad_answer"],
    ]

    static let own: [MessagesStreamTests.Row] = [
        MessagesStreamTests.Row(
            description: "a tool of a namespace and a free-form one",
            chunks: [
                MessagesStreamTests.call(0, id: "a", name: "mcp__n__g", "{}"),
                MessagesStreamTests.call(1, id: "b", name: "patch", #"{\"input\":\"*** \\\"x"#),
                MessagesStreamTests.call(1, #"\\\"\\n\"}"#), MessagesStreamTests.finish("tool_calls"),
            ],
            told: [
                "+function_call 0 a mcp__n.g", "arguments {}", "-function_call 0", "+custom_tool_call 1 b patch",
                "input *** \"x\"\n", "-custom_tool_call 1", "completed",
            ]),
        MessagesStreamTests.Row(
            description: "free text that is not wrapped",
            chunks: [MessagesStreamTests.call(0, id: "b", name: "patch", "plain"), MessagesStreamTests.finish("stop")],
            told: ["+custom_tool_call 0 b patch", "input plain", "-custom_tool_call 0", "completed"]),
        MessagesStreamTests.Row(
            description: "contents in parts", chunks: [#"{"content":[{"type":"text","text":"a"},{"type":"odd"}]}"#],
            told: ["+message 0", "text a", "-message 0", "completed"]),
    ]

    static func translate(_ pieces: [[UInt8]]) throws -> [UInt8] {
        var stream = ResponsesStream(try context())
        var output: [UInt8] = []
        for piece in pieces { output += try stream.append(piece) }
        return output + stream.finish(AnswerTotals(), outputTokens: 5)
    }

    static func documents(_ bytes: [UInt8]) throws -> [JSONValue] {
        try String(decoding: bytes, as: UTF8.self).split(separator: "\n\n").map { block in
            let lines = block.split(separator: "\n")
            let event = try JSONValue.parse(Array(try #require(lines.last).dropFirst(6).utf8))
            #expect(lines.count == 2 && lines[0] == "event: \(event["type"]?.text ?? "")")
            return event
        }
    }

    /// What the events say, in short; checks on the way that they are what the strictest program takes.
    static func told(_ bytes: [UInt8]) throws -> [String] {
        var reader = ResponsesReader()
        for event in try documents(bytes) { try reader.read(event) }
        return reader.told
    }

    @Test(arguments: MessagesStreamTests.rows + own) func everyStream(row: MessagesStreamTests.Row) throws {
        let told = try Self.told(try Self.translate(row.chunks.map(MessagesStreamTests.chunk)))
        let isOwn = Self.own.contains { $0.description == row.description }
        if let expected = isOwn ? row.told : Self.told[row.description] { #expect(told == expected, "\(told)") }
    }

    /// Cut at any byte, and at all of them, it is the same.
    @Test(arguments: MessagesStreamTests.rows + own) func anyCutGivesTheSameEvents(
        row: MessagesStreamTests.Row
    ) throws {
        let whole = row.chunks.flatMap(MessagesStreamTests.chunk)
        let expected = try Self.translate([whole])
        #expect(try Self.translate(whole.map { [$0] }) == expected)
        for cut in 0...whole.count {
            #expect(try Self.translate([Array(whole[..<cut]), Array(whole[cut...])]) == expected, "\(cut)")
        }
    }

    /// Byte for byte, as it goes out.
    @Test func aWholeStream() throws {
        var stream = ResponsesStream(try Self.context(#""metadata":{"a":"b"}"#))
        var output = try stream.append(MessagesStreamTests.chunk(#"{"content":"Hi"}"#))
        output += stream.keepAlive()
        output += try stream.append(MessagesStreamTests.chunk(MessagesStreamTests.finish("stop")))
        output += try stream.append(
            MessagesStreamTests.chunk(#"={"choices":[],"usage":{"prompt_tokens":20,"completion_tokens":3}}"#)
                + Array("data: [DONE]\n\n".utf8))
        output += stream.finish(AnswerTotals(), outputTokens: 5)
        let head =
            #""response":{"id":"resp_0a","object":"response","created_at":1700000000,"status":"in_progress","error":null,"incomplete_details":null,"model":"lab/m1","output":[],"#
        let terms =
            #""instructions":null,"max_output_tokens":null,"metadata":{"a":"b"},"parallel_tool_calls":true,"reasoning":{"effort":null,"summary":null},"safety_identifier":null,"temperature":1,"text":{"format":{"type":"text"}},"tool_choice":"auto","tools":[],"top_p":1,"truncation":"disabled","user":null,"background":false,"previous_response_id":null,"service_tier":"default","store":false,"#
        let item = #"{"id":"msg_0a_0","type":"message","status":"in_progress","role":"assistant","content":[]}"#
        let part = #"{"type":"output_text","text":"Hi","annotations":[],"logprobs":[]}"#
        let done = item.replacing("in_progress", with: "completed").replacing("[]", with: "[\(part)]")
        let place = #""item_id":"msg_0a_0","output_index":0,"content_index":0"#
        let usage =
            #""usage":{"input_tokens":20,"input_tokens_details":{"cached_tokens":0},"output_tokens":3,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":23}}"#
        let events = [
            ("response.created", #"\#(head)\#(terms)"usage":null}"#),
            ("response.in_progress", #"\#(head)\#(terms)"usage":null}"#),
            ("response.output_item.added", #""output_index":0,"item":\#(item)"#),
            ("response.content_part.added", #"\#(place),"part":\#(part.replacing("Hi", with: ""))"#),
            ("response.output_text.delta", #"\#(place),"delta":"Hi","logprobs":[]"#), ("keepalive", ""),
            ("response.output_text.done", #"\#(place),"text":"Hi","logprobs":[]"#),
            ("response.content_part.done", #"\#(place),"part":\#(part)"#),
            ("response.output_item.done", #""output_index":0,"item":\#(done)"#),
            (
                "response.completed",
                head.replacing("in_progress", with: "completed").replacing(
                    #""output":[]"#, with: #""output":[\#(done)]"#)
                    + terms + usage
            ),
        ]
        let expected = events.enumerated().map { number, event in
            "event: \(event.0)\ndata: {\"type\":\"\(event.0)\",\"sequence_number\":\(number)\(event.1.isEmpty ? "" : ",\(event.1)")}\n\n"
        }
        #expect(String(decoding: output, as: UTF8.self) == expected.joined())
    }

    /// A stream that breaks off ends with the number that is next, and with a code by which programs go.
    @Test(
        arguments: [
            (MeshError(.streamInterrupted, "cut"), "stream_interrupted", "cut"),
            (MeshError(.budgetExceeded, "empty"), "insufficient_quota", "empty"),
            (
                MeshError(.rateLimited, "slow", retryAfterSeconds: 7), "rate_limit_exceeded",
                "slow; please try again in 7s"
            ),
            (
                MeshError(.contextOverflow, "prompt is too long"), "context_length_exceeded",
                ContextOverflow("prompt is too long").message(in: .responses)
            ),
        ])
    func aStreamThatBreaksOff(error: MeshError, code: String, message: String) throws {
        var stream = ResponsesStream(try Self.context())
        let before = try stream.append(MessagesStreamTests.chunk(#"{"content":"Hi"}"#))
        let events = try Self.documents(before + stream.failure(error))
        #expect(events.map { $0["sequence_number"]?.integer } == (0..<Int64(events.count)).map { $0 })
        let last = try #require(events.last)
        #expect(last["type"]?.text == "response.failed" && last["response"]?["status"]?.text == "failed")
        #expect(last["response"]?["error"] == ["code": .string(code), "message": .string(message)])
        #expect(stream.finish(AnswerTotals(), outputTokens: 1).isEmpty)
        // One that passes counts on from what was written last.
        let passed = try Self.documents(Dialect.responses.failureEvent(error, requestID: "req_0a", after: before))
        #expect(passed.last?["sequence_number"] == last["sequence_number"])
        #expect(passed.last?["response"]?["error"]?["code"]?.text == code)
    }

    @Test func aRequestOfManyLinesBreaksNoEvent() throws {
        let tools = "\"tools\":[\n  {\"type\":\"function\",\r\n\"name\":\"f\"}\n]"
        var stream = ResponsesStream(try Self.context(tools))
        let output = try stream.append(MessagesStreamTests.chunk(#"{"content":"x"}"#))
        let events = try Self.documents(output + stream.finish(AnswerTotals(), outputTokens: 1))
        #expect(events.first?["response"]?["tools"] == [["type": "function", "name": "f"]])
        #expect(events.last?["response"]?["tools"] == events.first?["response"]?["tools"])
    }

    @Test func whatWouldFillTheNodeEndsTheStream() throws {
        var stream = ResponsesStream(try Self.context())
        let text = String(repeating: "x", count: 1 << 20)
        #expect(throws: MeshError.self) {
            for _ in 0..<(Limits.translatedAnswerBytes >> 20) + 1 {
                _ = try stream.append(MessagesStreamTests.chunk(#"{"content":"\#(text)"}"#))
            }
        }
    }
}

/// Reads a stream as the strictest SDK does.
struct ResponsesReader {
    private(set) var told: [String] = []
    private var sequence: Int64 = 0
    private var items: [(id: String, type: String, call: String?)] = []
    private var isOpen = false
    private var text = ""

    mutating func read(_ event: JSONValue) throws {
        let type = try #require(event["type"]?.text)
        #expect(event["sequence_number"]?.integer == sequence)
        sequence += 1
        let index = event["output_index"]?.integer.map(Int.init)
        if let id = event["item_id"]?.text { #expect(isOpen && id == items[index ?? -1].id) }
        switch type {
        case "response.created", "response.in_progress": #expect(items.isEmpty)
        case "response.output_item.added":
            let item = try #require(event["item"])
            #expect(!isOpen && index == items.count)
            isOpen = true
            add(item)
        case "response.output_item.done":
            let item = try #require(event["item"])
            let known = items[index ?? -1]
            #expect(
                item["id"]?.text == known.id && item["type"]?.text == known.type && item["call_id"]?.text == known.call)
            isOpen = false
            told.append("-\(known.type) \(index ?? -1)")
        case let delta where delta.hasSuffix(".delta"): text += event["delta"]?.text ?? ""
        case "response.completed", "response.incomplete":
            #expect(!isOpen && event["response"]?["output"]?.elements?.map { $0["id"]?.text } == items.map(\.id))
            #expect(event["response"]?["usage"]?["input_tokens"]?.integer != nil)
            told.append(String(type.dropFirst(9)))
        case "response.failed": told.append("failed \(event["response"]?["error"]?["code"]?.text ?? "")")
        case let done where done.hasSuffix(".done"): end(done, event)
        default: #expect(type.hasSuffix("part.added"), "\(type)")
        }
    }

    private mutating func add(_ item: JSONValue) {
        let type = item["type"]?.text ?? ""
        let (id, call) = (item["id"]?.text ?? "", item["call_id"]?.text)
        #expect(!id.isEmpty && !items.contains { $0.id == id } && call != "")
        #expect(call == nil || !items.contains { $0.call == call })
        let name = [item["namespace"]?.text, item["name"]?.text].compactMap(\.self).joined(separator: ".")
        told.append("+\(type) \(items.count)\(call.map { " \($0) \(name)" } ?? "")")
        items.append((id, type, call))
    }

    private mutating func end(_ type: String, _ event: JSONValue) {
        guard event["part"] == nil else { return }
        let member = ["text", "refusal", "arguments", "input"].first { event[$0] != nil } ?? "?"
        let said = event[member]?.text ?? ""
        // Arguments that nobody gave are an empty object.
        #expect(said == text || text.isEmpty && said == "{}")
        let kind = type.contains("reasoning") ? "thought" : member
        if !text.isEmpty { told.append("\(kind) \(text)") }
        text = ""
    }
}
