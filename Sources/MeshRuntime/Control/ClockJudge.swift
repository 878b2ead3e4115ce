import MeshExchange
package import MeshModel
import Synchronization

/// Compares this node's clock with its peers': a node that is off their median by more than
/// `Limits.clockOffsetMs` signs nothing, because everybody would refuse what it signs.
///
/// Nodes are made for nothing, so operators have voices and not nodes: each other operator has one, all nodes without a
/// certificate have one together. The nodes of this node's own operator have one each, as the node itself has: whoever
/// holds its operator's key needs no clock to silence it.
///
/// Between two voices the one nearer to this node's own clock counts: a single operator with a wrong clock mutes nobody.
/// A peer's voice ends with its link, and what it said is compared with the present clock, so that a clock that was set
/// right is right at once.
package final class ClockJudge: Sendable {
    private struct Peer {
        var operatorKey: PublicKey?
        /// The peer's wall clock minus our monotonic one, in milliseconds.
        var base: Int64
    }

    private let ownOperator: PublicKey?
    private let peers = Mutex<[PublicKey: Peer]>([:])

    package init(operatorKey: PublicKey?) { ownOperator = operatorKey }

    /// - Parameters:
    ///   - operatorKey: whose certificate the peer's descriptor carries.
    ///   - offsetMs: the peer's wall clock minus ours at the handshake, which was just now.
    package func observed(
        _ peer: PublicKey, operatorKey: PublicKey?, offsetMs: Int64, now: Now
    ) {
        let base = (now.wall.milliseconds &+ offsetMs) &- now.instant.nanoseconds / 1_000_000
        peers.withLock { peers in
            if peers[peer] == nil, peers.count >= Limits.linksAccepted * 4 { return }
            peers[peer] = Peer(operatorKey: operatorKey, base: base)
        }
    }

    package func forget(_ peer: PublicKey) { peers.withLock { _ = $0.removeValue(forKey: peer) } }

    /// Median of all voices, ours included, minus ours.
    package func medianOffsetMs(now: Now) -> Int64 {
        let own = now.wall.milliseconds &- now.instant.nanoseconds / 1_000_000
        var voices: [Int64] = [0]
        var others: [PublicKey?: [Int64]] = [:]
        for peer in peers.withLock({ Array($0.values) }) {
            if let ownOperator, peer.operatorKey == ownOperator {
                voices.append(peer.base &- own)
            } else {
                others[peer.operatorKey, default: []].append(peer.base &- own)
            }
        }
        return Self.median(voices + others.values.map(Self.median))
    }

    private static func median(_ offsets: [Int64]) -> Int64 {
        let sorted = offsets.sorted()
        let upper = sorted[sorted.count / 2]
        let lower = sorted[(sorted.count - 1) / 2]
        return lower.magnitude < upper.magnitude ? lower : upper
    }

    package func isSuspect(now: Now) -> Bool { medianOffsetMs(now: now).magnitude > UInt64(Limits.clockOffsetMs) }
}
