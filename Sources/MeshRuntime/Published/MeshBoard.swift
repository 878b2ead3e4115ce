import MeshGossip
package import MeshModel
import MeshWire
import Synchronization

/// What the control loop tells of the mesh beside the catalog: piece by piece, as it changes, so that nobody has to look
/// through everything there.
package final class MeshBoard: Sendable {
    /// A node's last beacon, for as long as it counts.
    package struct Lease: Hashable, Sendable {
        package var expires: Instant
        package var inFlight: UInt32
        package var isDraining: Bool
    }

    private let leases = Mutex<[PublicKey: Lease]>([:])
    private let records = Atomic<Int>(0)
    private let isQuiet = Atomic<Bool>(true)
    private let quiet = ChangeBell()

    package init() {}

    func heard(_ lease: Gossip.Lease, now: Instant) {
        leases.withLock { leases in
            if leases[lease.node] == nil, leases.count >= Limits.gossipLeases {
                leases = leases.filter { $0.value.expires > now }
                guard leases.count < Limits.gossipLeases else { return }
            }
            leases[lease.node] = Lease(
                expires: lease.expires, inFlight: lease.beacon.inFlight, isDraining: lease.beacon.draining)
        }
    }

    func holds(records count: Int) { records.store(count, ordering: .relaxed) }

    func becomes(isQuiet now: Bool) {
        guard isQuiet.exchange(now, ordering: .sequentiallyConsistent) != now, now else { return }
        quiet.ring()
    }

    /// Waits until no worker is here and the mesh has been told so.
    /// - Parameter also: what else has to be so; it may change only before the control loop hears of it.
    package func waitForQuiet(atMost milliseconds: Int64, and also: @escaping @Sendable () -> Bool) async {
        _ = await quiet.wait(atMost: milliseconds) { [self] in
            isQuiet.load(ordering: .sequentiallyConsistent) && also()
        }
    }

    package var recordCount: Int { records.load(ordering: .relaxed) }

    /// Nil once it ran out.
    package func lease(of node: PublicKey, now: Instant) -> Lease? {
        leases.withLock { $0[node] }.flatMap { $0.expires > now ? $0 : nil }
    }
}
