package import MeshModel

/// How many second attempts are allowed in all: a tenth of the requests, and a few more where there are few. When
/// everything fails, every request asked three times would be three times the load, just then.
///
/// A bucket of tokens, of which each request brings a tenth, each second attempt costs one, and time brings some back.
package struct RetryBudget: Hashable, Sendable {
    /// In thousandths of a token.
    private var balance: Int
    private var filled: Instant?

    private static let token = 1_000

    private let limit: Int
    private let reserve: Int

    /// - Parameters:
    ///   - limit: how many second attempts may be saved up.
    ///   - reserve: how many there are without any request.
    package init(limit: Int = Limits.retryBudget, reserve: Int = Limits.retryReserve) {
        self.limit = limit * Self.token
        self.reserve = reserve * Self.token
        balance = self.reserve
    }

    /// A request comes in.
    package mutating func requestBegan() {
        balance = min(balance + Self.token * Limits.retryPercent / 100, limit)
    }

    /// - Returns: whether a second attempt may be made; it is paid for then.
    package mutating func spend(now: Instant) -> Bool {
        fill(now)
        guard balance >= Self.token else { return false }
        balance -= Self.token
        return true
    }

    /// What was paid for did not take place.
    package mutating func giveBack() { balance = min(balance + Self.token, limit) }

    /// Who gets a request now and then has a second attempt for it all the same.
    private mutating func fill(_ now: Instant) {
        guard let filled else {
            self.filled = now
            return
        }
        let passed = now.milliseconds(since: filled)
        guard passed >= Limits.retryReserveMs else { return }
        self.filled = now
        let earned = Int(min(passed / Limits.retryReserveMs, Int64(reserve / Self.token))) * Self.token
        balance = max(balance, min(balance + earned, reserve))
    }
}
