internal import MeshModel

/// A rate limit in integers: `rate` tokens per second, at most `burst` at once.
struct TokenBucket: Sendable {
    private let rate: Int64
    private let burst: Int64
    /// Millionths of a token; may go below zero when somebody takes what is not there.
    private var level: Int64
    private var updated: Instant

    init(ratePerSecond: Int, burst: Int, now: Instant) {
        rate = Int64(ratePerSecond)
        self.burst = Int64(burst) * 1_000_000
        level = self.burst
        updated = now
    }

    /// Takes `count` if so many are there.
    mutating func take(_ count: Int, now: Instant) -> Bool {
        refill(now)
        let cost = Int64(clamping: count).multipliedReportingOverflow(by: 1_000_000)
        guard !cost.overflow, cost.partialValue <= level else { return false }
        level -= cost.partialValue
        return true
    }

    /// Whether a burst is owed already.
    mutating func isExhausted(_ now: Instant) -> Bool {
        refill(now)
        return level <= -burst
    }

    /// Takes `count` even if they are not there; later takers wait for them, at most one burst's worth.
    mutating func force(_ count: Int, now: Instant) {
        refill(now)
        let cost = Int64(clamping: count).multipliedReportingOverflow(by: 1_000_000)
        level = max(cost.overflow ? -burst : level - min(cost.partialValue, 2 * burst), -burst)
    }

    /// What an allowance says to one more charge.
    enum Charge: Sendable {
        case covered
        /// More than there was; what is owed is paid back before anything else is covered.
        case owed
        /// More is owed than anybody who keeps to the rules could owe.
        case flooded

        func joined(_ other: Charge) -> Charge {
            switch (self, other) {
            case (.flooded, _), (_, .flooded): .flooded
            case (.owed, _), (_, .owed): .owed
            case (.covered, .covered): .covered
            }
        }
    }

    /// Takes `count` whether they are there or not, down to `seconds` worth of the rate below nothing.
    mutating func charge(_ count: Int, now: Instant, debtSeconds seconds: Int64) -> Charge {
        refill(now)
        let bound = rate * seconds * 1_000_000
        let cost = Int64(clamping: count).multipliedReportingOverflow(by: 1_000_000)
        let most = burst + 2 * bound
        level = max(level - (cost.overflow ? most : min(cost.partialValue, most)), -2 * bound)
        if level >= 0 { return .covered }
        return level < -bound ? .flooded : .owed
    }

    /// How many could be taken now; never below zero.
    mutating func available(_ now: Instant) -> Int {
        refill(now)
        return Int(clamping: max(level, 0) / 1_000_000)
    }

    private mutating func refill(_ now: Instant) {
        guard now > updated else { return }
        // An hour fills any bucket here; the bound keeps the product in range.
        let elapsed = min(now.nanoseconds &- updated.nanoseconds, 3_600_000_000_000)
        level = min(burst, level + elapsed / 1_000 * rate)
        updated = now
    }
}
