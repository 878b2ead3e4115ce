import MeshModel
import MeshRouting
import Testing

@Suite struct CandidateTroublesTests {
    private static func key(_ model: String) -> CandidateKey {
        CandidateKey(provider: RecordKey(.zero), node: PublicKey(.zero), model: model)
    }
    private static func at(_ milliseconds: Int64) -> Instant {
        Instant(nanoseconds: 0).advanced(byMilliseconds: milliseconds)
    }

    @Test func threeFailuresInARowAndEachAfterThemTwiceAsLong() {
        var troubles = CandidateTroubles()
        func failed(_ key: CandidateKey, _ fault: Fault, _ milliseconds: Int64) -> Bool {
            troubles.failed(key, fault, now: Self.at(milliseconds))
        }
        func returned(_ milliseconds: Int64) -> [CandidateKey] { troubles.returned(now: Self.at(milliseconds)) }
        let key = Self.key("m")
        #expect(!failed(key, .server, 0))
        #expect(!failed(key, .timeout, 1))
        #expect(failed(key, .transport, 2))
        #expect(returned(2 + Limits.policyRestMs - 1).isEmpty)
        #expect(returned(2 + Limits.policyRestMs) == [key])
        #expect(returned(2 + Limits.policyRestMs).isEmpty, "each once")
        #expect(failed(key, .server, 40_000))
        #expect(returned(40_000 + 2 * Limits.policyRestMs - 1).isEmpty)
        #expect(returned(40_000 + 2 * Limits.policyRestMs) == [key])
        troubles.answered(key)
        #expect(!failed(key, .server, 200_000), "an answer makes up for all")
    }

    @Test func itsOwnWordCountsAtOnceAndItsBuyersMistakesNever() {
        var troubles = CandidateTroubles()
        func failed(_ key: CandidateKey, _ fault: Fault, _ milliseconds: Int64) -> Bool {
            troubles.failed(key, fault, now: Self.at(milliseconds))
        }
        func returned(_ milliseconds: Int64) -> [CandidateKey] { troubles.returned(now: Self.at(milliseconds)) }
        #expect(failed(Self.key("a"), .rateLimit(retryAfterSeconds: 5), 0))
        #expect(returned(4_999).isEmpty)
        #expect(returned(5_000) == [Self.key("a")])
        #expect(failed(Self.key("b"), .credentials, 0))
        #expect(returned(Limits.refusedKeyRestMs - 1).isEmpty)
        #expect(returned(Limits.refusedKeyRestMs) == [Self.key("b")])
        for fault in [Fault.client, .context, .buyer, .node, .busy, .declined] {
            for _ in 0..<8 { #expect(!failed(Self.key("c"), fault, 0)) }
        }
        #expect(troubles.count == 0)
    }

    /// A full table forgets who is not passed over, and never who is.
    @Test func nobodyIsPassedOverForEver() {
        var troubles = CandidateTroubles(limit: 2)
        func failed(_ key: CandidateKey, _ fault: Fault, _ milliseconds: Int64) -> Bool {
            troubles.failed(key, fault, now: Self.at(milliseconds))
        }
        func returned(_ milliseconds: Int64) -> [CandidateKey] { troubles.returned(now: Self.at(milliseconds)) }
        #expect(failed(Self.key("a"), .credentials, 0))
        #expect(!failed(Self.key("b"), .server, 0))
        #expect(failed(Self.key("c"), .rateLimit(retryAfterSeconds: 1), 0))
        #expect(!failed(Self.key("d"), .credentials, 0), "no room to call it back from")
        #expect(returned(1_000) == [Self.key("c")])
        #expect(returned(Limits.refusedKeyRestMs) == [Self.key("a")])
    }

    /// That it was out of reach is forgiven to whoever is there again; the next failure counts as before.
    @Test(arguments: [
        ([Fault.transport, .transport, .transport], true), ([.transport, .transport, .server], false),
        ([.credentials], false), ([.rateLimit(retryAfterSeconds: 60)], false),
    ])
    func whoWasOutOfReachIsForgiven(faults: [Fault], isForgiven: Bool) {
        var troubles = CandidateTroubles()
        let key = Self.key("m")
        for fault in faults { _ = troubles.failed(key, fault, now: Self.at(0)) }
        #expect(troubles.passedOver == [key])
        #expect(troubles.lost == (isForgiven ? [key] : []))
        troubles.cameBack(key)
        #expect(troubles.passedOver == (isForgiven ? [] : [key]))
        let isPassedOver = troubles.failed(key, .transport, now: Self.at(1))
        #expect(isPassedOver == (faults.count == 3), "the next one is the third, or comes behind it")
    }

    /// Where nobody else is left: who rests for its failures, each once in a while, in turn; once a minute and behind those whose
    /// key was refused; never who asked for a rest.
    @Test func theLeastBadIsAskedNowAndThen() {
        var troubles = CandidateTroubles()
        let keys = ["failing", "slow", "told", "refused"].map(Self.key)
        for _ in 0..<3 {
            _ = troubles.failed(keys[0], .server, now: Self.at(0))
            _ = troubles.failed(keys[1], .timeout, now: Self.at(0))
        }
        _ = troubles.failed(keys[2], .rateLimit(retryAfterSeconds: 600), now: Self.at(0))
        _ = troubles.failed(keys[3], .credentials, now: Self.at(0))
        func ask(_ milliseconds: Int64) -> CandidateKey? { troubles.askEarly(keys, now: Self.at(milliseconds)) }
        #expect(ask(0) == keys[0])
        #expect(ask(1) == keys[1])
        #expect(ask(2) == nil)
        #expect(ask(Limits.poolEarlyAskMs) == keys[0])
        #expect(ask(Limits.poolEarlyAskMs) == nil)
        let minute = Limits.refusedKeyTrialMs
        #expect([minute, minute, minute, minute].map(ask) == [keys[1], keys[0], keys[3], nil])
        #expect(ask(2 * minute - 1) == keys[0])
    }

    /// For how long it is worth waiting.
    @Test func whoIsBackFirst() {
        var troubles = CandidateTroubles()
        let keys = ["failing", "told", "refused"].map(Self.key)
        #expect(troubles.soonest(keys) == nil)
        _ = troubles.failed(keys[1], .rateLimit(retryAfterSeconds: 600), now: Self.at(0))
        #expect(troubles.soonest(keys) == Self.at(600_000))
        _ = troubles.failed(keys[2], .credentials, now: Self.at(0))
        #expect(troubles.soonest(keys) == Self.at(Limits.refusedKeyTrialMs))
        for _ in 0..<3 { _ = troubles.failed(keys[0], .server, now: Self.at(0)) }
        _ = troubles.askEarly(keys, now: Self.at(0))
        #expect(troubles.soonest(keys) == Self.at(Limits.poolEarlyAskMs))
        #expect(troubles.soonest([keys[1]]) == Self.at(600_000))
    }
}
