import Testing

@testable import MeshSimulation

/// When shares are as they were promised, and when chance explains that they are not.
@Suite struct PoolSharesTests {
    private static func shares(_ served: [Int], due: [Int], failed: Int = 0, rows: Int = 1) -> PoolShares {
        var shares = PoolShares(due: due, entries: 1)
        for _ in 0..<rows {
            shares.asks(0, isWhole: false)
            shares.asks(0, isWhole: true)
        }
        for _ in 0..<served.reduce(0, +) + failed - rows { shares.asks(0, isWhole: true) }
        for (leaf, count) in served.enumerated() { for _ in 0..<count { shares.serves(leaf) } }
        return shares
    }

    @Test(
        arguments: [
            // Within two of a hundred, however many there are.
            ([7_650, 2_350], 0, 1, true), ([7_750, 2_250], 0, 1, false),
            // A few requests, of which nothing failed, are as even as turns are.
            ([150, 50], 0, 1, true), ([160, 40], 0, 1, false),
            // What fails, and rows that begin anywhere, take their part.
            ([160, 40], 40, 1, true), ([160, 40], 0, 40, true), ([190, 10], 40, 40, false),
        ] as [([Int], Int, Int, Bool)])
    func chanceExplainsSoMuch(served: [Int], failed: Int, rows: Int, holds: Bool) {
        let shares = Self.shares(served, due: [750, 250], failed: failed, rows: rows)
        #expect(shares.rows == rows)
        #expect(shares.hold(promised: 20, hasConversations: false) == holds, "\(shares)")
    }

    @Test func conversationsAreDrawn() {
        let shares = Self.shares([130, 70], due: [750, 250])
        #expect(shares.hold(promised: 60, hasConversations: true))
        #expect(!shares.hold(promised: 60, hasConversations: false))
        #expect(shares.largestError == 100 && shares.all == 200)
    }
}
