import MeshModel
import MeshRouting
import Testing

/// Who rests, for how long, and how they come back.
@Suite struct PoolHealthTests {
    static func rig(
        _ count: Int = 2, nodes: Int = 1, seed: UInt64 = 1, _ change: (inout Rotation.Settings) -> Void = { _ in }
    ) -> PoolRig {
        var settings = PoolRig.plain()
        change(&settings)
        let members = (0..<count).map { Rotation.Member(.provider("m\($0)", model: "x")) }
        return PoolRig(Rotation(name: "pool", members: members, settings: settings), nodes: nodes, seed: seed)
    }

    /// Fails the leaf so often, and serves whatever else comes between.
    static func fail(_ leaf: Int, times: Int, in rig: inout PoolRig, _ fault: Fault = .server) throws {
        var failed = 0
        while failed < times {
            let attempt = try rig.must()
            let isIt = attempt.pick.leaf == leaf
            rig.end(attempt, isIt ? .failed(fault) : .served)
            failed += isIt ? 1 : 0
        }
    }

    // MARK: When

    @Test func threeFailuresInARow() throws {
        var rig = Self.rig()
        try Self.fail(0, times: 2, in: &rig)
        #expect(rig.reason(0) == nil)
        // A success in between begins the count anew.
        while rig.run() != 0 {}
        try Self.fail(0, times: 2, in: &rig)
        #expect(rig.reason(0) == nil)
        try Self.fail(0, times: 1, in: &rig)
        #expect(rig.reason(0) == .cooling)
    }

    @Test func tooManyOfManyAlthoughNeverThreeInARow() throws {
        var rig = Self.rig(1) { $0.errorMinimum = 20 }
        for number in 0..<19 {
            let attempt = try rig.must()
            rig.end(attempt, number % 2 == 0 ? .failed(.timeout) : .served)
        }
        #expect(rig.reason(0) == nil)
        let last = try rig.must()
        rig.end(last, .failed(.timeout))
        #expect(rig.reason(0) == .cooling)
    }

    @Test func failuresOfLongAgoAreForgotten() throws {
        var rig = Self.rig(1) { $0.errorMinimum = 4 }
        for _ in 0..<50 {
            for outcome in [PoolOutcome.failed(.server), .served, .served] {
                let attempt = try rig.must()
                rig.end(attempt, outcome)
            }
            #expect(rig.reason(0) == nil)
            rig.nowMs += 61_000
        }
    }

    /// What no member can help costs nobody anything.
    @Test(arguments: [
        Fault.client, .context, .declined, .buyer, .node,
    ])
    func whatIsNotItsFault(fault: Fault) throws {
        var rig = Self.rig(1)
        for _ in 0..<100 {
            let attempt = try rig.must()
            #expect(rig.end(attempt, .failed(fault)) == nil)
            let other = try rig.must()
            rig.end(other, .cancelled)
        }
        #expect(rig.reason(0) == nil)
    }

    // MARK: For how long

    @Test func eachFailedProbeDoublesTheRestUpToTheLongest() throws {
        var rig = Self.rig(1)
        try Self.fail(0, times: 3, in: &rig)
        for expected in [60_000, 120_000, 240_000, 480_000, 600_000, 600_000] as [Int64] {
            let rest = try #require(rig.restMs(0))
            #expect((expected * 9 / 10...expected * 11 / 10).contains(rest))
            rig.nowMs += rest + 1
            let probe = try rig.must()
            #expect(probe.pick.reason == .probe)
            rig.end(probe, .failed(.server))
        }
    }

    @Test func whoIsWellForTheLengthOfARampBeginsAnew() throws {
        var rig = Self.rig(1)
        for isEarly in [false, true, false] {
            try Self.fail(0, times: 3, in: &rig)
            let rest = try #require(rig.restMs(0))
            #expect(rest < 70_000)
            rig.nowMs += rest + 1
            rig.run()
            if isEarly { rig.nowMs += Limits.poolRampMs }
            rig.run()
            if !isEarly { break }
        }
        // Benched again within the ramp: twice as long.
        try Self.fail(0, times: 3, in: &rig)
        #expect(try #require(rig.restMs(0)) > 100_000)
    }

    @Test func jitterSpreadsThem() throws {
        let rests = try (1...50).map { (seed: UInt64) in
            var rig = Self.rig(1, seed: seed)
            try Self.fail(0, times: 3, in: &rig)
            return rig.restMs(0) ?? 0
        }
        #expect(Set(rests).count > 40)
        #expect(rests.allSatisfy { (54_000...66_000).contains($0) })
    }

    /// The later time counts, in whatever order they come.
    @Test(arguments: [[nil, 5], [300, 5], [5, 300], [1, nil, 300, 2], [100_000, 1]] as [[Int?]])
    func aLaterTimeIsNeverForgottenForAnEarlierOne(told: [Int?]) throws {
        var rig = Self.rig(2)
        var attempts: [PoolAttempt] = []
        while attempts.count < told.count {
            let attempt = try rig.must()
            if attempt.pick.leaf == 0 { attempts.append(attempt) } else { rig.end(attempt, .served) }
        }
        var longest: Int64 = 0
        for (attempt, seconds) in zip(attempts, told) {
            rig.end(attempt, .failed(.rateLimit(retryAfterSeconds: seconds)))
            longest = max(longest, Int64(min(seconds ?? 60, 3_600)) * 1_000)
            #expect(rig.restMs(0) == longest)
        }
        rig.nowMs += longest - 1
        #expect(rig.reason(0) == .cooling)
        rig.nowMs += 1
        #expect(rig.pick(PoolRequest(isShort: true))?.reason == .probe)
    }

    @Test(arguments: [Fault.credentials, .billing])
    func itsOwnKeyRefusedIsHardDownWithAnAlarm(fault: Fault) throws {
        var rig = Self.rig(2)
        var attempt = try rig.must()
        while attempt.pick.leaf != 0 { attempt = try rig.must() }
        #expect(rig.end(attempt, .failed(fault)) == .down(fault))
        #expect(fault.consequence.isAlarming && fault.consequence.goesOn)
        #expect(rig.restMs(0) == 1_800_000)
        // It is not asked early either, whoever else is missing.
        rig.facts[1].exclusion = .absent
        guard case .exhausted(let told) = rig.choose() else {
            Issue.record("it was asked")
            return
        }
        #expect(told.retryAfterSeconds == 1)
    }

    /// A key may be mended long before its rest is over: where nobody else is left, one request a minute sees.
    @Test func aMendedKeyIsFoundWhereNobodyElseIsLeft() throws {
        var rig = Self.rig(1)
        let first = try rig.must()
        rig.end(first, .failed(.credentials))
        rig.nowMs += Limits.refusedKeyTrialMs - 1
        guard case .exhausted(let told) = rig.choose() else {
            Issue.record("it was asked")
            return
        }
        #expect(told.retryAfterSeconds == 1, "then somebody is asked")
        rig.nowMs += 1
        let trial = try rig.must()
        #expect(trial.pick.reason == .leastBad)
        #expect(rig.begin() == nil, "one, and nobody beside it")
        rig.end(trial, .failed(.credentials))
        rig.nowMs += Limits.refusedKeyTrialMs - 1
        #expect(rig.begin() == nil)
        rig.nowMs += 1
        let second = try rig.must()
        #expect(rig.end(second, .served) == .returned)
        #expect(rig.reason(0) == nil)
    }

    /// Whoever has only failed is asked before; and its own word is kept, whatever its key does.
    @Test func aRefusedKeyComesBehindFailuresAndKeepsItsWord() throws {
        var rig = Self.rig(2)
        var attempts: [PoolAttempt] = []
        while attempts.count < 2 {
            let attempt = try rig.must()
            if attempt.pick.leaf == 0 { attempts.append(attempt) } else { rig.end(attempt, .served) }
        }
        rig.end(attempts[0], .failed(.credentials))
        rig.bench(1)
        rig.nowMs += Limits.refusedKeyTrialMs
        rig.bench(1)
        let early = try rig.must()
        #expect(early.pick.leaf == 1)
        rig.end(early, .failed(.server))
        rig.end(attempts[1], .failed(.rateLimit(retryAfterSeconds: 600)))
        rig.facts[1].exclusion = .absent
        for _ in 0..<5 {
            #expect(rig.begin() == nil)
            rig.nowMs += Limits.refusedKeyTrialMs
        }
    }

    // MARK: Back

    @Test func oneProbeAndNoneBesideIt() throws {
        var rig = Self.rig(2)
        rig.bench(0)
        rig.nowMs += 70_000
        let probe = try rig.must(PoolRequest(isShort: true))
        #expect(probe.pick.leaf == 0 && probe.pick.reason == .probe)
        for _ in 0..<100 { #expect(rig.run(PoolRequest(isShort: true)) == 1) }
        #expect(rig.reason(0) == .halfOpenBusy)
        #expect(rig.end(probe, .served) == .returned)
        #expect(rig.reason(0) == nil)
    }

    /// A long request, or one with a conversation, tries nobody out: unless nobody else came for a while.
    @Test func whoIsTriedOutByWhom() throws {
        var rig = Self.rig(2) { $0.stickiness = .user }
        rig.bench(0)
        rig.nowMs += try #require(rig.restMs(0)) + 1
        for _ in 0..<10 { #expect(rig.pick()?.reason == .share) }
        for session in 0..<10 as Range<UInt64> {
            #expect(rig.pick(PoolRequest(session: session, isShort: true))?.leaf == 1)
        }
        rig.nowMs += Limits.poolProbeWaitMs
        #expect(rig.pick(PoolRequest(session: 5))?.reason == .probe)
    }

    @Test func aProbeThatNeverEndsGivesItsPlaceUp() throws {
        var rig = Self.rig(2)
        rig.bench(0)
        rig.nowMs += 70_000
        let lost = try rig.must(PoolRequest(isShort: true))
        rig.nowMs += Limits.poolProbeMs - 1
        #expect(rig.pick(PoolRequest(isShort: true))?.leaf == 1)
        rig.nowMs += 1
        let second = try rig.must(PoolRequest(isShort: true))
        #expect(second.pick.leaf == 0 && second.pick.reason == .probe)
        // What becomes of the first one now changes nothing of the second.
        rig.end(lost, .served)
        #expect(rig.reason(0) == .halfOpenBusy)
        rig.end(second, .served)
        #expect(rig.reason(0) == nil)
    }

    @Test(arguments: [PoolOutcome.cancelled, .failed(.client), .failed(.declined), .failed(.context)])
    func aProbeThatShowsNothingGivesItsPlaceUp(outcome: PoolOutcome) throws {
        var rig = Self.rig(2)
        rig.bench(0)
        rig.nowMs += 70_000
        for _ in 0..<5 {
            let probe = try rig.must(PoolRequest(isShort: true))
            #expect(probe.pick.reason == .probe)
            rig.end(probe, outcome)
        }
        let unsent = rig.pick(PoolRequest(isShort: true))
        rig.pools.dropped(rig.id, try #require(unsent), now: rig.now)
        #expect(rig.pick(PoolRequest(isShort: true))?.reason == .probe)
    }

    /// The first content is enough to see that it is well: a long answer keeps nobody waiting.
    @Test func contentEndsAProbe() throws {
        var rig = Self.rig(2)
        rig.bench(0)
        rig.nowMs += 70_000
        var probe = try rig.must(PoolRequest(isShort: true))
        #expect(rig.pools.answered(rig.id, &probe, now: rig.now) == .returned)
        #expect(rig.pools.answered(rig.id, &probe, now: rig.now) == nil)
        #expect(rig.share(0) == 200)
        #expect(rig.end(probe, .served) == nil)
        #expect(rig.share(0) == 200)
    }

    /// 25, 50 and 100 of a hundred over thirty seconds, beside others of its tier,
    @Test func itsShareComesBackInSteps() {
        var rig = Self.rig(2)
        rig.bench(0)
        rig.nowMs += 70_000
        rig.run(PoolRequest(isShort: true))
        #expect(rig.counts(500) == [100, 400])
        rig.nowMs += Limits.poolRampMs / 2
        #expect(rig.counts(300) == [100, 200])
        rig.nowMs += Limits.poolRampMs / 2
        #expect(rig.counts(200) == [100, 100])
    }

    /// and before a tier that stood in for it.
    @Test func aTierComesBackInSteps() {
        var rig = PoolRig([(1, 0), (1, 1)])
        rig.bench(0)
        #expect(rig.counts(100) == [0, 100])
        rig.nowMs += 70_000
        rig.run(PoolRequest(isShort: true))
        #expect(rig.counts(100) == [25, 75])
        #expect([rig.share(0), rig.share(1)] == [250, 750])
        rig.nowMs += Limits.poolRampMs / 2
        #expect(rig.counts(100) == [50, 50])
        rig.nowMs += Limits.poolRampMs / 2
        #expect(rig.counts(100) == [100, 0])
    }

    // MARK: Where

    /// Of a member at two nodes one may rest.
    @Test func oneNodeRestsAndTheOtherServes() throws {
        var rig = Self.rig(1, nodes: 2)
        func attempt(at node: Int, _ rig: inout PoolRig) throws -> PoolAttempt {
            let pick = try #require({ rig.pick() }())
            return rig.pools.began(rig.id, pick, at: PoolRig.node(node), now: rig.now)
        }
        for _ in 0..<3 { rig.end(try attempt(at: 0, &rig), .failed(.transport)) }
        let pick = try #require({ rig.pick() }())
        #expect(!rig.pools.mayAsk(rig.id, pick, at: PoolRig.node(0)))
        #expect(rig.pools.mayAsk(rig.id, pick, at: PoolRig.node(1)))
        #expect(rig.reason(0) == nil)
        rig.nowMs += 70_000
        // The one that rested is tried out, and only there.
        let probe = try #require({ rig.pick(PoolRequest(isShort: true)) }())
        #expect(probe.reason == .probe && rig.pools.mayAsk(rig.id, probe, at: PoolRig.node(0)))
        #expect(!rig.pools.mayAsk(rig.id, probe, at: PoolRig.node(1)))
    }

    /// A worker that goes and comes back has not slept its failures off.
    @Test func aRestOutlivesTheWorkersAbsence() {
        var rig = Self.rig(2)
        rig.bench(0)
        let rest = rig.restMs(0)
        rig.place([[], [10]])
        #expect(rig.reason(0) == .absent)
        rig.place([[0], [10]])
        #expect(rig.reason(0) == .cooling && rig.restMs(0) == rest)
    }

    // MARK: Back again

    /// What a member is forgiven when it is there again: that it was out of reach, and nothing else.
    @Test(arguments: [
        ([Fault.transport, .transport, .transport], true), ([.transport, .server, .transport], false),
        ([.timeout, .timeout, .timeout], false), ([.server, .server, .server], false),
    ])
    func whoWasOutOfReachIsForgiven(faults: [Fault], isForgiven: Bool) throws {
        for isByCatalog in [true, false] {
            var rig = Self.rig(2)
            for fault in faults { try Self.fail(0, times: 1, in: &rig, fault) }
            #expect(rig.reason(0) == .cooling)
            Self.leave(0, isByCatalog, &rig)
            rig.nowMs += 5_000
            rig.run()
            Self.comeBack(0, isByCatalog, &rig)
            rig.nowMs += 5_000
            // Half open: one request shows whether it is well, the other goes elsewhere.
            let first = try rig.must(PoolRequest(isShort: true))
            let second = try rig.must(PoolRequest(isShort: true))
            #expect((first.pick.reason == .probe) == isForgiven, "\(faults)")
            #expect(second.pick.leaf == 1)
            rig.end(first, .served)
            #expect((rig.reason(0) == nil) == isForgiven)
        }
    }

    private static func leave(_ leaf: Int, _ isByCatalog: Bool, _ rig: inout PoolRig) {
        if isByCatalog { rig.place([[], [10]]) } else { rig.facts[leaf].exclusion = .absent }
    }

    private static func comeBack(_ leaf: Int, _ isByCatalog: Bool, _ rig: inout PoolRig) {
        if isByCatalog { rig.place([[0], [10]]) } else { rig.facts[leaf].exclusion = nil }
    }

    /// One that fails again at once rests for twice as long, as after any probe.
    @Test func whoComesBackIllRestsLonger() throws {
        var rig = Self.rig(2)
        try Self.fail(0, times: 3, in: &rig, .transport)
        Self.leave(0, true, &rig)
        Self.comeBack(0, true, &rig)
        let probe = try rig.must(PoolRequest(isShort: true))
        #expect(probe.pick.reason == .probe)
        rig.end(probe, .failed(.transport))
        let rest = try #require(rig.restMs(0))
        #expect((108_000...132_000).contains(rest))
    }

    /// Failures that did not bench it yet go with the connection.
    @Test func twoLostConnectionsAreForgottenWithTheThird() throws {
        var rig = Self.rig(2)
        try Self.fail(0, times: 2, in: &rig, .transport)
        Self.leave(0, true, &rig)
        Self.comeBack(0, true, &rig)
        try Self.fail(0, times: 2, in: &rig, .transport)
        #expect(rig.reason(0) == nil)
    }

    // MARK: Money

    /// Who asks for more than its caller has left takes no turn for that request, and keeps its share of the others.
    @Test func whoCannotBePaidIsLeftOut() {
        var rig = Self.rig(2)
        var poor = PoolRequest()
        poor.unpayable = [PoolOffer(provider: PoolRig.key(0), model: "x")]
        #expect(rig.reason(0, poor) == .budget)
        #expect(rig.reason(0) == nil)
        for _ in 0..<20 { #expect(rig.run(poor) == 1) }
        var broke = poor
        broke.unpayable.append(PoolOffer(provider: PoolRig.key(1), model: "x"))
        guard case .exhausted(let told) = rig.choose(broke) else {
            Issue.record("somebody was asked whom nobody can pay")
            return
        }
        #expect(told.reasons == [.budget, .budget])
    }
}
