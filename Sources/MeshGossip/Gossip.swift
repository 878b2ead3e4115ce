package import MeshModel
import MeshWire
internal import OrderedCollections

/// Everything a node decides about records and peers, as one value: no clock, no socket, no task. The live node and
/// the simulator drive the same one. (Docs/Protocol/gossip.md)
///
/// What it keeps: the latest record per key with the state of its dependencies, a lease per node, the links, dials
/// and their back-off. What it promises:
/// - A record is taken only after `VerifiedRecord.verify`, and only when newer than what is held.
/// - Two records of one signer, key and version make each other void on every node, in whatever order they came.
/// - A record counts (`isUsable`) only while everything it depends on is there: advert → descriptor of its home,
///   grant → advert, attachment → grant and descriptor of its host.
/// - Every table, list and rate has a bound in `Limits`.
package struct Gossip: Sendable {
    package internal(set) var configuration: Configuration
    var random: SeededGenerator
    var table = RecordTable()
    /// When records have to be looked at again: they end, or something they rest on does.
    var reviews = DeadlineQueue<RecordKey>()
    var leases: OrderedDictionary<RecordKey, Lease> = [:]
    var links: OrderedDictionary<LinkID, Link> = [:]
    var wants = WantTable()
    var dials = DialTable()
    var blocks: OrderedDictionary<PublicKey, Block> = [:]
    var banned: OrderedSet<PublicKey>
    /// Tombstones of records this node never held.
    var orphans: OrderedSet<RecordKey> = []
    let ownDescriptorKey: RecordKey
    var antiEntropyDue: Instant
    var beaconDue: Instant
    var roundCounter: UInt64 = 0
    var effects: [Effect] = []

    package init(configuration: Configuration, now: Now) {
        self.configuration = configuration
        random = SeededGenerator(seed: configuration.seed)
        banned = OrderedSet(configuration.bannedSigners)
        ownDescriptorKey = RecordFacts.descriptorKey(of: configuration.key, cryptography: configuration.cryptography)
        antiEntropyDue = now.instant
        beaconDue = now.instant
        for peer in configuration.staticPeers {
            dials.add(DialTarget(key: peer.key, address: peer.address, isStatic: true, due: now.instant))
        }
        antiEntropyDue = now.instant.advanced(byMilliseconds: interval(configuration.intervals.antiEntropyMs))
    }

    /// Takes one input and says what has to be done, in this order.
    package mutating func handle(_ input: Input, now: Now) -> [Effect] {
        switch input {
        case .linkUp(let id, let peer, let dialled, let address, let descriptor):
            linkUp(id, peer: peer, dialled: dialled, address: address, descriptor: descriptor, now: now)
        case .linkDown(let id, let isLost): linkDown(id, isLost: isLost, now: now)
        case .frame(let id, let frame): receive(frame, from: id, now: now)
        case .publish(let record): publish(record, now: now)
        case .restore(let records): restore(records, now: now)
        case .dialFailed(let key, let address): dialFailed(key, address: address, now: now)
        case .reach(let key): reach(key, now: now)
        case .configure(let admission, let peers): configure(admission, peers, now: now)
        case .tick: break
        }
        runTimers(now)
        flushPushes(now)
        defer { effects.removeAll() }
        return effects
    }

    /// When `tick` has to be called at the latest.
    package var nextDeadline: Instant? {
        var earliest = min(antiEntropyDue, beaconDue)
        for deadline in [reviews.nextDeadline, wants.nextDeadline, dials.nextDeadline] {
            if let deadline { earliest = min(earliest, deadline) }
        }
        for lease in leases.values { earliest = min(earliest, lease.expires) }
        for link in links.values {
            if let deadline = link.nextDeadline { earliest = min(earliest, deadline) }
        }
        return earliest
    }

    private mutating func runTimers(_ now: Now) {
        reviewRecords(now)
        expireLeases(now)
        if beaconDue <= now.instant {
            beaconDue = now.instant.advanced(byMilliseconds: interval(configuration.intervals.beaconMs))
            effects.append(.beaconDue)
        }
        runLinkTimers(now)
        if antiEntropyDue <= now.instant {
            antiEntropyDue = now.instant.advanced(byMilliseconds: interval(configuration.intervals.antiEntropyMs))
            reconcileWithRandomMember(now)
        }
        sendWants(now)
        dialMissing(now)
    }

    mutating func interval(_ milliseconds: Int64) -> Int64 {
        max(1, random.jittered(milliseconds, percent: configuration.intervals.jitterPercent))
    }
}
