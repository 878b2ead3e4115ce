import MeshAccounting
import MeshModel
import Testing

/// What is given out was taken of the store before.
@Suite struct LedgerSliceTests {
    @Test func nothingIsGivenOutThatIsNotOnTheDisk() throws {
        let rig = LedgerRig { $0.moneyPerMonth = 16_000_000 }
        // An eighth is in hand. What is larger is refused for a moment, and then it is there.
        let refusal = try #require(rig.refusal(.cost(3_000_000)))
        #expect(refusal.cause == .notGranted && refusal.remaining == 16_000_000)
        #expect(refusal.fitsAfterMs == Limits.quotaGrantMs)
        rig.write()
        #expect(rig.refusal(.cost(3_000_000)) == nil)
    }

    @Test func afterACrashAnOpenSliceCountsAsUsed() throws {
        let rig = LedgerRig { $0.moneyPerDay = 160_000_000 }
        for _ in 0..<5 { _ = try #require(try rig.admit(.cost(1_000_000)).get()) }
        rig.crash()
        let left = try #require(rig.standing(.moneyPerDay)?.remaining)
        #expect(left <= 155_000_000 && left >= 130_000_000)
        // One that stops well gives back what it did not use.
        let good = LedgerRig { $0.moneyPerDay = 160_000_000 }
        let hold = try #require(try good.admit(.cost(1_000_000)).get())
        good.ledger.settle(
            hold.id, QuotaUse(tokens: 0, money: Money(microUnits: 700_000, currency: .usd)), now: good.now)
        good.write()
        good.waiting = good.ledger.close()
        good.write()
        good.crash()
        #expect(good.standing(.moneyPerDay)?.remaining == 159_300_000)
    }

    @Test func withoutAStoreMoneyIsClosedAndWhatIsFreeIsOpen() throws {
        let rig = LedgerRig {
            $0.moneyPerDay = 1_600
            $0.tokensPerDay = 1_600
            $0.requestsPerMinute = 1_000
        }
        rig.pass(86_400_000)
        rig.ask()
        rig.fail()
        // The limits of tokens are kept in memory.
        #expect(rig.refusal(.tokens(1_000)) == nil)
        #expect(rig.refusal(.tokens(1_000))?.cause == .usedUp)
        let refusal = try #require(rig.refusal(.cost(5)))
        #expect(refusal.cause == .storeFailed && refusal.limit == .moneyPerDay)
        rig.ask()
        rig.write()
        #expect(rig.refusal(.cost(5)) == nil)
    }

    @Test func anotherCurrencyThanTheLimitsIsRefused() {
        let rig = LedgerRig { $0.moneyPerDay = 1_600 }
        let euro = Currency("EUR") ?? .usd
        #expect(rig.refusal(.cost(5, euro))?.cause == .currency(euro))
        #expect(rig.refusal(.cost(0)) == nil)
    }

    /// The first slice of a day is there when it begins.
    @Test func theNextPeriodIsTakenAheadOfIt() throws {
        let rig = LedgerRig { $0.moneyPerDay = 16_000 }
        let end = QuotaPeriod(.day, at: rig.now.wall).end
        _ = try #require(try rig.admit(.cost(1_000)).get())
        rig.pass(end.milliseconds - rig.now.wall.milliseconds - 60_000)
        rig.ask()
        rig.write()
        rig.pass(60_000)
        #expect(rig.refusal(.cost(500)) == nil)
        #expect(rig.standing(.moneyPerDay)?.remaining == 15_500)
    }

    @Test func whatEndsAfterMidnightCountsForItsDay() throws {
        let rig = LedgerRig { $0.tokensPerDay = 1_000 }
        let hold = try #require(rig.hold(800))
        rig.pass(86_400_000)
        rig.ask()
        rig.write()
        rig.ledger.settle(hold.id, QuotaUse(tokens: 100), now: rig.now)
        #expect(rig.standing(.tokensPerDay)?.remaining == 1_000)
    }

    @Test func aClockThatGoesBackOpensNoDayAgain() throws {
        let rig = LedgerRig { $0.tokensPerDay = 1_000 }
        let hold = try #require(rig.hold(1_000))
        rig.ledger.settle(hold.id, QuotaUse(tokens: 1_000), now: rig.now)
        rig.now.wall = rig.now.wall.advanced(byMilliseconds: -86_400_000)
        #expect(rig.refusal(.tokens(1))?.limit == .tokensPerDay)
    }

    /// What an answer used beyond what was held for it is on the disk, too.
    @Test func debtsSurviveACrash() throws {
        let rig = LedgerRig { $0.tokensPerMonth = 1_000 }
        let hold = try #require(rig.hold(100))
        rig.ledger.settle(hold.id, QuotaUse(tokens: 5_000), now: rig.now)
        rig.ask()
        rig.write()
        rig.crash()
        #expect(rig.standing(.tokensPerMonth)?.remaining == 0)
        #expect(rig.refusal(.tokens(1))?.limit == .tokensPerMonth)
    }
}
