import MeshModel

/// How much was taken in the last minute, exactly: a count for each second of it. What was taken in a second counts until
/// the same second of the next minute is over, so that in no 60 seconds more than the limit is taken, wherever they begin.
struct MinuteWindow: Sendable {
    private static let seconds: Int64 = 61
    private var counts = [Int64](repeating: 0, count: Int(seconds))
    /// The second that is under way.
    private(set) var second: Int64 = 0
    private(set) var total: Int64 = 0

    private static func place(_ second: Int64) -> Int { Int(((second % seconds) + seconds) % seconds) }

    /// Forgets what is older than a minute. A clock that goes back is taken for one that stands.
    mutating func advance(to now: Instant) {
        let current = now.nanoseconds / 1_000_000_000
        guard current > second else { return }
        for passed in max(second + 1, current - Self.seconds + 1)...current {
            total -= counts[Self.place(passed)]
            counts[Self.place(passed)] = 0
        }
        second = current
    }

    mutating func take(_ amount: Int64) {
        counts[Self.place(second)] += amount
        total += amount
    }

    /// What was taken in an earlier second and not used; what is older than a minute is nobody's any more.
    mutating func giveBack(_ amount: Int64, takenIn earlier: Int64) {
        guard earlier <= second, second - earlier < Self.seconds else { return }
        let back = min(amount, counts[Self.place(earlier)])
        counts[Self.place(earlier)] -= back
        total -= back
    }

    /// Milliseconds until `amount` more fits, if nothing else is taken meanwhile; nil when it never will.
    func untilFits(_ amount: Int64, limit: Int64, now: Instant) -> Int64? {
        guard amount <= limit else { return nil }
        var left = total
        for passed in (second - Self.seconds + 1)...second {
            if left + amount <= limit { break }
            left -= counts[Self.place(passed)]
            if left + amount <= limit { return untilForgotten(passed, now) }
        }
        return 0
    }

    /// Milliseconds until nothing of what was taken counts any more.
    func untilWhole(now: Instant) -> Int64 {
        let taken = ((second - Self.seconds + 1)...second).last { counts[Self.place($0)] > 0 }
        return taken.map { untilForgotten($0, now) } ?? 0
    }

    private func untilForgotten(_ passed: Int64, _ now: Instant) -> Int64 {
        // Rounded up: a millisecond too early would be refused once more.
        max((passed + Self.seconds) * 1_000 - now.nanoseconds / 1_000_000, 0)
    }
}
