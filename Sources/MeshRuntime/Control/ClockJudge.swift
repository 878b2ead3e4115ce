package import MeshModel
import Synchronization

/// Compares this node's clock with its peers': a node that is off their median by more than
/// `Limits.clockOffsetMs` signs nothing, because everybody would refuse what it signs.
package final class ClockJudge: Sendable {
    private let offsets = Mutex<[PublicKey: Int64]>([:])

    package init() {}

    /// - Parameter offsetMs: the peer's wall clock minus ours at the handshake.
    package func observed(_ peer: PublicKey, offsetMs: Int64) {
        offsets.withLock { offsets in
            if offsets.count >= 1_024 { offsets.removeAll() }
            offsets[peer] = offsetMs
        }
    }

    /// Median of the peers' clocks minus ours; 0 without peers.
    package var medianOffsetMs: Int64 {
        let sorted = offsets.withLock { $0.values.sorted() }
        return sorted.isEmpty ? 0 : sorted[sorted.count / 2]
    }

    package var isSuspect: Bool { medianOffsetMs.magnitude > UInt64(Limits.clockOffsetMs) }
}
