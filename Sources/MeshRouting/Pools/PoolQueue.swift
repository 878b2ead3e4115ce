import MeshModel

/// A request that waits for a pool. Unique at its node.
package struct PoolTicket: Hashable, Comparable, Sendable {
    package var number: UInt64

    package static func < (left: Self, right: Self) -> Bool { left.number < right.number }
}

/// Requests that wait until a member of their pool has a free place: in the order of their coming, the more urgent first,
/// and woken one at a time. A place that came free is kept for who was woken for it, so that nobody who comes by takes it.
///
/// Who waits is answered exactly once: by the choice it makes when it is woken, or by its leaving. It is not woken again
/// before it has asked again.
struct PoolQueue: Sendable {
    struct Entry: Hashable, Sendable {
        var ticket: PoolTicket
        /// From then on another tier will do.
        var spillAt: Instant
        /// From then on it does not wait any more.
        var deadline: Instant
        /// Since when it has been woken and has not asked again.
        var wokenAt: Instant?
        /// The leaf that has a place for it.
        var keeps: Int?
        /// The round in which it was last woken for nothing.
        fileprivate var passed: UInt64 = 0
        fileprivate var hasSpilled = false

        init(ticket: PoolTicket, spillAt: Instant, deadline: Instant) {
            self.ticket = ticket
            self.spillAt = spillAt
            self.deadline = deadline
        }

        fileprivate func isDue(_ now: Instant) -> Bool { now >= deadline || (!hasSpilled && now >= spillAt) }
    }

    private var queues = [[Entry]](repeating: [], count: Limits.poolPriorities)
    private(set) var count = 0
    /// Each free place begins a round; in one round everybody is asked at most once.
    private var round: UInt64 = 0
    /// The leaves whose free places are kept for somebody who was woken.
    private var kept: [(ticket: PoolTicket, leaf: Int)] = []
    /// When somebody was last woken without a sign.
    private var polled: Instant?

    var isEmpty: Bool { count == 0 }

    subscript(ticket: PoolTicket) -> Entry? {
        for queue in queues { if let entry = queue.first(where: { $0.ticket == ticket }) { return entry } }
        return nil
    }

    func position(_ ticket: PoolTicket) -> Int? {
        var before = 0
        for queue in queues {
            if let place = queue.firstIndex(where: { $0.ticket == ticket }) { return before + place + 1 }
            before += queue.count
        }
        return nil
    }

    /// Places that are kept at a leaf for others than `ticket`.
    func kept(_ leaf: Int, for ticket: PoolTicket?) -> Int {
        kept.isEmpty ? 0 : kept.count { $0.leaf == leaf && $0.ticket != ticket }
    }

    private mutating func keepNothing(for ticket: PoolTicket) { kept.removeAll { $0.ticket == ticket } }

    mutating func add(_ entry: Entry, priority: Int, now: Instant) {
        if count == 0 { polled = now }
        queues[priority].append(entry)
        count += 1
    }

    /// It is served, refused or gone.
    @discardableResult
    mutating func remove(_ ticket: PoolTicket) -> Entry? {
        for priority in queues.indices {
            guard let place = queues[priority].firstIndex(where: { $0.ticket == ticket }) else { continue }
            count -= 1
            keepNothing(for: ticket)
            return queues[priority].remove(at: place)
        }
        return nil
    }

    /// It was woken for nothing and waits on, where it stood.
    /// - Returns: the leaf that the next one may be woken for.
    mutating func returned(_ ticket: PoolTicket, now: Instant) -> (wasWoken: Bool, leaf: Int?) {
        var outcome: (Bool, Int?) = (false, nil)
        keepNothing(for: ticket)
        change(ticket) { entry in
            outcome = (entry.wokenAt != nil, entry.keeps)
            entry.wokenAt = nil
            entry.keeps = nil
            if now >= entry.spillAt { entry.hasSpilled = true }
        }
        return outcome
    }

    private mutating func change(_ ticket: PoolTicket, _ change: (inout Entry) -> Void) {
        for priority in queues.indices {
            guard let place = queues[priority].firstIndex(where: { $0.ticket == ticket }) else { continue }
            change(&queues[priority][place])
            return
        }
    }

    /// Everybody leaves.
    mutating func removeAll() -> [PoolTicket] {
        defer { self = PoolQueue() }
        return queues.flatMap { $0.filter { $0.wokenAt == nil }.map(\.ticket) }
    }

    // MARK: Waking

    /// A place may be free: the first who was not woken in this round.
    /// - Parameter isNew: whether this begins another round.
    mutating func wakeOne(for leaf: Int?, isNew: Bool, now: Instant) -> PoolTicket? {
        if isNew { round += 1 }
        guard count > 0 else { return nil }
        for priority in queues.indices {
            let found = queues[priority].firstIndex { $0.wokenAt == nil && $0.passed != round }
            guard let found else { continue }
            queues[priority][found].wokenAt = now
            queues[priority][found].keeps = leaf
            if let leaf { kept.append((queues[priority][found].ticket, leaf)) }
            queues[priority][found].passed = round
            return queues[priority][found].ticket
        }
        return nil
    }

    /// Those whose time is over, and now and then one more: places may come free that no pool hears of.
    mutating func tick(now: Instant) -> [PoolTicket] {
        guard count > 0 else { return [] }
        var woken: [PoolTicket] = []
        for priority in queues.indices {
            // Who has been woken, has not asked again, and would not wait any more: whoever it was is not there.
            let lost = queues[priority].filter { entry in
                guard let wokenAt = entry.wokenAt, now >= entry.deadline else { return false }
                return now.milliseconds(since: wokenAt) >= Limits.poolOfferMs
            }
            for entry in lost { remove(entry.ticket) }
            for place in queues[priority].indices {
                if let wokenAt = queues[priority][place].wokenAt {
                    guard now.milliseconds(since: wokenAt) >= Limits.poolOfferMs else { continue }
                    queues[priority][place].keeps = nil
                    keepNothing(for: queues[priority][place].ticket)
                } else if queues[priority][place].isDue(now) {
                    queues[priority][place].wokenAt = now
                    queues[priority][place].hasSpilled = true
                    woken.append(queues[priority][place].ticket)
                }
            }
        }
        if polled.map({ now.milliseconds(since: $0) >= Limits.poolWakeMs }) ?? true {
            polled = now
            if let ticket = wakeOne(for: nil, isNew: true, now: now) { woken.append(ticket) }
        }
        return woken
    }

    /// When `tick` has something to do.
    func nextDeadline(now: Instant) -> Instant? {
        guard count > 0 else { return nil }
        var next = (polled ?? now).advanced(byMilliseconds: Limits.poolWakeMs)
        for queue in queues {
            for entry in queue where entry.wokenAt == nil {
                next = min(next, entry.hasSpilled ? entry.deadline : min(entry.spillAt, entry.deadline))
            }
        }
        return next
    }
}
