import MeshCrypto
import MeshGossip
package import MeshModel
import MeshWire

/// A mesh in virtual time: many `Gossip` values, a network between them, and checks that run along. The same options
/// give the same run, event by event; `traceHash` says so.
package struct Simulation: Sendable {
    enum Event: Sendable {
        case start(Int)
        case tick(Int, generation: Int)
        case frame(Int, LinkID, Aisbf_Mesh_V1_LinkFrame)
        case connected(Int, from: Int, address: String)
        case dialFailed(Int, PublicKey?, address: String)
        case closed(Int, LinkID)
    }

    /// One connection, as both ends know it.
    struct Connection: Sendable {
        var ends: [Int]
        var isOpen = true
        /// Nothing on a link overtakes what was sent before, unless reordering says so.
        var lastArrival: [Instant]
    }

    package let options: SimulationOptions
    package internal(set) var nodes: [SimulatedNode] = []
    package private(set) var clock = Instant(nanoseconds: 0)
    package internal(set) var counters = SimulationCounters()
    /// What must never happen and did.
    package internal(set) var violations: [String] = []
    package private(set) var traceHash = Bytes16.zero
    /// The update whose way is watched, when it arrived where, and how many copies did.
    package internal(set) var watched: RecordKey?
    var watchedSince = Instant(nanoseconds: 0)
    package internal(set) var arrivals: [Int: Instant] = [:]
    package internal(set) var watchedCopies = 0

    var random: SeededGenerator
    var queue = DeadlineQueue<Event>()
    /// By link id: an id is never used twice, and both ends use the same.
    var connections: [Connection] = []
    /// Group of each node; frames cross only within a group.
    var groups: [Int]
    /// Everything anybody really signed, by record hash.
    var genuine: [Bytes32: [UInt8]] = [:]

    package static let network = NetworkID(Bytes16(high: 0x6169_7362_662d_7369, low: 0x6d75_6c61_7469_6f6e))
    static let wallStart = Timestamp(milliseconds: 1_780_000_000_000)

    package init(options: SimulationOptions) {
        self.options = options
        random = SeededGenerator(seed: options.seed)
        groups = Array(repeating: 0, count: options.nodes)
        for index in 0..<options.nodes { nodes.append(makeNode(index)) }
        let descriptors = nodes.indices.map { describe($0) }
        for index in nodes.indices {
            if options.start == .introduced {
                for record in descriptors { nodes[index].persist(record) }
            } else {
                nodes[index].persist(descriptors[index])
            }
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
        case .tick(let index, let generation):
            guard nodes[index].isUp, nodes[index].generation == generation else { return }
            nodes[index].scheduledTick = nil
            drive(index, .tick)
        case .frame(let index, let link, let frame): deliver(frame, link, to: index)
        case .connected(let index, let from, let address): connect(from, to: index, address: address)
        case .dialFailed(let index, let key, let address): drive(index, .dialFailed(key, address: address))
        case .closed(let index, let link): drive(index, .linkDown(link))
        }
    }

    /// Gives one input to one node and does what it says.
    mutating func drive(_ index: Int, _ input: Gossip.Input) {
        guard nodes[index].isUp else { return }
        let effects = nodes[index].gossip.handle(input, now: now(index))
        for effect in effects { perform(effect, of: index) }
        guard let deadline = nodes[index].gossip.nextDeadline else { return }
        // A deadline in the past would mean a node that spins; the next millisecond is soon enough.
        let due = max(deadline, clock.advanced(byMilliseconds: 1))
        if let scheduled = nodes[index].scheduledTick, scheduled <= due { return }
        nodes[index].scheduledTick = due
        queue.insert(.tick(index, generation: nodes[index].generation), at: due)
    }

    mutating func trace(_ word: String, _ index: Int, _ bytes: [UInt8]) {
        let line = Array(word.utf8) + UInt64(index).bigEndianBytes + clock.nanoseconds.bigEndianBytes + bytes
        traceHash = Sodium.shared.hash16(line, key: traceHash.bytes)
    }

    private mutating func makeNode(_ index: Int) -> SimulatedNode {
        let seedBytes = options.seed.bigEndianBytes + UInt64(index).bigEndianBytes
        // A digest of 32 bytes is a seed.
        guard let key = SigningKey(seed: Sodium.shared.hash32(seedBytes).bytes) else {
            preconditionFailure("a digest has 32 bytes")
        }
        var configuration = Gossip.Configuration(
            key: key.publicKey, network: Self.network, cryptography: Sodium.shared, seed: random.next(),
            admission: LinkAdmission(isOpen: true))
        if !options.verifiesSignatures { configuration.cryptography = CredulousCryptography() }
        configuration.intervals = options.intervals
        configuration.dialsBack = options.dialsBack
        if options.start == .cold, index > 0 {
            configuration.staticPeers = [.init(key: nil, address: SimulatedNode.address(0))]
        }
        let span = options.clockOffsetMs
        let offset = span == 0 ? 0 : Int64(random.next() % UInt64(2 * span + 1)) - span
        let now = Now(instant: clock, wall: Self.wallStart)
        return SimulatedNode(
            index: index, key: key, behaviour: options.behaviours[index] ?? .honest, clockOffsetMs: offset,
            gossip: Gossip(configuration: configuration, now: now))
    }

    private mutating func start(_ index: Int) {
        let configuration = nodes[index].gossip.configuration
        nodes[index].gossip = Gossip(configuration: configuration, now: now(index))
        nodes[index].isUp = true
        nodes[index].generation += 1
        nodes[index].scheduledTick = nil
        drive(index, .restore(nodes[index].stored))
    }

    /// Ends a node at once; its disk stays. Peers see closed sockets.
    package mutating func crash(_ index: Int) {
        nodes[index].isUp = false
        for link in connections.indices where connections[link].isOpen && connections[link].ends.contains(index) {
            close(LinkID(raw: UInt64(link)), by: index)
        }
    }

    package mutating func restart(_ index: Int) { queue.insert(.start(index), at: clock.advanced(byMilliseconds: 1)) }

    func isHonest(_ index: Int) -> Bool { nodes[index].behaviour == .honest }

}
