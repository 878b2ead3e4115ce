import MeshModel

/// Something the node asks a worker until it was answered: again after a pause that doubles, when the answer is an
/// error, cannot be used, or does not come. What changes is asked again some time after it was answered.
struct WorkerQuestion: Sendable {
    private enum State: Sendable {
        /// Answered, given up, or not asked yet.
        case settled
        case asked(since: Instant)
        case pausing(until: Instant)
        /// Answered, until it is asked again.
        case resting(until: Instant)
    }

    let operation: String
    private let attemptsAtMost: Int
    /// Nil for what is asked once.
    private let refreshMs: Int64?
    private var state = State.settled
    private var attempts = 0
    private var answeredAt = Instant(nanoseconds: 0)
    /// A worker that needs longer than the node waits answers the question before the last one. 0: none.
    private var numbers: (latest: UInt64, earlier: UInt64) = (0, 0)

    init(_ operation: String, attempts: Int = .max, refreshMs: Int64? = nil) {
        self.operation = operation
        attemptsAtMost = attempts
        self.refreshMs = refreshMs
    }

    var latest: UInt64 { numbers.latest }

    var isSettled: Bool {
        switch state {
        case .settled, .resting: true
        case .asked, .pausing: false
        }
    }

    /// From the beginning: answers to what was asked before do not count any more.
    mutating func begin(_ number: UInt64, now: Instant) {
        numbers = (0, 0)
        attempts = 0
        ask(number, now: now)
    }

    mutating func ask(_ number: UInt64, now: Instant) {
        numbers = (number, numbers.latest)
        attempts += 1
        state = .asked(since: now)
    }

    mutating func settle() { state = .settled }

    /// It was answered.
    mutating func answered(now: Instant) {
        attempts = 0
        state = refreshMs.map { .resting(until: now.advanced(byMilliseconds: $0)) } ?? .settled
        answeredAt = now
    }

    /// There is a reason to ask again before the time; never sooner than a pause after the last answer.
    mutating func doubt() {
        guard case .resting(let until) = state else { return }
        state = .resting(until: min(until, answeredAt.advanced(byMilliseconds: Limits.workerQuestionPauseMs)))
    }

    func isAsked(_ number: UInt64) -> Bool {
        number > 0 && !isSettled && (number == numbers.latest || number == numbers.earlier)
    }

    /// The answer to `number` has come. It comes once.
    mutating func close(_ number: UInt64) {
        if numbers.latest == number { numbers.latest = 0 }
        if numbers.earlier == number { numbers.earlier = 0 }
    }

    mutating func failed(now: Instant) {
        guard attempts < attemptsAtMost else { return settle() }
        let pause = Limits.workerQuestionPauseMs << Int64(min(max(attempts - 1, 0), 16))
        state = .pausing(until: now.advanced(byMilliseconds: min(pause, Limits.workerQuestionLongestPauseMs)))
    }

    /// Time passed; whether it has to be asked again.
    mutating func isDue(now: Instant) -> Bool {
        switch state {
        case .settled: return false
        case .asked(let since):
            if now.milliseconds(since: since) >= Limits.workerQuestionMs { failed(now: now) }
            return false
        case .pausing(let until), .resting(let until): return now >= until
        }
    }
}
