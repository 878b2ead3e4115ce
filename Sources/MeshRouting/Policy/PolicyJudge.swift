import MeshModel

/// Looks at candidates one by one: whether each may take the request, and where it stands. The decision and its explanation
/// are made of the same judgement.
///
/// It holds no reference and reads tables where they lie: a thousand candidates are looked at for one request, and counting
/// references would cost more than looking.
struct PolicyJudge {
    let rows: UnsafeBufferPointer<PolicyIndex.Row>
    let hot: UnsafeBufferPointer<PolicyStates.Hot>
    let states: UnsafeBufferPointer<CandidateState>
    /// The number of the first candidate whose state is there.
    let base: Int
    let prices: UnsafeBufferPointer<Prices>
    let words: UnsafeBufferPointer<UInt64>
    let order: UnsafeBufferPointer<UInt8>
    let terms: PolicyQuery.Terms
    let turn: UInt64

    // MARK: Who may

    /// The first reason of the list that holds.
    @inline(__always)
    func exclusion(_ number: Int, _ asked: PolicyQuery.Asked) -> Exclusion? {
        let passing = hot[number &- base].exclusion
        guard let lasting = lastingExclusion(rows[number], asked) else { return passing }
        return passing.map { min($0, lasting) } ?? lasting
    }

    @inline(__always)
    private func lastingExclusion(_ row: PolicyIndex.Row, _ asked: PolicyQuery.Asked) -> Exclusion? {
        if !row.isPublic, !isIn(terms.admitted, row.provider) { return .unauthorised }
        if !isIn(terms.endpoints, row.endpoints) { return .endpoint }
        if !takesParameters(row) { return .parameters }
        if !takesModalities(row) { return .modality }
        if row.contextTokens == 0 {
            if terms.leastContext > 0 { return .context }
        } else if row.contextTokens < terms.leastContext || row.contextTokens <= terms.exceeded
            || UInt64(row.contextTokens) < asked.mustFit
        {
            return .context
        }
        if !isIn(terms.providers, row.provider) { return .provider }
        if !isIn(terms.operators, row.node) { return .operator }
        if !isIn(terms.regions, row.node) { return .region }
        if !isInPlace(row) { return .location }
        if !isIn(terms.quantizations, row.quantization) { return .quantization }
        if let ceiling = terms.ceiling, !isAffordable(row, ceiling) { return .priceCeiling }
        if terms.retention != .any, !keepsTo(terms.retention, row) { return .retention }
        return nil
    }

    @inline(__always)
    private func isIn(_ set: NumberSets.Place, _ number: Int32) -> Bool {
        set.start < 0 || words[Int(set.start + number / 64)] >> UInt64(number % 64) & 1 == 1
    }

    @inline(__always)
    private func isOwn(_ row: PolicyIndex.Row) -> Bool { !terms.ownsNone && isIn(terms.own, row.provider) }

    @inline(__always)
    private func takesParameters(_ row: PolicyIndex.Row) -> Bool {
        if terms.neededParameters & ~row.parameters != 0 { return false }
        if terms.requiresParameters { return terms.usedParameters & ~row.parameters == 0 }
        // Who tells what it takes, and not tools, would answer without them.
        return row.parameters == 0 || terms.usedParameters & Self.tools & ~row.parameters == 0
    }

    /// The bit of `tools`.
    private static let tools: UInt64 = 1

    @inline(__always)
    private func takesModalities(_ row: PolicyIndex.Row) -> Bool {
        if terms.neededModalities & ~row.modalities != 0 { return false }
        if terms.usedModalities & ~row.modalities == 0 { return true }
        return !row.knowsModalities && !terms.requiresModalities
    }

    @inline(__always)
    private func isInPlace(_ row: PolicyIndex.Row) -> Bool {
        if row.isHosted, terms.hosted == .never { return false }
        if terms.isHereOnly, !row.isHere { return false }
        guard terms.isPrivate else { return true }
        return (!row.isPublic || isOwn(row)) && !row.isHosted && (row.isAtOperator || row.isAtHome)
    }

    /// Nobody pays for what is theirs.
    private func isAffordable(_ row: PolicyIndex.Row, _ ceiling: PriceCeiling) -> Bool {
        isOwn(row) || (row.prices >= 0 && ceiling.admits(prices[Int(row.prices)]))
    }

    /// The caller's own workers keep what the caller lets them; a hosted API is somebody else's all the same.
    private func keepsTo(_ retention: CandidateRules.Retention, _ row: PolicyIndex.Row) -> Bool {
        switch (retention, row.dataPolicy) {
        case (.any, _), (_, .none), (.bounded, .bounded): true
        case (.bounded, _), (.none, _): !row.isHosted && isOwn(row)
        }
    }

    // MARK: Who is better

    /// Whether a candidate needs no closer look: it takes nothing now, or is behind a score by the few steps and the value
    /// that cost little to find. The other steps would only put it further behind.
    @inline(__always)
    func isSurelyBehind(_ number: Int, _ asked: PolicyQuery.Asked, _ score: PolicyScore) -> Bool {
        if hot[number &- base].exclusion != nil { return true }
        let row = rows[number]
        var least = asked.position << PolicyScore.Steps.modelShift
        if !order.isEmpty { least |= UInt32(order[Int(row.provider)]) << PolicyScore.Steps.orderShift }
        guard least == score.steps.rawValue else { return least > score.steps.rawValue }
        let worst = score.value
        switch terms.ordering {
        case .balanced: return sum(row, number) > worst
        case .price: return (price(row) ?? .min) > worst
        case .time: return waitMs(row, number) > worst
        case .latency: return latencyMs(row, number) > worst
        case .throughput: return Int64(hot[number &- base].tokenUs) > worst
        case .context: return row.contextTokens != 0 && -Int64(row.contextTokens) > worst
        }
    }

    /// The same for all of a block, by what they ask.
    @inline(__always)
    func isSurelyBehind(_ block: PolicyIndex.Block, _ asked: PolicyQuery.Asked, _ score: PolicyScore) -> Bool {
        let least = asked.position << PolicyScore.Steps.modelShift
        guard least >= score.steps.rawValue else { return false }
        if least > score.steps.rawValue { return true }
        guard terms.ordering == .balanced || terms.ordering == .price, terms.ownsNone else { return false }
        let use = terms.use
        let (input, inputOver) = block.input.multipliedReportingOverflow(by: use.inputTokens)
        let (output, outputOver) = block.output.multipliedReportingOverflow(by: use.outputTokens)
        let (tokens, tokensOver) = input.addingReportingOverflow(output)
        let (sum, sumOver) = tokens.addingReportingOverflow(block.request)
        guard !inputOver, !outputOver, !tokensOver, !sumOver else { return false }
        return sum / 1_000_000 > score.value
    }

    /// The score without what splits equals: enough for most to be behind those that were found.
    @inline(__always)
    func begin(_ number: Int, _ asked: PolicyQuery.Asked) -> PolicyScore {
        let row = rows[number]
        var steps = PolicyScore.Steps(rawValue: asked.position << PolicyScore.Steps.modelShift)
        if !order.isEmpty {
            let place = UInt32(order[Int(row.provider)]) << PolicyScore.Steps.orderShift
            steps.formUnion(PolicyScore.Steps(rawValue: place))
        }
        if row.contextTokens > 0, UInt64(row.contextTokens) < asked.shouldFit { steps.formUnion(.tight) }
        if terms.usedModalities & ~row.modalities != 0 { steps.formUnion(.modalityUnknown) }
        if row.isHosted, terms.hosted == .last { steps.formUnion(.hosted) }
        if terms.prefersHere, !row.isHere { steps.formUnion(.elsewhere) }
        if let speed = terms.speed, !states[number &- base].speed.fulfils(speed) { steps.formUnion(.slow) }
        var score = PolicyScore(steps: steps, value: 0, second: 0, turn: 0)
        setValue(of: &score, row, number)
        return score
    }

    @inline(__always)
    private func setValue(of score: inout PolicyScore, _ row: PolicyIndex.Row, _ number: Int) {
        switch terms.ordering {
        case .balanced: score.value = sum(row, number)
        case .price:
            let price = price(row)
            score.value = price ?? 0
            if price == nil { score.steps.formUnion(.valueUnknown) }
        case .time: score.value = waitMs(row, number)
        case .latency: score.value = latencyMs(row, number)
        case .throughput: score.value = Int64(hot[number &- base].tokenUs)
        case .context:
            score.value = -Int64(row.contextTokens)
            if row.contextTokens == 0 { score.steps.formUnion(.valueUnknown) }
        }
    }

    @inline(__always)
    func complete(_ begun: PolicyScore, _ number: Int) -> PolicyScore {
        var score = begun
        score.turn = mixed(number)
        switch terms.ordering {
        case .price: score.second = waitMs(rows[number], number)
        case .throughput: score.second = latencyMs(rows[number], number)
        case .context: score.second = sum(rows[number], number)
        case .balanced, .time, .latency: break
        }
        return score
    }

    /// In millionths of a dollar.
    @inline(__always)
    private func sum(_ row: PolicyIndex.Row, _ number: Int) -> Int64 {
        let money = price(row) ?? terms.unknownPrice
        // A wait has at most 40 bits.
        let (sum, overflow) = money.addingReportingOverflow(
            waitMs(row, number) * PolicyScale.secondOfWaiting / 1_000)
        return overflow ? .max : sum
    }

    @inline(__always)
    private func price(_ row: PolicyIndex.Row) -> Int64? {
        if isOwn(row) { return 0 }
        return row.prices < 0 ? nil : cost(row)
    }

    /// As `Prices` counts it. What fits into 64 bits, which is nearly all, is counted here.
    @inline(__always)
    private func cost(_ row: PolicyIndex.Row) -> Int64 {
        let use = terms.use
        let (input, inputOver) = UInt64(row.input).multipliedReportingOverflow(by: UInt64(use.inputTokens))
        let (output, outputOver) = UInt64(row.output).multipliedReportingOverflow(by: UInt64(use.outputTokens))
        let (tokens, tokensOver) = input.addingReportingOverflow(output)
        let (sum, sumOver) = tokens.addingReportingOverflow(UInt64(row.request) + 999_999)
        if inputOver || outputOver || tokensOver || sumOver {
            return prices[Int(row.prices)].cost(of: use).microUnits
        }
        return Int64(sum / 1_000_000)
    }

    /// When the first content would come, with what of this node's is before it there.
    @inline(__always)
    private func latencyMs(_ row: PolicyIndex.Row, _ number: Int) -> Int64 {
        let one = Int64(hot[number &- base].latencyMs)
        let before = Int64(hot[number &- base].underWay)
        return before == 0 ? one : one + one * before / Int64(max(row.slots, 1))
    }

    /// At most 32 and 22 bits, and a millionth of at most 41 and 32 bits.
    @inline(__always)
    private func waitMs(_ row: PolicyIndex.Row, _ number: Int) -> Int64 {
        let answer = min(Int64(hot[number &- base].tokenUs) * terms.use.outputTokens / 1_000, 3_600_000)
        return min(latencyMs(row, number) + answer, 1 << 40)
    }

    /// Splits equals by the turn: another order at every turn, and neighbours are far apart in it.
    @inline(__always)
    private func mixed(_ number: Int) -> UInt64 {
        var mixed = (turn ^ UInt64(truncatingIfNeeded: number) &* 0x9E37_79B9_7F4A_7C15) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 29)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 32)
    }
}

extension PolicyIndex {
    /// Judges candidates of one model.
    func judging<Outcome>(
        _ query: PolicyQuery, _ model: Int, _ states: PolicyStates, turn: UInt64, _ body: (PolicyJudge) -> Outcome
    ) -> Outcome {
        let run = states.runs[model]
        return rows.withUnsafeBufferPointer { rows in
            run.hot.withUnsafeBufferPointer { hot in
                run.states.withUnsafeBufferPointer { states in
                    prices.withUnsafeBufferPointer { prices in
                        query.sets.words.withUnsafeBufferPointer { words in
                            query.order.withUnsafeBufferPointer { order in
                                body(
                                    PolicyJudge(
                                        rows: rows, hot: hot, states: states, base: ranges[model].lowerBound,
                                        prices: prices, words: words, order: order, terms: query.terms, turn: turn))
                            }
                        }
                    }
                }
            }
        }
    }
}
