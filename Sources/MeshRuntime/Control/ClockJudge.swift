package import MeshModel
import Synchronization

/// Compares this node's clock with its peers': a node that is off their median by more than
/// `Limits.clockOffsetMs` signs nothing, because everybody would refuse what it signs.
///
/// This node's own clock has a voice too, and between two voices the one nearer to it counts: a single peer with a
/// wrong clock mutes nobody. A peer's voice ends with its link, and what it said is compared with the present
/// clock, so that a clock that was set right is right at once.
package final class ClockJudge: Sendable {
    /// Each peer's wall clock minus our monotonic one, in milliseconds.
    private let peers = Mutex<[PublicKey: Int64]>([:])

    package init() {}

    /// - Parameter offsetMs: the peer's wall clock minus ours at the handshake, which was just now.
    package func observed(_ peer: PublicKey, offsetMs: Int64, now: Now = SystemClock.now) {
        let base = (now.wall.milliseconds &+ offsetMs) &- now.instant.nanoseconds / 1_000_000
        peers.withLock { peers in
            if peers.count >= Limits.linksAccepted * 4 { peers.removeAll() }
            peers[peer] = base
        }
    }

    package func forget(_ peer: PublicKey) { peers.withLock { _ = $0.removeValue(forKey: peer) } }

    /// Median of all clocks, ours included, minus ours.
    package func medianOffsetMs(now: Now) -> Int64 {
        let own = now.wall.milliseconds &- now.instant.nanoseconds / 1_000_000
        let offsets = (peers.withLock { peers in peers.values.map { $0 &- own } } + [0]).sorted()
        let upper = offsets[offsets.count / 2]
        let lower = offsets[(offsets.count - 1) / 2]
        return lower.magnitude < upper.magnitude ? lower : upper
    }

    package var medianOffsetMs: Int64 { medianOffsetMs(now: SystemClock.now) }
    package var isSuspect: Bool { medianOffsetMs.magnitude > UInt64(Limits.clockOffsetMs) }
}
