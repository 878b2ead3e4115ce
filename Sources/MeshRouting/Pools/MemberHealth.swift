import MeshModel

/// How somebody who rested comes back: nothing until a time, then one request to see, then more and more.
struct Recovery: Hashable, Sendable {
    enum Phase: Hashable, Sendable {
        /// Takes so many of a hundred of its requests.
        case open(percent: Int)
        /// Its time is over; one request shows whether it is well.
        case halfOpen(since: Instant)
        case resting(until: Instant)
    }

    /// Nil when it is open.
    private(set) var until: Instant?
    /// When it was found well again; nil once that is long ago.
    private var returned: Instant?

    /// Its time is over now, if it rests: one request shows whether it is well.
    mutating func end(now: Instant) {
        guard let until, now < until else { return }
        self.until = now
    }

    /// It rests, at least until then: a later time is never forgotten for an earlier one.
    mutating func rest(until instant: Instant) {
        until = until.map { max($0, instant) } ?? instant
        returned = nil
    }

    mutating func open(now: Instant) {
        guard until != nil else { return }
        until = nil
        returned = now
    }

    func phase(now: Instant) -> Phase {
        if let until { return now < until ? .resting(until: until) : .halfOpen(since: until) }
        guard let returned else { return .open(percent: 100) }
        let passed = now.milliseconds(since: returned)
        if passed >= Limits.poolRampMs { return .open(percent: 100) }
        return .open(percent: passed >= Limits.poolRampMs / 2 ? 50 : 25)
    }

    /// Whether it has never rested, or all of that is over.
    func isOver(now: Instant) -> Bool { phase(now: now) == .open(percent: 100) }
}

/// How one member of a pool does at one node, as this pool sees it: failures are counted here, by the pool's own measure,
/// whatever attempt of a request they befell. What a member says of itself is in `HealthBoard`.
struct MemberHealth: Hashable, Sendable {
    private(set) var recovery = Recovery()
    private var inARow = 0
    /// How often it was benched since it was last well for the length of a ramp: each time doubles the next.
    private var level = 0
    private var older = Tally()
    private var newer = Tally()
    private var newerSince: Instant?
    /// Whether it was out of reach in all the failures that count, and did nothing wrong in any.
    private var wasOnlyLost = true

    private struct Tally: Hashable, Sendable {
        var all = 0
        var failed = 0
    }

    mutating func succeeded(_ settings: Rotation.Settings, now: Instant) {
        inARow = 0
        if recovery.until == nil { wasOnlyLost = true }
        count(isFailure: false, settings, now)
        if recovery.isOver(now: now) { level = 0 }
    }

    /// A failure while it takes requests. Those that come in late, while it rests, say nothing new.
    /// - Returns: whether it is benched now.
    mutating func failed(
        _ fault: Fault, _ settings: Rotation.Settings, _ random: inout SeededGenerator, now: Instant
    ) -> Bool {
        guard recovery.until == nil else { return false }
        inARow += 1
        wasOnlyLost = wasOnlyLost && fault == .transport
        count(isFailure: true, settings, now)
        let all = older.all + newer.all
        let isTooOften =
            all >= settings.errorMinimum && (older.failed + newer.failed) * 100 >= all * settings.errorPercent
        guard inARow >= settings.failures || isTooOften else { return false }
        // Of those that failed between others that were served nothing more is known.
        if inARow < settings.failures { wasOnlyLost = false }
        bench(settings, &random, now: now)
        return true
    }

    /// The request that was to show whether it is well has failed.
    mutating func probeFailed(
        _ fault: Fault, _ settings: Rotation.Settings, _ random: inout SeededGenerator, now: Instant
    ) {
        wasOnlyLost = wasOnlyLost && fault == .transport
        bench(settings, &random, now: now)
    }

    mutating func probeSucceeded(now: Instant) {
        recovery.open(now: now)
        forget()
        wasOnlyLost = true
    }

    /// Whether it is held against it that it was out of reach, and nothing else: over once it is back.
    func isOnlyLost(now: Instant) -> Bool {
        guard wasOnlyLost, inARow > 0 || recovery.until != nil else { return false }
        if case .resting = recovery.phase(now: now) { return true }
        return inARow > 0
    }

    /// It is back, as somebody else or with a new connection. If it rests, one request shows whether it is well.
    mutating func returned(now: Instant) {
        guard isOnlyLost(now: now) else { return }
        recovery.end(now: now)
        inARow = 0
    }

    private mutating func bench(_ settings: Rotation.Settings, _ random: inout SeededGenerator, now: Instant) {
        let doubled = settings.cooldownMs << Int64(min(level, 16))
        let pause = random.jittered(min(doubled, settings.longestCooldownMs), percent: Self.jitterPercent)
        level = min(level + 1, 16)
        recovery.rest(until: now.advanced(byMilliseconds: pause))
        forget()
    }

    private mutating func forget() {
        inARow = 0
        (older, newer, newerSince) = (Tally(), Tally(), nil)
    }

    /// Two halves of the window, of which the older one goes as a whole.
    private mutating func count(isFailure: Bool, _ settings: Rotation.Settings, _ now: Instant) {
        let half = settings.errorWindowMs / 2
        let passed = newerSince.map { now.milliseconds(since: $0) } ?? .max
        if passed >= half {
            older = passed < 2 * half ? newer : Tally()
            newer = Tally()
            newerSince = now
        }
        newer.all += 1
        if isFailure { newer.failed += 1 }
    }

    /// Whether its last request failed.
    var hasFailed: Bool { inARow > 0 }

    /// Whether nothing is lost by forgetting it.
    func isPlain(now: Instant) -> Bool { recovery.isOver(now: now) && level == 0 && inARow == 0 }

    private static let jitterPercent: Int64 = 10
}
