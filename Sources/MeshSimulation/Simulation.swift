internal import MeshBroker
import MeshCrypto
import MeshGossip
package import MeshModel
internal import MeshRouting
import MeshWire
internal import OrderedCollections

/// A mesh in virtual time: many `Broker` values with a disk each, a network between them, and checks that run along. The
/// same options give the same run, event by event; `traceHash` says so.
package struct Simulation: Sendable {
    enum Event: Sendable {
        case start(Int)
        case tick(Int, life: Int)
        case frame(Int, LinkID, Aisbf_Mesh_V1_LinkFrame)
        case connected(Int, from: Int, address: String)
        case dialFailed(Int, PublicKey?, address: String)
        case closed(Int, LinkID)
        case write(Writing)
        case persisted(Writing)
        /// A worker dials its node.
        case attach(Int)
    }

    /// One connection, as both ends know it.
    struct Connection: Sendable {
        var ends: [Int]
        var isOpen = true
        /// Nothing on a link overtakes what was sent before, unless reordering says so.
        var lastArrival: [Instant]
    }

    package internal(set) var options: SimulationOptions
    package internal(set) var nodes: [SimulatedNode] = []
    var workers: [SimulatedWorker] = []
    package private(set) var clock = Instant(nanoseconds: 0)
    package internal(set) var counters = SimulationCounters()
    /// What must never happen and did: records that nobody signed, honest peers shut out.
    package internal(set) var violations: [String] = []
    /// What was said, or gone by, before it was on the disk.
    package internal(set) var unstored: [String] = []
    /// Versions that were used twice.
    package internal(set) var contradictions: [String] = []
    package private(set) var traceHash = Bytes16.zero
    /// The update whose way is watched, when it arrived where, and how many copies did.
    package internal(set) var watched: RecordKey?
    var watchedSince = Instant(nanoseconds: 0)
    package internal(set) var arrivals: [Int: Instant] = [:]
    package internal(set) var watchedCopies = 0

    var random: SeededGenerator
    /// What happens to disks and power; of its own, so that more faults are not another network.
    var faults: SeededGenerator
    var queue = DeadlineQueue<Event>()
    /// By link id: an id is never used twice, and both ends use the same.
    var connections: [Connection] = []
    /// Group of each node; frames cross only within a group.
    var groups: [Int]
    /// Everything anybody really signed, by record hash.
    var genuine: [Bytes32: [UInt8]] = [:]
    /// What adversaries and scenarios signed past the node's broker.
    var signedByHand: Set<Bytes32> = []
    /// What each node said with which version.
    var said: [[SimulatedDisk.VersionUse: Bytes32]]

    package static let network = NetworkID(Bytes16(high: 0x6169_7362_662d_7369, low: 0x6d75_6c61_7469_6f6e))
    static let wallStart = Timestamp(milliseconds: 1_780_000_000_000)
    /// The same for every life of every node: what a restart within a minute sees.
    static let epoch = RecordVersion.epoch(at: wallStart) - 10

    package init(options: SimulationOptions) {
        self.options = options
        random = SeededGenerator(seed: options.seed)
        faults = SeededGenerator(seed: ~options.seed)
        groups = Array(repeating: 0, count: options.nodes)
        said = Array(repeating: [:], count: options.nodes)
        for index in 0..<options.nodes { nodes.append(makeNode(index)) }
        if options.start == .introduced { introduce() }
        for index in nodes.indices {
            queue.insert(.start(index), at: Instant(nanoseconds: Int64(random.next() % 1_000) * 1_000_000))
        }
    }

    package func now(_ index: Int) -> Now {
        let offset = clock.milliseconds(since: Instant(nanoseconds: 0)) + nodes[index].clockOffsetMs
        return Now(instant: clock, wall: Self.wallStart.advanced(byMilliseconds: offset))
    }

    /// Milliseconds since the start.
    package var elapsedMs: Int64 { clock.milliseconds(since: Instant(nanoseconds: 0)) }

    /// Runs for so long; ends early, with the time it took, when `condition` holds (looked at every 10 ms).
    @discardableResult
    package mutating func run(forMs duration: Int64, until condition: (Simulation) -> Bool = { _ in false }) -> Int64? {
        let begin = clock
        let end = clock.advanced(byMilliseconds: duration)
        while clock < end {
            let step = min(end, clock.advanced(byMilliseconds: 10))
            while let (event, due) = queue.popDue(step) {
                clock = max(clock, due)
                counters.events += 1
                process(event)
            }
            clock = step
            if condition(self) { return clock.milliseconds(since: begin) }
        }
        return nil
    }

    private mutating func process(_ event: Event) {
        switch event {
        case .start(let index): start(index)
        case .tick(let index, let life):
            guard nodes[index].isUp, nodes[index].generation == life else { return }
            nodes[index].scheduledTick = nil
            drive(index, Broker.Input.tick)
        case .frame(let index, let link, let frame): deliver(frame, link, to: index)
        case .connected(let index, let from, let address): connect(from, to: index, address: address)
        case .dialFailed(let index, let key, let address):
            drive(index, Gossip.Input.dialFailed(key, address: address))
        case .closed(let index, let link): drive(index, Gossip.Input.linkDown(link, isLost: true))
        case .write(let writing): write(writing)
        case .persisted(let writing): persisted(writing)
        case .attach(let worker): attach(worker)
        }
    }

    mutating func trace(_ word: String, _ index: Int, _ bytes: [UInt8]) {
        let line = Array(word.utf8) + UInt64(index).bigEndianBytes + clock.nanoseconds.bigEndianBytes + bytes
        traceHash = Sodium.shared.hash16(line, key: traceHash.bytes)
    }

    func isHonest(_ index: Int) -> Bool { nodes[index].behaviour == .honest }

    // MARK: Lives

    private mutating func makeNode(_ index: Int) -> SimulatedNode {
        let key = Self.key(options.seed.bigEndianBytes + UInt64(index).bigEndianBytes)
        var configuration = Gossip.Configuration(
            key: key.publicKey, network: Self.network, cryptography: Sodium.shared, seed: random.next(),
            admission: LinkAdmission(isOpen: true))
        if !options.verifiesSignatures { configuration.cryptography = CredulousCryptography() }
        configuration.intervals = options.intervals
        configuration.dialsBack = options.dialsBack
        if options.start == .cold {
            let peers = options.peers[index] ?? (index > 0 ? [0] : [])
            configuration.staticPeers = peers.map { .init(key: nil, address: SimulatedNode.address($0)) }
        }
        let span = options.clockOffsetMs
        let offset = span == 0 ? 0 : Int64(random.next() % UInt64(2 * span + 1)) - span
        let operatorKey = self.operatorKey(of: index)
        var node = SimulatedNode(
            index: index, key: key, operatorKey: operatorKey, behaviour: options.behaviours[index] ?? .honest,
            clockOffsetMs: offset, configuration: configuration,
            broker: Broker(configuration: configuration, now: Now(instant: clock, wall: Self.wallStart)),
            name: options.names[index] ?? "node-\(index)", catalog: .empty(node: key.publicKey))
        node.hold(key)
        node.hold(operatorKey)
        return node
    }

    /// As if the nodes had known each other for long: each has said who it is, and everybody has it on the disk.
    private mutating func introduce() {
        let descriptors = nodes.indices.map { index in
            let request = SigningRequest(
                type: .nodeDescriptor, signer: nodes[index].key.publicKey, name: [],
                body: RecordBody.bytes(of: descriptorBody(index)), lifeMs: RecordType.nodeDescriptor.maximumLifeMs,
                isTombstone: false)
            return signed(
                request, RecordVersion(epoch: Self.epoch, sequence: 1), by: nodes[index].key, wall: now(index).wall)
        }
        for index in nodes.indices {
            _ = nodes[index].disk.write(descriptors[index])
            nodes[index].descriptor = descriptors[index]
            for record in descriptors { nodes[index].disk.keep(record) }
        }
    }

    private mutating func start(_ index: Int) {
        guard !nodes[index].isUp else { return }
        nodes[index].broker = Broker(
            configuration: nodes[index].configuration,
            names: options.keepsNames ? Array(nodes[index].disk.names.values) : [],
            catalogIntervalMs: options.catalogIntervalMs, now: now(index))
        nodes[index].isUp = true
        nodes[index].generation += 1
        nodes[index].scheduledTick = nil
        nodes[index].given = [:]
        let isIntroduced = options.start == .introduced && nodes[index].generation == 1
        drive(index, Gossip.Input.restore(nodes[index].disk.stored))
        // Whoever was introduced has said it already.
        guard !isIntroduced else { return }
        nodes[index].descriptor = nil
        drive(index, .describe(descriptorBody(index)))
        drive(index, .providers(nodes[index].drafts))
    }

    /// Ends a node at once; its disk stays. Peers and workers see closed sockets.
    package mutating func crash(_ index: Int) {
        nodes[index].isUp = false
        for link in connections.indices where connections[link].isOpen && connections[link].ends.contains(index) {
            close(LinkID(raw: UInt64(link)), by: index)
        }
        loseWorkers(of: index)
    }

    package mutating func restart(_ index: Int) { queue.insert(.start(index), at: clock.advanced(byMilliseconds: 1)) }

    /// The node dies with the next batch that is written.
    mutating func doom(_ index: Int) { nodes[index].isDoomed = true }
}
