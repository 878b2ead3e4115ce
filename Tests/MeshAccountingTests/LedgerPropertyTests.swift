import MeshAccounting
import MeshModel
import Testing

/// Whatever happens in whatever order, no limit is passed: holds at once, ends and crashes at every step, days and months that
/// end, disks that write late, never, or without anybody hearing of it.
@Suite struct LedgerPropertyTests {
    /// What a run has given out, as somebody who watches from outside counts it.
    private struct Watch {
        var requests: [Int64] = []
        var tokens: [(at: Int64, id: QuotaHold.ID)] = []
        var held: [QuotaHold.ID: Int64] = [:]
        var spent: [QuotaPeriod: Int64] = [:]
        var broken: [String] = []
    }

    private struct Running {
        var hold: QuotaHold
        var amount: Int64
        var day: QuotaPeriod
        var month: QuotaPeriod
    }

    private static let perMinute: Int64 = 12
    private static let perDay: Int64 = 3_000_000
    private static let perMonth: Int64 = 9_000_000

    /// - Parameter forgets: the control: a disk that has nothing after a crash.
    private static func run(seed: UInt64, forgets: Bool = false) -> Watch {
        var random = SeededGenerator(seed: seed)
        let rig = LedgerRig {
            $0.requestsPerMinute = perMinute
            $0.concurrent = 7
            $0.moneyPerDay = perDay
            $0.moneyPerMonth = perMonth
        }
        // In the last days of a February, in a leap year or not.
        let starts: [Int64] = [1_709_000_000, 1_740_500_000, 1_798_700_000]
        rig.now.wall = Timestamp(milliseconds: starts[Int(seed % 3)] * 1_000)
        rig.crash()
        var watch = Watch()
        var running: [Running] = []
        for _ in 0..<1_500 {
            step(rig, &watch, &running, &random, forgets: forgets)
            check(&watch, running.count, rig.now)
        }
        return watch
    }

    private static func step(
        _ rig: LedgerRig, _ watch: inout Watch, _ running: inout [Running], _ random: inout SeededGenerator,
        forgets: Bool
    ) {
        func below(_ bound: UInt64) -> Int64 { Int64(random.next() % bound) }
        switch below(100) {
        case 0..<55:
            let amount = below(400) * 1_000
            guard case .success(let hold?) = rig.admit(.cost(amount)) else { return }
            let (day, month) = (QuotaPeriod(.day, at: rig.now.wall), QuotaPeriod(.month, at: rig.now.wall))
            running.append(Running(hold: hold, amount: amount, day: day, month: month))
            watch.requests.append(rig.now.instant.nanoseconds / 1_000_000)
            watch.spent[day, default: 0] += amount
            watch.spent[month, default: 0] += amount
        case 55..<80 where !running.isEmpty:
            let one = running.remove(at: Int(below(UInt64(running.count))))
            let used = below(UInt64(one.amount + 1))
            if below(4) == 0 {
                rig.ledger.release(one.hold.id, now: rig.now)
                giveBack(&watch, one, one.amount)
                // It counts no more as a request, and who watches does not know which it was: the latest is left out.
                watch.requests.removeLast(min(watch.requests.count, 1))
            } else {
                let money = Money(microUnits: used, currency: .usd)
                rig.ledger.settle(one.hold.id, QuotaUse(tokens: 0, money: money), now: rig.now)
                giveBack(&watch, one, one.amount - used)
            }
        case 80..<90: rig.write(Int(below(3)))
        case 90..<92: rig.fail()
        case 92..<94:
            // On the disk, and the process dies before it hears of it.
            if let slice = rig.waiting.first { rig.persist(slice) }
            rig.crash(forgetting: forgets)
            running = []
            watch.requests = []
        case 94: rig.pass(below(20_000_000))
        default: rig.pass(below(8_000))
        }
        rig.ask()
    }

    private static func giveBack(_ watch: inout Watch, _ one: Running, _ amount: Int64) {
        watch.spent[one.day, default: 0] -= amount
        watch.spent[one.month, default: 0] -= amount
    }

    private static func check(_ watch: inout Watch, _ running: Int, _ now: Now) {
        let millisecond = now.instant.nanoseconds / 1_000_000
        watch.requests.removeAll { $0 <= millisecond - 60_000 }
        if watch.requests.count > perMinute { watch.broken.append("\(watch.requests.count) requests in a minute") }
        if running > 7 { watch.broken.append("\(running) at once") }
        for (period, spent) in watch.spent where spent > (period.kind == .day ? perDay : perMonth) {
            watch.broken.append("\(spent) in \(period)")
        }
    }

    @Test(arguments: 1...60)
    func noLimitIsPassed(seed: UInt64) {
        let watch = Self.run(seed: seed)
        #expect(watch.broken.isEmpty, "\(watch.broken.first ?? "")")
    }

    /// It does not hold because nothing was ever given out.
    @Test func muchOfItIsUsed() {
        let watches = (1...UInt64(20)).map { Self.run(seed: $0) }
        let days = watches.flatMap { watch in watch.spent.filter { $0.key.kind == .day }.map(\.value) }
        #expect(days.count { $0 > Self.perDay / 2 } > 4)
    }

    /// The control: where an open slice does not count as used after a crash, the limit is passed.
    @Test func withoutTheStoreItIsPassed() {
        let broken = (1...UInt64(60)).count { !Self.run(seed: $0, forgets: true).broken.isEmpty }
        #expect(broken > 4)
    }
}
