import MeshModel
import MeshRouting
import Testing

/// Conversations prefer where they were.
@Suite struct PoolStickinessTests {
    static func rig(_ weights: [Int], seed: UInt64 = 1) -> PoolRig {
        var settings = PoolRig.plain()
        settings.stickiness = .prefix
        return PoolRig(weights.map { ($0, 0) }, seed: seed, settings: settings)
    }

    static func homes(_ rig: inout PoolRig, _ sessions: Int) -> [Int] {
        (0..<UInt64(sessions)).map { rig.run(PoolRequest(session: $0 &* 0x9E37_79B9_7F4A_7C15)) ?? -1 }
    }

    @Test func aConversationStaysWhereItIs() {
        var rig = Self.rig([1, 1, 1])
        let homes = Self.homes(&rig, 100)
        for _ in 0..<5 {
            _ = rig.counts(17)
            #expect(Self.homes(&rig, 100) == homes)
        }
    }

    @Test func conversationsAreSharedOutByWeight() {
        var rig = Self.rig([5, 3, 2, 0])
        let homes = Self.homes(&rig, 10_000)
        let counts = (0..<4).map { leaf in homes.count { $0 == leaf } }
        for (count, expected) in zip(counts, [5_000, 3_000, 2_000, 0]) { #expect(abs(count - expected) <= 200) }
    }

    /// Two nodes with the same pool send a conversation to the same member, without having spoken.
    @Test func everyNodeAgrees() {
        var one = Self.rig([3, 1, 2], seed: 1)
        var other = Self.rig([3, 1, 2], seed: 99)
        _ = other.counts(50)
        #expect(Self.homes(&one, 500) == Self.homes(&other, 500))
    }

    @Test func aMemberThatGoesMovesItsOwnConversationsOnly() {
        var rig = Self.rig([1, 1, 1, 1])
        let before = Self.homes(&rig, 1_000)
        rig.facts[2].exclusion = .draining
        let after = Self.homes(&rig, 1_000)
        for (old, new) in zip(before, after) { #expect(old == 2 ? new != 2 && new >= 0 : new == old) }
        // Those that had to move stay where they are now.
        rig.facts[2].exclusion = nil
        #expect(Self.homes(&rig, 1_000) == after)
    }

    @Test(arguments: [Exclusion.draining, .absent, .endpoint, .budget])
    func whatBreaksIt(exclusion: Exclusion) throws {
        var rig = Self.rig([1, 1])
        let home = try #require({ rig.run(PoolRequest(session: 7)) }())
        rig.facts[home].exclusion = exclusion
        #expect(rig.run(PoolRequest(session: 7)) == 1 - home)
    }

    @Test func restBreaksIt() throws {
        var rig = Self.rig([1, 1])
        let home = try #require({ rig.run(PoolRequest(session: 7)) }())
        rig.bench(home)
        #expect(rig.run(PoolRequest(session: 7)) == 1 - home)
    }

    /// Weight 0 drains: no conversation keeps a member at work.
    @Test func weightNothingBreaksIt() throws {
        var rig = Self.rig([1, 1])
        let home = try #require({ rig.run(PoolRequest(session: 7)) }())
        let members = (0..<2).map { Rotation.Member(.provider("m\($0)", model: "x"), weight: $0 == home ? 0 : 1) }
        var rotation = Rotation(name: "pool", members: members)
        rotation.settings.stickiness = .prefix
        rig.set(rotation)
        #expect(rig.run(PoolRequest(session: 7)) == 1 - home)
    }

    /// While there is no free place another one answers, and the conversation stays; for long it does not wait.
    @Test func fullSpillsAndKeepsThePin() throws {
        var rig = Self.rig([1, 1])
        let home = try #require({ rig.run(PoolRequest(session: 7)) }())
        rig.facts[home].free = 0
        for _ in 0..<3 { #expect(rig.run(PoolRequest(session: 7)) == 1 - home) }
        rig.facts[home].free = 1
        #expect(rig.run(PoolRequest(session: 7)) == home)
        rig.facts[home].free = 0
        #expect(rig.run(PoolRequest(session: 7)) == 1 - home)
        rig.nowMs += Limits.poolPinFullMs
        #expect(rig.run(PoolRequest(session: 7)) == 1 - home)
        rig.facts[home].free = 1
        #expect(rig.run(PoolRequest(session: 7)) == 1 - home)
    }

    @Test func idleForTenMinutesItBeginsAnew() {
        var rig = Self.rig([1, 1, 1])
        let before = Self.homes(&rig, 300)
        rig.facts[0].exclusion = .draining
        _ = Self.homes(&rig, 300)
        rig.facts[0].exclusion = nil
        rig.nowMs += 599_999
        #expect(Self.homes(&rig, 300) != before)
        rig.nowMs += 600_000
        #expect(Self.homes(&rig, 300) == before)
    }

    @Test func whatIsRememberedIsBounded() {
        var rig = Self.rig([1, 1])
        for session in 0..<UInt64(3 * Limits.poolSessions) { rig.run(PoolRequest(session: session)) }
        #expect(rig.pools.conversations(rig.id) <= Limits.poolSessions)
    }

    /// What conversations ask for counts as turns, so the rest of the requests makes up for it.
    @Test func othersMakeUpForConversations() throws {
        var rig = Self.rig([1, 1])
        let home = try #require({ rig.run(PoolRequest(session: 7)) }())
        var counts = [0, 0]
        for _ in 0..<100 {
            rig.run(PoolRequest(session: 7))
            counts[try #require({ rig.run() }())] += 1
        }
        #expect(counts[1 - home] >= 98)
    }

    /// A second attempt has no conversation to lose.
    @Test func aSecondAttemptGoesByShares() throws {
        var rig = Self.rig([1, 1])
        let first = try rig.must(PoolRequest(session: 7))
        rig.end(first, .failed(.server))
        let second = try rig.must(PoolRequest(session: 7).tried(first))
        #expect(second.pick.leaf != first.pick.leaf)
        rig.end(second, .served)
        // One failure moves no conversation.
        #expect(rig.run(PoolRequest(session: 7)) == first.pick.leaf)
    }
}
