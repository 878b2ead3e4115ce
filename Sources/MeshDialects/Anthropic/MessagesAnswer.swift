package import MeshModel
import MeshWire

/// What an answer needs to know of the request that it is for.
package struct MessagesContext: Hashable, Sendable {
    /// The model as the buyer named it.
    package var model: String
    package var requestID: String
    package var stopSequences: [String]
    /// Tokens of the prompt as this node counts them, for where nobody tells more.
    package var promptTokens: Int64
    /// The model as its worker calls it.
    package var servedModel: String?

    package init(model: String, requestID: String, stopSequences: [String], promptTokens: Int64) {
        self.model = model
        self.requestID = requestID
        self.stopSequences = stopSequences
        self.promptTokens = promptTokens
    }

    private var answerMark: AnswerMark { AnswerMark(requestID: requestID) }

    var messageID: String { "msg_\(answerMark.text)" }

    func callID(_ said: String?, number: Int, taken: [String]) -> String {
        answerMark.callID("toolu", said, number: number, taken: taken)
    }

    /// What stands as the signature of a thought; nil where nobody knows who thought it.
    func mark(_ field: Thought.Field) -> String? { servedModel.map { Thought.mark(field, by: $0) } }

    /// Why an answer ended, and with which sequence.
    /// - Parameters:
    ///   - reason: the worker's own word.
    ///   - sequence: the one that it says it met.
    ///   - hasCalls: whether tools are called: some workers say `stop` all the same.
    func stop(_ reason: String?, _ sequence: String?, hasCalls: Bool) -> (reason: String, sequence: String?) {
        switch reason {
        case "length": return ("max_tokens", nil)
        case "content_filter": return ("refusal", nil)
        default: break
        }
        if hasCalls { return ("tool_use", nil) }
        if let sequence, stopSequences.contains(sequence) { return ("stop_sequence", sequence) }
        return ("end_turn", nil)
    }

    /// Usage as the API counts it: what was read from a cache is no input.
    func usage(_ reading: UsageReading, outputTokens: Int64) -> JSONValue {
        let prompt = reading.promptTokens ?? promptTokens
        let cached = min(max(reading.cachedTokens ?? 0, 0), prompt)
        return [
            "input_tokens": .integer(prompt - cached), "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": .integer(cached),
            "output_tokens": .integer(reading.completionTokens ?? outputTokens),
        ]
    }
}

/// A whole chat completion as a message.
package enum MessagesAnswer {
    /// - Parameter outputTokens: as this node counts them, for where the worker does not tell.
    package static func message(
        of completion: [UInt8], _ context: MessagesContext, outputTokens: Int64
    ) -> Result<[UInt8], MeshError> {
        guard let document = try? JSONValue.parse(completion),
            let choice = document["choices"]?.elements?.first, let message = choice["message"], message.members != nil
        else { return .failure(AnswerFailure.unreadable()) }
        var content = words(of: message, context)
        var taken: [String] = []
        for call in message["tool_calls"]?.elements ?? [] {
            let id = context.callID(call["id"]?.text, number: taken.count, taken: taken)
            taken.append(id)
            content.append([
                "type": "tool_use", "id": .string(id), "name": .string(call["function"]?["name"]?.text ?? ""),
                "input": input(call["function"]?["arguments"]),
            ])
        }
        let (reason, sequence) = context.stop(
            choice["finish_reason"]?.text, choice["stop_reason"]?.text, hasCalls: !taken.isEmpty)
        if content.isEmpty, reason == "end_turn" { return .failure(TurnEnd.nothing) }
        let isRefusal = message["refusal"]?.text.map { !$0.isEmpty } ?? false
        var usage = UsageReading()
        completion.withUnsafeBytes { bytes in
            if let fields = try? JSONScanner.fields(of: bytes) { usage.readInside(fields, in: bytes) }
        }
        let answer: JSONValue = [
            "id": .string(context.messageID), "type": "message", "role": "assistant", "model": .string(context.model),
            "content": .array(content), "stop_reason": .string(isRefusal ? "refusal" : reason),
            "stop_sequence": .optional(sequence), "usage": context.usage(usage, outputTokens: outputTokens),
        ]
        return .success(answer.bytes)
    }

    private static func words(of message: JSONValue, _ context: MessagesContext) -> [JSONValue] {
        var content: [JSONValue] = []
        for field in Thought.Field.allCases where content.isEmpty {
            guard let thought = message[field.rawValue]?.text, !thought.isEmpty else { continue }
            content.append([
                "type": "thinking", "thinking": .string(thought), "signature": .string(context.mark(field) ?? ""),
            ])
        }
        var texts = [message["content"]?.text ?? ""]
        for part in message["content"]?.elements ?? [] { texts.append(part["text"]?.text ?? "") }
        texts.append(message["refusal"]?.text ?? "")
        for text in texts where !text.isEmpty { content.append(["type": "text", "text": .string(text)]) }
        return content
    }

    /// Arguments are text to a chat; what is no JSON stays text.
    private static func input(_ arguments: JSONValue?) -> JSONValue {
        guard let arguments, arguments != .null else { return [:] }
        guard let text = arguments.text else { return arguments }
        if text.utf8.allSatisfy({ $0 == 0x20 || $0 == 0x0A }) { return [:] }
        return (try? JSONValue.parse(Array(text.utf8))) ?? arguments
    }
}
