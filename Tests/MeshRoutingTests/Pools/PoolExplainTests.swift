import MeshModel
import MeshRouting
import Testing

/// Why somebody is asked, and why somebody is not.
@Suite struct PoolExplainTests {
    /// Each member has its reason, and exactly one: what lasts before what passes.
    @Test func everyMemberHasAShareOrOneReason() {
        let members = (0..<9).map {
            Rotation.Member(.provider("m\($0)", model: "x"), weight: $0 == 1 ? 0 : 1, isEnabled: $0 != 2)
        }
        var rig = PoolRig(Rotation(name: "pool", members: members, settings: PoolRig.plain()))
        rig.bench(8)
        rig.bench(7)
        rig.facts[8].exclusion = .context
        rig.facts[3].exclusion = .unauthorised
        rig.facts[4].free = 0
        rig.facts[5].seats = .none
        rig.facts[6].exclusion = .draining
        #expect(
            (0..<9).map { rig.reason($0) } == [
                nil, .disabled, .disabled, .unauthorised, .atCapacity, .absent, .draining, .cooling, .context,
            ])
        #expect(rig.share(0) == 1_000)
        #expect(rig.restMs(7) != nil && rig.restMs(8) == nil)
    }

    @Test(arguments: Exclusion.allCases) func reasonsOfOthersArePassedOn(reason: Exclusion) {
        var rig = PoolRig([(1, 0), (1, 0)])
        rig.facts[0].exclusion = reason
        #expect(rig.reason(0) == reason)
        #expect(rig.counts(10) == [0, 10])
    }

    /// A hundred times: whoever is explained as the winner serves, and explaining changes nothing.
    @Test(arguments: 1...20) func theExplainedWinnerServes(seed: UInt64) throws {
        var settings = PoolRig.plain()
        settings.stickiness = .prefix
        var rig = PoolRig([(5, 0), (3, 0), (3, 0), (1, 1)], seed: seed, settings: settings)
        var random = SeededGenerator(seed: seed)
        for _ in 0..<100 {
            rig.nowMs += Int64(random.next() % 20_000)
            var request = PoolRequest()
            request.session = random.next() % 2 == 0 ? random.next() % 5 : nil
            request.isShort = random.next() % 2 == 0
            let explained = try #require(rig.explain(request))
            #expect(rig.explain(request) == explained)
            let choice = rig.choose(request)
            #expect(choice == explained.choice)
            guard case .ask(let pick) = choice else { continue }
            let attempt = rig.pools.began(rig.id, pick, at: PoolRig.node(pick.leaf * 10), now: rig.now)
            rig.end(attempt, random.next() % 4 == 0 ? .failed(.server) : .served)
        }
    }

    @Test func sharesAddUp() {
        var rig = PoolRig([(3, 0), (1, 0), (4, 1)])
        #expect((0..<3).map { rig.share($0) } == [750, 250, 0])
        rig.facts[0].exclusion = .draining
        #expect((0..<3).map { rig.share($0) } == [nil, 1_000, 0])
    }
}
