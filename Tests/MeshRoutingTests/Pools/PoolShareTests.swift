import MeshModel
import MeshRouting
import Testing

/// Who gets how many of the requests.
@Suite struct PoolShareTests {
    @Test(arguments: 1...20) func smoothlyAndNotInBursts(seed: UInt64) {
        var rig = PoolRig([(5, 0), (1, 0), (1, 0)], seed: seed)
        for _ in 0..<3 {
            let round = (0..<7).map { _ in rig.run().map { ["a", "b", "c"][$0] } ?? "-" }.joined()
            // Of two that are equal either may be the first.
            #expect(round == "aabacaa" || round == "aacabaa")
        }
    }

    @Test func equalsAreDrawnForAtRandom() {
        let firsts = (1...300).map { (seed: UInt64) in
            var rig = PoolRig([(1, 0), (1, 0), (1, 0)], seed: seed)
            return rig.run() ?? -1
        }
        for leaf in 0..<3 { #expect((70...130).contains(firsts.count { $0 == leaf })) }
    }

    /// Three to one over 10,000 served first attempts, within 2 % and by chi-square, although many ask at once and take
    /// their time, and some members are full now and then.
    @Test(arguments: 1...10) func threeToOneOverTenThousand(seed: UInt64) {
        var rig = PoolRig([(3, 0), (1, 0)], seed: seed)
        var random = SeededGenerator(seed: seed)
        var underWay: [PoolAttempt] = []
        var served = [0, 0]
        while served[0] + served[1] < 10_000 {
            rig.nowMs += Int64(random.next() % 50)
            if random.next() % 2 == 0, let attempt = rig.begin() { underWay.append(attempt) }
            guard !underWay.isEmpty, random.next() % 3 > 0 else { continue }
            let attempt = underWay.remove(at: Int(random.next() % UInt64(underWay.count)))
            rig.end(attempt, .served)
            served[attempt.pick.leaf] += 1
        }
        #expect(abs(served[0] - 7_500) <= 150)
        // One degree of freedom, 5 %.
        let chiSquare =
            Double((served[0] - 7_500) * (served[0] - 7_500)) / 7_500
            + Double((served[1] - 2_500) * (served[1] - 2_500)) / 2_500
        #expect(chiSquare < 3.84, "\(served)")
    }

    @Test func aSecondAttemptIsNobodysTurn() throws {
        var rig = PoolRig([(3, 0), (1, 0)])
        var served = [0, 0]
        for number in 0..<10_000 {
            let first = try rig.must()
            // Seldom enough that nobody is benched.
            guard number % 50 == 0 else {
                rig.end(first, .served)
                served[first.pick.leaf] += 1
                continue
            }
            rig.end(first, .failed(.declined))
            let second = try rig.must(PoolRequest().tried(first))
            #expect(second.pick.leaf != first.pick.leaf)
            rig.end(second, .served)
        }
        let all = served[0] + served[1]
        #expect(abs(served[0] * 4 - all * 3) * 50 <= all * 3)
    }

    @Test func whoIsBackHasNothingToCatchUpOrPayBack() {
        var rig = PoolRig([(1, 0), (1, 0)])
        _ = rig.counts(100)
        rig.bench(1)
        _ = rig.counts(1_000)
        rig.nowMs += 120_000
        // The probe, and then the ramp.
        rig.run(PoolRequest(isShort: true))
        rig.nowMs += Limits.poolRampMs
        #expect(rig.counts(10).sorted() == [5, 5])
    }

    @Test func weightNothingTakesNothing() {
        var rig = PoolRig([(1, 0), (0, 0)])
        #expect(rig.counts(100) == [100, 0])
        #expect(rig.reason(1) == .disabled)
        rig.facts[0].exclusion = .endpoint
        #expect(rig.run() == nil)
    }

    @Test func onlyWhoCanTakeTheRequestSharesIt() {
        var rig = PoolRig([(3, 0), (1, 0), (1, 0)])
        var counts = [0, 0, 0]
        for number in 0..<2_000 {
            // Every second request the first one cannot take: it keeps three of five of the others.
            rig.facts[0].exclusion = number % 2 == 0 ? .modality : nil
            if let leaf = rig.run(), number % 2 == 1 { counts[leaf] += 1 }
        }
        #expect(abs(counts[0] - 600) <= 12)
    }

    @Test func theNextTierStandsIn() {
        var rig = PoolRig([(1, 0), (3, 1), (1, 1), (1, 2)])
        #expect(rig.counts(40) == [40, 0, 0, 0])
        rig.facts[0].exclusion = .draining
        #expect(rig.counts(40) == [0, 30, 10, 0])
        rig.facts[1].exclusion = .draining
        rig.facts[2].exclusion = .absent
        #expect(rig.counts(40) == [0, 0, 0, 40])
    }

    // MARK: Rotations in rotations

    static func provider(_ name: String, _ weight: Int = 1, tier: Int = 0) -> Rotation.Member {
        Rotation.Member(.provider(name, model: "x"), weight: weight, tier: tier)
    }

    static let nested = Rotation(
        name: "pool", members: [Rotation.Member(.rotation("inner"), weight: 3), provider("c")],
        settings: PoolRig.plain())
    static let inner = Rotation(name: "inner", members: [provider("a", 200), provider("b"), provider("d", tier: 1)])

    /// Shares along a path multiply: the inner rotation has three quarters whatever the weights in it add up to.
    @Test func sharesMultiply() {
        var rig = PoolRig(Self.nested, others: [Self.inner])
        // In the order of the tree: c, a, b, d.
        let counts = rig.counts(8_040)
        #expect(counts == [2_010, 6_000, 30, 0])
        #expect((0..<4).map { rig.share($0) } == [250, 746, 4, 0])
    }

    /// As long as anybody in it can take requests, a rotation keeps its share, with its own tiers.
    @Test func aRotationStandsInForItsOwn() {
        var rig = PoolRig(Self.nested, others: [Self.inner])
        rig.facts[1].exclusion = .draining
        #expect(rig.counts(100) == [25, 0, 75, 0])
        rig.facts[2].exclusion = .draining
        #expect(rig.counts(100) == [25, 0, 0, 75])
        rig.facts[3].exclusion = .draining
        #expect(rig.counts(100) == [100, 0, 0, 0])
    }

    @Test func twoWaysToOneMemberAreOneMember() throws {
        let outer = Rotation(
            name: "pool", members: [Rotation.Member(.rotation("one")), Rotation.Member(.rotation("two"))],
            settings: PoolRig.plain())
        let one = Rotation(name: "one", members: [Self.provider("a")])
        let two = Rotation(name: "two", members: [Self.provider("a"), Self.provider("b")])
        var rig = PoolRig(outer, others: [one, two])
        #expect(rig.facts.count == 2)
        #expect(rig.counts(400) == [300, 100])
        // Asked once, by whichever way.
        let first = try rig.must()
        let second = try rig.must(PoolRequest().tried(first))
        #expect(first.pick.leaf != second.pick.leaf)
        #expect(rig.begin(PoolRequest().tried(first, second)) == nil)
    }

    /// `lab` and `seller@node/lab` may be one provider: it rests under both names.
    @Test func twoNamesOfOneProviderAreOneMember() throws {
        var rig = PoolRig([(1, 0), (1, 0), (1, 0)])
        let same = PoolPlaces(provider: PoolRig.key(0), model: "x", nodes: [PoolRig.node(0)])
        let other = PoolPlaces(provider: PoolRig.key(2), model: "x", nodes: [PoolRig.node(20)])
        rig.pools.place(rig.id, [same, same, other], now: rig.now)
        #expect(rig.counts(300) == [200, 0, 100])
        rig.bench(0)
        #expect(rig.reason(0) == .cooling && rig.reason(1) == .cooling)
        #expect(rig.run() == 2)
    }

    @Test func aPoolThatWasChangedKnowsWhoRests() {
        var rig = PoolRig([(1, 0), (1, 0)])
        rig.bench(0)
        let rest = rig.restMs(0)
        let members = [Self.provider("new"), Self.provider("m0", 5), Self.provider("m1")]
        rig.pools.set(rig.id, Rotation(name: "pool", members: members, settings: PoolRig.plain())) { _ in nil }
        rig.facts = [MemberFacts(), MemberFacts(), MemberFacts()]
        let keys = [5, 0, 1]
        let places = keys.map { PoolPlaces(provider: PoolRig.key($0), model: "x", nodes: [PoolRig.node($0 * 10)]) }
        rig.pools.place(rig.id, places, now: rig.now)
        #expect(rig.reason(1) == .cooling && rig.restMs(1) == rest)
        #expect(rig.counts(10) == [5, 0, 5])
    }
}
