import Synchronization

/// Holds one request's answer back while whoever takes it says `pause`: its buyer reads too slowly.
package final class FlowGate: Sendable {
    private struct State {
        var isPaused = false
        var isAbandoned = false
        /// The one sender of this request's answer, waiting.
        var waiter: CheckedContinuation<Void, Never>?
    }

    private let state = Mutex(State())

    package init() {}

    package func pause() { state.withLock { $0.isPaused = true } }

    package func resume() {
        let waiter = state.withLock { state in
            state.isPaused = false
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume()
    }

    /// Returns when the answer may go on; throws when its task was cancelled meanwhile.
    package func pass() async throws {
        try Task.checkCancellation()
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let waits = state.withLock { state in
                    guard state.isPaused, !state.isAbandoned else { return false }
                    state.waiter = continuation
                    return true
                }
                if !waits { continuation.resume() }
            }
        } onCancel: {
            state.withLock { $0.isAbandoned = true }
            resume()
        }
        try Task.checkCancellation()
    }
}
