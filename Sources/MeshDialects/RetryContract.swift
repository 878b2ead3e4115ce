package import MeshModel
package import MeshWire

/// What a program is told of trying again: `x-should-retry`, which SDKs obey before they look at the status, and how long it
/// is to wait. Without it they try again after every 408, 409, 429 and 5xx, and what was paid for is bought a second time.
package struct RetryContract: Hashable, Sendable {
    package var shouldRetry: Bool
    package var afterMs: Int64?
    /// `retry-after`; whole seconds, rounded up.
    package var afterSeconds: Int?

    package init(shouldRetry: Bool, afterMs: Int64? = nil, afterSeconds: Int? = nil) {
        self.shouldRetry = shouldRetry
        self.afterMs = afterMs
        self.afterSeconds = afterSeconds
    }

    /// Of an error of this node's own, before which nothing was delivered and so nothing was billed.
    /// - Parameter mayRepeat: whether the request may be made twice when its first one was lost.
    package init(_ error: MeshError, mayRepeat: Bool) {
        if let told = error.retries {
            self.init(
                shouldRetry: told.shouldRetry,
                afterMs: told.afterMs ?? error.retryAfterSeconds.map { Int64($0) * 1_000 },
                afterSeconds: error.retryAfterSeconds)
            return
        }
        let seconds = error.retryAfterSeconds.map { max($0, 0) }
        let wait: Int64
        switch error.code.again {
        case .useless:
            self.init(shouldRetry: false, afterMs: seconds.map { Int64($0) * 1_000 }, afterSeconds: seconds)
            return
        case .ifRepeatable where !mayRepeat || Self.isFinal(status: error.statusOverride):
            self.init(shouldRetry: false)
            return
        case .ifRepeatable(let milliseconds), .helps(let milliseconds): wait = milliseconds
        }
        // Programs pass over a longer wait, and come at once: somebody may be free long before.
        let capped = seconds.map { min($0, Limits.capacityRetrySeconds) }
        let milliseconds = capped.map { Int64($0) * 1_000 } ?? wait
        self.init(
            shouldRetry: true, afterMs: milliseconds,
            afterSeconds: capped ?? Int(clamping: (milliseconds + 999) / 1_000))
    }

    /// Of an answer of a worker's backend with an error status, which passes: what it says itself stands.
    package init(status: Int, _ fields: [HeaderField]) {
        let named = fields.value("retry-after").flatMap { Self.thousandths($0) }
        let exact = fields.value("retry-after-ms").flatMap { Self.thousandths($0) }.map { $0 / 1_000 }
        let isLimited = status == 429 || status == 503 || status == 529
        let wait = exact ?? named ?? (isLimited ? Self.usualMs : nil)
        let said = fields.value("x-should-retry")
        // Who names a longer wait speaks of a quota, and not of who else is being served just now.
        let isQuota = (wait ?? 0) > Int64(Limits.obeyedRetrySeconds) * 1_000
        shouldRetry = said.map { $0 == "true" } ?? (!Self.isFinal(status: status) && !isQuota)
        afterMs = wait ?? (shouldRetry ? Self.usualMs : nil)
        afterSeconds = named == nil && !isLimited ? nil : Int(clamping: ((named ?? wait ?? 0) + 999) / 1_000)
    }

    /// A number that may have a fraction, in thousandths.
    private static func thousandths(_ text: String) -> Int64? {
        let parts = text.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
        guard let whole = parts.first.flatMap({ Int64($0) }), whole >= 0, whole < 1 << 40 else { return nil }
        let digits = parts.count == 2 ? (parts[1] + "000").prefix(3) : "0"
        return Int64(digits).map { whole * 1_000 + $0 }
    }

    private static let usualMs: Int64 = 2_000

    /// Whether a status says that the request itself is at fault: 408 and 425 are about its time.
    private static func isFinal(status: Int?) -> Bool {
        guard let status else { return false }
        return (400..<500).contains(status) && ![408, 425, 429].contains(status)
    }

    package var fields: [HeaderField] {
        var fields: [HeaderField] = []
        if let afterSeconds { fields.append(HeaderField("retry-after", String(afterSeconds))) }
        fields.append(HeaderField("x-should-retry", shouldRetry ? "true" : "false"))
        if let afterMs { fields.append(HeaderField("retry-after-ms", String(afterMs))) }
        return fields
    }
}

extension ErrorCode {
    /// Whether the same request may be answered when it is sent again, as long as nothing of it was delivered.
    package enum Again: Hashable, Sendable {
        case useless
        /// After so many milliseconds.
        case helps(Int64)
        /// The work may have been done: the same for requests whose effect may be had twice.
        case ifRepeatable(Int64)
    }

    package var again: Again {
        switch self {
        // The request, its key or its node would have to be another one.
        case .invalidRequest, .invalidJSON, .invalidAPIKey, .insufficientScope, .accessDenied, .accountDisabled,
            .notFound, .modelNotFound, .endpointNotOffered, .methodNotAllowed, .modelAmbiguous,
            .previousResponseNotFound, .conflict,
            .bodyTooLarge, .headersTooLarge, .unsupportedEncoding, .frameLimit, .contextOverflow, .limitForbids,
            .clientClosed, .storeFull, .misdirected, .forwardRefused, .idempotencyNoAnswer, .idempotencyKeyReused:
            .useless
        // Not before the time that is told, which is longer than a program waits.
        case .insufficientQuota, .budgetExceeded: .useless
        // Something was delivered, and counts.
        case .streamInterrupted, .streamTooSlow: .useless
        // Nobody knows what was done.
        case .internalError: .useless
        case .requestTimeout: .helps(500)
        case .rateLimited, .rateLimitExceeded, .limitUnavailable, .idempotencyInProgress: .helps(1_000)
        case .workerBusy: .helps(1_000)
        case .workerUnavailable, .nodeUnreachable, .draining: .helps(2_000)
        case .workerError, .workerBadAnswer, .workerLost, .workerTimeout, .nodeError: .ifRepeatable(1_000)
        }
    }
}
