import MeshAccounting
import MeshModel
import Testing

@Suite struct UsageBatchTests {
    private static func group(_ model: Int, key: Int = 0) -> UsageGroup {
        UsageGroup(
            side: .entry, kind: .completions, key: "k\(key)", username: "bob", provider: "p", model: "m\(model)",
            node: "n", outcome: UsageGroup.served, currency: "")
    }

    private static var one: UsageAmounts {
        var amounts = UsageAmounts()
        amounts.requests = 1
        amounts.output = 3
        return amounts
    }

    @Test func whatIsAlikeIsCountedTogether() {
        var batch = UsageBatch()
        for second in [0, 59, 60] as [Int64] {
            batch.add(Self.group(1), Self.one, at: Timestamp(milliseconds: 600_000 + second * 1_000))
        }
        let rows = batch.take()
        #expect(rows.map(\.start) == [600, 660])
        #expect(rows.map(\.amounts.requests) == [2, 1])
        #expect(batch.isEmpty && batch.take().isEmpty)
        batch.putBack(rows)
        #expect(batch.take() == rows)
    }

    /// Names that sellers and buyers choose fill no memory, and no request is lost for it.
    @Test func itIsBounded() {
        var batch = UsageBatch()
        for model in 0..<3 * Limits.usageGroups {
            batch.add(Self.group(model), Self.one, at: Timestamp(milliseconds: 0))
        }
        let rows = batch.take()
        #expect(rows.count == Limits.usageGroups + 1)
        #expect(rows.map(\.amounts.requests).reduce(0, +) == Int64(3 * Limits.usageGroups))
        for key in 0..<3 * Limits.usageGroups {
            batch.add(Self.group(key, key: key), Self.one, at: Timestamp(milliseconds: 0))
        }
        #expect(batch.take().count == 2 * Limits.usageGroups)
    }

    @Test(arguments: [
        (nil, UsageKind.completions), ("/v1/responses", .completions), ("/v1/embeddings", .embeddings),
        ("/v1/images/edits", .images), ("/v1/audio/speech", .audioSpeeches),
        ("/v1/audio/translations", .audioTranscriptions), ("/v1/rerank", .other),
    ])
    func kinds(path: String?, kind: UsageKind) { #expect(UsageKind(path.flatMap { EndpointPath($0) }) == kind) }
}
