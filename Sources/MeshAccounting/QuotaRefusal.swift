package import MeshModel

/// Which limit a request does not fit in, what is left of it and when it resets.
package struct QuotaRefusal: Error, Hashable, Sendable {
    package enum Cause: Hashable, Sendable {
        /// A rule: not from there, not this model, not this route, not any more.
        case forbidden
        /// There is less left than it needs.
        case usedUp
        /// The request alone is more than the limit.
        case tooLarge
        /// The price is in another currency than the limit, so nothing could be counted.
        case currency(Currency)
        /// There is room, and no slice of it on the disk yet.
        case notGranted
        /// The store cannot be written to, and money is not given out on trust.
        case storeFailed
    }

    package var subject: QuotaSubject
    package var limit: QuotaLimit
    package var cause: Cause
    /// Of the limit, and of what is left; money in millionths of `currency`.
    package var amount: Int64
    package var remaining: Int64
    package var needed: Int64
    package var currency: Currency
    /// Milliseconds until the request would fit if nothing else came; nil: never by itself.
    package var fitsAfterMs: Int64?
    /// When all of it is there again.
    package var resets: Timestamp?

    init(
        _ subject: QuotaSubject, _ limit: QuotaLimit, _ cause: Cause, amount: Int64 = 0, remaining: Int64 = 0,
        needed: Int64 = 0, currency: Currency = .usd, fitsAfterMs: Int64? = nil, resets: Timestamp? = nil
    ) {
        self.subject = subject
        self.limit = limit
        self.cause = cause
        self.amount = amount
        self.remaining = remaining
        self.needed = needed
        self.currency = currency
        self.fitsAfterMs = fitsAfterMs
        self.resets = resets
    }

    /// Which of two is told: a rule before an amount, then the one that lasts longer.
    func isToldBefore(_ other: QuotaRefusal) -> Bool { urgency > other.urgency }

    private var urgency: Int64 {
        if cause == .forbidden { return .max }
        return fitsAfterMs ?? .max - 1
    }
}

/// What a limit looks like at a moment.
package struct QuotaStanding: Hashable, Sendable {
    package var limit: QuotaLimit
    package var amount: Int64
    package var remaining: Int64
    /// Milliseconds until all of it is there again.
    package var resetMs: Int64

    package init(limit: QuotaLimit, amount: Int64, remaining: Int64, resetMs: Int64) {
        self.limit = limit
        self.amount = amount
        self.remaining = remaining
        self.resetMs = resetMs
    }
}

/// A request that was let in, and has to be settled or released.
package struct QuotaHold: Hashable, Sendable {
    package struct ID: Hashable, Sendable {
        let number: UInt64
    }

    package let id: ID
    /// The tightest of its subjects' limits of requests, and of tokens; nil where there is none.
    package let requests: QuotaStanding?
    package let tokens: QuotaStanding?
}

/// What is to be taken of the store: nothing of it is given to a request before that is on the disk.
package struct QuotaSlice: Hashable, Sendable {
    package var subject: QuotaSubject
    package var measure: QuotaMeasure
    package var period: QuotaPeriod
    /// Below zero for what is given back.
    package var amount: Int64

    package init(subject: QuotaSubject, measure: QuotaMeasure, period: QuotaPeriod, amount: Int64) {
        self.subject = subject
        self.measure = measure
        self.period = period
        self.amount = amount
    }
}
