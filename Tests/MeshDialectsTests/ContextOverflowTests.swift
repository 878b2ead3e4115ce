import MeshDialects
import MeshModel
import MeshWire
import Testing

/// A prompt that is too long is told in the words that make each program send less.
@Suite struct ContextOverflowTests {
    struct Row: Sendable, CustomStringConvertible {
        var said: String
        var document: String?
        var openAI: String
        var messages: String
        var description: String { String(said.prefix(60)) }
    }

    static let rows = [
        Row(
            said:
                "This model's maximum context length is 8192 tokens. However, you requested 9100 tokens (8600 in the messages, 500 in the completion). Please reduce the length of the messages.",
            openAI: "This model's maximum context length is 8192 tokens.",
            messages: "prompt is too long: 8600 tokens > 8192 maximum; This model's"),
        Row(
            said:
                "This model's maximum context length is 8192 tokens. However, you requested 9100 tokens (8000 in the messages, 1100 in the completion).",
            openAI: "This model's maximum context length",
            messages: "input length and `max_tokens` exceed context limit: 8000 + 1100 > 8192; This"),
        Row(
            said:
                "'max_tokens' or 'max_completion_tokens' is too large: 5000. This model's maximum context length is 8192 tokens and your request has 4000 input tokens (5000 > 8192 - 4000).",
            openAI: "'max_tokens'", messages: "input length and `max_tokens` exceed context limit: 4000 + 5000 > 8192"),
        Row(
            said: "the request exceeds the available context size, try increasing it",
            document:
                #"{"error":{"code":400,"message":"…","type":"exceed_context_size_error","n_prompt_tokens":9000,"n_ctx":4096}}"#,
            openAI:
                "this model's maximum context length is 4096 tokens, and the request has 9000 in its messages: the request",
            messages: "prompt is too long: 9000 tokens > 4096 maximum; the request"),
        Row(
            said: "prompt is too long: 210000 tokens > 200000 maximum",
            openAI:
                "this model's maximum context length is 200000 tokens, and the request has 210000 in its messages: prompt",
            messages: "prompt is too long: 210000 tokens > 200000 maximum"),
        Row(
            said: "input length and `max_tokens` exceed context limit: 190000 + 21333 > 200000, decrease input length",
            openAI: "this model's maximum context length is 200000",
            messages: "input length and `max_tokens` exceed context limit: 190000 + 21333 > 200000, decrease"),
        // Numbers only where somebody has counted.
        Row(
            said: "input is too long for requested model",
            openAI: "the request is longer than the model's maximum context length: input is",
            messages: "prompt is too long; input is too long"),
        Row(
            said: "maximum context length is 99999999999999999999999 tokens", openAI: "maximum context length",
            messages: "prompt is too long; maximum"),
    ]

    @Test(arguments: rows) func everyBackendsWords(row: Row) {
        let overflow = ContextOverflow(row.said, document: row.document)
        #expect(overflow.message(in: .chat).hasPrefix(row.openAI), "\(overflow.message(in: .chat))")
        #expect(overflow.message(in: .messages).hasPrefix(row.messages), "\(overflow.message(in: .messages))")
        #expect(overflow.message(in: .chat).lowercased().contains("maximum context length"))
    }

    @Test func anAnswerThatSaysItAlreadyPasses() throws {
        let openAI = Array(
            #"{"error":{"message":"This model's maximum context length is 10 tokens","code":"context_length_exceeded"}}"#
                .utf8)
        let messages = Array(
            #"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 9 tokens > 8 maximum"}}"#
                .utf8)
        #expect(Dialect.chat.answer(passed: openAI, status: 400, isOverflow: true, requestID: nil) == nil)
        #expect(Dialect.messages.answer(passed: messages, status: 400, isOverflow: true, requestID: nil) == nil)
        let turned = try #require(
            Dialect.messages.answer(passed: openAI, status: 413, isOverflow: true, requestID: "req_1"))
        let document = try JSONValue.parse(turned.body)
        #expect(turned.status == 400 && document["type"]?.text == "error")
        #expect(document["error"]?["type"]?.text == "invalid_request_error")
        #expect(document["error"]?["message"]?.text?.hasPrefix("prompt is too long") == true)
        let back = try #require(
            Dialect.chat.answer(passed: messages, status: 400, isOverflow: true, requestID: "req_1"))
        #expect(try JSONValue.parse(back.body)["error"]?["code"]?.text == "context_length_exceeded")
    }

    @Test func otherRefusalsKeepTheirWords() throws {
        let body = Array(#"{"error":{"message":"temperature must be below 2","type":"x"}}"#.utf8)
        #expect(Dialect.chat.answer(passed: body, status: 400, isOverflow: false, requestID: nil) == nil)
        let told = try #require(
            Dialect.messages.answer(passed: body, status: 422, isOverflow: false, requestID: "req_1"))
        #expect(told.status == 422)
        #expect(
            String(decoding: told.body, as: UTF8.self)
                == #"{"type":"error","error":{"type":"invalid_request_error","message":"temperature must be below 2"},"request_id":"req_1"}"#
        )
        let page = try #require(
            Dialect.messages.answer(passed: [0xFF, 0x3C], status: 500, isOverflow: false, requestID: nil))
        #expect(try JSONValue.parse(page.body)["error"]?["type"]?.text == "api_error")
    }
}
