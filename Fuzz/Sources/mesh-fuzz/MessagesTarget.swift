import MeshDialects
import MeshModel
import MeshWire

/// Messages from chats and chats from messages. Whatever the split into reads, the events are the same, each is one that
/// programs take, and blocks do not overlap; what is made of a request or an answer is JSON.
enum MessagesTarget {
    private static let context = MessagesContext(
        model: "m", requestID: "req_1", stopSequences: ["END"], promptTokens: 1)

    static func run(_ input: [UInt8]) {
        if let request = try? MessagesRequest(input) {
            let chat = try? JSONValue.parse(request.document)
            expect(chat?["messages"]?.elements?.isEmpty == false, "a chat without messages")
            expect(request.warnings.count <= Limits.translationWarnings, "too many warnings")
        }
        if case .success(let message) = MessagesAnswer.message(of: input, context, outputTokens: 1) {
            expect((try? JSONValue.parse(message))?["type"]?.text == "message", "a message that is none")
        }
        var reader = InputReader(input)
        let seed = reader.byte()
        if let whole = Splits.translated(reader.rest, seed, { MessagesStream(context) }) { check(whole) }
        let passed = String(decoding: Splits.passed(reader.rest, seed) { MessagesLetter() }, as: UTF8.self)
        let end = passed.split(separator: "\n\n").last { !$0.hasPrefix(":") } ?? ""
        expect(end.contains("message_stop") || end.contains("error"), "a stream that passes without an end")
    }

    private static func check(_ bytes: [UInt8]) {
        var open: Int64?
        var next: Int64 = 0
        var isOver = false
        for block in String(decoding: bytes, as: UTF8.self).split(separator: "\n\n") {
            let lines = block.split(separator: "\n", omittingEmptySubsequences: false)
            let event = lines.count == 2 ? try? JSONValue.parse(Array(lines[1].dropFirst(6).utf8)) : nil
            guard let event, let type = event["type"]?.text, lines[0] == "event: \(type)", !isOver else {
                return expect(false, "no event: \(block)")
            }
            switch type {
            case "content_block_start":
                expect(open == nil && event["index"]?.integer == next, "blocks overlap")
                open = next
            case "content_block_delta": expect(event["index"]?.integer == open, "a piece of a block that is not open")
            case "content_block_stop":
                expect(event["index"]?.integer == open, "the end of a block that is not open")
                open = nil
                next += 1
            case "message_delta": expect(open == nil, "a message that ends in a block")
            case "message_stop", "error": isOver = true
            default: break
            }
        }
        expect(isOver, "a stream without an end")
    }
}
