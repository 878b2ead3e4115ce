import MeshModel
import Synchronization

/// Which model each conversation used last; the oldest conversations are forgotten first.
final class LastModels: Sendable {
    private struct State {
        var models: [UInt64: String] = [:]
        /// Conversations in the order in which they began, in a ring.
        var order: [UInt64] = []
        var next = 0
    }

    private let state = Mutex(State())

    static let unnamed = MeshError(
        .invalidRequest,
        "the body needs a string field 'model': it names none, and no earlier request of its conversation (prompt_cache_key) named one here; GET /v1/models lists what there is",
        parameter: "model")

    func note(_ model: String, of conversation: UInt64) {
        state.withLock { state in
            if state.models.updateValue(model, forKey: conversation) != nil { return }
            if state.order.count < Limits.lastModels {
                state.order.append(conversation)
            } else {
                state.models[state.order[state.next]] = nil
                state.order[state.next] = conversation
                state.next = (state.next + 1) % Limits.lastModels
            }
        }
    }

    func model(of conversation: UInt64) -> String? { state.withLock { $0.models[conversation] } }
}
