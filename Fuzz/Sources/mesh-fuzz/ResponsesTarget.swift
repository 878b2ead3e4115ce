import MeshDialects
import MeshModel
import MeshWire

/// Responses from chats and chats from responses. Whatever the split into reads, the events are the same, each is one that
/// programs take, their numbers rise by one, and items do not overlap; what is made of a request or an answer is JSON.
enum ResponsesTarget {
    private static let terms = try? ResponsesRequest(
        Array(
            #"{"input":"x","tools":[{"type":"custom","name":"c"},{"type":"namespace","name":"n","tools":[{"type":"function","name":"f"}]}],"include":["reasoning.encrypted_content"]}"#
                .utf8)
    ).terms

    static func run(_ input: [UInt8]) {
        if let request = try? ResponsesRequest(input, servedModel: "m") {
            let chat = try? JSONValue.parse(request.document)
            expect(chat?["messages"]?.elements != nil, "a chat without messages")
            expect(request.warnings.count <= Limits.translationWarnings, "too many warnings")
        }
        unsigned(input)
        guard let terms else { return expect(false, "no terms") }
        let context = ResponsesContext(
            model: "m", requestID: "req_1", terms: terms, promptTokens: 1, servedModel: "m", createdAt: 1)
        if case .success(let response) = ResponsesStream.response(of: input, context, outputTokens: 1) {
            expect((try? JSONValue.parse(response))?["object"]?.text == "response", "a response that is none")
        }
        var reader = InputReader(input)
        let seed = reader.byte()
        if let whole = Splits.translated(reader.rest, seed, { ResponsesStream(context) }) { check(whole) }
        let passed = Splits.passed(reader.rest, seed) { ResponsesLetter(requestID: "req_1") }
        expect(!passed.isEmpty, "a stream that passes without an end")
    }

    /// What is cut out of a request that passes leaves JSON.
    private static func unsigned(_ input: [UInt8]) {
        let cuts = input.withUnsafeBytes { raw -> [Range<Int>] in
            guard let fields = try? JSONScanner.fields(of: raw) else { return [] }
            return Thought.unsigned(fields, in: raw, list: "input")
        }
        var output: [UInt8] = []
        var position = 0
        for cut in cuts {
            expect(cut.lowerBound >= position, "cuts overlap")
            output += input[position..<cut.lowerBound]
            position = cut.upperBound
        }
        guard !cuts.isEmpty else { return }
        output += input[position...]
        let isJSON = output.withUnsafeBytes { (try? JSONScanner.fields(of: $0)) != nil }
        expect(isJSON, "what is left is no JSON")
    }

    private static func check(_ bytes: [UInt8]) {
        var items: [JSONValue?] = []
        var isOpen = false
        var isOver = false
        for (number, block) in String(decoding: bytes, as: UTF8.self).split(separator: "\n\n").enumerated() {
            let lines = block.split(separator: "\n", omittingEmptySubsequences: false)
            let event = lines.count == 2 ? try? JSONValue.parse(Array(lines[1].dropFirst(6).utf8)) : nil
            guard let event, let type = event["type"]?.text, lines[0] == "event: \(type)", !isOver else {
                return expect(false, "no event: \(block)")
            }
            expect(event["sequence_number"]?.integer == Int64(number), "a number that is not the next")
            switch type {
            case "response.output_item.added":
                expect(!isOpen && event["output_index"]?.integer == Int64(items.count), "items overlap")
                isOpen = true
                items.append(event["item"]?["id"])
            case "response.output_item.done":
                expect(isOpen && event["item"]?["id"] == items.last, "the end of an item that is not open")
                isOpen = false
            case "response.completed", "response.incomplete", "response.failed": isOver = true
            default: if let id = event["item_id"] { expect(isOpen && id == items.last, "a piece of another item") }
            }
        }
        expect(isOver, "a stream without an end")
    }
}
