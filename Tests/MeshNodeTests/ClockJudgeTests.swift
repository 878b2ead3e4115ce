import MeshCrypto
import MeshModel
import MeshRuntime
import Testing

/// Whose clock is believed.
@Suite struct ClockJudgeTests {
    func key() -> PublicKey { SigningKey.random().publicKey }

    func now(_ seconds: Int64, wall: Int64) -> Now {
        Now(
            instant: Instant(nanoseconds: seconds * 1_000_000_000), wall: Timestamp(milliseconds: wall * 1_000))
    }

    /// Offsets in seconds. With an odd number of peers the voices, ours included, have two middles, and the one
    /// nearer to our own clock counts: one wrong peer mutes nobody.
    @Test(
        arguments: [
            ([], 0), ([120], 0), ([-3_600], 0), ([1, 120], 1), ([120, 121], 120), ([-95, -90, 2], 0),
            ([3_600, 3_600, 3_600], 3_600),
        ] as [([Int64], Int64)])
    func theMedianOfAllVoicesCountsOursIncluded(offsets: [Int64], expected: Int64) {
        let judge = ClockJudge(operatorKey: nil)
        let time = now(100, wall: 1_790_000_000)
        for offset in offsets { judge.observed(key(), operatorKey: key(), offsetMs: offset * 1_000, now: time) }
        #expect(judge.medianOffsetMs(now: time) == expected * 1_000)
    }

    @Test func aClockThatWasSetRightIsRightAtOnce() {
        let judge = ClockJudge(operatorKey: nil)
        let before = now(100, wall: 1_790_000_000)
        for _ in 0..<3 { judge.observed(key(), operatorKey: key(), offsetMs: 3_600_000, now: before) }
        #expect(judge.medianOffsetMs(now: before) == 3_600_000)
        #expect(judge.medianOffsetMs(now: now(110, wall: 1_790_003_610)) == 0)
    }

    @Test func aPeersVoiceEndsWithItsLink() {
        let judge = ClockJudge(operatorKey: nil)
        let time = now(100, wall: 1_790_000_000)
        let peers = (0..<3).map { _ in SigningKey.random().publicKey }
        for peer in peers { judge.observed(peer, operatorKey: peer, offsetMs: -120_000, now: time) }
        #expect(judge.medianOffsetMs(now: time) == -120_000)
        for peer in peers { judge.forget(peer) }
        #expect(judge.medianOffsetMs(now: time) == 0)
    }

    /// Offsets in seconds of one operator's many nodes among others' single ones.
    @Test(arguments: [6, 60])
    func oneOperatorHasOneVoiceHoweverManyNodesHeHas(nodes: Int) {
        let time = now(100, wall: 1_790_000_000)
        let crowd = key()
        let counted = ClockJudge(operatorKey: key())
        let uncertified = ClockJudge(operatorKey: key())
        // The control: as many operators are believed.
        let believed = ClockJudge(operatorKey: key())
        for _ in 0..<nodes {
            counted.observed(key(), operatorKey: crowd, offsetMs: 3_600_000, now: time)
            uncertified.observed(key(), operatorKey: nil, offsetMs: 3_600_000, now: time)
            believed.observed(key(), operatorKey: key(), offsetMs: 3_600_000, now: time)
        }
        for judge in [counted, uncertified, believed] {
            judge.observed(key(), operatorKey: key(), offsetMs: 1_000, now: time)
        }
        #expect(counted.medianOffsetMs(now: time) == 1_000)
        #expect(uncertified.medianOffsetMs(now: time) == 1_000)
        #expect(believed.medianOffsetMs(now: time) == 3_600_000)
    }

    @Test func theOwnOperatorsNodesHaveAVoiceEach() {
        let time = now(100, wall: 1_790_000_000)
        let own = key()
        let judge = ClockJudge(operatorKey: own)
        for _ in 0..<2 { judge.observed(key(), operatorKey: own, offsetMs: -90_000, now: time) }
        #expect(judge.medianOffsetMs(now: time) == -90_000)
    }
}
