package import MeshModel

/// What the buyer asked for.
package enum AnswerForm: Hashable, Sendable {
    /// One JSON document; whoever sends it in chunks has them collected.
    case document
    /// A stream of events.
    case events
    /// Whatever the endpoint gives: bytes as they come.
    case bytes

    /// - Parameter endpoint: nil for a chat.
    package init(of endpoint: EndpointPath?, streams: Bool) {
        switch endpoint?.family {
        case _ where streams: self = .events
        case nil, .completions, .embeddings, .messages, .moderations, .rerank, .responses: self = .document
        case .audio, .files, .images, .pipelines, .video: self = .bytes
        }
    }
}
