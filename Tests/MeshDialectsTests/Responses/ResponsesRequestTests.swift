import MeshDialects
import MeshModel
import MeshWire
import Testing

/// A request of the Responses API as a chat, and a whole answer back.
@Suite struct ResponsesRequestTests {
    struct Row: Sendable, CustomStringConvertible {
        var description: String
        /// Members behind `"model":"m"`.
        var request: String
        var chat: String
        var losses: [String] = []
    }

    static let hi = #""input":"hi""#
    static let hiOut = #""messages":[{"role":"user","content":"hi"}]"#

    static let rows: [Row] = [
        Row(description: "the least", request: hi, chat: hiOut),
        Row(
            description: "streamed, with instructions and developers, early and late",
            request:
                #""stream":true,"instructions":"A","max_output_tokens":9,"input":[{"type":"message","role":"developer","content":[{"type":"input_text","text":"B"}]},{"role":"user","content":"u"},{"role":"developer","content":"C"},{"role":"user","content":[{"type":"input_text","text":"v"}]}]"#,
            chat:
                #""stream":true,"stream_options":{"include_usage":true},"max_tokens":9,"messages":[{"role":"system","content":"A\n\nB"},{"role":"user","content":"u"},{"role":"user","content":[{"type":"text","text":"C"},{"type":"text","text":"v"}]}]"#
        ),
        Row(
            description:
                "numbers keep their spelling, what is the node's own stays here, and what is kept nowhere is told",
            request:
                #""temperature":0.70,"top_p":1e-1,"prompt_cache_key":"k","metadata":{"a":"b"},"provider":{},"store":true,"top_logprobs":3,"truncation":"auto","service_tier":"flex","include":["reasoning.encrypted_content","message.output_text.logprobs"],"reasoning":{"effort":"high","summary":"auto"},"text":{"verbosity":"low","format":{"type":"text"}},\#(hi)"#,
            chat: #""temperature":0.70,"top_p":1e-1,\#(hiOut)"#,
            losses: [
                "store", "top_logprobs", "truncation", "service_tier", "include", "reasoning.effort", "text.verbosity",
            ]),
        Row(
            description: "nothing is lost by what is off",
            request:
                #""store":false,"previous_response_id":null,"background":false,"truncation":"disabled","service_tier":"auto","reasoning":null,"text":null,"include":[],"stream":false,"max_output_tokens":null,\#(hi)"#,
            chat: hiOut),
        Row(
            description: "tools: functions, free form, of a namespace, and hosted",
            request:
                #""tools":[{"type":"function","name":"f","description":"d","strict":false,"parameters":{"type":"object"}},{"type":"custom","name":"patch","description":"p","format":{"type":"grammar","syntax":"lark","definition":"start: x"}},{"type":"namespace","name":"mcp__a","tools":[{"type":"function","name":"g","parameters":null}]},{"type":"namespace","name":"mcp__b__","tools":[{"type":"function","name":"g","parameters":{}}]},{"type":"web_search"},{"type":"local_shell"}],"tool_choice":"auto","parallel_tool_calls":false,\#(hi)"#,
            chat:
                #""tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object"},"strict":false}},{"type":"function","function":{"name":"patch","description":"p\n\n'input' has to follow this grammar (lark):\nstart: x","parameters":{"type":"object","properties":{"input":{"type":"string"}},"required":["input"],"additionalProperties":false}}},{"type":"function","function":{"name":"mcp__a__g","parameters":{"type":"object","properties":{}}}},{"type":"function","function":{"name":"mcp__b__g","parameters":{}}}],"tool_choice":"auto","parallel_tool_calls":false,\#(hiOut)"#,
            losses: ["tools"]),
        Row(
            description: "some of the tools",
            request:
                #""tools":[{"type":"function","name":"f"},{"type":"custom","name":"g"}],"tool_choice":{"type":"allowed_tools","mode":"required","tools":[{"type":"function","name":"f"}]},\#(hi)"#,
            chat:
                #""tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{}}}}],"tool_choice":"required",\#(hiOut)"#
        ),
        Row(
            description: "one tool that is there, and one that is not",
            request: #""tools":[{"type":"function","name":"f"}],"tool_choice":{"type":"function","name":"f"},\#(hi)"#,
            chat:
                #""tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{}}}}],"tool_choice":{"type":"function","function":{"name":"f"}},\#(hiOut)"#
        ),
        Row(
            description: "a choice without its tool",
            request: #""tools":[{"type":"image_generation"}],"tool_choice":{"type":"image_generation"},\#(hi)"#,
            chat: hiOut, losses: ["tools"]),
        Row(
            description: "a schema for the answer",
            request:
                #""text":{"format":{"type":"json_schema","name":"n","strict":true,"schema":{"type":"object"}}},\#(hi)"#,
            chat:
                #""response_format":{"type":"json_schema","json_schema":{"name":"n","strict":true,"schema":{"type":"object"}}},\#(hiOut)"#
        ),
        Row(
            description: "pictures, files and sound",
            request:
                #""input":[{"role":"user","content":[{"type":"input_text","text":"see"},{"type":"input_image","image_url":"data:image/png;base64,QQ==","detail":"low"},{"type":"input_file","filename":"a.pdf","file_data":"data:application/pdf;base64,QQ=="},{"type":"input_audio","input_audio":{"data":"QQ==","format":"wav"}},{"type":"odd"}]}]"#,
            chat:
                #""messages":[{"role":"user","content":[{"type":"text","text":"see"},{"type":"image_url","image_url":{"url":"data:image/png;base64,QQ==","detail":"low"}},{"type":"file","file":{"filename":"a.pdf","file_data":"data:application/pdf;base64,QQ=="}},{"type":"input_audio","input_audio":{"data":"QQ==","format":"wav"}}]}]"#,
            losses: ["content.odd"]),
        Row(
            description: "calls and words of one turn are one message, its results behind it, pictures behind those",
            request:
                #""tools":[{"type":"namespace","name":"mcp__a","tools":[{"type":"function","name":"g"}]}],"input":[{"role":"user","content":"go"},{"type":"reasoning","id":"rs","summary":[],"encrypted_content":"gAAA"},{"type":"function_call","call_id":"a","name":"f","arguments":"{\"x\": 1.0}"},{"type":"message","role":"assistant","content":[{"type":"output_text","text":"I go","annotations":[]}]},{"type":"function_call","call_id":"b","name":"g","namespace":"mcp__a","arguments":""},{"type":"custom_tool_call","call_id":"c","name":"patch","input":"*** \"x\""},{"type":"function_call_output","call_id":"a","output":"one"},{"type":"function_call_output","call_id":"b","output":[{"type":"input_text","text":"two"},{"type":"input_image","image_url":"data:image/png;base64,QQ=="}]},{"type":"custom_tool_call_output","call_id":"c","output":"three"},{"role":"assistant","content":"done"},{"role":"user","content":"well?"}]"#,
            chat:
                #""tools":[{"type":"function","function":{"name":"mcp__a__g","parameters":{"type":"object","properties":{}}}}],"messages":[{"role":"user","content":"go"},{"role":"assistant","content":"I go","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{\"x\": 1.0}"}},{"id":"b","type":"function","function":{"name":"mcp__a__g","arguments":"{}"}},{"id":"c","type":"function","function":{"name":"patch","arguments":"{\"input\":\"*** \\\"x\\\"\"}"}}]},{"role":"tool","tool_call_id":"a","content":"one"},{"role":"tool","tool_call_id":"b","content":"two"},{"role":"tool","tool_call_id":"c","content":"three"},{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,QQ=="}}]},{"role":"assistant","content":"done"},{"role":"user","content":"well?"}]"#,
            losses: ["reasoning"]),
        Row(
            description: "what somebody else ran, and fields that nobody knows",
            request:
                #""new_field":1,"input":[{"type":"web_search_call","id":"w"},{"role":"user","content":"hi"}]"#,
            chat: hiOut, losses: ["input.web_search_call", "new_field"]),
    ]

    @Test(arguments: rows) func everyRequest(row: Row) throws {
        let request = try ResponsesRequest(Array(#"{"model":"m",\#(row.request)}"#.utf8))
        #expect(String(decoding: request.document, as: UTF8.self) == #"{"model":"m",\#(row.chat)}"#)
        #expect(request.warnings == row.losses)
    }

    @Test(
        arguments: [
            ("{", "invalid_json", nil), ("[]", "invalid_json", nil), (#"{"model":"m"}"#, "invalid_request", "input"),
            (#"{"input":[]}"#, "invalid_request", "input"),
            (#"{"input":[{"role":"user"}]}"#, "invalid_request", "input.0.content"),
            (#"{"input":[{"role":"robot","content":"x"}]}"#, "invalid_request", "input.0.role"),
            (#"{"input":[{}]}"#, "invalid_request", "input.0.type"),
            (#"{"input":[{"type":"function_call","name":"f"}]}"#, "invalid_request", "input.0.call_id"),
            (
                #"{"input":[{"role":"user","content":[{"type":"input_image","file_id":"f"}]}]}"#, "invalid_request",
                "input.0.content"
            ),
            (
                #"{"input":[{"role":"user","content":[{"type":"input_file","file_url":"u"}]}]}"#, "invalid_request",
                "input.0.content"
            ),
            (#"{"input":"x","background":true}"#, "invalid_request", "background"),
            (
                #"{"input":"x","previous_response_id":"resp_1"}"#, "previous_response_not_found",
                "previous_response_id"
            ),
            (#"{"input":"x","conversation":"c"}"#, "previous_response_not_found", "conversation"),
            (#"{"input":"x","prompt":{"id":"p"}}"#, "previous_response_not_found", "prompt"),
            (#"{"input":[{"type":"item_reference","id":"i"}]}"#, "previous_response_not_found", "input.0"),
        ] as [(String, String, String?)])
    func whatIsNoRequest(body: String, code: String, parameter: String?) {
        let error = #expect(throws: MeshError.self) { try ResponsesRequest(Array(body.utf8)) }
        #expect(error?.code.rawValue == code && error?.parameter == parameter, "\(String(describing: error))")
    }

    /// How much a model is to think goes to whoever says that it takes it.
    @Test func effortGoesToWhoTakesIt() throws {
        func effort(_ members: String) throws -> (String?, [String]) {
            let body = Array(#"{"model":"m","input":"x",\#(members)}"#.utf8)
            let request = try ResponsesRequest(body, takesEffort: true)
            return (try JSONValue.parse(request.document)["reasoning_effort"]?.text, request.warnings)
        }
        #expect(try effort(#""reasoning":{"effort":"xhigh","summary":"auto"}"#) == ("xhigh", []))
        #expect(try effort(#""reasoning":{"summary":"auto"}"#) == (nil, []))
        #expect(try effort(#""reasoning":null"#) == (nil, []))
    }

    /// What is told of a request that passes is read from its members alone.
    @Test func whatIsKeptNowhereIsRefusedWhereItPasses() throws {
        func refusal(_ body: String) -> String? {
            Array(body.utf8).withUnsafeBytes { bytes -> String? in
                guard let fields = try? JSONScanner.fields(of: bytes) else { return "no JSON" }
                do throws(MeshError) { try ResponsesRequest.refuseWhatIsKept(fields, in: bytes) } catch {
                    return error.parameter
                }
                return nil
            }
        }
        #expect(refusal(#"{"previous_response_id":"r"}"#) == "previous_response_id")
        #expect(refusal(#"{"conversation":{"id":"c"}}"#) == "conversation")
        #expect(refusal(#"{"background":true}"#) == "background")
        #expect(refusal(#"{"previous_response_id":null,"background":false,"input":"x"}"#) == nil)
    }

    // MARK: Thoughts

    /// What a model thought goes back to it, in the member in which it came, and to no other one.
    @Test func thoughtsComeBackToWhoHadThem() throws {
        let mark = try Self.mark(of: "m1")
        func messages(_ served: String?, _ mark: String, behind: String = "") throws -> (String, [String]) {
            let body =
                #"{"model":"m","input":[{"role":"user","content":"q"},{"type":"reasoning","summary":[{"type":"summary_text","text":"hm"}],"encrypted_content":"\#(mark)"},{"type":"function_call","call_id":"a","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"a","output":"r"}\#(behind)]}"#
            let request = try ResponsesRequest(Array(body.utf8), servedModel: served)
            let chat = try JSONValue.parse(request.document)
            return (chat["messages"]?.elements?[1]["reasoning"]?.text ?? "", request.warnings)
        }
        #expect(try messages("m1", mark) == ("hm", []))
        #expect(try messages("m2", mark) == ("", ["reasoning"]))
        #expect(try messages(nil, mark) == ("", ["reasoning"]))
        #expect(try messages("m1", "gAAAAforeign") == ("", ["reasoning"]))
        // Behind new words of the buyer nobody needs it any more.
        #expect(try messages("m1", mark, behind: #",{"role":"user","content":"next"}"#) == ("", []))
    }

    /// Nobody but this mesh has written it: no vendor would take it.
    @Test func unsignedThoughtsDoNotPass() throws {
        let mark = try Self.mark(of: "m1")
        func passed(_ body: String, _ list: StaticString) throws -> JSONValue {
            let bytes = Array(body.utf8)
            let cuts = bytes.withUnsafeBytes { raw in
                (try? JSONScanner.fields(of: raw)).map { Thought.unsigned($0, in: raw, list: list) } ?? []
            }
            var output: [UInt8] = []
            var position = 0
            for cut in cuts {
                output += bytes[position..<cut.lowerBound]
                position = cut.upperBound
            }
            return try JSONValue.parse(output + bytes[position...])
        }
        let ours = #"{"type":"reasoning","encrypted_content":"\#(mark)"}"#
        let theirs = #"{"type":"reasoning","encrypted_content":"gAAAA"}"#
        for (items, left) in [
            ("\(ours)", ""), ("\(ours), \(ours)", ""), ("\(ours),\(theirs)", theirs), ("\(theirs) ,\(ours)", theirs),
            ("\(theirs),\(ours), \(ours),\(theirs)", "\(theirs),\(theirs)"),
            ("\(ours),\(theirs),\(ours)", theirs), (#"{"type":"message"},\#(ours)"#, #"{"type":"message"}"#),
        ] {
            #expect(
                try passed(#"{"input":[\#(items)],"x":1}"#, "input")
                    == (try JSONValue.parse(Array(#"{"input":[\#(left)],"x":1}"#.utf8))), "\(items)")
        }
        let text = #"{"type":"text","text":"a"}"#
        let signed = #"{"type":"thinking","thinking":"t","signature":"abc"}"#
        for thinking in [
            #"{"type":"thinking","thinking":"t","signature":""}"#,
            ours.replacing("reasoning", with: "thinking").replacing("encrypted_content", with: "signature"),
        ] {
            let body =
                #"{"messages":[{"role":"assistant","content":[\#(thinking),\#(signed),\#(text)]},{"role":"user","content":[\#(text)]}]}"#
            let left =
                #"{"messages":[{"role":"assistant","content":[\#(signed),\#(text)]},{"role":"user","content":[\#(text)]}]}"#
            #expect(try passed(body, "messages") == (try JSONValue.parse(Array(left.utf8))))
        }
    }

    /// The mark that an answer of `model` carries.
    private static func mark(of model: String) throws -> String {
        let context = try ResponsesStreamTests.context(
            #""include":["reasoning.encrypted_content"]"#, served: model)
        let completion = #"{"choices":[{"message":{"reasoning":"hm","content":"a"},"finish_reason":"stop"}]}"#
        let answer = try JSONValue.parse(
            ResponsesStream.response(of: Array(completion.utf8), context, outputTokens: 1).get())
        return try #require(answer["output"]?.elements?.first?["encrypted_content"]?.text)
    }

    // MARK: Answers

    @Test(
        arguments: [
            (
                #"{"role":"assistant","content":"Hi"}"#,
                #","finish_reason":"stop"}],"usage":{"prompt_tokens":20,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":8},"completion_tokens_details":{"reasoning_tokens":1}}"#,
                "completed",
                #"[{"id":"msg_0a_0","type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Hi","annotations":[],"logprobs":[]}]}]"#,
                #"{"input_tokens":20,"input_tokens_details":{"cached_tokens":8},"output_tokens":3,"output_tokens_details":{"reasoning_tokens":1},"total_tokens":23}"#
            ),
            (
                #"{"content":[{"type":"text","text":"a"}],"reasoning":"hm"}"#, #","finish_reason":"length"}]"#,
                "incomplete",
                #"[{"id":"rs_0a_0","type":"reasoning","summary":[{"type":"summary_text","text":"hm"}]},{"id":"msg_0a_1","type":"message","status":"incomplete","role":"assistant","content":[{"type":"output_text","text":"a","annotations":[],"logprobs":[]}]}]"#,
                #"{"input_tokens":12,"input_tokens_details":{"cached_tokens":0},"output_tokens":5,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":17}"#
            ),
            (
                #"{"content":null,"tool_calls":[{"id":"a","function":{"name":"f","arguments":"{\"x\": 1.0}"}},{"function":{"name":"mcp__n__g","arguments":""}},{"id":"a","function":{"name":"patch","arguments":"{\"input\":\"*** \\\"x\\\"\\n\"}"}}]}"#,
                #","finish_reason":"stop"}]"#, "completed",
                #"[{"id":"fc_0a_0","type":"function_call","status":"completed","call_id":"a","name":"f","arguments":"{\"x\": 1.0}"},{"id":"fc_0a_1","type":"function_call","status":"completed","call_id":"call_0a_1","namespace":"mcp__n","name":"g","arguments":"{}"},{"id":"ctc_0a_2","type":"custom_tool_call","status":"completed","call_id":"call_0a_2","name":"patch","input":"*** \"x\"\n"}]"#,
                #"{"input_tokens":12,"input_tokens_details":{"cached_tokens":0},"output_tokens":5,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":17}"#
            ),
            (
                #"{"content":"","refusal":"no"}"#, #","finish_reason":"stop"}]"#, "completed",
                #"[{"id":"msg_0a_0","type":"message","status":"completed","role":"assistant","content":[{"type":"refusal","refusal":"no"}]}]"#,
                #"{"input_tokens":12,"input_tokens_details":{"cached_tokens":0},"output_tokens":5,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":17}"#
            ),
        ])
    func everyAnswer(message: String, more: String, status: String, output: String, usage: String) throws {
        let completion = Array(
            #"{"id":"c","object":"chat.completion","choices":[{"index":0,"message":\#(message)\#(more)}"#.utf8)
        let bytes = try ResponsesStream.response(
            of: completion, try ResponsesStreamTests.context(), outputTokens: 5
        ).get()
        let answer = try JSONValue.parse(bytes)
        #expect(answer["status"]?.text == status && answer["object"]?.text == "response")
        #expect(String(decoding: answer["output"]?.bytes ?? [], as: UTF8.self) == output)
        #expect(String(decoding: answer["usage"]?.bytes ?? [], as: UTF8.self) == usage)
        // Everything that the SDKs' types have.
        for name in [
            "id", "created_at", "model", "parallel_tool_calls", "tool_choice", "tools", "temperature", "top_p", "text",
            "truncation", "error", "incomplete_details", "instructions", "metadata", "store", "previous_response_id",
        ] { #expect(answer[name] != nil, "\(name)") }
    }

    @Test func anAnswerWithoutAWordIsNone() throws {
        for completion in [#"{"choices":[{"message":{"content":""},"finish_reason":"stop"}]}"#, "{}", "5"] {
            let context = try ResponsesStreamTests.context()
            #expect(throws: MeshError.self) {
                try ResponsesStream.response(of: Array(completion.utf8), context, outputTokens: 1).get()
            }
        }
    }
}
