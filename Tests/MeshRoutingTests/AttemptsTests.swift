import MeshModel
import MeshRouting
import Testing

/// What may be tried again, how long a place may take, and what is told at the end: all of it without a socket.
@Suite struct AttemptsTests {
    static func at(_ milliseconds: Int64) -> Instant { Instant(nanoseconds: milliseconds * 1_000_000) }

    static func machine(
        isStream: Bool = true, mayRepeat: Bool = true, places: Int = 3, repeats: Int = 3, known: Int = 3,
        mayOutgrow: Bool = false
    ) -> Attempts {
        var machine = Attempts(
            Attempts.Terms(
                firstContentMs: 10_000, idleMs: 4_000, totalMs: 100_000, isStream: isStream, mayRepeat: mayRepeat,
                places: places, repeats: repeats, mayOutgrow: mayOutgrow), now: at(0))
        machine.found(known)
        return machine
    }

    /// Whether another place is asked after the first has failed so.
    static func goesOn(_ failure: Attempts.Failure, mayRepeat: Bool, canSendAgain: Bool = true) -> Bool {
        var machine = machine(mayRepeat: mayRepeat)
        _ = machine.begin(now: at(0))
        _ = machine.failed(failure, canSendAgain: canSendAgain)
        return machine.hasNext
    }

    @Test(arguments: ErrorCode.allCases)
    func whatIsTriedElsewhere(code: ErrorCode) {
        let failure = Attempts.Failure.error(MeshError(code, "x"))
        let untouched: [ErrorCode] = [
            .workerUnavailable, .workerBusy, .nodeUnreachable, .draining, .frameLimit, .bodyTooLarge, .modelNotFound,
            .endpointNotOffered, .accessDenied, .rateLimited, .misdirected, .forwardRefused,
        ]
        let perhaps: [ErrorCode] = [.workerError, .workerBadAnswer, .workerLost, .workerTimeout, .nodeError]
        #expect(Self.goesOn(failure, mayRepeat: true) == (untouched.contains(code) || perhaps.contains(code)))
        // What may have had an effect is asked for once.
        #expect(Self.goesOn(failure, mayRepeat: false) == untouched.contains(code))
        #expect(!Self.goesOn(failure, mayRepeat: true, canSendAgain: false))
    }

    @Test(arguments: [
        (400, false, false), (404, false, false), (408, false, false), (422, false, false), (428, false, false),
        (429, true, false), (430, false, false), (499, false, false), (500, true, false), (502, true, false),
        (503, true, false), (599, true, false),
    ])
    func errorStatusesOfABackend(status: Int, isRepeated: Bool, isRepeatedWithEffects: Bool) {
        let failure = Attempts.Failure.refusal(status: status, retryAfterSeconds: nil)
        #expect(Self.goesOn(failure, mayRepeat: true) == isRepeated)
        #expect(Self.goesOn(failure, mayRepeat: false) == isRepeatedWithEffects)
    }

    @Test func noMoreThanThePlacesAndTheRepeats() {
        var machine = Self.machine(places: 3, known: 9)
        for number in 1...3 {
            #expect(machine.hasNext && machine.tried == number - 1)
            _ = machine.begin(now: Self.at(0))
            _ = machine.failed(.error(MeshError(.workerBusy, "x")), canSendAgain: true)
        }
        #expect(!machine.hasNext && !machine.wantsMore)
        // Work that may have been done is asked for once more, refusals do not count as such.
        var host = Self.machine(places: 9, repeats: 1, known: 9)
        for code in [ErrorCode.workerBusy, .workerError, .workerBusy] {
            _ = host.begin(now: Self.at(0))
            _ = host.failed(.error(MeshError(code, "x")), canSendAgain: true)
            #expect(host.hasNext)
        }
        _ = host.begin(now: Self.at(0))
        _ = host.failed(.error(MeshError(.workerError, "x")), canSendAgain: true)
        #expect(!host.hasNext)
    }

    /// A lost worker's load is gone with it, and one that refused did nothing.
    @Test(arguments: [
        (ErrorCode.workerError, true), (.workerTimeout, true), (.workerBadAnswer, true), (.nodeError, true),
        (.workerLost, false), (.nodeUnreachable, false), (.workerBusy, false), (.draining, false),
    ])
    func whatIsWorkDoneTwice(code: ErrorCode, repeats: Bool) {
        var machine = Self.machine()
        _ = machine.begin(now: Self.at(0))
        _ = machine.failed(.error(MeshError(code, "x")), canSendAgain: true)
        #expect(machine.repeatsWork == repeats)
        _ = machine.begin(now: Self.at(0))
        machine.withdrawn()
        #expect(!machine.hasNext && !machine.wantsMore && machine.tried == 1)
    }

    @Test func whatSaysMostIsToldWithTheSoonestTime() throws {
        let failures: [Attempts.Failure] = [
            .error(MeshError(.workerBusy, "busy", retryAfterSeconds: 20)),
            .refusal(status: 503, retryAfterSeconds: 60),
            .error(MeshError(.nodeUnreachable, "away", retryAfterSeconds: 7)),
        ]
        var machine = Self.machine()
        for failure in failures {
            _ = machine.begin(now: Self.at(0))
            _ = machine.failed(failure, canSendAgain: true)
        }
        let verdict = try #require(machine.verdict)
        #expect(verdict.failure == .refusal(status: 503, retryAfterSeconds: 7) && verdict.attempt == 2)
    }

    private static let overflows: [Attempts.Failure] = [
        .overflow(status: 400),
        .error(MeshError(.workerError, "the worker says: prompt is too long", statusOverride: 400)),
        .error(MeshError(.workerError, "the worker says: this model's maximum context length is 8192 tokens")),
    ]

    /// Where all have one model nobody has a larger window; where they have not, that is told before all else.
    @Test(arguments: overflows)
    func aPromptThatIsTooLong(failure: Attempts.Failure) throws {
        #expect(!Self.goesOn(failure, mayRepeat: true))
        var machine = Self.machine(mayOutgrow: true)
        _ = machine.begin(now: Self.at(0))
        _ = machine.failed(failure, canSendAgain: true)
        #expect(machine.hasNext)
        _ = machine.begin(now: Self.at(0))
        _ = machine.failed(.refusal(status: 503, retryAfterSeconds: 7), canSendAgain: true)
        _ = machine.begin(now: Self.at(0))
        _ = machine.failed(.error(MeshError(.workerBadAnswer, "x")), canSendAgain: true)
        let verdict = try #require(machine.verdict)
        #expect(verdict.failure == failure && verdict.attempt == 1, "and waiting is no use")
    }

    @Test func aRefusalOfTheRequestItselfIsTheAnswer() throws {
        var machine = Self.machine()
        _ = machine.begin(now: Self.at(0))
        _ = machine.failed(.error(MeshError(.workerError, "broken", retryAfterSeconds: 3)), canSendAgain: true)
        _ = machine.begin(now: Self.at(0))
        _ = machine.failed(.error(MeshError(.requestTimeout, "slow")), canSendAgain: true)
        #expect(!machine.hasNext)
        #expect(try #require(machine.verdict).failure == .error(MeshError(.requestTimeout, "slow")))
    }

    // MARK: Time

    @Test(arguments: [
        // isStream, places known, a sign of work, when it is too late
        (true, 3, false, Int64(11_000)), (true, 3, true, 11_000), (true, 1, false, 11_000), (true, 1, true, 51_000),
        (false, 3, false, 11_000), (false, 3, true, 51_000),
    ])
    func howLongAPlaceMayTake(isStream: Bool, known: Int, hasSign: Bool, end: Int64) {
        var machine = Self.machine(isStream: isStream, known: known)
        _ = machine.begin(now: Self.at(0))
        if hasSign { machine.signArrived() }
        #expect(machine.lateness(now: Self.at(end - 1)) == nil)
        #expect(machine.lateness(now: Self.at(end)) == .firstContent)
        // A thousand signs more are no more than one.
        for _ in 0..<1_000 where hasSign { machine.signArrived() }
        #expect(machine.lateness(now: Self.at(end)) == .firstContent)
    }

    @Test func theBuyersOwnUploadIsNotThePlacesTime() {
        var machine = Self.machine()
        _ = machine.begin(now: Self.at(0))
        machine.uploadMoved(at: Self.at(30_000))
        #expect(machine.lateness(now: Self.at(40_999)) == nil)
        #expect(machine.lateness(now: Self.at(41_000)) == .firstContent)
        machine.uploadMoved(at: Self.at(20_000))
        #expect(machine.lateness(now: Self.at(41_000)) == .firstContent)
        machine.uploadMoved(at: Self.at(100_900))
        #expect(machine.lateness(now: Self.at(101_000)) == .total)
    }

    @Test func allPlacesTogetherHaveOneTime() {
        var machine = Self.machine()
        #expect(machine.begin(now: Self.at(0)) == (10_000, 100_000))
        _ = machine.failed(.error(MeshError(.workerLost, "x")), canSendAgain: true)
        #expect(machine.begin(now: Self.at(95_000)) == (5_000, 5_000))
        #expect(machine.lateness(now: Self.at(100_999)) == nil)
        #expect(machine.lateness(now: Self.at(101_000)) == .total)
    }

    @Test func silenceInsideAnAnswerEndsItButNotTheBuyersOwn() {
        var machine = Self.machine()
        _ = machine.begin(now: Self.at(0))
        machine.contentArrived(now: Self.at(9_000))
        machine.signArrived()
        #expect(machine.lateness(now: Self.at(13_999)) == nil)
        #expect(machine.lateness(now: Self.at(14_000)) == .idle)
        machine.contentArrived(now: Self.at(13_000))
        #expect(machine.lateness(now: Self.at(17_999)) == nil)
        machine.setPaused(true, now: Self.at(14_000))
        #expect(machine.lateness(now: Self.at(60_000)) == nil)
        machine.setPaused(false, now: Self.at(60_000))
        #expect(machine.lateness(now: Self.at(64_999)) == nil)
        #expect(machine.lateness(now: Self.at(65_000)) == .idle)
        machine.ended()
        #expect(machine.lateness(now: Self.at(1_000_000)) == nil)
    }

    @Test func aWorkerThatRefusesRestsLongerEachTime() {
        var rest = CoolDown()
        #expect(!rest.isResting(now: Self.at(0)))
        for pause in [Int64(1_000), 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
            rest.refused(now: Self.at(0))
            #expect(rest.isResting(now: Self.at(pause - 1)) && !rest.isResting(now: Self.at(pause)))
        }
        rest.answered()
        #expect(!rest.isResting(now: Self.at(0)))
        rest.refused(retryAfterSeconds: 5, now: Self.at(0))
        #expect(rest.isResting(now: Self.at(4_999)) && !rest.isResting(now: Self.at(5_000)))
        rest.refused(retryAfterSeconds: .max, now: Self.at(0))
        #expect(!rest.isResting(now: Self.at(30_000)))
    }
}
