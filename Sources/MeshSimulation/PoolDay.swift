import MeshCrypto
import MeshGossip
import MeshModel
import MeshRouting

/// A day of requests to two pools at some nodes, in virtual time: the live `Pools`, one at each node, and a bystander who
/// knows what is true of each seller and looks on.
struct PoolDay: Sendable {
    enum Event: Sendable {
        /// The next requests come in.
        case burst
        case arrive(Int)
        /// The fate of an attempt shows: content, or a failure.
        case shows(Int, Fault?)
        case ends(Int)
        case changes(Int)
        /// A node hears of it.
        case hears(Int, of: Int, isThere: Bool, isLeaving: Bool)
        case asks(Int)
        case tick(Int)
        /// One that a policy has nobody for looks again.
        case looks(Int)
        case buyerGoes(Int)
        /// A node dies, or is there again.
        case nodeChanges(Int)
    }

    /// A node that buyers ask.
    struct Entry: Sendable {
        var pools: Pools
        /// Of each seat, as the catalog has it.
        var isThere: [Bool]
        var isLeaving: [Bool]
        var underWay: [Int]
        /// Until when each seat said that it wants nothing; which of them is being tried out since when.
        var told: [Instant]
        var probes: [(attempt: Int, since: Instant)?]
        /// Until when each may be left alone because its key was refused, by pools and by policies.
        var refused: [[Instant]]
        /// The seats of each leaf of each pool, in the order in which they were placed.
        var leaves: [[[Int]]] = []
        var waiting: [PoolTicket: Int] = [:]
        var scheduledTick: Instant?
        var catalog = Catalog.empty(node: PublicKey(.zero))
        /// Whose workers have just left.
        var departures = Departures()
        var departed: PolicyIndex?
        var desk: PolicyDesk?
        /// Second attempts that policies may make.
        var repeats = RetryBudget(limit: Limits.routeRetryBudget, reserve: Limits.routeRetryReserve)
        var isUp = true
    }

    struct Request: Sendable {
        enum End: Hashable, Sendable {
            case served
            /// Broken off behind its first content.
            case interrupted
            case refused
            case cancelled
            /// The node that the buyer asked died.
            case lostNode
        }

        var entry: Int
        /// The number of its pool; behind those, of its policy.
        var pool: Int
        var tokens: Int
        var estimate: Int
        var asked: PoolRequest
        var arrived: Instant
        var visits = 0
        var attempt: Int?
        /// Those that were asked in this visit, and which of them had their chance: who had no free place, or too small a
        /// window, had none.
        var seats: [Int] = []
        var costs: [AttemptCost] = []
        var hadChance: [Int] { zip(seats, costs).filter { $0.1 == .attempt }.map(\.0) }
        /// Whether it is for a policy, or names a seller: for no pool.
        var isByPolicy = false
        /// The seller that it names.
        var seller: Int?
        var waits: PoolTicket?
        /// Whether it waits for somebody that its policy may choose.
        var isHeld = false
        /// When its first wait of this visit began.
        var waitedSince: Instant?
        /// When it began to wait in its pool, where it does.
        var queuedSince: Instant?
        var end: End?
        var ends = 0

        var isUnderWay: Bool { end == nil && (attempt != nil || waits != nil || isHeld) }
    }

    struct Attempt: Sendable {
        var request: Int
        var seat: Int
        /// In a pool; nil where a policy chose.
        var attempt: PoolAttempt?
        var began: Instant
        /// Whether it is a first one, and all members had the shares that their owner gave them.
        var isWhole: Bool
        var hasContent = false
        var isOver = false
    }

    let isRestless: Bool
    /// What buyers ask for.
    let ids: [PoolID]
    var market: PoolMarket
    var random: SeededGenerator
    var clock = Instant(nanoseconds: 0)
    var queue = DeadlineQueue<Event>()
    var entries: [Entry] = []
    var requests: [Request] = []
    var attempts: [Attempt] = []
    var left: Int
    var tally = PoolTally()
    var traceHash = Bytes16.zero

    static let dayMs: Int64 = 86_400_000

    /// - Parameters:
    ///   - nodesDie: whether nodes lose their power now and then.
    ///   - isRestless: the negative control: nobody rests, whatever becomes of requests.
    init(nodes: Int, requests: Int, market: PoolMarket, seed: UInt64, nodesDie: Bool = false, isRestless: Bool) {
        self.isRestless = isRestless
        self.market = market
        ids = market.ids
        left = requests
        random = SeededGenerator(seed: ~seed)
        for number in 0..<nodes {
            entries.append(entry())
            place(number)
            if nodesDie { queue.insert(.nodeChanges(number), at: after(draw(3_600_000...20_000_000))) }
        }
        if !entries.isEmpty { tally.start(entries[0].pools, ids, entries: entries.count) }
        for seat in market.seats.indices {
            queue.insert(.changes(seat), at: after(self.market.draw(60_000...10_000_000)))
        }
        queue.insert(.burst, at: after(1_000))
    }

    /// A node that knows nothing yet of anybody.
    private mutating func entry() -> Entry {
        let count = market.seats.count
        var entry = Entry(
            pools: Pools(seed: random.next()), isThere: market.seats.map { $0.mode != .gone },
            isLeaving: market.seats.map { $0.mode == .leaving }, underWay: Array(repeating: 0, count: count),
            told: Array(repeating: clock, count: count), probes: Array(repeating: nil, count: count),
            refused: Array(repeating: Array(repeating: clock, count: count), count: 2))
        let rotations = market.rotations + market.inner
        for (id, rotation) in zip(ids, market.rotations) {
            entry.pools.set(id, rotation) { name in rotations.first { $0.name == name } }
        }
        entry.leaves = ids.map { _ in [] }
        return entry
    }

    mutating func draw(_ range: ClosedRange<Int64>) -> Int64 {
        range.lowerBound + Int64(random.next() % UInt64(range.upperBound - range.lowerBound + 1))
    }

    func after(_ milliseconds: Int64) -> Instant { clock.advanced(byMilliseconds: milliseconds) }

    mutating func run() {
        while let (event, due) = queue.popDue(Instant(nanoseconds: .max)) {
            clock = max(clock, due)
            if left == 0, attempts.allSatisfy(\.isOver), requests.allSatisfy({ $0.end != nil }) { return }
            process(event)
        }
    }

    private mutating func process(_ event: Event) {
        switch event {
        case .burst: burst()
        case .arrive(let number): ask(number)
        case .shows(let number, let fault): shows(number, fault)
        case .ends(let number): ends(number)
        case .changes(let seat): changes(seat)
        case .hears(let entry, let seat, let isThere, let isLeaving):
            guard entries[entry].isUp else { return }
            entries[entry].isThere[seat] = isThere
            entries[entry].isLeaving[seat] = isLeaving
            place(entry)
            drain(entry)
        case .asks(let number): asksAgain(number)
        case .tick(let entry): tick(entry)
        case .looks(let number): looks(number)
        case .buyerGoes(let number): buyerGoes(number)
        case .nodeChanges(let number): nodeChanges(number)
        }
    }

    mutating func trace(_ word: String, _ number: Int, _ value: Int = 0) {
        let line =
            Array(word.utf8) + UInt64(number).bigEndianBytes + Int64(value).bigEndianBytes
            + clock.nanoseconds.bigEndianBytes
        traceHash = Sodium.shared.hash16(line, key: traceHash.bytes)
    }

    // MARK: Sellers

    private mutating func changes(_ number: Int) {
        // Its node is dead, and nothing happens there.
        if let host = market.seats[number].host, !entries[host].isUp {
            queue.insert(.changes(number), at: after(60_000))
            return
        }
        let time = market.change(number, now: clock)
        queue.insert(.changes(number), at: after(time))
        tellOthers(number)
    }

    /// What a seat is in now is heard of everywhere, a moment later.
    private mutating func tellOthers(_ number: Int) {
        let mode = market.seats[number].mode
        trace("mode", number)
        for entry in entries.indices {
            queue.insert(
                .hears(entry, of: number, isThere: mode != .gone, isLeaving: mode == .leaving),
                at: after(market.draw(10...2_000)))
        }
        guard mode == .gone else { return }
        // What is under way there breaks.
        for attempt in attempts.indices where !attempts[attempt].isOver && attempts[attempt].seat == number {
            fail(attempt, .transport)
        }
    }

    // MARK: Nodes

    private mutating func nodeChanges(_ number: Int) {
        trace("node", number)
        let hosted = market.seats.indices.filter { market.seats[$0].host == number }
        guard entries[number].isUp else {
            entries[number] = entry()
            for seat in hosted {
                market.seats[seat].mode = .well
                tellOthers(seat)
                entries[number].isThere[seat] = true
            }
            place(number)
            queue.insert(.nodeChanges(number), at: after(draw(3_600_000...20_000_000)))
            return
        }
        entries[number].isUp = false
        tally.deaths += 1
        for seat in hosted where market.seats[seat].mode != .gone {
            market.seats[seat].mode = .gone
            tellOthers(seat)
        }
        // Its buyers' connections break with it.
        for request in requests.indices where requests[request].entry == number && requests[request].isUnderWay {
            if let attempt = requests[request].attempt, !attempts[attempt].isOver {
                attempts[attempt].isOver = true
                market.seats[attempts[attempt].seat].underWay -= 1
            }
            end(request, .lostNode)
        }
        queue.insert(.nodeChanges(number), at: after(draw(1_000...600_000)))
    }

    private mutating func place(_ number: Int) {
        layOut(number)
        for (pool, id) in ids.enumerated() {
            let names = entries[number].pools.tree(id)?.leaves.map(\.provider) ?? []
            var places: [PoolPlaces] = []
            var leaves: [[Int]] = []
            for name in names {
                let seller = market.seller(name)
                let seats = market.seats.indices.filter {
                    market.seats[$0].seller == seller && entries[number].isThere[$0]
                }
                leaves.append(seats)
                places.append(
                    PoolPlaces(
                        provider: seller.map(PoolMarket.key), model: "m", nodes: seats.map { market.seats[$0].node }))
            }
            entries[number].leaves[pool] = leaves
            entries[number].pools.place(id, places, now: clock)
        }
    }

    /// What a node knows of a leaf for a request.
    func facts(_ leaf: Int, _ request: Request) -> MemberFacts {
        let entry = entries[request.entry]
        let seats = entry.leaves[request.pool][leaf]
        var facts = MemberFacts(free: 0)
        var (can, full): ([Int], [Int]) = ([], [])
        for (number, seat) in seats.enumerated() where !entry.isLeaving[seat] {
            can.append(number)
            let places = market.sellers[market.seats[seat].seller].places
            facts.window = market.sellers[market.seats[seat].seller].window
            let free = places.map { max($0 - entry.underWay[seat], 0) } ?? .max
            if free == 0 { full.append(number) }
            facts.free = facts.free == .max || free == .max ? .max : facts.free + free
        }
        (facts.seats, facts.full) = (PoolSeats(can), PoolSeats(full))
        if seats.isEmpty, let seller = seller(leaf, request) {
            facts.mayReturn = entry.departures.mayReturn(PoolMarket.key(seller), now: clock)
        }
        if can.isEmpty, !seats.isEmpty { (facts.exclusion, facts.seats) = (.draining, .all) }
        // Never left out on an estimate alone that may be wrong.
        if let window = facts.window, request.estimate * 3 / 4 > window { facts.exclusion = .context }
        return facts
    }

    private func seller(_ leaf: Int, _ request: Request) -> Int? {
        let leaves = entries[request.entry].pools.tree(ids[request.pool])?.leaves ?? []
        return leaves.indices.contains(leaf) ? market.seller(leaves[leaf].provider) : nil
    }
}
