import MeshModel
import MeshRouting
import Testing

/// Whose fault it is.
@Suite struct FaultTests {
    /// Every code has its place: a new one does not compile without.
    @Test(arguments: ErrorCode.allCases) func everyCodeHasItsFault(code: ErrorCode) {
        let expected: Fault =
            switch code {
            case .invalidRequest, .invalidJSON, .invalidAPIKey, .insufficientScope, .accountDisabled, .notFound,
                .methodNotAllowed, .modelAmbiguous, .previousResponseNotFound, .conflict, .requestTimeout,
                .unsupportedEncoding, .headersTooLarge,
                .idempotencyInProgress, .idempotencyNoAnswer, .idempotencyKeyReused:
                .client
            case .contextOverflow: .context
            case .accessDenied, .modelNotFound, .endpointNotOffered, .bodyTooLarge, .frameLimit, .misdirected: .declined
            case .workerUnavailable, .draining, .workerBusy, .rateLimited: .busy
            case .workerError, .workerBadAnswer, .nodeError, .forwardRefused: .server
            case .workerTimeout: .timeout
            case .workerLost, .nodeUnreachable, .streamInterrupted: .transport
            case .clientClosed, .streamTooSlow: .buyer
            case .storeFull, .internalError, .rateLimitExceeded, .insufficientQuota, .budgetExceeded, .limitForbids,
                .limitUnavailable:
                .node
            }
        #expect(Fault(MeshError(code, "x")) == expected)
    }

    /// What may be asked elsewhere by the rules of attempts is never held back by those of pools.
    @Test(arguments: ErrorCode.allCases) func whatGoesOnElsewhereGoesOnHere(code: ErrorCode) {
        guard code.retry != .never else { return }
        #expect(Fault(MeshError(code, "x")).consequence.goesOn)
    }

    @Test(
        arguments: [
            (400, nil, Fault.client), (401, nil, .credentials), (402, nil, .billing), (403, nil, .server),
            (404, nil, .client), (407, nil, .credentials), (408, nil, .timeout), (413, nil, .client),
            (422, nil, .client),
            (429, nil, .rateLimit(retryAfterSeconds: nil)), (429, 7, .rateLimit(retryAfterSeconds: 7)),
            (500, nil, .server),
            (502, 7, .server), (503, nil, .server), (503, 7, .rateLimit(retryAfterSeconds: 7)), (529, nil, .server),
            (599, nil, .server),
        ] as [(Int, Int?, Fault)])
    func statusesOfAMember(status: Int, retryAfter: Int?, fault: Fault) {
        #expect(Fault(status: status, retryAfterSeconds: retryAfter) == fault)
        #expect(Fault(.refusal(status: status, retryAfterSeconds: retryAfter)) == fault)
        var error = MeshError(.workerError, "x", retryAfterSeconds: retryAfter)
        error.statusOverride = status
        #expect(Fault(.error(error)) == fault)
    }

    @Test func aStreamsWordsOfAPromptThatIsTooLong() {
        #expect(Fault(MeshError(.workerError, "the worker says: prompt is too long: 9000 tokens")) == .context)
        #expect(Fault(.overflow(status: 413)) == .context)
    }

    @Test func busyWithATimeIsTakenAtItsWord() {
        let busy = MeshError(.workerBusy, "x", retryAfterSeconds: 9)
        #expect(Fault(busy) == .rateLimit(retryAfterSeconds: 9))
    }

    @Test(arguments: [
        #"{"error":{"message":"…","code":"context_length_exceeded"}}"#,
        "This model's maximum context length is 8192 tokens. However, you requested 9001 tokens",
        "the request exceeds the available context size. try increasing the context size",
        #"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 210000 tokens > 200000"}}"#,
        "The input token count exceeds the maximum number of tokens allowed",
    ])
    func promptsThatAreTooLong(words: String) {
        #expect(Fault(status: 400, retryAfterSeconds: nil, words: words) == .context)
        #expect(Fault(status: 413, retryAfterSeconds: nil, words: words) == .context)
        // A server's own failure is no word about the prompt.
        #expect(Fault(status: 500, retryAfterSeconds: nil, words: words) == .server)
    }

    @Test(arguments: [
        "rate limit: too many input tokens per minute; reduce the length of the messages", "quota: prompt is too long",
        "temperature must be below 2", "",
    ])
    func otherWords(words: String) { #expect(Fault(status: 400, retryAfterSeconds: nil, words: words) == .client) }

    // MARK: What is told in the end

    static let nobody = PoolExhaustion(cause: .members, retryAfterSeconds: 12, reasons: [nil, nil, .cooling, .context])
    static let leaves = ["a/x", "b/x", "c/x", "d/x"]

    @Test func whatEachMemberSaidIsTold() {
        var failures = PoolFailures()
        failures.add("a/x", .server, words: "500 out of memory", attempt: 1)
        failures.add("b/x", .timeout, words: "no answer in time", attempt: 2)
        let verdict = failures.verdict(of: "rotation/fast", Self.nobody, leaves: Self.leaves)
        let words =
            "no member of rotation/fast answered (a/x: 500 out of memory; b/x: no answer in time; c/x: rests after "
            + "failures; d/x: too small a window); try again in 12 s"
        #expect(verdict == .error(MeshError(.workerUnavailable, words, retryAfterSeconds: 12)))
    }

    @Test func aPromptThatIsTooLongWinsOverTheSummary() {
        var failures = PoolFailures()
        failures.add("a/x", .context, words: "8,000", attempt: 1)
        failures.add("b/x", .context, words: "32,000", attempt: 2)
        failures.add("c/x", .server, words: "500", attempt: 3)
        #expect(failures.verdict(of: "rotation/fast", Self.nobody, leaves: Self.leaves) == .relay(attempt: 2))
    }

    @Test func theBuyersOwnFaultIsToldAsItCame() {
        var failures = PoolFailures()
        failures.add("a/x", .context, words: "8,000", attempt: 1)
        failures.add("b/x", .client, words: "no such tool", attempt: 2)
        #expect(failures.verdict(of: "rotation/fast", Self.nobody, leaves: Self.leaves) == .relay(attempt: 2))
    }

    @Test func whatIsToldIsBounded() throws {
        var failures = PoolFailures()
        for attempt in 1...100 {
            failures.add("m", .server, words: String(repeating: "x", count: 10_000), attempt: attempt)
        }
        let many = PoolExhaustion(
            cause: .retryBudget, retryAfterSeconds: 1, reasons: Array(repeating: .cooling, count: 64))
        guard
            case .error(let error) = failures.verdict(
                of: "rotation/fast", many, leaves: Array(repeating: "m", count: 64))
        else { return }
        #expect(error.message.utf8.count < 2_000)
    }

    // MARK: The budget of second attempts

    @Test func aTenthOfTheRequestsAndAFewMore() {
        var budget = RetryBudget()
        let now = Instant(nanoseconds: 0)
        var spent = 0
        for _ in 0..<10_000 {
            budget.requestBegan()
            while budget.spend(now: now) { spent += 1 }
        }
        #expect(spent == 1_000 + Limits.retryReserve)
    }

    @Test func whoAsksSeldomHasASecondAttemptAllTheSame() {
        var budget = RetryBudget()
        for hour in 0..<1_000 {
            budget.requestBegan()
            let isAllowed = budget.spend(now: Instant(nanoseconds: Int64(hour) * 3_600_000_000_000))
            #expect(isAllowed)
        }
    }

    /// A quiet night does not save up for a storm.
    @Test func whatIsSavedIsBounded() {
        var budget = RetryBudget()
        for _ in 0..<1_000_000 { budget.requestBegan() }
        var spent = 0
        while budget.spend(now: Instant(nanoseconds: 0)) { spent += 1 }
        #expect(spent == Limits.retryBudget)
        budget.giveBack()
        let more = (0..<2).map { _ in budget.spend(now: Instant(nanoseconds: 0)) }
        #expect(more == [true, false])
    }
}
