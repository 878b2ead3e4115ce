package import MeshModel

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
        guard limit > 0, states.states.count == rows.count else { return [] }
        best.reserveCapacity(limit + 1)
        rows.withUnsafeBufferPointer { rows in
            states.states.withUnsafeBufferPointer { states in
                for asked in query.asked {
                    for number in ranges[asked.model] {
                        let row = rows[number]
                        if asked.provider >= 0, row.provider != asked.provider { continue }
                        if exclusion(row, states[number], query, asked) != nil { continue }
                        let score = score(row, states[number], query, asked, turn: turn, number: number)
                        if best.count == limit, best[limit - 1].score < score { continue }
                        let place = best.firstIndex { score < $0.score } ?? best.count
                        best.insert(PolicyChoice(candidate: number, score: score), at: place)
                        if best.count > limit { best.removeLast() }
                    }
                }
            }
        }
        return best
    }

    /// The same for people.
    package func explain(_ query: PolicyQuery, _ states: PolicyStates, turn: UInt64) -> PolicyReport {
        var report = PolicyReport()
        guard states.states.count == rows.count else { return report }
        for asked in query.asked {
            for number in ranges[asked.model] {
                let row = rows[number]
                if asked.provider >= 0, row.provider != asked.provider { continue }
                if let reason = exclusion(row, states[number], query, asked) {
                    report.excluded.append((number, reason))
                } else {
                    let score = score(row, states[number], query, asked, turn: turn, number: number)
                    report.choices.append(PolicyChoice(candidate: number, score: score))
                }
            }
        }
        report.choices.sort { $0.score < $1.score }
        return report
    }

    // MARK: Who may

    /// The first reason of the list that holds.
    private func exclusion(
        _ row: Row, _ state: CandidateState, _ query: PolicyQuery, _ asked: PolicyQuery.Asked
    ) -> Exclusion? {
        guard let lasting = lastingExclusion(row, query, asked) else { return state.exclusion }
        return state.exclusion.map { min($0, lasting) } ?? lasting
    }

    @inline(__always)
    private func lastingExclusion(_ row: Row, _ query: PolicyQuery, _ asked: PolicyQuery.Asked) -> Exclusion? {
        if !row.isPublic, !catalog.providers[Int(row.provider)].admits(query.principal) { return .unauthorised }
        if let offering = query.endpoints, !offering.contains(row.endpoints) { return .endpoint }
        if !takesParameters(row, query) { return .parameters }
        if !takesModalities(row, query) { return .modality }
        if row.contextTokens == 0 {
            if query.leastContext > 0 { return .context }
        } else if row.contextTokens < query.leastContext || UInt64(row.contextTokens) < asked.mustFit {
            return .context
        }
        if let allowed = query.providers, !allowed.contains(row.provider) { return .provider }
        if let allowed = query.operators, !allowed.contains(row.node) { return .operator }
        if let allowed = query.regions, !allowed.contains(row.node) { return .region }
        if !isInPlace(row, query) { return .location }
        if let allowed = query.quantizations, !allowed.contains(row.quantization) { return .quantization }
        if !query.ceilings.isEmpty, !isAffordable(row, query) { return .priceCeiling }
        if query.retention != .any, !keepsTo(query.retention, row, query) { return .retention }
        return nil
    }

    @inline(__always)
    private func takesParameters(_ row: Row, _ query: PolicyQuery) -> Bool {
        if !row.parameters.isSuperset(of: query.neededParameters) { return false }
        if query.requiresParameters { return row.parameters.isSuperset(of: query.facts.parameters) }
        // Who tells what it takes, and not tools, would answer without them.
        return row.parameters.isEmpty || !query.facts.parameters.contains(Self.tools)
            || row.parameters.contains(Self.tools)
    }

    private static let tools = RequestParameters([.tools])

    @inline(__always)
    private func takesModalities(_ row: Row, _ query: PolicyQuery) -> Bool {
        if !row.modalities.isSuperset(of: query.neededModalities) { return false }
        if row.modalities.isSuperset(of: query.facts.modalities) { return true }
        return !row.knowsModalities && !query.requiresModalities
    }

    @inline(__always)
    private func isInPlace(_ row: Row, _ query: PolicyQuery) -> Bool {
        if row.isHosted, query.hosted == .never { return false }
        if query.isHereOnly, !row.isHere { return false }
        guard query.isPrivate else { return true }
        let isKnown = !row.isPublic || isOwn(row, query)
        return isKnown && !row.isHosted && (row.isAtOperator || row.isAtHome)
    }

    private func isOwn(_ row: Row, _ query: PolicyQuery) -> Bool {
        catalog.providers[Int(row.provider)].owner == query.principal.owner
    }

    /// Nobody pays for what is theirs.
    private func isAffordable(_ row: Row, _ query: PolicyQuery) -> Bool {
        if isOwn(row, query) { return true }
        guard row.prices >= 0 else { return false }
        return query.ceilings.allSatisfy { $0.admits(prices[Int(row.prices)]) }
    }

    /// The caller's own workers keep what the caller lets them; a hosted API is somebody else's all the same.
    private func keepsTo(_ retention: CandidateRules.Retention, _ row: Row, _ query: PolicyQuery) -> Bool {
        switch (retention, row.dataPolicy) {
        case (.any, _), (_, .none), (.bounded, .bounded): true
        case (.bounded, _), (.none, _): !row.isHosted && isOwn(row, query)
        }
    }

    // MARK: Who is better

    @inline(__always)
    private func score(
        _ row: Row, _ state: CandidateState, _ query: PolicyQuery, _ asked: PolicyQuery.Asked, turn: UInt64,
        number: Int
    ) -> PolicyScore {
        var steps = PolicyScore.Steps(rawValue: asked.position << PolicyScore.Steps.modelShift)
        if !query.order.isEmpty {
            let place = UInt32(query.order[Int(row.provider)]) << PolicyScore.Steps.orderShift
            steps.formUnion(PolicyScore.Steps(rawValue: place))
        }
        if row.contextTokens > 0, UInt64(row.contextTokens) < asked.shouldFit { steps.insert(.tight) }
        if !row.modalities.isSuperset(of: query.facts.modalities) { steps.insert(.modalityUnknown) }
        if row.isHosted, query.hosted == .last { steps.insert(.hosted) }
        if query.prefersHere, !row.isHere { steps.insert(.elsewhere) }
        if !query.speed.isEmpty,
            !state.speed.latencyMs.isWithin(query.speed.latencyMs)
                || !state.speed.throughput.reaches(query.speed.throughput)
        {
            steps.insert(.slow)
        }
        var mixed = SeededGenerator(seed: turn ^ UInt64(truncatingIfNeeded: number) &* 0x9E37_79B9_7F4A_7C15)
        var score = PolicyScore(steps: steps, value: 0, second: 0, turn: mixed.next())
        setValue(of: &score, row, state, query)
        return score
    }

    @inline(__always)
    private func setValue(of score: inout PolicyScore, _ row: Row, _ state: CandidateState, _ query: PolicyQuery) {
        switch query.ordering {
        case .balanced: score.value = sum(row, state, query)
        case .price:
            let price = price(row, query)
            score.value = price ?? 0
            if price == nil { score.steps.insert(.valueUnknown) }
            score.second = waitMs(state, row, query)
        case .time: score.value = waitMs(state, row, query)
        case .latency: score.value = latencyMs(state, row)
        case .throughput:
            let known = state.speed.throughput.p50
            score.value = -(known > 0 ? known : PolicyScale.unknownThroughput)
            score.second = latencyMs(state, row)
        case .context:
            score.value = -Int64(row.contextTokens)
            if row.contextTokens == 0 { score.steps.insert(.valueUnknown) }
            score.second = sum(row, state, query)
        }
    }

    /// In millionths of a dollar.
    private func sum(_ row: Row, _ state: CandidateState, _ query: PolicyQuery) -> Int64 {
        let money = price(row, query) ?? PolicyScale.unknownPrices.cost(of: query.use).microUnits
        // A wait is at most an hour: it cannot overflow.
        let time = waitMs(state, row, query) * PolicyScale.secondOfWaiting / 1_000
        return money.addingReportingOverflow(time).overflow ? .max : money + time
    }

    private func price(_ row: Row, _ query: PolicyQuery) -> Int64? {
        if row.prices >= 0 {
            let price = prices[Int(row.prices)].cost(of: query.use).microUnits
            return price > 0 && isOwn(row, query) ? 0 : price
        }
        return isOwn(row, query) ? 0 : nil
    }

    /// When the first content would come, with what of this node's is before it there.
    private func latencyMs(_ state: CandidateState, _ row: Row) -> Int64 {
        let known = state.speed.latencyMs.p50
        let one = min(known > 0 ? known : PolicyScale.unknownLatencyMs, 600_000)
        return one + one * Int64(max(state.underWay, 0)) / Int64(max(row.slots, 1))
    }

    private func waitMs(_ state: CandidateState, _ row: Row, _ query: PolicyQuery) -> Int64 {
        let known = state.speed.throughput.p50
        let perSecond = known > 0 ? known : PolicyScale.unknownThroughput
        let answer = query.use.outputTokens * 1_000_000 / max(perSecond, 1)
        return min(latencyMs(state, row) + min(answer, 3_600_000), 1 << 40)
    }
}
