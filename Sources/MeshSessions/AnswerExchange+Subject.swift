package import MeshModel

extension AnswerExchange {
    /// What the request is about, which decides what can be an answer to it.
    package enum Subject: Hashable, Sendable {
        /// Of a chat: JSON with its choices, or events of it.
        case chat
        /// Other text of a model, or numbers about texts: JSON, or events of JSON.
        case completions
        /// Sound and pictures, in whatever form; no page for a browser.
        case media
        /// Things that a worker keeps: anything at all.
        case files

        package init(_ endpoint: EndpointPath?) {
            switch endpoint?.family {
            case nil: self = .chat
            case .completions, .embeddings, .messages, .moderations, .rerank, .responses: self = .completions
            case .audio, .images: self = .media
            case .files, .pipelines, .video: self = .files
            }
        }

        /// Whether a model's words, or numbers, are all that can be an answer.
        var isOfModel: Bool { self == .chat || self == .completions }
    }

    /// What an answer has, whatever else stands in it: who has one of these does not only tell of a failure.
    var answerMembers: [StaticString] {
        subject == .chat && expectsDocument
            ? ["choices"] : ["choices", "object", "data", "results", "output", "content"]
    }
}
