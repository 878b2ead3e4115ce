/// How the first attempts of one pool were shared out while every member had the share that its owner gave it, and whether
/// that is as it should be.
struct PoolShares: Sendable {
    /// Of each leaf: its share of a thousand by the rotation, and how many first attempts it has served.
    let due: [Int]
    private(set) var served: [Int]
    /// All of these first attempts, served or not.
    private(set) var asked = 0
    /// How often a row of them began, at one node: turns are even within a row, and each row may begin anywhere in a round.
    private(set) var rows = 0
    /// Whether the last first attempt of each node was one of them.
    private var isInRow: [Bool]

    init(due: [Int], entries: Int) {
        self.due = due
        served = due.map { _ in 0 }
        isInRow = Array(repeating: false, count: entries)
    }

    /// A first attempt at the node of this number.
    /// - Parameter isWhole: whether every member has its whole share.
    mutating func asks(_ entry: Int, isWhole: Bool) {
        defer { isInRow[entry] = isWhole }
        guard isWhole else { return }
        asked += 1
        rows += isInRow[entry] ? 0 : 1
    }

    mutating func serves(_ leaf: Int) { served[leaf] += 1 }

    var all: Int { served.reduce(0, +) }

    /// By how many of a thousand the share of a leaf is off at most.
    var largestError: Int {
        let all = all
        guard all > 0 else { return 0 }
        return zip(served, due).map { abs($0 * 1_000 / all - $1) }.max() ?? 0
    }

    /// Whether each share is within what was promised, or within what chance explains in so few requests.
    ///
    /// Turns are not drawn, so there are two sources of chance: which first attempts fail, each on its own, and where in a
    /// round each row begins and ends, which moves a leaf by less than one request. Conversations go where they belong,
    /// whoever's turn it is: with them each request counts as drawn.
    /// - Parameter promised: of a thousand.
    func hold(promised: Int, hasConversations: Bool) -> Bool {
        let all = all
        guard all > 0 else { return true }
        let drawn = hasConversations ? asked : asked - all
        return zip(served, due).allSatisfy { served, due in
            // In thousandths of a request.
            let off = abs(served * 1_000 - all * due)
            let variance = all * due * (1_000 - due) / max(asked, 1) * drawn + rows * Self.rowVariance
            return off <= all * promised || off * off * 10 <= Self.deviations * variance
        }
    }

    /// Of something even between one request less and one more: a third.
    private static let rowVariance = 333_333
    /// Ten times the square of 5.73: so many standard deviations a normal value is off once in a hundred million times, to either
    /// side. Ten thousand seeds look at ten shares each, and one sweep in a thousand may err.
    private static let deviations = 328
}
