import MeshModel

/// Where a candidate stands among those that may take a request. Less is better: first the steps, one after the other, then the
/// value of the ordering, then a second value for those that are equal, then the turn.
package struct PolicyScore: Hashable, Sendable, Comparable {
    /// What puts a candidate behind all others that lack it, the gravest first.
    package struct Steps: OptionSet, Hashable, Sendable {
        package let rawValue: UInt32

        package init(rawValue: UInt32) { self.rawValue = rawValue }

        /// What the ordering goes by is not known.
        package static let valueUnknown = Steps(rawValue: 1)
        /// Slower than wished for, or nobody knows how fast.
        package static let slow = Steps(rawValue: 2)
        package static let elsewhere = Steps(rawValue: 4)
        package static let hosted = Steps(rawValue: 8)
        /// It does not say whether it takes what the prompt holds beside text.
        package static let modalityUnknown = Steps(rawValue: 16)
        /// The prompt may be too long for it.
        package static let tight = Steps(rawValue: 32)

        static let orderShift: UInt32 = 8
        static let modelShift: UInt32 = 16

        /// Its place in `order`, and that of its model in the list.
        package var order: UInt32 { rawValue >> Self.orderShift & 0xFF }
        package var model: UInt32 { rawValue >> Self.modelShift }

        package var names: [String] {
            [
                (Steps.tight, "tight"), (.modalityUnknown, "modality_unknown"), (.hosted, "hosted"),
                (.elsewhere, "elsewhere"), (.slow, "slow"), (.valueUnknown, "value_unknown"),
            ].filter { contains($0.0) }.map(\.1)
        }
    }

    package var steps: Steps
    package var value: Int64
    package var second: Int64
    var turn: UInt64

    static let behindAll = PolicyScore(steps: Steps(rawValue: .max), value: .max, second: .max, turn: .max)

    /// Whether it is behind whatever splits equals.
    @inline(__always)
    func isBehind(_ other: Self) -> Bool {
        steps == other.steps ? value > other.value : steps.rawValue > other.steps.rawValue
    }

    package static func < (left: Self, right: Self) -> Bool {
        if left.steps != right.steps { return left.steps.rawValue < right.steps.rawValue }
        if left.value != right.value { return left.value < right.value }
        return left.second != right.second ? left.second < right.second : left.turn < right.turn
    }
}

/// A candidate that may take the request.
package struct PolicyChoice: Hashable, Sendable {
    /// Its number in the index.
    package var candidate: Int
    package var score: PolicyScore
}

/// Every candidate with its score or its one reason: the same judgement as the decision's, kept whole.
package struct PolicyReport: Sendable {
    package var choices: [PolicyChoice] = []
    package var excluded: [(candidate: Int, reason: Exclusion)] = []
}

extension PolicyIndex {
    /// The best candidates for a request, best first.
    /// - Parameters:
    ///   - turn: another one for every request; it decides between equals and is all the randomness there is.
    ///   - limit: at most `Limits.policyChoices`.
    package func decide(
        _ query: PolicyQuery, _ states: PolicyStates, turn: UInt64, limit: Int = Limits.policyChoices
    ) -> [PolicyChoice] {
        var best: [PolicyChoice] = []
        let limit = min(limit, Limits.policyChoices)
        guard limit > 0, states.count == rows.count else { return [] }
        best.reserveCapacity(limit + 1)
        var worst = PolicyScore.behindAll
        for asked in query.asked {
            judging(query, asked.model, states, turn: turn) { judge in
                var next = ranges[asked.model].lowerBound
                for block in blocks(of: asked.model) {
                    let all = next..<min(next + Block.rows, ranges[asked.model].upperBound)
                    next = all.upperBound
                    if judge.isSurelyBehind(blocks[block], asked, worst) { continue }
                    for number in all where asked.provider < 0 || judge.rows[number].provider == asked.provider {
                        if judge.isSurelyBehind(number, asked, worst) { continue }
                        judge.judge(number, asked, limit, &best, &worst)
                    }
                }
            }
        }
        return best
    }

    private func blocks(of model: Int) -> Range<Int> {
        let first = firstBlocks[model]
        return first..<first + (ranges[model].count + Block.rows - 1) / Block.rows
    }

    /// The same for people.
    package func explain(_ query: PolicyQuery, _ states: PolicyStates, turn: UInt64) -> PolicyReport {
        var report = PolicyReport()
        guard states.count == rows.count else { return report }
        for asked in query.asked {
            judging(query, asked.model, states, turn: turn) { judge in
                for number in ranges[asked.model]
                where asked.provider < 0 || judge.rows[number].provider == asked.provider {
                    if let reason = judge.exclusion(number, asked) {
                        report.excluded.append((number, reason))
                    } else {
                        report.choices.append(
                            PolicyChoice(candidate: number, score: judge.complete(judge.begin(number, asked), number)))
                    }
                }
            }
        }
        report.choices.sort { $0.score < $1.score }
        return report
    }
}

extension PolicyJudge {
    /// Puts a candidate among the best if it belongs there.
    @inline(__always)
    func judge(
        _ number: Int, _ asked: PolicyQuery.Asked, _ limit: Int, _ best: inout [PolicyChoice],
        _ worst: inout PolicyScore
    ) {
        if exclusion(number, asked) != nil { return }
        let begun = begin(number, asked)
        if begun.isBehind(worst) { return }
        let score = complete(begun, number)
        if best.count == limit {
            if best[limit - 1].score < score { return }
            best.removeLast()
        }
        let place = best.firstIndex { score < $0.score } ?? best.count
        best.insert(PolicyChoice(candidate: number, score: score), at: place)
        if best.count == limit { worst = best[limit - 1].score }
    }
}
