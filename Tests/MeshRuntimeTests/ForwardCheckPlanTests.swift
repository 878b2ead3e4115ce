import MeshModel
import MeshRuntime
import Testing

@Suite struct ForwardCheckPlanTests {
    private func plan(_ forwards: [(bytes: Int, isPrompt: Bool)]) -> ForwardCheckPlan {
        ForwardCheckPlan(forwards.map { .init(bytes: $0.bytes, isPrompt: $0.isPrompt) })
    }

    @Test func aFewSmallOnesAreCheckedHere() {
        #expect(plan([]).here.isEmpty && plan([]).apart.isEmpty)
        let few = plan(Array(repeating: (1_024, true), count: Limits.forwardsCheckedTogether))
        #expect(few.here == Array(0..<Limits.forwardsCheckedTogether) && few.apart.isEmpty)
    }

    /// However many arrive in a turn, no more than that is done in it.
    @Test(arguments: [17, 32, 33, 1_000]) func manyAreNot(count: Int) {
        let many = plan(Array(repeating: (0, true), count: count))
        #expect(many.here == Array(0..<16))
        #expect(many.apart.flatMap { $0 } == Array(16..<count))
        #expect(many.apart.allSatisfy { (1...16).contains($0.count) })
    }

    /// One byte under, at, and over the bound, alone and together.
    @Test func bodiesAreBoundedTogether() {
        let bound = Limits.forwardBytesCheckedInPlace
        #expect(plan([(bound, true)]).here == [0])
        #expect(plan([(bound + 1, true)]).apart == [[0]])
        let together = plan([(bound - 1, true), (1, true), (1, true), (0, true)])
        #expect(together.here == [0, 1, 3] && together.apart == [[2]])
        // A large one hurts no small one.
        let beside = plan([(.max, true), (5, true)])
        #expect(beside.here == [1] && beside.apart == [[0]])
    }

    @Test func whatIsNotPromptIsCheckedApart() {
        let mixed = plan([(1, false), (1, true), (1, false), (1, true)])
        #expect(mixed.here == [1, 3] && mixed.apart == [[0, 2]])
    }
}

@Suite struct DistrustedPeersTests {
    private func at(_ ms: Int64) -> Instant { Instant(nanoseconds: ms * 1_000_000) }
    private func peer(_ number: Int) -> PublicKey {
        PublicKey(Bytes32(high: .zero, low: Bytes16(high: 0, low: UInt64(number))))
    }

    @Test func distrustEnds() {
        var peers = DistrustedPeers()
        #expect(!peers.contains(peer(1), now: at(0)))
        peers.distrust(peer(1), now: at(1_000))
        #expect(peers.contains(peer(1), now: at(1_000)) && !peers.contains(peer(2), now: at(1_000)))
        #expect(peers.contains(peer(1), now: at(999 + Limits.peerDistrustMs)))
        #expect(!peers.contains(peer(1), now: at(1_000 + Limits.peerDistrustMs)))
        // Again while it lasts: from then on.
        peers.distrust(peer(1), now: at(500_000))
        #expect(peers.contains(peer(1), now: at(499_999 + Limits.peerDistrustMs)))
    }

    @Test func onlySoManyAreRemembered() {
        var peers = DistrustedPeers()
        for number in 0..<Limits.distrustedPeers { peers.distrust(peer(number), now: at(Int64(number))) }
        // Who is there already takes nobody's place; a new one that of who came first.
        peers.distrust(peer(5), now: at(1_000))
        #expect((0..<Limits.distrustedPeers).allSatisfy { peers.contains(peer($0), now: at(1_000)) })
        peers.distrust(peer(9_999), now: at(1_001))
        #expect(!peers.contains(peer(0), now: at(1_001)) && peers.contains(peer(9_999), now: at(1_001)))
        #expect((1..<Limits.distrustedPeers).allSatisfy { peers.contains(peer($0), now: at(1_001)) })
    }
}
