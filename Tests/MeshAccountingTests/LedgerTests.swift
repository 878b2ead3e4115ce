import MeshAccounting
import MeshModel
import Testing

@Suite struct LedgerTests {
    @Test func threeHundredAtOnceNeverPassAHundred() {
        let rig = LedgerRig { $0.requestsPerMinute = 100 }
        var holds: [QuotaHold] = []
        var refused: [QuotaRefusal] = []
        for _ in 0..<300 {
            switch rig.admit() {
            case .success(let hold): if let hold { holds.append(hold) }
            case .failure(let refusal): refused.append(refusal)
            }
        }
        #expect(holds.count == 100)
        #expect(refused.count == 200)
        #expect(refused.allSatisfy { $0.limit == .requestsPerMinute && $0.remaining == 0 && $0.cause == .usedUp })
        #expect(holds.last?.requests?.remaining == 0)
    }

    /// What is told is true: a millisecond before, it does not fit, and then it does.
    @Test(arguments: [1, 999, 1_000, 30_000, 59_999] as [Int64])
    func theTimeThatIsToldIsTrue(milliseconds: Int64) throws {
        let rig = LedgerRig { $0.requestsPerMinute = 2 }
        rig.pass(milliseconds)
        _ = rig.admit()
        rig.pass(500)
        _ = rig.admit()
        let wait = try #require(rig.refusal()?.fitsAfterMs)
        #expect((60_000...61_000).contains(wait + 500))
        rig.pass(wait - 1)
        #expect(rig.refusal() != nil)
        rig.pass(1)
        #expect(rig.refusal() == nil)
    }

    @Test func nothingServedCostsNothing() throws {
        let rig = LedgerRig {
            $0.requestsPerMinute = 1
            $0.tokensPerMinute = 100
            $0.tokensPerDay = 100
            $0.concurrent = 1
        }
        let hold = try #require(rig.hold(100))
        #expect(rig.standing(.tokensPerMinute)?.remaining == 0)
        #expect(rig.standing(.tokensPerDay)?.remaining == 0)
        rig.ledger.release(hold.id, now: rig.now)
        // Whoever tells it twice gains nothing.
        rig.ledger.release(hold.id, now: rig.now)
        rig.ledger.settle(hold.id, QuotaUse(tokens: 5), now: rig.now)
        for limit in [QuotaLimit.requestsPerMinute, .tokensPerMinute, .tokensPerDay, .concurrent] {
            #expect(rig.standing(limit).map { $0.remaining == $0.amount } == true, "\(limit)")
        }
        #expect(rig.hold(100) != nil)
    }

    @Test func whatWasHeldAndNotUsedComesBack() throws {
        let rig = LedgerRig {
            $0.tokensPerMinute = 1_000
            $0.tokensPerMonth = 1_000
        }
        let hold = try #require(rig.hold(600))
        rig.pass(40_000)
        rig.ledger.settle(hold.id, QuotaUse(tokens: 250), now: rig.now)
        #expect(rig.standing(.tokensPerMinute)?.remaining == 750)
        #expect(rig.standing(.tokensPerMonth)?.remaining == 750)
        // More than was held is counted, too.
        let short = try #require(rig.hold(100))
        rig.ledger.settle(short.id, QuotaUse(tokens: 900), now: rig.now)
        #expect(rig.standing(.tokensPerMinute)?.remaining == 0)
        #expect(rig.standing(.tokensPerMonth)?.remaining == 0)
        #expect(rig.refusal(.tokens(1))?.limit == .tokensPerMonth, "the one that lasts longer is told")
    }

    @Test func concurrencyIsFreedByEitherEnd() throws {
        let rig = LedgerRig { $0.concurrent = 2 }
        let (first, second) = (try #require(rig.hold(0)), try #require(rig.hold(0)))
        let refusal = try #require(rig.refusal())
        #expect(refusal.limit == .concurrent && refusal.amount == 2)
        rig.ledger.settle(first.id, QuotaUse(tokens: 1), now: rig.now)
        #expect(rig.hold(0) != nil)
        rig.ledger.release(second.id, now: rig.now)
        #expect(rig.hold(0) != nil)
        #expect(rig.refusal()?.limit == .concurrent)
    }

    /// Of several subjects each has to have room, and a refusal by one takes nothing of the others.
    @Test func allSubjectsOrNone() throws {
        var small = Quota()
        small.requestsPerMinute = 1
        var large = Quota()
        large.requestsPerMinute = 10
        let rig = LedgerRig([(LedgerRig.key, large), (LedgerRig.user, small)])
        let hold = try #require(rig.hold(0))
        #expect(hold.requests?.remaining == 0, "the tightest is told")
        #expect(rig.refusal()?.subject == LedgerRig.user)
        #expect(rig.standing(.requestsPerMinute)?.remaining == 9)
    }

    @Test func withoutAQuotaThereIsNoHold() {
        let rig = LedgerRig([])
        #expect(rig.ledger.isEmpty)
        #expect((try? rig.admit().get()) == .some(nil))
        #expect(rig.ledger.running == 0)
    }

    /// An answer whose length nobody bounded is held at its usual length, but never more than a whole limit for it.
    @Test func whatIsAssumedNeverShutsOut() throws {
        let rig = LedgerRig { $0.tokensPerMinute = 500 }
        let estimate = QuotaEstimate(prompt: 80, answer: nil)
        #expect(estimate.leastTokens == 100)
        #expect(estimate.mostTokens == 100 + Limits.quotaAssumedAnswer)
        let hold = try #require(try rig.admit(estimate).get())
        #expect(rig.standing(.tokensPerMinute)?.remaining == 0)
        rig.ledger.settle(hold.id, QuotaUse(tokens: 120), now: rig.now)
        #expect(rig.standing(.tokensPerMinute)?.remaining == 380)
        // What is surely needed has to fit, now or later.
        let asked = try #require(rig.refusal(QuotaEstimate(prompt: 80, answer: 450)))
        #expect(asked.cause == .tooLarge && asked.fitsAfterMs == nil && asked.needed == 550)
    }

    private static let rules: [(change: @Sendable (inout Quota) -> Void, limit: QuotaLimit?)] = [
        ({ $0.expires = Timestamp(milliseconds: 1_798_700_000_000) }, .expires),
        ({ $0.expires = Timestamp(milliseconds: 1_798_700_000_001) }, nil),
        ({ $0.addresses = [AddressRange("10.0.0.0/8")!] }, .addresses),
        ({ $0.addresses = [AddressRange("10.0.0.0/8")!, AddressRange("192.0.2.0/24")!] }, nil),
        ({ $0.models = ["lab/m2", "den/*"] }, .models), ({ $0.models = ["lab/*"] }, nil), ({ $0.models = ["m1"] }, nil),
        ({ $0.routes = ["embeddings"] }, .routes), ({ $0.routes = ["chat/*"] }, nil),
        ({ $0.concurrent = 0 }, .concurrent), ({ $0.requestsPerMinute = 0 }, .requestsPerMinute),
    ]

    @Test(arguments: rules.indices)
    func rulesSayWhoMayAskForWhat(number: Int) {
        let rig = LedgerRig(Self.rules[number].change)
        let request = QuotaRequest(
            address: IPAddress("192.0.2.9"), route: "chat/completions", models: [["m1", "lab/m1"]])
        #expect(rig.refusal(request: request)?.limit == Self.rules[number].limit)
    }

    @Test func everyModelOfARequestHasToBeAllowed() {
        let rig = LedgerRig { $0.models = ["lab/m1"] }
        let fallback = QuotaRequest(address: nil, route: nil, models: [["lab/m1"], ["den/dear"]])
        #expect(rig.refusal(request: fallback)?.limit == .models)
        let unnamed = QuotaRequest(address: nil, route: nil, models: [[]])
        #expect(rig.refusal(request: unnamed)?.limit == .models)
    }

    @Test func otherLimitsKeepWhatWasUsed() throws {
        let rig = LedgerRig { $0.tokensPerDay = 1_000 }
        let hold = try #require(rig.hold(600))
        rig.ledger.settle(hold.id, QuotaUse(tokens: 600), now: rig.now)
        rig.quotas[0].quota.tokensPerDay = 700
        rig.quotas[0].quota.requestsPerMinute = 5
        rig.define()
        #expect(rig.standing(.tokensPerDay)?.remaining == 100)
        #expect(rig.refusal(.tokens(101))?.limit == .tokensPerDay)
        rig.quotas = []
        rig.define()
        #expect(rig.refusal(.tokens(5_000)) == nil)
        // What the limit had in hand was given back, what was used was not.
        rig.quotas = [
            (
                LedgerRig.key,
                {
                    var quota = Quota(); quota.tokensPerDay = 1_000; return quota
                }()
            )
        ]
        rig.define()
        #expect(rig.standing(.tokensPerDay)?.remaining == 400)
    }
}
