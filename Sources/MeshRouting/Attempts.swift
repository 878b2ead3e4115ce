package import MeshModel

/// One request and the places it may be sent to, one after the other, as a pure machine: how long each may take, after
/// which failure the next is asked, and what is told when all have failed.
///
/// States: `idle` → `waiting` (nothing of an answer was delivered) → `answering` (the request is committed to one
/// place) → `over`. The time of a place is this node's own: signs that the other side is at work are no content and
/// move it only within a bound.
package struct Attempts: Sendable {
    package struct Terms: Hashable, Sendable {
        package var firstContentMs: Int64
        package var idleMs: Int64
        package var totalMs: Int64
        /// Whether the answer shows itself while it is made.
        package var isStream: Bool
        /// Whether a second request does no harm where a first may have had an effect.
        package var mayRepeat: Bool
        /// How many places may be asked.
        package var places: Int
        /// How often work that may have been done is asked for again.
        package var repeats: Int
        /// Whether another place may have room for a prompt that is too long for one: they do not all have one model.
        package var mayOutgrow: Bool

        package init(
            firstContentMs: Int64, idleMs: Int64, totalMs: Int64, isStream: Bool, mayRepeat: Bool,
            places: Int = Limits.forwardAttempts, repeats: Int = Limits.forwardAttempts, mayOutgrow: Bool = false
        ) {
            self.firstContentMs = firstContentMs
            self.idleMs = idleMs
            self.totalMs = totalMs
            self.isStream = isStream
            self.mayRepeat = mayRepeat
            self.places = places
            self.repeats = repeats
            self.mayOutgrow = mayOutgrow
        }
    }

    /// What became of one place before content.
    package enum Failure: Hashable, Sendable {
        case error(MeshError)
        /// The backend's own answer of an error status, which whoever runs this machine has kept.
        case refusal(status: Int, retryAfterSeconds: Int?)
        /// The same, and what it says is that the prompt is too long for it.
        case overflow(status: Int)

        /// Whether the prompt is too long for that place, in whatever form it was said.
        package var isOverflow: Bool {
            switch self {
            case .overflow: true
            case .error(let error): Fault(error) == .context
            case .refusal: false
            }
        }
    }

    package enum Lateness: Hashable, Sendable {
        case firstContent
        case idle
        case total
    }

    private enum State: Sendable {
        case idle
        case waiting(since: Instant, hasSign: Bool)
        case answering(since: Instant, isPaused: Bool)
        case over
    }

    private let terms: Terms
    private let started: Instant
    private var state = State.idle
    private var known = 0
    /// How many places were asked.
    package private(set) var tried = 0
    private var repeated = 0
    private var mayGoOn = true
    /// Whether the next place would be asked for work that a living one has taken on and failed at.
    package private(set) var repeatsWork = false
    /// The failure that says the most to the buyer, and the number of the attempt that had it.
    private var best: (failure: Failure, attempt: Int)?
    private var soonestRetry: Int?

    package init(_ terms: Terms, now: Instant) {
        self.terms = terms
        started = now
    }

    // MARK: Places

    /// So many places are known in all.
    package mutating func found(_ count: Int) { known = count }

    /// Whether a place is left that may be asked.
    package var hasNext: Bool { mayGoOn && tried < min(known, terms.places) }

    /// Whether more places than are known would be asked.
    package var wantsMore: Bool { mayGoOn && known < terms.places }

    /// The next place is asked.
    /// - Returns: what remains of the time for it.
    package mutating func begin(now: Instant) -> (firstContentMs: Int64, totalMs: Int64) {
        tried += 1
        state = .waiting(since: now, hasSign: false)
        let left = max(terms.totalMs - now.milliseconds(since: started), 1)
        return (min(terms.firstContentMs, left), left)
    }

    /// The place that was to be asked is not: too much is asked twice just now.
    package mutating func withdrawn() {
        state = .idle
        tried -= 1
        mayGoOn = false
    }

    // MARK: What the place does

    /// It says that it is at work, in whatever way that is no content.
    package mutating func signArrived() {
        guard case .waiting(let since, _) = state else { return }
        state = .waiting(since: since, hasSign: true)
    }

    /// The buyer's upload moved, or waits for the buyer: that time is not the place's.
    package mutating func uploadMoved(at instant: Instant) {
        guard case .waiting(let since, let hasSign) = state else { return }
        state = .waiting(since: max(since, instant), hasSign: hasSign)
    }

    /// Content is here, or more of it: from now on there is no other place.
    package mutating func contentArrived(now: Instant) {
        switch state {
        case .idle, .waiting: state = .answering(since: now, isPaused: false)
        case .answering(_, let isPaused): state = .answering(since: now, isPaused: isPaused)
        case .over: break
        }
    }

    /// The buyer does not take more, or does so again: while it does not, nothing can come.
    package mutating func setPaused(_ isPaused: Bool, now: Instant) {
        guard case .answering = state else { return }
        state = .answering(since: now, isPaused: isPaused)
    }

    package mutating func ended() { state = .over }

    /// The answer broke off behind content, and another place is to go on with it.
    /// - Returns: whether there may be one.
    package mutating func interrupted() -> Bool {
        guard case .answering = state, mayGoOn, hasNext || wantsMore else { return false }
        state = .idle
        return true
    }

    // MARK: Failures

    /// The place has failed before content.
    /// - Parameter canSendAgain: false when part of an upload has left, which is not here any more.
    /// - Returns: whether this is the failure to tell when no other place does better.
    package mutating func failed(_ failure: Failure, canSendAgain: Bool) -> Bool {
        state = .idle
        if !canSendAgain || !mayTryAnother(after: failure) { mayGoOn = false }
        if advice(for: failure) == .ifRepeatable { repeated += 1 }
        // Who is gone takes its share of the load along, and its requests may all go elsewhere.
        repeatsWork = advice(for: failure) == .ifRepeatable && Fault(failure) != .transport
        if let seconds = Self.retryAfter(failure) { soonestRetry = min(soonestRetry ?? seconds, seconds) }
        let isDecisive = advice(for: failure) == .never
        guard isDecisive || best.map({ Self.weight($0.failure) <= Self.weight(failure) }) ?? true else { return false }
        best = (failure, tried)
        return true
    }

    /// What to tell the buyer when no place is left, and the number of the attempt it comes from.
    package var verdict: (failure: Failure, attempt: Int)? {
        guard let (told, attempt) = best else { return nil }
        var failure = told
        guard let soonestRetry else { return (failure, attempt) }
        switch failure {
        case .error(var error):
            if advice(for: failure) != .never, !failure.isOverflow { error.retryAfterSeconds = soonestRetry }
            failure = .error(error)
        case .refusal(let status, _): failure = .refusal(status: status, retryAfterSeconds: soonestRetry)
        case .overflow: break
        }
        return (failure, attempt)
    }

    /// Whether an error status is one that another place may not have. Only a whole answer of that kind is worth
    /// keeping.
    package static func isRefusal(status: Int) -> Bool { status == 429 || status >= 500 }

    /// Whether an error status may mean that the prompt is too long, which its words tell.
    package static func mayBeOverflow(status: Int) -> Bool { status == 400 || status == 413 || status == 422 }

    /// Whether a worker that failed so should rest a moment: it does nothing now, and would refuse the next one too.
    package static func needsRest(_ failure: Failure) -> Bool {
        switch failure {
        case .error(let error):
            error.code == .workerUnavailable || error.code == .workerBusy || error.cause != nil
        case .refusal(let status, _): status == 429 || status == 503
        case .overflow: false
        }
    }

    package static func retryAfter(_ failure: Failure) -> Int? {
        switch failure {
        case .error(let error): error.retryAfterSeconds
        case .refusal(_, let seconds): seconds
        case .overflow: nil
        }
    }

    private func mayTryAnother(after failure: Failure) -> Bool {
        switch advice(for: failure) {
        case .never: false
        case .elsewhere: true
        case .ifRepeatable: terms.mayRepeat && repeated < terms.repeats
        }
    }

    private func advice(for failure: Failure) -> RetryAdvice {
        if failure.isOverflow { return terms.mayOutgrow ? .elsewhere : .never }
        return switch failure {
        // A backend's document with a status: it may have begun.
        case .error(let error) where error.code == .workerBusy && error.statusOverride != nil && !terms.mayRepeat:
            .never
        // Refused at the door of whoever should have done it.
        case .error(let error) where error.cause != nil: .elsewhere
        case .error(let error): error.code.retry
        // "Not now" means that nothing was done, where nothing could have been done by halves.
        case .refusal(let status, _) where status == 429 || status == 503: terms.mayRepeat ? .elsewhere : .never
        case .refusal(let status, _): status >= 500 ? .ifRepeatable : .never
        case .overflow: .never
        }
    }

    /// The more a failure says of why there is no answer, the heavier.
    private static func weight(_ failure: Failure) -> Int {
        // The one thing that the buyer can do something about.
        if failure.isOverflow { return 5 }
        guard case .error(let error) = failure else { return 4 }
        return switch error.code {
        case .nodeUnreachable, .draining, .misdirected, .forwardRefused, .accessDenied: 0
        case .workerUnavailable, .modelNotFound, .endpointNotOffered, .rateLimited: 1
        case .workerBusy, .workerLost, .nodeError: 2
        case .workerTimeout, .workerBadAnswer: 3
        case .invalidRequest, .invalidJSON, .invalidAPIKey, .insufficientScope, .accountDisabled, .notFound,
            .methodNotAllowed,
            .modelAmbiguous, .previousResponseNotFound, .conflict, .requestTimeout, .bodyTooLarge, .unsupportedEncoding,
            .headersTooLarge,
            .contextOverflow,
            .frameLimit, .clientClosed, .workerError, .streamInterrupted, .streamTooSlow, .storeFull, .internalError,
            .rateLimitExceeded, .insufficientQuota, .budgetExceeded, .limitForbids, .limitUnavailable,
            .idempotencyInProgress, .idempotencyNoAnswer, .idempotencyKeyReused:
            4
        }
    }

    // MARK: Time

    /// What has taken too long by now. A little more than was allowed passes: a place that keeps the same time tells
    /// its own words of it.
    package func lateness(now: Instant) -> Lateness? {
        let grace = Limits.attemptGraceMs
        switch state {
        case .idle, .over: return nil
        case .waiting(let since, let hasSign):
            if now.milliseconds(since: started) >= terms.totalMs + grace { return .total }
            return now.milliseconds(since: since) >= patienceMs(hasSign) + grace ? .firstContent : nil
        case .answering(let since, let isPaused):
            if now.milliseconds(since: started) >= terms.totalMs + grace { return .total }
            return !isPaused && now.milliseconds(since: since) >= terms.idleMs + grace ? .idle : nil
        }
    }

    /// How long a place may take for its first content. Who says that it is at work may have a queue, or give the whole
    /// answer at once at its end: it gets some times as long, but not while somebody else could show a stream's
    /// beginning in time.
    private func patienceMs(_ hasSign: Bool) -> Int64 {
        guard hasSign, !terms.isStream || !hasNext else { return terms.firstContentMs }
        return terms.firstContentMs.multipliedReportingOverflow(by: Limits.pendingPatience).partialValue
    }
}
