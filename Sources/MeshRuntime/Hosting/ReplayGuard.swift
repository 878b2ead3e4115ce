import MeshCrypto
package import MeshModel
import Synchronization

/// Remembers which forwarded requests were taken, so that none is executed twice. Two generations of
/// `generationMs` each: longer than a signature lives. A full generation refuses instead of forgetting.
package final class ReplayGuard: Sendable {
    private struct State {
        var current: Set<Bytes16> = []
        var previous: Set<Bytes16> = []
        var since = Instant(nanoseconds: 0)
    }

    private let state = Mutex(State())
    private let generationMs: Int64
    private let capacity: Int

    package init(generationMs: Int64 = Limits.forwardNonceMs, capacity: Int = Limits.forwardNonces) {
        self.generationMs = generationMs
        self.capacity = capacity
    }

    /// True the first time for these marks, all of them new; false for a repeat and when there is no room.
    package func take(_ marks: [[UInt8]], now: Instant) -> Bool {
        let hashes = marks.map { Sodium.shared.hash16($0, key: []) }
        return state.withLock { state in
            if now.milliseconds(since: state.since) >= generationMs {
                state.previous = now.milliseconds(since: state.since) >= 2 * generationMs ? [] : state.current
                state.current = []
                state.since = now
            }
            guard state.current.count + hashes.count <= capacity,
                !hashes.contains(where: { state.current.contains($0) || state.previous.contains($0) })
            else { return false }
            state.current.formUnion(hashes)
            return true
        }
    }
}
