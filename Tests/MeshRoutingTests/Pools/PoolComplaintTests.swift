import MeshModel
import MeshRouting
import Testing

/// What users of other routers complain about. Each scenario is played twice: by the rule that is complained about, in
/// its smallest form, and by ours.
@Suite struct PoolComplaintTests {
    /// Cooling, as others do it: a time per member, and a way to set it.
    struct Cooling {
        var until: [Int64]

        init(_ members: Int) { until = Array(repeating: 0, count: members) }

        func open(_ nowMs: Int64) -> [Int] { until.indices.filter { until[$0] <= nowMs } }
    }

    /// Requests that are under way at one member of several.
    static func underWay(_ count: Int, at leaf: Int, _ rig: inout PoolRig) throws -> [PoolAttempt] {
        var attempts: [PoolAttempt] = []
        while attempts.count < count {
            let attempt = try rig.must()
            if attempt.pick.leaf == leaf { attempts.append(attempt) } else { rig.end(attempt, .served) }
        }
        return attempts
    }

    // MARK: Cooling

    /// "The first, shorter deadline stays": a second 429 that names a longer time is ignored.
    @Test func theFirstShorterDeadlineStays() throws {
        var old = Cooling(2)
        for seconds in [5, 300] as [Int64] where old.until[0] == 0 { old.until[0] = seconds * 1_000 }
        #expect(old.open(10_000).contains(0))

        var rig = PoolRig([(1, 0), (1, 0)])
        for (attempt, seconds) in zip(try Self.underWay(2, at: 0, &rig), [5, 300]) {
            rig.end(attempt, .failed(.rateLimit(retryAfterSeconds: seconds)))
        }
        rig.nowMs += 10_000
        #expect(rig.reason(0) == .cooling)
        rig.nowMs += 289_999
        #expect(rig.reason(0) == .cooling)
    }

    /// "Failures during retries never cool a member": they are counted once per request, for whoever failed first.
    @Test func failuresOfSecondAttemptsNeverCool() throws {
        var counted = [0, 0]
        for _ in 0..<3 {
            var isCounted = false
            for member in [0, 1] where !isCounted {
                counted[member] += 1
                isCounted = true
            }
        }
        #expect(counted[1] == 0)

        var settings = PoolRig.plain()
        settings.failures = 3
        var rig = PoolRig([(1, 0), (1, 1)], settings: settings)
        for _ in 0..<3 {
            let first = try rig.must()
            rig.end(first, .failed(.declined))
            let second = try rig.must(PoolRequest().tried(first))
            #expect(second.pick.leaf == 1)
            rig.end(second, .failed(.server))
        }
        #expect(rig.reason(1) == .cooling)
    }

    /// "25 consecutive 500s left a member with 200 of 201 parts in rotation": who cools is looked up every ten seconds.
    @Test func whatCoolsIsStillAsked() throws {
        var (failures, cools, seen) = (0, false, false)
        for request in 0..<25 {
            let nowMs = request * 100
            if nowMs % 10_000 == 9_900 { seen = cools }
            guard !seen else { continue }
            failures += 1
            cools = failures >= 3
        }
        #expect(failures == 25)

        var rig = PoolRig([(200, 0), (1, 0)])
        failures = 0
        for _ in 0..<25 {
            rig.nowMs += 100
            let attempt = try rig.must()
            failures += attempt.pick.leaf == 0 ? 1 : 0
            rig.end(attempt, attempt.pick.leaf == 0 ? .failed(.server) : .served)
        }
        #expect(failures == 3)
    }

    /// "A group with a single member never cools": so a dead one gets every request for as long as it is dead.
    @Test func aSingleMemberNeverCools() {
        var cooling = Cooling(1)
        var asked = 0
        for second in 0..<300 as Range<Int64> where cooling.open(second * 1_000).contains(0) {
            asked += 1
            if cooling.until.count > 1 { cooling.until[0] = second * 1_000 + 60_000 }
        }
        #expect(asked == 300)

        var rig = PoolRig([(1, 0)])
        asked = 0
        for _ in 0..<300 {
            rig.nowMs += 1_000
            asked += rig.run(PoolRequest(), .failed(.server)) == nil ? 0 : 1
        }
        // Now and then one request sees whether it is better: there is nobody else.
        #expect(asked > 10 && asked <= 63)
    }

    /// "Everything cools and the request dies instead of waiting for the first to return."
    @Test func aRequestDiesInsteadOfWaitingForTheFirstToReturn() throws {
        let cooling = Cooling(2)
        #expect(Cooling(2).open(0).count == 2)
        var old = cooling
        old.until = [2_000, 60_000]
        #expect(old.open(1_000).isEmpty)

        var settings = PoolRig.plain()
        settings.queueLength = 10
        var rig = PoolRig([(1, 0), (1, 0)], settings: settings)
        for (leaf, seconds) in [2, 60].enumerated() {
            let attempt = try Self.underWay(1, at: leaf, &rig)[0]
            rig.end(attempt, .failed(.rateLimit(retryAfterSeconds: seconds)))
        }
        guard case .wait(let ticket) = rig.choose() else {
            Issue.record("it does not wait")
            return
        }
        var servedAfterMs: Int64?
        for step in 1...40 as ClosedRange<Int64> where servedAfterMs == nil {
            rig.nowMs += 100
            rig.pools.tick(now: rig.now)
            guard rig.pools.takeWoken().contains(ticket) else { continue }
            if rig.run(PoolRequest().with(ticket)) == 0 { servedAfterMs = step * 100 }
        }
        #expect((2_000...2_300).contains(try #require(servedAfterMs)))
    }

    /// "All traffic jumps to the fallback at once and back at once."
    @Test func allTrafficJumpsBackAtOnce() {
        var old = Cooling(2)
        old.until[0] = 60_000
        #expect((0..<100).map { _ in old.open(60_000)[0] }.allSatisfy { $0 == 0 })

        var rig = PoolRig([(1, 0), (1, 1)])
        rig.bench(0)
        rig.nowMs += 70_000
        #expect(rig.run(PoolRequest(isShort: true)) == 0)
        var shares: [Int] = []
        for _ in 0..<3 {
            shares.append(rig.counts(100)[0])
            rig.nowMs += Limits.poolRampMs / 2
        }
        #expect(shares == [25, 50, 100])
    }

    // MARK: Breakers

    /// "Weight 0 still gets sticky traffic": the conversation is looked up before the weight.
    @Test func weightNothingStillGetsConversations() throws {
        let (pins, weights) = ([7: 0], [0, 1])
        #expect((pins[7] ?? weights.firstIndex { $0 > 0 }) == 0)

        var settings = PoolRig.plain()
        settings.stickiness = .prefix
        var rig = PoolRig([(1, 0), (1, 0)], settings: settings)
        let home = try #require({ rig.run(PoolRequest(session: 7)) }())
        let members = (0..<2).map { Rotation.Member(.provider("m\($0)", model: "x"), weight: $0 == home ? 0 : 1) }
        rig.set(Rotation(name: "pool", members: members, settings: settings))
        for _ in 0..<10 { #expect(rig.run(PoolRequest(session: 7)) == 1 - home) }
    }

    /// "A tripped member never came back": only a success closes it, and it gets no request that could be one; or the one
    /// that it got was lost, and with it the right to try.
    @Test func aTrippedMemberNeverComesBack() throws {
        var (isOpen, isProbed) = (false, false)
        for _ in 0..<100 where !isOpen && !isProbed {
            isProbed = true
            // The buyer went away: nobody says how it ended.
            isOpen = false
        }
        #expect(!isOpen)

        var rig = PoolRig([(1, 0), (1, 0)])
        rig.bench(0)
        rig.nowMs += 70_000
        let lost = try rig.must(PoolRequest(isShort: true))
        #expect(lost.pick.leaf == 0)
        rig.nowMs += Limits.poolProbeMs
        #expect(rig.run(PoolRequest(isShort: true)) == 0)
        rig.nowMs += Limits.poolRampMs
        #expect(rig.counts(10) == [5, 5])
    }

    /// "Breaker settings are parsed and ignored."
    @Test func settingsAreParsedAndIgnored() throws {
        let constants = Rotation.Settings()
        #expect(constants.failures != 1 && constants.cooldownMs != 5_000)

        var settings = PoolRig.plain()
        settings.failures = 1
        settings.cooldownMs = 5_000
        settings.longestCooldownMs = 7_000
        settings.attempts = 1
        var rig = PoolRig([(1, 0), (1, 0)], settings: settings)
        let attempt = try rig.must()
        rig.end(attempt, .failed(.server))
        #expect(rig.reason(attempt.pick.leaf) == .cooling)
        #expect(rig.begin(PoolRequest().tried(attempt)) == nil)
        #expect((4_500...5_500).contains(try #require(rig.restMs(attempt.pick.leaf))))
        rig.nowMs += 6_000
        let probe = try rig.must(PoolRequest(isShort: true))
        rig.end(probe, .failed(.server))
        #expect((6_300...7_700).contains(try #require(rig.restMs(attempt.pick.leaf))))
    }

    /// "One pool's failures benched another pool": breakers belong to members, whoever counts. What a pool counts is its
    /// own; what a member says of itself is true for all.
    @Test func onePoolsFailuresBenchAnother() throws {
        var cooling = Cooling(1)
        cooling.until[0] = 60_000
        let (strict, patient) = (cooling, cooling)
        #expect(strict.open(0).isEmpty && patient.open(0).isEmpty)

        var rig = PoolRig([(1, 0), (1, 0)])
        let other = PoolID(scope: .user("ann"), name: "other")
        let members = (0..<2).map { Rotation.Member(.provider("mine\($0)", model: "x")) }
        rig.pools.set(other, Rotation(name: "other", members: members, settings: PoolRig.plain())) { _ in nil }
        let places = (0..<2).map { PoolPlaces(provider: PoolRig.key($0), model: "x", nodes: [PoolRig.node($0 * 10)]) }
        rig.pools.place(other, places, now: rig.now)
        func reason(_ leaf: Int) -> Exclusion? {
            let explained = rig.pools.explain(other, PoolRequest(), now: rig.now) { _ in MemberFacts() }
            guard case .excluded(let reason)? = explained?.candidates[leaf].standing else { return nil }
            return reason
        }
        rig.bench(0)
        #expect(rig.reason(0) == .cooling && reason(0) == nil)
        let attempt = try Self.underWay(1, at: 1, &rig)[0]
        rig.end(attempt, .failed(.rateLimit(retryAfterSeconds: 9)))
        #expect(rig.reason(1) == .cooling && reason(1) == .cooling)
        // And one request, of whichever pool, sees whether it is well.
        rig.nowMs += 9_000
        let probe = rig.pools.choose(other, PoolRequest(isShort: true), now: rig.now) { _ in MemberFacts() }
        guard case .ask(let pick)? = probe else { return }
        #expect(pick.reason == .probe && pick.leaf == 1)
        #expect(rig.reason(1) == .halfOpenBusy)
    }

    // MARK: Places and time

    /// "At the most requests at once, requests queue to the deadline instead of spilling."
    @Test func requestsQueueToTheDeadlineInsteadOfSpilling() throws {
        let (deadlineMs, ownIsFreeAtMs) = (10_000, 60_000)
        #expect(min(deadlineMs, ownIsFreeAtMs) == deadlineMs)

        var settings = PoolRig.plain()
        settings.queueLength = 10
        var rig = PoolRig([(1, 0), (1, 1)], settings: settings)
        rig.facts[0].free = 0
        guard case .wait(let ticket) = rig.choose() else {
            Issue.record("it does not wait at all")
            return
        }
        rig.nowMs += 500
        rig.pools.tick(now: rig.now)
        #expect(rig.pools.takeWoken().contains(ticket))
        #expect(rig.run(PoolRequest().with(ticket)) == 1)
    }

    /// "A provider that hangs after it accepted eats the whole budget": only connecting has a time-out.
    @Test func whoHangsEatsTheWholeTime() throws {
        let totalMs: Int64 = 60_000
        let start = Instant(nanoseconds: 0)
        func attempts(_ firstContentMs: Int64) -> Attempts {
            var machine = Attempts(
                Attempts.Terms(
                    firstContentMs: firstContentMs, idleMs: 60_000, totalMs: totalMs, isStream: true, mayRepeat: true),
                now: start)
            machine.found(2)
            return machine
        }
        var old = attempts(totalMs)
        _ = old.begin(now: start)
        #expect(old.lateness(now: start.advanced(byMilliseconds: totalMs - 1)) == nil)

        var machine = attempts(5_000)
        _ = machine.begin(now: start)
        let late = start.advanced(byMilliseconds: 5_000 + Limits.attemptGraceMs)
        #expect(machine.lateness(now: late) == .firstContent)
        var rig = PoolRig([(1, 0), (1, 0)])
        let hanging = try rig.must()
        let failure = Attempts.Failure.error(MeshError(.workerTimeout, "no answer in time"))
        _ = machine.failed(failure, canSendAgain: true)
        rig.end(hanging, .failed(Fault(failure)))
        #expect(machine.hasNext)
        let next = try rig.must(PoolRequest().tried(hanging))
        #expect(next.pick.leaf != hanging.pick.leaf)
        #expect(machine.begin(now: late).totalMs == totalMs - 6_000)
    }

    /// "Fallback is passive ejection for five seconds": who said that it wants a minute is asked twelve times in it.
    @Test func ejectionKnowsNothingOfARateLimit() throws {
        var cooling = Cooling(2)
        var asked = 0
        for second in 0..<60 as Range<Int64> where cooling.open(second * 1_000).contains(0) {
            asked += 1
            cooling.until[0] = (second + 5) * 1_000
        }
        #expect(asked == 12)

        var rig = PoolRig([(1, 0), (1, 0)])
        asked = 0
        for _ in 0..<60 {
            for _ in 0..<4 {
                let attempt = try rig.must(PoolRequest(isShort: true))
                asked += attempt.pick.leaf == 0 ? 1 : 0
                rig.end(attempt, attempt.pick.leaf == 0 ? .failed(.rateLimit(retryAfterSeconds: 60)) : .served)
            }
            rig.nowMs += 1_000
        }
        #expect(asked == 1)
    }

    // MARK: Whose fault

    /// "Context or auth errors trigger failover and mask the cause": the buyer reads that nobody is available.
    @Test func failoverMasksTheCause() throws {
        let old = [400, 400, 400].map { $0 >= 400 ? nil : $0 }
        #expect(old.compactMap(\.self).isEmpty)

        var rig = PoolRig([(1, 0), (1, 0), (1, 0)])
        // A fault of the request: nobody else is asked, and its words are told as they came.
        let first = try rig.must()
        let fault = Fault(status: 400, retryAfterSeconds: nil, words: "unknown tool 'x'")
        #expect(!fault.consequence.goesOn && fault.consequence.penalty == .none)
        rig.end(first, .failed(fault))
        var failures = PoolFailures()
        failures.add("a/x", fault, words: "unknown tool 'x'", attempt: 1)
        #expect(failures.verdict(of: "rotation/pool", PoolRig.gone, leaves: []) == .relay(attempt: 1))

        // Too long: only larger windows are asked, and when there is none, that is what is told.
        rig.facts = [8_000, 8_000, 4_000].map { MemberFacts(window: $0) }
        let tooLong = Fault(status: 400, retryAfterSeconds: nil, words: "maximum context length is 8000 tokens")
        #expect(tooLong == .context && tooLong.consequence.penalty == .none)
        let second = try Self.underWay(1, at: 0, &rig)[0]
        rig.end(second, .failed(tooLong))
        var request = PoolRequest().tried(second)
        request.exceeded = 8_000
        guard case .exhausted(let told) = rig.choose(request) else {
            Issue.record("a smaller window was asked")
            return
        }
        #expect(told.reasons == [.context, .context, .context])
        var others = PoolFailures()
        others.add("a/x", tooLong, words: "maximum context length is 8000 tokens", attempt: 1)
        #expect(others.verdict(of: "rotation/pool", told, leaves: ["a/x", "b/x", "c/x"]) == .relay(attempt: 1))

        // The seller's own key is no fault of the buyer's: others are asked.
        let refused = Fault(status: 401, retryAfterSeconds: nil).consequence
        #expect(refused.penalty == .down && refused.goesOn && refused.isAlarming)
        // So it is where the buyer is told of a failure of the seller's, and not of its account.
        for (cause, fault) in [(FailureCause.credentials, Fault.credentials), (.billing, .billing)] {
            #expect(Fault(MeshError(.workerError, "x", cause: cause)) == fault)
        }
        #expect(Fault(MeshError(.workerError, "x")) == .server)
        let withStatus = MeshError(.workerError, "x", statusOverride: 500, cause: .credentials)
        #expect(Fault(withStatus) == .credentials)
    }

    /// "99,432 selections for a few requests": when all fail, each request is three.
    @Test func retriesMultiplyTheLoad() {
        let requests = 2_000
        #expect(requests * 3 == (0..<requests).map { _ in 3 }.reduce(0, +))

        var settings = PoolRig.plain()
        // Nobody is benched: it is the budget that holds.
        settings.failures = 100
        settings.errorMinimum = 1_000
        var rig = PoolRig([(1, 0), (1, 0), (1, 0)], settings: settings)
        var attempts = 0
        for _ in 0..<requests {
            var request = PoolRequest()
            while let attempt = rig.begin(request) {
                attempts += 1
                rig.end(attempt, .failed(attempts % 50 == 0 ? .declined : .context))
                request = request.tried(attempt)
            }
        }
        #expect(attempts <= requests * 110 / 100 + Limits.retryReserve)
        #expect(attempts > requests)
    }
}
