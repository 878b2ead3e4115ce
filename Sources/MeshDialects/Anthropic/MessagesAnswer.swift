package import MeshModel
package import MeshWire

/// What an answer needs to know of the request that it is for.
package struct MessagesContext: Hashable, Sendable {
    /// The model as the buyer named it.
    package var model: String
    package var requestID: String
    package var stopSequences: [String]
    /// Tokens of the prompt as this node counts them, for where nobody tells more.
    package var promptTokens: Int64

    package init(model: String, requestID: String, stopSequences: [String], promptTokens: Int64) {
        self.model = model
        self.requestID = requestID
        self.stopSequences = stopSequences
        self.promptTokens = promptTokens
    }

    private var mark: String { requestID.split(separator: "_").last.map(String.init) ?? requestID }

    var messageID: String { "msg_\(mark)" }

    /// The id of a tool call: the worker's own where programs of the API take it.
    func callID(_ said: String?, number: Int, taken: [String]) -> String {
        if let said, !said.isEmpty, said.utf8.count <= 256, !taken.contains(said), said.utf8.allSatisfy(Self.isPlain) {
            return said
        }
        return "toolu_\(mark)_\(number)"
    }

    private static func isPlain(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte) || byte == 0x5F
            || byte == 0x2D
    }

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

    /// An answer in which nothing stands is none: programs would wait for the rest of it, or pay for it again.
    static let empty = MeshError(
        .workerBadAnswer, "the worker ended its turn without a word and without a call",
        retries: .init(shouldRetry: false))
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
        var content = words(of: message)
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
        if content.isEmpty, reason == "end_turn" { return .failure(MessagesContext.empty) }
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

    private static func words(of message: JSONValue) -> [JSONValue] {
        var content: [JSONValue] = []
        let thought = [message["reasoning_content"]?.text, message["reasoning"]?.text].compactMap(\.self).first {
            !$0.isEmpty
        }
        // Nobody has signed it.
        if let thought { content.append(["type": "thinking", "thinking": .string(thought), "signature": ""]) }
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
