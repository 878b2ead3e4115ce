import MeshModel

/// What all pools of a node share.
struct PoolCommons: Sendable {
    var board = HealthBoard()
    var tickets: UInt64 = 0
    /// Who is to choose again.
    var woken: [PoolTicket] = []
    /// How many wait, in all pools.
    var waiting = 0
}

/// One pool at one node, as a pure machine: whom a request is sent to, who rests, who waits. `Pools` is how it is
/// driven, and says in which order.
///
/// A leaf (one provider and model) is in one of these states at each of its nodes: open, which after a rest is 25, 50 and
/// 100 of a hundred of its share over half a minute; resting until a time; half open, when that time is over, for one
/// request that shows whether it is well. An open leaf with a free place takes its share of requests, by smooth weighted
/// round-robin among those of its tier that can take this one; a conversation prefers where it was.
struct Pool: Sendable {
    struct Seat: Sendable {
        let key: PoolSeatKey
        /// On the board.
        let place: Int
        var health = MemberHealth()
        var underWay = 0
        /// Whether it was gone when last looked at.
        var isAway = false
    }

    struct Leaf: Sendable {
        let identity: UInt64
        var provider: RecordKey?
        var model = ""
        /// Those that can be asked first, in the order of `PoolPlaces.nodes`; then those that were, of which something is
        /// remembered.
        var seats: [Seat] = []
        var placed = 0
        /// The leaf that means the same provider and model, where that is an earlier one.
        var twin: Int?

        func tried(at seat: Int) -> PoolRequest.Tried {
            PoolRequest.Tried(identity: identity, node: seats[seat].key.node)
        }
    }

    /// One leaf for one request.
    struct Standing: Sendable {
        /// Nil when it can take it, and when it was asked already.
        var reason: Exclusion?
        var percent = 0
        var open = PoolSeats.none
        /// Its seat that has been half open for the longest time, and whose probe is free.
        var halfOpen: (seat: Int, since: Instant)?
        /// The seat that rests and may be asked all the same, when nobody else is left.
        var early: Early?
        var soonest: Instant?
        /// When it may be seen whether its key is good again, where nobody else is left.
        var trial: Instant?
        /// When it takes a request again, as far as one can tell.
        var back: Instant? { trial.map { min($0, soonest ?? $0) } ?? soonest }
        /// Whether it is open, whatever this request may need.
        var isIn = false
        /// Whether one of its seats is being tried out; whether one is open and has no free place.
        var isBusy = false
        var isFull = false
        /// Whether it has just left.
        var mayReturn = false
    }

    /// A seat that rests: until when, and when it was asked all the same for the last time.
    struct Early: Sendable {
        var seat: Int
        var until: Instant
        var asked: Instant?
        /// Whether it rests because its key was refused: it comes behind all that have only failed.
        var isDown = false

        func isBetter(than other: Early) -> Bool {
            guard isDown == other.isDown else { return other.isDown }
            let never = Instant(nanoseconds: .min)
            let (own, others) = (asked ?? never, other.asked ?? never)
            return own == others ? until < other.until : own < others
        }
    }

    /// One group for one request.
    struct Standings: Sendable {
        var percent = 0
        /// The nodes of the tier that serves, and of the next one that could while that one comes back.
        var serving: Range<Int>?
        var next: Range<Int>?
        /// Whether a lower tier than the one that serves has no free place.
        var passesFull = false
        var isFull = false
        /// The leaf that has been half open for the longest time.
        var probe: (leaf: Int, since: Instant)?
        var isIn = false
    }

    /// Whom a survey is to find.
    enum Scope: Hashable, Sendable {
        /// Members that were not asked for this request.
        case others
        /// Those of them that had free places and did not fail lately, of whatever tier.
        case surely
        /// Other nodes of members that were.
        case again
    }

    let serial: UInt64
    private(set) var settings: Rotation.Settings
    private(set) var tree: PoolTree
    var leaves: [Leaf] = []
    var sessions = PoolSessions()
    var queue = PoolQueue()
    var budget = RetryBudget()
    var random: SeededGenerator
    /// Of each node of the tree: by how much it is behind (above zero) or ahead of its share.
    var credits: [Int64] = []
    /// Of each node: whether it was out when last looked at.
    var wasOut: [Bool] = []
    /// Of each group: what its lower tier, which comes back, is behind by.
    var rampCredits: [Int] = []

    // What was found for the request that is being looked at; kept to spare the memory's work.
    var standings: [Standing] = []
    var nodePercents: [Int] = []
    var groups: [Standings] = []
    var path: [(group: Int, node: Int, run: Range<Int>)] = []

    init(_ rotation: Rotation, others: (String) -> Rotation?, serial: UInt64, random: SeededGenerator) {
        self.serial = serial
        self.random = random
        settings = rotation.settings
        tree = PoolTree(rotation, others: others)
        startShares()
    }

    /// Its owner has changed it. What is known of members that stay is kept; the shares begin anew.
    mutating func change(
        _ rotation: Rotation, others: (String) -> Rotation?, _ commons: inout PoolCommons
    ) {
        settings = rotation.settings
        tree = PoolTree(rotation, others: others)
        let before = leaves
        startShares()
        for old in before {
            if let place = leaves.firstIndex(where: { $0.identity == old.identity }) {
                leaves[place] = old
                leaves[place].twin = nil
            } else {
                for seat in old.seats { commons.board.release(seat.key, underWay: seat.underWay) }
            }
        }
        findTwins()
    }

    /// It is gone.
    mutating func close(_ commons: inout PoolCommons) {
        commons.woken += queue.removeAll()
        for leaf in leaves {
            for seat in leaf.seats { commons.board.release(seat.key, underWay: seat.underWay) }
        }
    }

    private mutating func startShares() {
        leaves = tree.leaves.map { Leaf(identity: $0.identity) }
        credits = [Int64](repeating: 0, count: tree.nodes.count)
        wasOut = [Bool](repeating: false, count: tree.nodes.count)
        rampCredits = [Int](repeating: 0, count: tree.groups.count)
        standings = [Standing](repeating: Standing(), count: tree.leaves.count)
        nodePercents = [Int](repeating: 0, count: tree.nodes.count)
        groups = [Standings](repeating: Standings(), count: tree.groups.count)
    }

    // MARK: Places

    /// Where its leaves can be asked now, in their order.
    mutating func place(_ places: [PoolPlaces], _ commons: inout PoolCommons, now: Instant) {
        for (number, places) in zip(leaves.indices, places) { place(number, places, &commons.board, now) }
        findTwins()
        wake(for: nil, isNew: true, &commons, now)
    }

    private mutating func place(_ number: Int, _ places: PoolPlaces, _ board: inout HealthBoard, _ now: Instant) {
        let keys = places.provider.map { provider in
            places.nodes.prefix(Limits.poolSeatsPerMember).map {
                PoolSeatKey(provider: provider, model: places.model, node: $0)
            }
        }
        var seats: [Seat] = []
        for key in keys ?? [] where !seats.contains(where: { $0.key == key }) {
            if var known = leaves[number].seats.first(where: { $0.key == key }) {
                known.comes(now)
                seats.append(known)
            } else if let place = board.hold(key) {
                seats.append(Seat(key: key, place: place))
            }
        }
        leaves[number].placed = seats.count
        for old in leaves[number].seats where !seats.contains(where: { $0.key == old.key }) {
            // A worker that comes back finds its rest where it left it.
            let isPlain = old.underWay == 0 && old.health.isPlain(now: now) && board.isPlain(old.place, now: now)
            if isPlain || seats.count >= 2 * Limits.poolSeatsPerMember {
                board.release(old.key, underWay: old.underWay)
            } else {
                var old = old
                old.isAway = true
                seats.append(old)
            }
        }
        leaves[number].seats = seats
        leaves[number].provider = places.provider
        leaves[number].model = places.model
    }

    private mutating func findTwins() {
        for number in leaves.indices {
            let leaf = leaves[number]
            leaves[number].twin = leaves[..<number].firstIndex {
                leaf.provider != nil && $0.provider == leaf.provider && $0.model == leaf.model
            }
        }
    }

    /// A member that was out of reach and is back is no worse for it. Only those are looked at of whom that is held.
    /// - Parameter facts: of each leaf, for the request of the moment.
    mutating func noticeReturns(now: Instant, facts: (Int) -> MemberFacts) {
        for number in leaves.indices {
            for seat in 0..<leaves[number].placed where leaves[number].seats[seat].health.isOnlyLost(now: now) {
                let facts = facts(number)
                if facts.exclusion == .absent || !facts.seats.contains(seat) {
                    leaves[number].seats[seat].isAway = true
                } else {
                    leaves[number].seats[seat].comes(now)
                }
            }
        }
    }

    // MARK: Who waits

    mutating func wake(for leaf: Int?, isNew: Bool, _ commons: inout PoolCommons, _ now: Instant) {
        if let ticket = queue.wakeOne(for: leaf, isNew: isNew, now: now) { commons.woken.append(ticket) }
    }

    /// A request that waits is not wanted any more. Nothing happens to one that does not wait.
    mutating func leave(_ ticket: PoolTicket, _ commons: inout PoolCommons, now: Instant) {
        guard let entry = queue.remove(ticket), entry.wokenAt != nil else { return }
        wake(for: entry.keeps, isNew: false, &commons, now)
    }

    mutating func tick(_ commons: inout PoolCommons, now: Instant) { commons.woken += queue.tick(now: now) }
}

extension Pool.Seat {
    /// It can be asked.
    fileprivate mutating func comes(_ now: Instant) {
        guard isAway else { return }
        isAway = false
        health.returned(now: now)
    }
}
