package import MeshModel

/// The keys that an upstream is asked with, one after the other, as a pure machine: which is next, which rests, and when
/// nobody is asked at all.
///
/// A key that was refused rests for half an hour while another is good. When all of several were refused, one request a
/// minute is let through, so that an account that was paid is found without anybody's word, and all others hear what the
/// upstream said. A single key is always asked with.
/// A key that has had enough for now rests as long as it was told; when all have, the one that is back first is asked:
/// whether it is too early, the upstream says better.
package struct KeyRing: Hashable, Sendable {
    package enum Rest: Hashable, Sendable {
        /// It, or its account, was refused.
        case refused(BackendFailure)
        case limited
    }

    package struct Standing: Hashable, Sendable {
        package var rest: Rest?
        package var until: Instant?
    }

    package enum Turn: Hashable, Sendable {
        case ask(key: Int)
        /// Without asking.
        case refuse(BackendFailure)
    }

    private var standings: [Standing]
    private var next = 0
    private var lastTrial: Instant?
    /// Whether it refuses without asking.
    private let holdsBack: Bool

    /// - Parameter count: of keys; without any there is one turn all the same, which is without a key.
    package init(count: Int, holdsBack: Bool) {
        standings = Array(repeating: Standing(), count: max(count, 1))
        self.holdsBack = holdsBack
    }

    package var count: Int { standings.count }

    /// How the keys stand, in their order.
    package func standings(now: Instant) -> [Standing] {
        standings.map { isResting($0, now) ? $0 : Standing() }
    }

    private func isResting(_ standing: Standing, _ now: Instant) -> Bool { standing.until.map { now < $0 } ?? false }

    /// Whose turn it is.
    package mutating func turn(now: Instant) -> Turn {
        if let key = usable(now: now, except: nil) { return take(key) }
        let limited = standings.indices.filter { standings[$0].rest == .limited }
        if let key = limited.min(by: { Self.isSooner(standings[$0], standings[$1]) }) { return take(key) }
        let isTrialDue = lastTrial.map { now.milliseconds(since: $0) >= Limits.refusedKeyTrialMs } ?? true
        guard holdsBack, !isTrialDue, case .refused(let failure)? = standings[next].rest else {
            lastTrial = now
            return take(next)
        }
        return .refuse(failure)
    }

    /// The key to ask with once more, after `key` was refused.
    package mutating func other(than key: Int, now: Instant) -> Int? {
        guard let other = usable(now: now, except: key) else { return nil }
        _ = take(other)
        return other
    }

    /// A key that is good, where one is, without taking its turn.
    package func look(now: Instant) -> Int { usable(now: now, except: nil) ?? next }

    private mutating func take(_ key: Int) -> Turn {
        next = (key + 1) % standings.count
        return .ask(key: key)
    }

    private func usable(now: Instant, except: Int?) -> Int? {
        for step in standings.indices {
            let key = (next + step) % standings.count
            if key != except, !isResting(standings[key], now) { return key }
        }
        return nil
    }

    private static func isSooner(_ left: Standing, _ right: Standing) -> Bool {
        (left.until?.nanoseconds ?? 0) < (right.until?.nanoseconds ?? 0)
    }

    // MARK: What became of it

    package mutating func answered(_ key: Int) {
        standings[key] = Standing()
        lastTrial = nil
    }

    package mutating func refused(_ key: Int, _ failure: BackendFailure, now: Instant) {
        rest(key, .refused(failure), milliseconds: Limits.refusedKeyRestMs, now: now)
        lastTrial = now
    }

    package mutating func limited(_ key: Int, retryAfterSeconds: Int?, now: Instant) {
        let seconds = min(max(retryAfterSeconds ?? Limits.upstreamKeyLimitedSeconds, 1), Limits.retryAfterSeconds)
        rest(key, .limited, milliseconds: Int64(seconds) * 1_000, now: now)
    }

    /// Of two ends of a rest the later one counts.
    private mutating func rest(_ key: Int, _ rest: Rest, milliseconds: Int64, now: Instant) {
        let until = now.advanced(byMilliseconds: milliseconds)
        let old = standings[key].until.map { $0.nanoseconds > until.nanoseconds ? $0 : until } ?? until
        standings[key] = Standing(rest: rest, until: old)
    }
}
