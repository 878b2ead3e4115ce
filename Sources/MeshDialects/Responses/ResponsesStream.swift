package import MeshModel
import MeshWire

/// What an answer needs to know of the request that it is for.
package struct ResponsesContext: Hashable, Sendable {
    /// The model as the buyer named it.
    package var model: String
    package var requestID: String
    package var terms: ResponsesTerms
    /// Tokens of the prompt as this node counts them, for where nobody tells more.
    package var promptTokens: Int64
    /// The model as its worker calls it.
    package var servedModel: String?
    /// When the answer began.
    package var createdAt: Int64

    package init(
        model: String, requestID: String, terms: ResponsesTerms, promptTokens: Int64, servedModel: String? = nil,
        createdAt: Int64
    ) {
        self.model = model
        self.requestID = requestID
        self.terms = terms
        self.promptTokens = promptTokens
        self.servedModel = servedModel
        self.createdAt = createdAt
    }

    var mark: AnswerMark { AnswerMark(requestID: requestID) }

    /// Usage as the API counts it.
    func usage(_ reading: UsageReading, outputTokens: Int64) -> JSONValue {
        let prompt = reading.promptTokens ?? promptTokens
        let output = reading.completionTokens ?? outputTokens
        return [
            "input_tokens": .integer(prompt),
            "input_tokens_details": ["cached_tokens": .integer(min(max(reading.cachedTokens ?? 0, 0), prompt))],
            "output_tokens": .integer(output),
            "output_tokens_details": ["reasoning_tokens": .integer(min(max(reading.reasoningTokens ?? 0, 0), output))],
            "total_tokens": .integer(prompt + output),
        ]
    }

    /// How a response ended, and why it is not whole.
    static func status(_ reason: String?) -> (status: String, incomplete: String?) {
        switch reason {
        case "length": ("incomplete", "max_output_tokens")
        case "content_filter": ("incomplete", "content_filter")
        default: ("completed", nil)
        }
    }
}

/// The events of a streamed chat completion as those of a response: bytes in, cut anywhere, and bytes out. The parts of the turn
/// are the response's items.
package struct ResponsesStream: TurnTranslation {
    var turn: TurnStream<ResponsesWriter>

    package init(_ context: ResponsesContext) { turn = TurnStream(ResponsesWriter(context)) }

    func excuses(_ end: TurnEnd) -> Bool { TurnEnd.isCut(end.reason) }

    mutating func tell(_ end: TurnEnd, outputTokens: Int64, _ output: inout [UInt8]) {
        turn.writer.end(end, outputTokens: outputTokens, &output)
    }

    package mutating func failure(_ error: MeshError) -> [UInt8] {
        turn.breakOff()
        var output: [UInt8] = []
        turn.writer.fail(error, &output)
        return output
    }

    package mutating func keepAlive() -> [UInt8] {
        var output: [UInt8] = []
        turn.writer.keepAlive(&output)
        return output
    }

    /// A whole chat completion as a response.
    package static func response(
        of completion: [UInt8], _ context: ResponsesContext, outputTokens: Int64
    ) -> Result<[UInt8], MeshError> {
        guard let chunk = ChatCompletion.chunk(completion) else { return .failure(AnswerFailure.unreadable()) }
        var turn = TurnStream(ResponsesWriter(context))
        do throws(MeshError) {
            var events: [UInt8] = []
            try turn.take(document: chunk, &events)
            let end = try turn.end(AnswerTotals(), &events)
            if end.isEmpty, !TurnEnd.isCut(end.reason) { return .failure(TurnEnd.nothing) }
            return .success(turn.writer.document(end, outputTokens: outputTokens))
        } catch { return .failure(error) }
    }
}
