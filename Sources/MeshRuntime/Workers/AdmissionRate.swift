package import MeshModel

/// Spreads a storm of workers that all come back at once: admits `perSecond` of them, `burst` at first, and gives
/// everybody else a later time, one behind the other. In integers, and told the time.
///
/// A worker that was told to come back has no place reserved: whoever asks while there is room is let in. The times
/// only keep the late ones from coming back together.
package struct AdmissionRate: Sendable {
    private let perSecond: Int64
    private let burst: Int64
    /// Billionths of an admission.
    private var level: Int64
    private var updated: Instant
    /// When the place behind all those who were told to wait is due.
    private var queueEnd: Instant

    /// - Parameters: 1 to a million each, so that the arithmetic stays in range.
    package init(perSecond: Int, burst: Int, now: Instant) {
        self.perSecond = Int64(min(max(perSecond, 1), 1_000_000))
        self.burst = Int64(min(max(burst, 1), 1_000_000))
        level = self.burst * 1_000_000_000
        updated = now
        queueEnd = now
    }

    /// Nil: come in. Else the whole seconds, 1 to `Limits.workerRetryAfterSeconds`, after which to try again.
    package mutating func take(now: Instant) -> Int? {
        refill(now)
        if level >= 1_000_000_000 {
            level -= 1_000_000_000
            return nil
        }
        let longest = now.advanced(byMilliseconds: Int64(Limits.workerRetryAfterSeconds) * 1_000)
        let (place, overflow) = max(queueEnd, now).nanoseconds.addingReportingOverflow(1_000_000_000 / perSecond)
        queueEnd = overflow ? longest : min(Instant(nanoseconds: place), longest)
        return max(1, Int((queueEnd.milliseconds(since: now) + 999) / 1_000))
    }

    /// Takes one admission back.
    package mutating func giveBack() { level = min(burst * 1_000_000_000, level + 1_000_000_000) }

    private mutating func refill(_ now: Instant) {
        guard now > updated else { return }
        let full = burst * 1_000_000_000
        let elapsed = now.nanoseconds &- updated.nanoseconds
        updated = now
        // Whatever is longer than it takes to fill an empty bucket fills it; the bound keeps the product in range.
        guard elapsed > 0, elapsed < full / perSecond else {
            level = full
            return
        }
        level = min(full, level + elapsed * perSecond)
    }
}
