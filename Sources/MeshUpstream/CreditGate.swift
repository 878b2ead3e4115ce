import Synchronization

/// Lets one request's answer go on for as many bytes as whoever takes it has room for, and no further: what its
/// buyer has not taken waits at the backend and not in anybody's memory.
package final class CreditGate: Sendable {
    private struct State {
        var credit: Int
        var isAbandoned = false
        /// The one sender of this request's answer, waiting.
        var waiter: CheckedContinuation<Void, Never>?
    }

    private let state: Mutex<State>

    package init(window: Int) { state = Mutex(State(credit: window)) }

    /// There is room for more.
    package func add(_ bytes: Int) {
        let waiter = state.withLock { state in
            state.credit = min(state.credit.addingReportingOverflow(bytes).partialValue, 1 << 40)
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume()
    }

    /// Takes up to `wanted` bytes of room, at least one.
    /// - Returns: how many may be sent now.
    /// - Throws: when the task was cancelled meanwhile.
    package func take(upTo wanted: Int) async throws -> Int {
        while true {
            try Task.checkCancellation()
            let taken = state.withLock { state in
                let taken = min(max(state.credit, 0), wanted)
                state.credit -= taken
                return taken
            }
            if taken > 0 { return taken }
            await changed()
        }
    }

    private func changed() async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let waits = state.withLock { state in
                    guard state.credit <= 0, !state.isAbandoned else { return false }
                    state.waiter = continuation
                    return true
                }
                if !waits { continuation.resume() }
            }
        } onCancel: {
            let waiter = state.withLock { state in
                state.isAbandoned = true
                defer { state.waiter = nil }
                return state.waiter
            }
            waiter?.resume()
        }
    }
}
