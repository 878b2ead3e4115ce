import MeshDialects
import MeshExchange
import MeshModel
import MeshRuntime
import NIOHTTP1

/// How the answer to a request of another API comes of a chat's.
final class Translation: Sendable {
    /// What is repeated of the request, by the API that it is of.
    private enum Terms: Sendable {
        case messages(stopSequences: [String])
        case responses(ResponsesTerms)
    }

    private let terms: Terms
    private let model: String
    private let promptTokens: Int64
    /// Fields of the request that could not cross.
    let warnings: [String]

    init(_ request: MessagesRequest, model: String, promptTokens: Int64) {
        terms = .messages(stopSequences: request.stopSequences)
        warnings = request.warnings
        self.model = model
        self.promptTokens = promptTokens
    }

    init(_ request: ResponsesRequest, model: String, promptTokens: Int64) {
        terms = .responses(request.terms)
        warnings = request.warnings
        self.model = model
        self.promptTokens = promptTokens
    }

    /// - Parameter served: the model as whoever answers calls it.
    private func context(_ requestID: String, stopSequences: [String], served: String?) -> MessagesContext {
        var context = MessagesContext(
            model: model, requestID: requestID, stopSequences: stopSequences, promptTokens: promptTokens)
        context.servedModel = served
        return context
    }

    private func context(_ requestID: String, _ terms: ResponsesTerms, served: String?) -> ResponsesContext {
        ResponsesContext(
            model: model, requestID: requestID, terms: terms, promptTokens: promptTokens, servedModel: served,
            createdAt: SystemClock.wall.seconds)
    }

    /// - Parameter served: the model as whoever answers calls it.
    func stream(_ requestID: String, served: String?) -> any TranslatedStream {
        switch terms {
        case .messages(let sequences):
            MessagesStream(context(requestID, stopSequences: sequences, served: served))
        case .responses(let terms): ResponsesStream(context(requestID, terms, served: served))
        }
    }

    /// A whole answer.
    func document(
        of completion: [UInt8], _ requestID: String, served: String?, outputTokens: Int64
    ) -> Result<[UInt8], MeshError> {
        switch terms {
        case .messages(let sequences):
            MessagesAnswer.message(
                of: completion, context(requestID, stopSequences: sequences, served: served),
                outputTokens: outputTokens)
        case .responses(let terms):
            ResponsesStream.response(
                of: completion, context(requestID, terms, served: served), outputTokens: outputTokens)
        }
    }

    /// What became of the request, for whoever wants to know.
    func add(to headers: AnswerHeaders) {
        let name =
            switch terms {
            case .messages: "messages"
            case .responses: "responses"
            }
        headers.add(name: "aisbf-translation", value: "\(name); chat/completions")
        if !warnings.isEmpty { headers.add(name: "aisbf-warnings", value: warnings.joined(separator: ", ")) }
    }
}
