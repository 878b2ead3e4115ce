import MeshModel
import MeshRuntime
import Testing

/// The limiter of reconnect storms, told the time.
@Suite struct AdmissionRateTests {
    private static func at(_ milliseconds: Int64) -> Instant {
        Instant(nanoseconds: 5_000_000_000 + milliseconds * 1_000_000)
    }

    @Test func aStormOfAThousandIsSpreadOverSeconds() {
        var rate = AdmissionRate(perSecond: 200, burst: 400, now: Self.at(0))
        var told: [Int: Int] = [:]
        for _ in 0..<1_000 {
            if let seconds = rate.take(now: Self.at(0)) { told[seconds, default: 0] += 1 }
        }
        #expect(told == [1: 200, 2: 200, 3: 200])
        // Everybody comes back when told, and nobody has to come a third time.
        for (second, count) in [(1, 200), (2, 200), (3, 200)] {
            for _ in 0..<count { #expect(rate.take(now: Self.at(Int64(second) * 1_000)) == nil) }
            #expect(rate.take(now: Self.at(Int64(second) * 1_000)) != nil)
        }
    }

    @Test func noSecondLetsInMoreThanTheBurstAndOneSecondsShare() {
        var rate = AdmissionRate(perSecond: 200, burst: 400, now: Self.at(0))
        var admitted = 0
        for millisecond in Int64(0)..<10_000 {
            for _ in 0..<3 where rate.take(now: Self.at(millisecond)) == nil { admitted += 1 }
        }
        #expect((2_395...2_400).contains(admitted))
    }

    @Test func nobodyIsSentAwayForLongerThanTheLimit() {
        var rate = AdmissionRate(perSecond: 1, burst: 1, now: Self.at(0))
        #expect(rate.take(now: Self.at(0)) == nil)
        let told = (0..<1_000).compactMap { _ in rate.take(now: Self.at(0)) }
        #expect(told.count == 1_000 && told.first == 1 && told.max() == Limits.workerRetryAfterSeconds)
    }

    @Test func aLongRestFillsTheBurstAndNoMore() {
        var rate = AdmissionRate(perSecond: 1_000_000, burst: 2, now: Instant(nanoseconds: .min))
        let late = Instant(nanoseconds: .max)
        #expect((0..<4).map { _ in rate.take(now: late) == nil } == [true, true, false, false])
        // A clock that is read out of order takes nothing back.
        #expect(rate.take(now: Self.at(0)) != nil)
    }
}

@Suite struct RefusalGateTests {
    private static func at(_ milliseconds: Int64) -> Instant { Instant(nanoseconds: milliseconds * 1_000_000) }

    @Test func aCallerIsTurnedAwayForTheRestOfItsMinuteAndOthersAreNot() {
        let gate = RefusalGate()
        for _ in 0..<Limits.workerRefusalsPerMinute {
            #expect(!gate.isClosed("a", now: Self.at(1_000)))
            gate.refused("a", now: Self.at(1_000))
        }
        #expect(gate.secondsClosed("a", limit: Limits.workerRefusalsPerMinute, now: Self.at(31_500)) == 30)
        #expect(gate.secondsClosed("a", limit: Limits.workerRefusalsPerMinute + 1, now: Self.at(31_500)) == nil)
        #expect(gate.isClosed("a", now: Self.at(60_999)))
        #expect(!gate.isClosed("b", now: Self.at(60_999)))
        #expect(!gate.isClosed("a", now: Self.at(61_000)))
    }

    @Test func whatWasCountedInAdvanceIsTakenBack() {
        let gate = RefusalGate()
        for _ in 0..<(10 * Limits.workerRefusalsPerMinute) {
            gate.refused("a", now: Self.at(0))
            gate.forgive("a")
        }
        #expect(!gate.isClosed("a", now: Self.at(0)))
        for _ in 0..<Limits.workerRefusalsPerMinute { gate.refused("a", now: Self.at(0)) }
        #expect(gate.isClosed("a", now: Self.at(0)))
        gate.forgive("a")
        #expect(!gate.isClosed("a", now: Self.at(0)))
        gate.forgive("nobody")
    }
}

@Suite struct GuessAllowanceTests {
    private static func at(_ milliseconds: Int64) -> Instant { Instant(nanoseconds: milliseconds * 1_000_000) }

    @Test func itNeverRunsOutForGood() {
        let guesses = GuessAllowance()
        for _ in 0..<Limits.importedTokenGuesses { #expect(guesses.take("a", now: Self.at(0))) }
        #expect(!guesses.take("a", now: Self.at(0)))
        #expect(guesses.take("b", now: Self.at(0)))
        // A flood takes what there is of a second and no more; who asks in the next one has its turn.
        for second in Int64(1)...5 {
            #expect(!guesses.take("a", now: Self.at(second * 1_000 - 1)))
            #expect(guesses.take("a", now: Self.at(second * 1_000)))
            for _ in 0..<10 { #expect(!guesses.take("a", now: Self.at(second * 1_000))) }
        }
    }

    @Test func aRightGuessCostsNothing() {
        let guesses = GuessAllowance()
        for _ in 0..<(10 * Limits.importedTokenGuesses) {
            #expect(guesses.take("a", now: Self.at(0)))
            guesses.giveBack("a")
        }
        guesses.giveBack("nobody")
    }

    @Test func theTableIsBounded() {
        let guesses = GuessAllowance()
        for caller in 0...(2 * Limits.refusedCallers) { #expect(guesses.take("\(caller)", now: Self.at(0))) }
    }
}
