/// Who answers a request at this node, as the words of errors call them.
package enum Answerer: Hashable, Sendable {
    /// A program of a seller's, which has come to this node.
    case worker
    /// A server that this node asks itself.
    case provider

    package var words: String {
        switch self {
        case .worker: "the worker"
        case .provider: "the provider"
        }
    }
}
