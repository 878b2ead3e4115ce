package import MeshModel

/// One provider's workers for one model at one node.
package struct PoolSeatKey: Hashable, Sendable {
    package var provider: RecordKey
    /// Empty for requests that name none.
    package var model: String
    package var node: PublicKey

    package init(provider: RecordKey, model: String, node: PublicKey) {
        self.provider = provider
        self.model = model
        self.node = node
    }
}

/// What is known of members in every pool alike, because they said it themselves: until when they want no requests, and
/// that their own key or account is refused. And the one request, of whatever pool, that shows whether one is back.
///
/// What a pool counts stays in the pool (`MemberHealth`): its limits and its requests are its own, and so are the
/// failures that come of them.
struct HealthBoard: Sendable {
    struct Probe: Hashable, Sendable {
        var number: UInt64
        var since: Instant
    }

    struct Entry: Sendable {
        var recovery = Recovery()
        /// Whether it rests because its own key or account is refused, and since when.
        var isDown = false
        fileprivate var downSince: Instant?
        /// Until when it wants nothing, by its own word.
        fileprivate var saidUntil: Instant?
        /// This node's requests to it.
        fileprivate var underWay = 0
        /// Until when it counts as full with so many of them, because it said so; and how often since it last served.
        fileprivate var fullUntil: Instant?
        fileprivate var fullWith = 0
        fileprivate var fullTimes = 0
        fileprivate var fullSince: Instant?
        /// The request that is to show whether it is well; another may once this one's time is over.
        var probe: Probe?
        /// When one was last let through to somebody who rests.
        var askedEarly: Instant?
        fileprivate var holders = 0

        func isProbed(now: Instant) -> Bool {
            probe.map { now.milliseconds(since: $0.since) < Limits.poolProbeMs } ?? false
        }

        func isFull(now: Instant) -> Bool {
            guard let fullUntil else { return false }
            return underWay >= fullWith && now < fullUntil
        }

        /// When one request may see whether its key is good again, where nobody else is left; nil when it is not down.
        var trialAt: Instant? {
            guard isDown, let downSince else { return nil }
            let last = askedEarly.map { max($0, downSince) } ?? downSince
            let due = last.advanced(byMilliseconds: Limits.refusedKeyTrialMs)
            return saidUntil.map { max($0, due) } ?? due
        }

        /// Whether it had no free place a short time ago.
        func wasFull(now: Instant) -> Bool {
            fullSince.map { now.milliseconds(since: $0) < Limits.poolFullLongestMs } ?? false
        }

        fileprivate func isPlain(now: Instant) -> Bool { recovery.isOver(now: now) && probe == nil }
    }

    private let limit: Int
    private var places: [PoolSeatKey: Int] = [:]
    private(set) var entries: [Entry] = []
    private var free: [Int] = []
    private var probes: UInt64 = 0

    init(limit: Int = Limits.poolSeats) { self.limit = limit }

    subscript(place: Int) -> Entry { entries[place] }

    // MARK: Places

    /// Its place for one more who watches it; nil when there is no room.
    mutating func hold(_ key: PoolSeatKey) -> Int? {
        if let known = places[key] {
            entries[known].holders += 1
            return known
        }
        guard places.count < limit else { return nil }
        var entry = Entry()
        entry.holders = 1
        if let place = free.popLast() {
            entries[place] = entry
            places[key] = place
            return place
        }
        entries.append(entry)
        places[key] = entries.count - 1
        return entries.count - 1
    }

    /// - Parameter underWay: requests of whoever watched it, whose ends it will not hear of.
    mutating func release(_ key: PoolSeatKey, underWay: Int) {
        guard let place = places[key] else { return }
        entries[place].holders -= 1
        entries[place].underWay = max(entries[place].underWay - underWay, 0)
        guard entries[place].holders == 0 else { return }
        places[key] = nil
        free.append(place)
    }

    /// Whether nothing is lost when nobody watches it any more.
    func isPlain(_ place: Int, now: Instant) -> Bool { entries[place].isPlain(now: now) }

    // MARK: Requests

    mutating func began(_ place: Int) { entries[place].underWay += 1 }

    mutating func ended(_ place: Int) { entries[place].underWay = max(entries[place].underWay - 1, 0) }

    // MARK: What members said

    mutating func rest(_ place: Int, until: Instant) {
        entries[place].recovery.rest(until: until)
        entries[place].saidUntil = entries[place].saidUntil.map { max($0, until) } ?? until
    }

    /// It has no free place for one more beside those under way. Others send it requests, too: so that is looked at again
    /// after a moment, which is longer each time.
    mutating func full(_ place: Int, now: Instant) {
        let pause = min(Limits.poolFullMs << Int64(entries[place].fullTimes), Limits.poolFullLongestMs)
        entries[place].fullTimes = min(entries[place].fullTimes + 1, 16)
        entries[place].fullWith = entries[place].underWay
        entries[place].fullUntil = now.advanced(byMilliseconds: pause)
        entries[place].fullSince = now
    }

    /// It took a request that was sent then.
    mutating func took(_ place: Int, sent instant: Instant) {
        guard let since = entries[place].fullSince, instant >= since else { return }
        entries[place].fullTimes = max(entries[place].fullTimes - 1, 0)
        entries[place].fullSince = nil
    }

    mutating func down(_ place: Int, now: Instant) {
        entries[place].isDown = true
        entries[place].downSince = now
        entries[place].recovery.rest(until: now.advanced(byMilliseconds: Limits.refusedKeyRestMs))
    }

    // MARK: Probes

    /// Takes the place of the one probe.
    /// - Returns: its number, nil when somebody has it.
    mutating func beginProbe(_ place: Int, isEarly: Bool, now: Instant) -> UInt64? {
        guard !entries[place].isProbed(now: now) else { return nil }
        probes += 1
        entries[place].probe = Probe(number: probes, since: now)
        if isEarly { entries[place].askedEarly = now }
        return probes
    }

    /// - Returns: whether it still was the one probe.
    @discardableResult
    mutating func endProbe(_ place: Int, number: UInt64) -> Bool {
        guard entries[place].probe?.number == number else { return false }
        entries[place].probe = nil
        return true
    }

    /// It is well. What it said itself of its rest is kept.
    mutating func open(_ place: Int, now: Instant) {
        entries[place].isDown = false
        entries[place].recovery.open(now: now)
        if let said = entries[place].saidUntil, now < said { entries[place].recovery.rest(until: said) }
    }
}
