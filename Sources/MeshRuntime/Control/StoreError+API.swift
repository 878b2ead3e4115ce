import MeshModel
import MeshStore

extension StoreError {
    /// The store's refusal in the words of the API.
    var told: MeshError {
        switch self {
        case .conflict(let text): MeshError(.conflict, text)
        case .notFound(let text): MeshError(.notFound, text)
        case .invalid(let text): MeshError(.invalidRequest, text)
        case .full:
            MeshError(
                .storeFull,
                "the disk of this node is full and nothing of this was stored; free some space and try again",
                retryAfterSeconds: 30)
        case .unusable, .inUse, .readableByOthers, .damagedKey, .missingKey, .corrupt, .newerSchema, .database:
            MeshError(.internalError, "the node's store failed; its log says why")
        }
    }
}
