import MeshModel
import Synchronization

/// The requests this session works on, so that `cancel` finds them and their number stays bounded.
final class RequestTable: Sendable {
    enum Admission: Sendable {
        /// Yields once when the broker cancels the request.
        case admitted(cancelled: AsyncStream<Void>)
        case busy
        case draining
        case duplicate
    }

    private struct State {
        var running: [String: AsyncStream<Void>.Continuation] = [:]
        var draining = false
    }
    private let state = Mutex(State())

    func begin(_ requestID: String) -> Admission {
        state.withLock { state in
            guard !state.draining else { return .draining }
            guard state.running[requestID] == nil else { return .duplicate }
            guard state.running.count < Limits.workerAgentRequestsAtOnce else { return .busy }
            let (stream, continuation) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingOldest(1))
            state.running[requestID] = continuation
            return .admitted(cancelled: stream)
        }
    }

    func cancel(_ requestID: String) {
        let continuation = state.withLock { $0.running[requestID] }
        continuation?.yield()
    }

    func end(_ requestID: String) {
        let continuation = state.withLock { $0.running.removeValue(forKey: requestID) }
        continuation?.finish()
    }

    func drain() { state.withLock { $0.draining = true } }
    var isEmpty: Bool { state.withLock { $0.running.isEmpty } }
}
