import MeshDialects
import MeshModel
import MeshWire
import Testing

/// A request of the Messages API as a chat, and a whole answer back.
@Suite struct MessagesRequestTests {
    struct Row: Sendable, CustomStringConvertible {
        var description: String
        /// Members behind `"model":"m"`.
        var messages: String
        var chat: String
        var losses: [String] = []
    }

    static let hi = #""messages":[{"role":"user","content":"hi"}]"#
    static let hiOut = #""messages":[{"role":"user","content":"hi"}]"#

    static let rows: [Row] = [
        Row(description: "the least", messages: #""max_tokens":9,\#(hi)"#, chat: #""max_tokens":9,\#(hiOut)"#),
        Row(
            description: "streamed, with a system in blocks",
            messages:
                #""stream":true,"system":[{"type":"text","text":"A"},{"type":"text","text":"B","cache_control":{"type":"ephemeral"}}],\#(hi)"#,
            chat:
                #""stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"system","content":"A\n\nB"},{"role":"user","content":"hi"}]"#,
            losses: ["cache_control"]),
        Row(
            description: "numbers keep their spelling, and what is the node's own stays here",
            messages:
                #""temperature":0.70,"top_p":1e-1,"top_k":40,"stop_sequences":["END"],"metadata":{"user_id":"u"},"provider":{"only":["x"]},"aisbf":{},"service_tier":"auto","thinking":{"type":"enabled","budget_tokens":1024},\#(hi)"#,
            chat: #""temperature":0.70,"top_p":1e-1,"stop":["END"],"user":"u",\#(hiOut)"#,
            losses: ["top_k", "service_tier", "thinking"]),
        Row(
            description: "nothing is lost by what is off",
            messages: #""thinking":{"type":"disabled"},"container":null,"stop_sequences":[],\#(hi)"#, chat: hiOut),
        Row(
            description: "tools",
            messages:
                #""tools":[{"name":"f","description":"d","input_schema":{"type":"object","properties":{"a":{"type":"string"}}}},{"type":"web_search_20250305","name":"web_search"}],"tool_choice":{"type":"tool","name":"f","disable_parallel_tool_use":true},\#(hi)"#,
            chat:
                #""tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object","properties":{"a":{"type":"string"}}}}}],"parallel_tool_calls":false,"tool_choice":{"type":"function","function":{"name":"f"}},\#(hiOut)"#,
            losses: ["tools"]),
        Row(
            description: "any tool",
            messages: #""tool_choice":{"type":"any"},"tools":[{"name":"f","input_schema":{}}],\#(hi)"#,
            chat:
                #""tools":[{"type":"function","function":{"name":"f","parameters":{}}}],"tool_choice":"required",\#(hiOut)"#
        ),
        Row(
            description: "a schema for the answer",
            messages:
                #""output_config":{"effort":"high","format":{"type":"json_schema","schema":{"type":"object"}}},\#(hi)"#,
            chat:
                #""response_format":{"type":"json_schema","json_schema":{"name":"answer","strict":true,"schema":{"type":"object"}}},\#(hiOut)"#,
            losses: ["output_config.effort"]),
        Row(
            description: "pictures and files",
            messages:
                #""messages":[{"role":"user","content":[{"type":"text","text":"see"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"QQ=="}},{"type":"image","source":{"type":"url","url":"https://x/y.png"}},{"type":"document","title":"T","source":{"type":"text","media_type":"text/plain","data":"D"}},{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"QQ=="}}]}]"#,
            chat:
                #""messages":[{"role":"user","content":[{"type":"text","text":"see"},{"type":"image_url","image_url":{"url":"data:image/png;base64,QQ=="}},{"type":"image_url","image_url":{"url":"https://x/y.png"}},{"type":"text","text":"T\n\nD"},{"type":"file","file":{"filename":"document.pdf","file_data":"data:application/pdf;base64,QQ=="}}]}]"#
        ),
        Row(
            description: "two calls, their results with a picture and an error, and words behind them",
            messages:
                #""messages":[{"role":"user","content":"go"},{"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"s"},{"type":"text","text":"I go"},{"type":"tool_use","id":"a","name":"f","input":{"x":1.0}},{"type":"tool_use","id":"b","name":"g","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":[{"type":"text","text":"one"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"QQ=="}}]},{"type":"tool_result","tool_use_id":"b","is_error":true,"content":"bad"},{"type":"text","text":"well?"}]}]"#,
            chat:
                #""messages":[{"role":"user","content":"go"},{"role":"assistant","content":"I go","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{\"x\":1.0}"}},{"id":"b","type":"function","function":{"name":"g","arguments":"{}"}}]},{"role":"tool","tool_call_id":"a","content":"one"},{"role":"tool","tool_call_id":"b","content":"Error: bad"},{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,QQ=="}},{"type":"text","text":"well?"}]}]"#,
            losses: ["thinking"]),
        Row(
            description: "a result without words, a call without any, and empty turns",
            messages:
                #""messages":[{"role":"user","content":[]},{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"f","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"a"}]},{"role":"assistant","content":""}]"#,
            chat:
                #""messages":[{"role":"user","content":""},{"role":"assistant","content":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"a","content":""},{"role":"assistant","content":""}]"#
        ),
        Row(
            description: "system messages at the beginning, in the middle and at the end",
            messages:
                #""messages":[{"role":"system","content":"S"},{"role":"user","content":"a"},{"role":"system","content":[{"type":"text","text":"M"}]},{"role":"user","content":"b"},{"role":"assistant","content":"c"},{"role":"system","content":"E"}]"#,
            chat:
                #""messages":[{"role":"system","content":"S"},{"role":"user","content":"a"},{"role":"user","content":[{"type":"text","text":"M"},{"type":"text","text":"b"}]},{"role":"assistant","content":"c"},{"role":"user","content":"E"}]"#
        ),
        Row(
            description: "blocks and fields that nobody knows",
            messages:
                #""x\u0000y":1,"new_field":1,"messages":[{"role":"user","content":[{"type":"search_result","title":"t"},{"type":"text","text":"hi"}]}]"#,
            chat: hiOut, losses: ["content.search_result", "other", "new_field"]),
    ]

    /// How much a model is to think goes to whoever says that it takes it: in words, or by the tokens that it may take.
    @Test(
        arguments: [
            (#""thinking":{"type":"enabled","budget_tokens":1024}"#, "low"),
            (#""thinking":{"type":"enabled","budget_tokens":8192}"#, "medium"),
            (#""thinking":{"type":"enabled","budget_tokens":32000}"#, "high"),
            (#""thinking":{"type":"adaptive"}"#, "medium"),
            (#""thinking":{"type":"adaptive"},"output_config":{"effort":"max"}"#, "high"),
            (#""output_config":{"effort":"low"}"#, "low"), (#""thinking":{"type":"disabled"}"#, nil),
            (#""temperature":1"#, nil),
        ] as [(String, String?)])
    func effortGoesToWhoTakesIt(members: String, effort: String?) throws {
        let body = Array(
            #"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}],\#(members)}"#.utf8)
        let request = try MessagesRequest(body, takesEffort: true)
        #expect(try JSONValue.parse(request.document)["reasoning_effort"]?.text == effort)
        #expect(request.warnings.isEmpty, "\(request.warnings)")
        let other = try MessagesRequest(body)
        #expect(try JSONValue.parse(other.document)["reasoning_effort"] == nil)
        #expect(other.warnings.isEmpty == (effort == nil), "\(other.warnings)")
    }

    @Test(arguments: rows) func everyRequest(row: Row) throws {
        let request = try MessagesRequest(Array(#"{"model":"m",\#(row.messages)}"#.utf8))
        #expect(String(decoding: request.document, as: UTF8.self) == #"{"model":"m",\#(row.chat)}"#)
        #expect(request.warnings == row.losses)
    }

    @Test(
        arguments: [
            ("{", "invalid_json", nil), ("[]", "invalid_json", nil), (#"{"model":"m"}"#, "invalid_request", "messages"),
            (#"{"messages":[]}"#, "invalid_request", "messages"),
            (#"{"messages":[{"role":"user"}]}"#, "invalid_request", "messages.0.content"),
            (#"{"messages":[{"role":"robot","content":"x"}]}"#, "invalid_request", "messages.0.role"),
            (#"{"messages":[{"role":"user","content":[{"text":"x"}]}]}"#, "invalid_request", "messages.0.content.type"),
            (
                #"{"messages":[{"role":"user","content":[{"type":"image","source":{"type":"file","file_id":"f"}}]}]}"#,
                "invalid_request", "messages.0"
            ),
            (
                #"{"messages":[{"role":"user","content":[{"type":"document","source":{"type":"url","url":"u"}}]}]}"#,
                "invalid_request", "messages.0"
            ),
            (#"{"system":5,"messages":[{"role":"user","content":"x"}]}"#, "invalid_request", "system"),
        ] as [(String, String, String?)])
    func whatIsNoRequest(body: String, code: String, parameter: String?) {
        let error = #expect(throws: MeshError.self) { try MessagesRequest(Array(body.utf8)) }
        #expect(error?.code.rawValue == code && error?.parameter == parameter, "\(String(describing: error))")
    }

    @Test func warningsAreBounded() throws {
        let many = (0..<40).map { #""field_\#($0)":1"#.replacing("0", with: "a") }.joined(separator: ",")
        let request = try MessagesRequest(Array(#"{\#(many),\#(Self.hi)}"#.utf8))
        #expect(request.warnings.count <= Limits.translationWarnings)
    }

    // MARK: Answers

    private static func answer(_ message: String, _ more: String) throws -> String {
        let completion = Array(
            #"{"id":"c","object":"chat.completion","choices":[{"index":0,"message":\#(message)\#(more)}"#.utf8)
        let context = MessagesContext(model: "lab/m1", requestID: "req_0a", stopSequences: ["END"], promptTokens: 12)
        return String(
            decoding: try MessagesAnswer.message(of: completion, context, outputTokens: 5).get(), as: UTF8.self)
    }

    @Test(
        arguments: [
            (
                #"{"role":"assistant","content":"Hi"}"#,
                #","finish_reason":"stop"}],"usage":{"prompt_tokens":20,"completion_tokens":3}"#,
                #"[{"type":"text","text":"Hi"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":20,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":3}"#
            ),
            (
                #"{"content":[{"type":"text","text":"a"}],"reasoning":"hm"}"#,
                #","finish_reason":"stop","stop_reason":"END"}]"#,
                #"[{"type":"thinking","thinking":"hm","signature":""},{"type":"text","text":"a"}],"stop_reason":"stop_sequence","stop_sequence":"END","usage":{"input_tokens":12,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":5}"#
            ),
            (
                #"{"content":null,"tool_calls":[{"id":"a","function":{"name":"f","arguments":"{\"x\": 1.0}"}},{"function":{"name":"g","arguments":""}},{"id":"a","function":{"name":"h","arguments":"no"}}]}"#,
                #","finish_reason":"stop"}],"usage":{"prompt_tokens":20,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":15}}"#,
                #"[{"type":"tool_use","id":"a","name":"f","input":{"x":1.0}},{"type":"tool_use","id":"toolu_0a_1","name":"g","input":{}},{"type":"tool_use","id":"toolu_0a_2","name":"h","input":"no"}],"stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":5,"cache_creation_input_tokens":0,"cache_read_input_tokens":15,"output_tokens":3}"#
            ),
            (
                #"{"content":"","refusal":"no"}"#, #","finish_reason":"stop"}]"#,
                #"[{"type":"text","text":"no"}],"stop_reason":"refusal","stop_sequence":null,"usage":{"input_tokens":12,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":5}"#
            ),
            (
                #"{"content":""}"#, #","finish_reason":"length"}]"#,
                #"[],"stop_reason":"max_tokens","stop_sequence":null,"usage":{"input_tokens":12,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":5}"#
            ),
        ])
    func everyAnswer(message: String, more: String, content: String) throws {
        #expect(
            try Self.answer(message, more)
                == #"{"id":"msg_0a","type":"message","role":"assistant","model":"lab/m1","content":\#(content)}"#)
    }

    @Test func anAnswerWithoutAWordIsNone() {
        #expect(throws: MeshError.self) { try Self.answer(#"{"content":""}"#, #","finish_reason":"stop"}]"#) }
        #expect(throws: MeshError.self) { try Self.answer("5", "}]") }
    }
}
