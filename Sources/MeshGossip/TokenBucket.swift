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

    /// Takes `count` even if they are not there; later takers wait for them, at most one burst's worth.
    mutating func force(_ count: Int, now: Instant) {
        refill(now)
        let cost = Int64(clamping: count).multipliedReportingOverflow(by: 1_000_000)
        level = max(cost.overflow ? -burst : level - min(cost.partialValue, 2 * burst), -burst)
    }

    private mutating func refill(_ now: Instant) {
        guard now > updated else { return }
        // An hour fills any bucket here; the bound keeps the product in range.
        let elapsed = min(now.nanoseconds &- updated.nanoseconds, 3_600_000_000_000)
        level = min(burst, level + elapsed / 1_000 * rate)
        updated = now
    }
}
