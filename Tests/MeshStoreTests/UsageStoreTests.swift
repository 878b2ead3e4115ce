import MeshAccounting
import MeshModel
import Testing

@testable import MeshStore

/// What was used, and slices of what may be used, on the disk.
@Suite struct UsageStoreTests {
    private static func group(_ model: String, user: String = "bob") -> UsageGroup {
        UsageGroup(
            side: .entry, kind: .completions, key: "k", username: user, provider: "p", model: model, node: "n",
            outcome: UsageGroup.served, currency: "USD")
    }

    private static func amounts(_ input: Int64) -> UsageAmounts {
        var amounts = UsageAmounts()
        amounts.requests = 1
        amounts.input = input
        amounts.money = 7
        return amounts
    }

    @Test func rowsAddUpAndAreGrouped() throws {
        let scratch = try ScratchDirectory()
        let store = try MeshStore.open(scratch.database)
        let minute: Int64 = 1_798_761_600
        for _ in 0..<2 {
            try store.addUsage([
                UsageRow(start: minute, group: Self.group("a"), amounts: Self.amounts(10)),
                UsageRow(start: minute + 60, group: Self.group("a"), amounts: Self.amounts(1)),
                UsageRow(start: minute, group: Self.group("b", user: "eve"), amounts: Self.amounts(100)),
            ])
        }
        let query = UsageQuery(from: minute, until: minute + 3_600, groups: [.model])
        let sums = try store.usage(query)
        #expect(sums.map(\.values) == [["a"], ["b"]])
        #expect(sums.map(\.amounts.input) == [22, 200])
        #expect(sums[0].amounts.requests == 4 && sums[0].amounts.money == 28)
        let minutes = try store.usage(
            UsageQuery(
                from: minute, until: minute + 3_600, width: 60, filters: [.init(.username, ["bob", "x' OR '1'='1"])]))
        #expect(minutes.map(\.start) == [minute, minute + 60])
        #expect(try store.usage(UsageQuery(from: minute, until: minute + 1, filters: [.init(.model, [])])).isEmpty)
        try store.close()
    }

    @Test func oldMinutesBecomeHoursAndOldHoursAreForgotten() throws {
        let scratch = try ScratchDirectory()
        let store = try MeshStore.open(scratch.database)
        let hour: Int64 = 1_798_761_600
        for start in [hour, hour + 60, hour + 3_540, hour + 3_600, hour - 500 * 86_400] {
            try store.addUsage([UsageRow(start: start, group: Self.group("a"), amounts: Self.amounts(1))])
        }
        for _ in 0..<2 { try store.ageUsage(now: hour + 3 * 86_400) }
        let rows = try store.usage(UsageQuery(from: 0, until: hour * 2, width: 60))
        #expect(rows.map(\.start) == [hour, hour + 3_600])
        #expect(rows.map(\.amounts.requests) == [3, 1])
        try store.close()
    }

    @Test func slicesAddUpAndOldPeriodsAreForgotten() throws {
        let scratch = try ScratchDirectory()
        let store = try MeshStore.open(scratch.database)
        let subject = QuotaSubject(.user, "bob")
        let now = Timestamp(milliseconds: 1_798_761_600_000)
        func slice(_ kind: QuotaPeriod.Kind, _ amount: Int64, after days: Int64 = 0) -> QuotaSlice {
            let at = now.advanced(byMilliseconds: days * 86_400_000)
            return QuotaSlice(subject: subject, measure: .money, period: QuotaPeriod(kind, at: at), amount: amount)
        }
        #expect(try store.take([slice(.day, 5), slice(.month, 7), slice(.day, 3)], now: now) == [5, 7, 8])
        #expect(try store.take([slice(.day, -2), slice(.month, -100)], now: now) == [6, 0])
        // The day before is kept for who looks back, older ones are not.
        let later = now.advanced(byMilliseconds: 2 * 86_400_000)
        #expect(try store.take([slice(.day, 1, after: 2), slice(.month, 4)], now: later) == [1, 4])
        #expect(try store.take([slice(.day, 1)], now: later) == [1])
        try store.close()
    }

    @Test func quotasAreKept() throws {
        let scratch = try ScratchDirectory()
        let store = try MeshStore.open(scratch.database)
        let now = Timestamp(milliseconds: 5)
        for name in ["b", "a"] {
            try store.saveQuota(
                StoredQuota(subject: QuotaSubject(.user, name), document: Array("{}".utf8), changedAt: now))
        }
        #expect(try store.quotas().map(\.subject.name) == ["a", "b"])
        #expect(try store.removeQuota(QuotaSubject(.user, "a")))
        #expect(try !store.removeQuota(QuotaSubject(.user, "a")))
        try store.close()
    }
}
