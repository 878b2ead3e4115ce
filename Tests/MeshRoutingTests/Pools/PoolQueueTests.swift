import MeshModel
import MeshRouting
import Testing

/// What becomes of requests that nobody can take now.
@Suite struct PoolQueueTests {
    /// Members with so many places each, and a queue.
    struct Works {
        var rig: PoolRig
        var underWay: [PoolAttempt] = []
        let places: [Int]

        init(_ members: [(places: Int, tier: Int)], _ change: (inout Rotation.Settings) -> Void = { _ in }) {
            var settings = PoolRig.plain()
            settings.queueLength = 10
            change(&settings)
            places = members.map(\.places)
            rig = PoolRig(members.map { (1, $0.tier) }, settings: settings)
            count()
        }

        mutating func count() {
            for leaf in places.indices {
                rig.facts[leaf].free = places[leaf] - underWay.count { $0.pick.leaf == leaf }
            }
        }

        /// - Returns: the ticket of one that waits.
        mutating func ask(_ request: PoolRequest = PoolRequest()) throws -> PoolTicket? {
            switch rig.choose(request) {
            case .ask(let pick):
                let node = try #require((0..<100).map(PoolRig.node).first { rig.pools.mayAsk(rig.id, pick, at: $0) })
                underWay.append(rig.pools.began(rig.id, pick, at: node, now: rig.now))
                count()
                return nil
            case .wait(let ticket): return ticket
            case .exhausted(let told): throw Exhausted(told: told)
            }
        }

        /// It has to wait.
        mutating func mustWait(_ request: PoolRequest = PoolRequest()) throws -> PoolTicket {
            let ticket = try ask(request)
            return try #require(ticket)
        }

        mutating func end(_ outcome: PoolOutcome = .served) {
            let attempt = underWay.removeFirst()
            count()
            rig.end(attempt, outcome)
        }
    }

    struct Exhausted: Error { var told: PoolExhaustion }

    static func exhausted(_ works: inout Works, _ request: PoolRequest = PoolRequest()) -> PoolExhaustion? {
        do {
            _ = try works.ask(request)
            return nil
        } catch { return (error as? Exhausted)?.told }
    }

    // MARK: Waiting

    @Test func inTheOrderOfTheirComingTheUrgentFirst() throws {
        var works = Works([(2, 0)])
        for _ in 0..<2 { #expect(try works.ask() == nil) }
        let usual = [try works.mustWait(), try works.mustWait()]
        let urgent = try works.mustWait(PoolRequest(priority: 0))
        let late = try works.mustWait(PoolRequest(priority: 2))
        var order: [PoolTicket] = []
        while order.count < 4 {
            works.end()
            let woken = works.rig.pools.takeWoken()
            // One free place wakes one.
            #expect(woken.count == 1)
            order += woken
            #expect(try works.ask(PoolRequest().with(woken[0])) == nil)
        }
        #expect(order == [urgent] + usual + [late])
        #expect(works.rig.pools.waiting(works.rig.id) == 0)
        #expect(works.rig.pools.nextDeadline(now: works.rig.now) == nil)
    }

    /// Who was woken finds the place that came free, whoever comes by meanwhile.
    @Test func aPlaceIsKeptForWhoWasWoken() throws {
        var works = Works([(1, 0)])
        #expect(try works.ask() == nil)
        let first = try works.mustWait()
        works.end()
        #expect(works.rig.pools.takeWoken() == [first])
        let second = try works.mustWait()
        #expect(try works.ask(PoolRequest().with(first)) == nil)
        works.end()
        #expect(works.rig.pools.takeWoken() == [second])
        // Not for ever: it may not be there any more.
        works.rig.nowMs += Limits.poolOfferMs
        works.rig.pools.tick(now: works.rig.now)
        #expect(try works.ask() == nil)
    }

    @Test func whoIsWokenForNothingKeepsHisTurnAndTheNextIsAsked() throws {
        var works = Works([(1, 0), (1, 0)])
        for _ in 0..<2 { #expect(try works.ask() == nil) }
        let first = try works.mustWait()
        let second = try works.mustWait()
        // What comes free is of no use to the first one.
        let free = works.underWay[0].pick.leaf
        works.end()
        #expect(works.rig.pools.takeWoken() == [first])
        works.rig.facts[free].exclusion = .modality
        #expect(try works.ask(PoolRequest().with(first)) == first)
        works.rig.facts[free].exclusion = nil
        #expect(works.rig.pools.takeWoken() == [second])
        #expect(try works.ask(PoolRequest().with(second)) == nil)
        works.end()
        #expect(works.rig.pools.takeWoken() == [first])
    }

    @Test func whoLeavesPassesItsTurnOn() throws {
        var works = Works([(1, 0)])
        #expect(try works.ask() == nil)
        let tickets = [try works.mustWait(), try works.mustWait(), try works.mustWait()]
        works.rig.pools.leave(works.rig.id, tickets[1], now: works.rig.now)
        works.end()
        #expect(works.rig.pools.takeWoken() == [tickets[0]])
        works.rig.pools.leave(works.rig.id, tickets[0], now: works.rig.now)
        #expect(works.rig.pools.takeWoken() == [tickets[2]])
        // A second time it is gone already.
        works.rig.pools.leave(works.rig.id, tickets[0], now: works.rig.now)
        #expect(works.rig.pools.takeWoken() == [])
    }

    @Test func theQueueIsBounded() throws {
        var works = Works([(1, 0)]) { $0.queueLength = 3 }
        #expect(try works.ask() == nil)
        for _ in 0..<3 { _ = try works.mustWait() }
        let told = try #require(Self.exhausted(&works))
        #expect(told.reasons == [.atCapacity] && told.retryAfterSeconds == 1)
    }

    @Test func whoseTimeIsOverIsWokenAndToldSo() throws {
        var works = Works([(1, 0)])
        #expect(try works.ask() == nil)
        let ticket = try works.mustWait()
        #expect(works.rig.pools.nextDeadline(now: works.rig.now) != nil)
        works.rig.nowMs += 10_000
        works.rig.pools.tick(now: works.rig.now)
        #expect(works.rig.pools.takeWoken().filter { $0 == ticket } == [ticket])
        #expect(Self.exhausted(&works, PoolRequest().with(ticket)) != nil)
        #expect(works.rig.pools.waiting(works.rig.id) == 0)
        // Whoever asks once more with it does not wait again.
        #expect(Self.exhausted(&works, PoolRequest().with(ticket)) != nil)
    }

    @Test func whoNeverAsksAgainIsForgotten() throws {
        var works = Works([(1, 0)])
        #expect(try works.ask() == nil)
        _ = try works.mustWait()
        for _ in 0..<100 {
            works.rig.nowMs += 500
            works.rig.pools.tick(now: works.rig.now)
        }
        #expect(works.rig.pools.waiting(works.rig.id) == 0)
    }

    /// Places come free that the pool does not hear of: other requests use the same workers.
    @Test func whatOthersGiveBackIsFoundToo() throws {
        var works = Works([(1, 0)])
        works.rig.facts[0].free = 0
        let ticket = try works.mustWait()
        works.rig.facts[0].free = 1
        let deadline = try #require(works.rig.pools.nextDeadline(now: works.rig.now))
        works.rig.nowMs = deadline.nanoseconds / 1_000_000
        works.rig.pools.tick(now: works.rig.now)
        #expect(works.rig.pools.takeWoken() == [ticket])
        #expect(try works.ask(PoolRequest().with(ticket)) == nil)
    }

    @Test func aPoolThatIsRemovedWakesWhoWaits() throws {
        var works = Works([(1, 0)])
        #expect(try works.ask() == nil)
        let ticket = try works.mustWait()
        works.rig.pools.remove(works.rig.id)
        #expect(works.rig.pools.takeWoken() == [ticket])
        #expect(works.rig.choose(PoolRequest().with(ticket)) == .exhausted(PoolRig.gone))
        works.end()
        #expect(works.rig.pools.count == 0)
    }

    /// Other nodes send requests to the same workers. Who refuses for want of a place is not asked by everybody who comes.
    @Test func whoSaysThatItIsFullIsFullForAMoment() throws {
        var works = Works([(5, 0)])
        var asked: [Int64] = []
        for _ in 0..<100 {
            if let ticket = try works.ask() {
                works.rig.pools.leave(works.rig.id, ticket, now: works.rig.now)
            } else {
                asked.append(works.rig.nowMs - 1_000_000)
                works.end(.failed(.busy))
            }
            works.rig.nowMs += 100
        }
        #expect(asked == [0, 1_000, 3_000, 7_000])
        works.rig.nowMs += 10_000
        #expect(try works.ask() == nil)
        works.end(.served)
        #expect(works.rig.reason(0) == nil)
    }

    /// Somebody who met a full member has no attempts to lose: the next goes where there was room lately.
    @Test func afterAFullMemberTheNextHasRoom() throws {
        var rig = PoolRig([(1, 0), (1, 0), (1, 1)])
        // Others find the first two full.
        for _ in 0..<2 {
            let attempt = try rig.must()
            rig.end(attempt, .failed(.busy))
        }
        rig.nowMs += Limits.poolFullMs
        let first = try rig.must()
        #expect(first.pick.leaf < 2)
        rig.end(first, .failed(.busy))
        #expect(rig.pick(PoolRequest().tried(first, fault: .busy))?.leaf == 2)
        // Where nobody had, it is worth a try all the same.
        rig.facts[2].exclusion = .draining
        #expect(rig.pick(PoolRequest().tried(first, fault: .busy))?.leaf == 1 - first.pick.leaf)
    }

    /// A pool that is changed while its requests are under way does not hear of their ends, and counts them no more.
    @Test func whatAChangedPoolHadUnderWayIsForgotten() throws {
        var rig = PoolRig([(1, 0)])
        let other = PoolID(scope: .global, name: "other")
        func set(_ id: PoolID, _ name: String, _ rig: inout PoolRig) {
            let members = [Rotation.Member(.provider(name, model: "x"))]
            rig.pools.set(id, Rotation(name: "r", members: members, settings: PoolRig.plain())) { _ in nil }
            let node = name == "m0" ? 0 : 50
            let places = [
                PoolPlaces(provider: PoolRig.key(node / 10), model: "x", nodes: [PoolRig.node(node)])
            ]
            rig.pools.place(id, places, now: rig.now)
        }
        set(other, "m0", &rig)
        // Three are under way by one pool, which lets go of the member then.
        let attempts = [try rig.must(), try rig.must(), try rig.must()]
        set(rig.id, "m5", &rig)
        for attempt in attempts { rig.end(attempt, .served) }
        func pick() -> PoolPick? {
            guard
                case .ask(let pick)? = rig.pools.choose(
                    other, PoolRequest(), now: rig.now, facts: { _ in MemberFacts() })
            else { return nil }
            return pick
        }
        let first = rig.pools.began(other, try #require(pick()), at: PoolRig.node(0), now: rig.now)
        let second = rig.pools.began(other, try #require(pick()), at: PoolRig.node(0), now: rig.now)
        rig.pools.ended(other, second, .failed(.busy), now: rig.now)
        #expect(pick() == nil)
        // With none under way there is room for one.
        rig.pools.ended(other, first, .served, now: rig.now)
        #expect(pick() != nil)
    }

    // MARK: The next tier

    @Test func theNextTierTakesWhatHasWaitedAMoment() throws {
        var works = Works([(1, 0), (5, 1)])
        #expect(try works.ask() == nil)
        let waiting = try works.mustWait()
        works.rig.nowMs += 500
        works.rig.pools.tick(now: works.rig.now)
        #expect(works.rig.pools.takeWoken().first == waiting)
        #expect(try works.ask(PoolRequest().with(waiting)) == nil)
        #expect(works.underWay.last?.pick.leaf == 1)
        #expect(works.underWay.last?.pick.isSpilled == true)
    }

    @Test func aPlaceInItsOwnTierIsBetter() throws {
        var works = Works([(1, 0), (5, 1)])
        #expect(try works.ask() == nil)
        let waiting = try works.mustWait()
        works.end()
        #expect(works.rig.pools.takeWoken() == [waiting])
        #expect(try works.ask(PoolRequest().with(waiting)) == nil)
        #expect(works.underWay.last?.pick.leaf == 0)
    }

    @Test func withoutAQueueTheNextTierTakesItAtOnce() throws {
        for change in [{ $0.queueLength = 0 }, { $0.spillMs = 0 }] as [(inout Rotation.Settings) -> Void] {
            var works = Works([(1, 0), (5, 1)], change)
            for _ in 0..<3 { #expect(try works.ask() == nil) }
            #expect(works.underWay.map(\.pick.leaf) == [0, 1, 1])
        }
    }

    /// An owner says how long a request waits in all: one that has waited, was asked for and failed does not begin anew.
    @Test func whoHasWaitedBeforeWaitsForTheRest() throws {
        var works = Works([(1, 0)]) { $0.queueMs = 10_000 }
        #expect(try works.ask() == nil)
        var request = PoolRequest()
        request.waitedMs = 9_000
        let ticket = try works.mustWait(request)
        works.rig.nowMs += 999
        #expect(try works.mustWait(request.with(ticket)) == ticket)
        works.rig.nowMs += 1
        works.rig.pools.tick(now: works.rig.now)
        #expect(works.rig.pools.takeWoken().contains(ticket))
        #expect(Self.exhausted(&works, request.with(ticket)) != nil)
        request.waitedMs = 10_000
        #expect(Self.exhausted(&works, request) != nil, "there is nothing left to wait")
    }

    // MARK: The least bad

    @Test func whoWaitsForSomebodyToComeBackIsServedThen() throws {
        var works = Works([(5, 0)]) {
            $0.cooldownMs = 5_000
            $0.queueMs = 10_000
        }
        works.rig.bench(0)
        let ticket = try works.mustWait()
        var served = false
        for _ in 0..<100 where !served {
            works.rig.nowMs += 100
            works.rig.pools.tick(now: works.rig.now)
            guard works.rig.pools.takeWoken().contains(ticket) else { continue }
            served = try works.ask(PoolRequest().with(ticket)) == nil
        }
        #expect(served && works.underWay.last?.pick.reason == .probe)
    }

    /// Nobody will be back in time: then the one that is back first is asked, by one request now and then.
    @Test func theSoonestBackIsAskedWhenNobodyElseIsLeft() throws {
        var works = Works([(5, 0), (5, 0)])
        works.rig.bench(0)
        works.rig.nowMs += 10_000
        works.rig.bench(1)
        let soonest = try #require(works.rig.restMs(0)) < (try #require(works.rig.restMs(1))) ? 0 : 1
        #expect(try works.ask() == nil)
        #expect(works.underWay[0].pick.reason == .leastBad && works.underWay[0].pick.leaf == soonest)
        // And the other one, and then nobody.
        #expect(try works.ask() == nil)
        #expect(works.underWay[1].pick.leaf == 1 - soonest)
        let told = try #require(Self.exhausted(&works))
        #expect(told.retryAfterSeconds == 30)
        // Its answer brings it back.
        works.end()
        #expect(works.rig.reason(soonest) == nil)
    }

    @Test func theLeastBadIsNotAskedAgainAtOnce() throws {
        var works = Works([(5, 0)])
        works.rig.bench(0)
        for _ in 0..<3 {
            #expect(try works.ask() == nil)
            works.end(.failed(.server))
            #expect(Self.exhausted(&works) != nil)
            works.rig.nowMs += Limits.poolEarlyAskMs
        }
    }

    @Test(arguments: [(0, 1), (500, 1), (1_000, 1), (1_001, 2), (29_500, 30), (3_000_000, 30)] as [(Int64, Int)])
    func whenToComeAgainIsWhenSomebodyIsBack(beforeMs: Int64, seconds: Int) throws {
        var works = Works([(5, 0)]) { $0.queueLength = 0 }
        #expect(try works.ask() == nil)
        works.end(.failed(.rateLimit(retryAfterSeconds: 3_600)))
        works.rig.nowMs += 3_600_000 - beforeMs
        if beforeMs == 0 {
            // It is there: one request tries it out, and another one comes again in a moment.
            #expect(try works.ask() == nil)
        }
        #expect(try #require(Self.exhausted(&works)).retryAfterSeconds == seconds)
    }

    @Test func whereWaitingDoesNotHelpNobodyIsToldToWait() throws {
        var works = Works([(5, 0), (5, 0)])
        works.rig.facts[0].exclusion = .context
        works.rig.facts[1].exclusion = .priceCeiling
        let told = try #require(Self.exhausted(&works))
        #expect(told == PoolExhaustion(cause: .members, retryAfterSeconds: nil, reasons: [.context, .priceCeiling]))
    }

    // MARK: Attempts

    @Test func noMoreAttemptsThanThePoolAllows() throws {
        var rig = PoolRig([(1, 0), (1, 0), (1, 0), (1, 0)])
        var request = PoolRequest()
        var asked: [Int] = []
        for _ in 0..<3 {
            let attempt = try rig.must(request)
            asked.append(attempt.pick.leaf)
            rig.end(attempt, .failed(.server))
            request = request.tried(attempt)
        }
        #expect(Set(asked).count == 3)
        #expect(rig.choose(request) == .exhausted(PoolExhaustion(cause: .attempts, retryAfterSeconds: 1, reasons: [])))
    }

    /// With one member, another of its nodes is another try; the same one never.
    @Test func anotherNodeOfTheSameMemberWhenNobodyElseIsLeft() throws {
        let members = [Rotation.Member(.provider("a", model: "x")), Rotation.Member(.provider("b", model: "x"))]
        var rig = PoolRig(Rotation(name: "pool", members: members, settings: PoolRig.plain()), nodes: 2)
        rig.facts[1].exclusion = .endpoint
        let first = try rig.must()
        rig.end(first, .failed(.server))
        let second = try rig.must(PoolRequest().tried(first))
        #expect(second.pick.leaf == 0 && second.pick.reason == .again && second.node != first.node)
        #expect(rig.begin(PoolRequest().tried(first, second)) == nil)
    }

    @Test func aSmallerWindowIsNotAskedAfterALargerOne() throws {
        var rig = PoolRig([(1, 0), (1, 1), (1, 2), (1, 3)])
        for (leaf, window) in [32_000, 8_000, 32_000, 128_000].enumerated() { rig.facts[leaf].window = window }
        let first = try rig.must()
        rig.end(first, .failed(.context))
        var request = PoolRequest().tried(first)
        request.exceeded = 32_000
        #expect(rig.pick(request)?.leaf == 3)
        #expect((1...2).map { rig.reason($0, request) } == [.context, .context])
    }

    /// Two have failed, the third says that the prompt is too long: it has done nothing, and the fourth has the window.
    @Test func tooSmallAWindowCostsNoAttempt() throws {
        var rig = PoolRig([(1, 0), (1, 1), (1, 2), (1, 3)])
        for (leaf, window) in [8_000, 8_000, 16_000, 128_000].enumerated() { rig.facts[leaf].window = window }
        var request = PoolRequest()
        for fault in [Fault.server, .server, .context] {
            let attempt = try rig.must(request)
            rig.end(attempt, .failed(fault))
            request = request.tried(attempt, fault: fault)
        }
        request.exceeded = 16_000
        let last = try rig.must(request)
        #expect(last.pick.leaf == 3)
        rig.end(last, .failed(.server))
        #expect(rig.begin(request.tried(last)) == nil, "three attempts")
    }

    /// What costs nothing has its own bound.
    @Test(
        arguments: [
            ([], 0), ([.server, .server], 2), ([.busy, .busy, .busy, .server], 1), ([.context, .context, .context], 0),
            ([.context, .context, .context, .context], 1), ([.busy, .busy, .busy, .busy, .context], 1),
            ([.rateLimit(retryAfterSeconds: 1), .declined, .timeout], 3),
        ] as [([Fault], Int)])
    func whatAttemptsCost(faults: [Fault], spent: Int) {
        #expect(AttemptCost.spent(faults.map(AttemptCost.init)) == spent)
        #expect(AttemptCost.places(1) == 1 && AttemptCost.places(3) == 9)
    }

    /// Nobody is there, and the only member has just left: worth a wait. One that nobody has seen lately is not.
    @Test(arguments: [true, false]) func whoHasJustLeftIsWaitedFor(mayReturn: Bool) {
        var settings = PoolRig.plain()
        settings.queueLength = 8
        var rig = PoolRig([(1, 0)], settings: settings)
        rig.facts[0].exclusion = .absent
        rig.facts[0].mayReturn = mayReturn
        guard mayReturn else {
            if case .exhausted = rig.choose() {} else { Issue.record("it waits") }
            return
        }
        guard case .wait(let first) = rig.choose(), case .wait(let second) = rig.choose() else {
            Issue.record("it does not wait")
            return
        }
        #expect(rig.pools.position(rig.id, first) == 1 && rig.pools.position(rig.id, second) == 2)
        rig.facts[0] = MemberFacts()
        #expect(rig.pick(PoolRequest().with(first))?.leaf == 0)
        #expect(rig.pools.position(rig.id, first) == nil && rig.pools.position(rig.id, second) == 1)
    }

    @Test func secondAttemptsAreATenth() {
        var settings = PoolRig.plain()
        settings.failures = 100
        settings.errorMinimum = 1_000
        var rig = PoolRig([(1, 0), (1, 0)], settings: settings)
        var attempts = 0
        for _ in 0..<1_000 {
            guard let first = rig.begin() else { break }
            attempts += 1
            rig.end(first, .failed(.declined))
            guard let second = rig.begin(PoolRequest().tried(first)) else { continue }
            attempts += 1
            rig.end(second, .failed(.declined))
        }
        #expect(attempts == 1_100 + Limits.retryReserve)
    }
}
