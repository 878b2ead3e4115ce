import MeshModel

extension Pool {
    /// Finds how each leaf and each group stands for a request.
    /// - Parameter scope: whom to look for.
    mutating func survey(
        _ request: PoolRequest, _ scope: Scope, _ board: HealthBoard, _ now: Instant, _ facts: (Int) -> MemberFacts
    ) {
        for leaf in leaves.indices {
            standings[leaf] =
                leaves[leaf].twin.map { standings[$0] } ?? standing(leaf, request, scope, board, now, facts)
        }
        for group in tree.groups.indices.reversed() { survey(group: group) }
    }

    private func standing(
        _ number: Int, _ request: PoolRequest, _ scope: Scope, _ board: HealthBoard, _ now: Instant,
        _ facts: (Int) -> MemberFacts
    ) -> Standing {
        var standing = Standing()
        if let never = tree.leaves[number].never {
            standing.reason = never
            return standing
        }
        guard let provider = leaves[number].provider else {
            standing.reason = .unauthorised
            return standing
        }
        let facts = facts(number)
        standing.mayReturn = facts.mayReturn
        let wasTried = !request.tried.isEmpty && request.tried.contains { $0.identity == leaves[number].identity }
        for seat in 0..<leaves[number].placed where facts.seats.contains(seat) {
            let isTried = wasTried && request.tried.contains { $0.isSame(leaves[number].tried(at: seat)) }
            let entry = board[leaves[number].seats[seat].place]
            let isDoubtful = entry.wasFull(now: now) || leaves[number].seats[seat].health.hasFailed
            let isFull = facts.full.contains(seat) || (scope == .surely && isDoubtful)
            look(
                at: seat, leaves[number].seats[seat].health.recovery, entry, isTried: isTried, isFull: isFull, now,
                &standing)
        }
        if facts.exclusion == .draining { standing.isIn = false }
        if let exclusion = facts.exclusion, !exclusion.passes {
            standing.reason = exclusion
        } else if !request.unpayable.isEmpty,
            request.unpayable.contains(PoolOffer(provider: provider, model: leaves[number].model))
        {
            standing.reason = .budget
        } else if let exceeded = request.exceeded, let window = facts.window, window <= exceeded {
            standing.reason = .context
        } else if facts.seats.areNone(of: leaves[number].placed) {
            standing.reason = .absent
        } else if let exclusion = facts.exclusion {
            standing.reason = exclusion
        } else if wasTried, scope != .again {
            // Neither a reason nor a candidate.
            standing.percent = 0
            standing.halfOpen = nil
            standing.early = nil
        } else if standing.percent == 0, standing.halfOpen == nil {
            if !wasTried {
                standing.reason = standing.isFull ? .atCapacity : standing.isBusy ? .halfOpenBusy : .cooling
            }
        } else if isFull(number, facts, request) {
            standing.reason = .atCapacity
        }
        if standing.reason != nil {
            standing.percent = 0
            standing.halfOpen = nil
            if standing.reason != .cooling || isFull(number, facts, request) { standing.early = nil }
        }
        return standing
    }

    private func look(
        at number: Int, _ recovery: Recovery, _ entry: HealthBoard.Entry, isTried: Bool, isFull: Bool,
        _ now: Instant, _ standing: inout Standing
    ) {
        let own = recovery.phase(now: now)
        let told = entry.recovery.phase(now: now)
        var since: Instant?
        switch (own, told) {
        case (.open(let percent), .open(let other)):
            standing.isIn = true
            guard !isTried else { return }
            guard !isFull, !entry.isFull(now: now) else {
                standing.isFull = true
                return
            }
            standing.percent = max(standing.percent, min(percent, other))
            standing.open.insert(number)
            return
        case (.resting(let until), .resting(let other)):
            standing.soonest = earlier(standing.soonest, max(until, other))
            return
        case (_, .resting(let until)):
            standing.soonest = earlier(standing.soonest, until)
            if let trial = entry.trialAt { standing.trial = earlier(standing.trial, min(trial, until)) }
            if !isTried, !isFull { tryKey(of: number, until, entry, now, &standing) }
            return
        case (.resting(let until), _):
            standing.soonest = earlier(standing.soonest, until)
            if !isTried, !isFull { ask(early: number, until, entry, now, &standing) }
            return
        case (.halfOpen(let first), .halfOpen(let second)): since = max(first, second)
        case (.halfOpen(let first), .open): since = first
        case (.open, .halfOpen(let first)): since = first
        }
        guard let since else { return }
        if entry.isProbed(now: now) {
            standing.isBusy = true
        } else if !isTried, !isFull, standing.halfOpen.map({ since < $0.since }) ?? true {
            standing.halfOpen = (number, since)
        }
    }

    /// A seat that rests may be asked all the same when nobody else is left: the one that was not for the longest time.
    private func ask(
        early number: Int, _ until: Instant, _ entry: HealthBoard.Entry, _ now: Instant, _ standing: inout Standing
    ) {
        let asked = entry.askedEarly.map { now.milliseconds(since: $0) } ?? .max
        guard asked >= Limits.poolEarlyAskMs, !entry.isProbed(now: now) else { return }
        let early = Early(seat: number, until: until, asked: entry.askedEarly)
        if standing.early.map(early.isBetter(than:)) ?? true { standing.early = early }
    }

    /// A seat whose key was refused may have a good one by now.
    private func tryKey(
        of number: Int, _ until: Instant, _ entry: HealthBoard.Entry, _ now: Instant, _ standing: inout Standing
    ) {
        guard let due = entry.trialAt, due <= now, !entry.isProbed(now: now) else { return }
        let early = Early(seat: number, until: until, asked: entry.askedEarly, isDown: true)
        if standing.early.map(early.isBetter(than:)) ?? true { standing.early = early }
    }

    /// Places that are kept for others are none.
    private func isFull(_ leaf: Int, _ facts: MemberFacts, _ request: PoolRequest) -> Bool {
        facts.free != .max && facts.free <= queue.kept(leaf, for: request.ticket)
    }

    private func earlier(_ left: Instant?, _ right: Instant) -> Instant { left.map { min($0, right) } ?? right }

    // MARK: Groups

    private mutating func survey(group number: Int) {
        var standing = Standings()
        var isReturning = false
        let nodes = tree.groups[number].nodes
        var first = nodes.lowerBound
        while first < nodes.upperBound {
            let tier = tree.nodes[first].tier
            var end = first
            var (best, isFull) = (0, false)
            while end < nodes.upperBound, tree.nodes[end].tier == tier {
                let isIn = survey(node: end, &standing, &best, &isFull)
                isReturning = isReturning || (isIn && wasOut[end])
                standing.isIn = standing.isIn || isIn
                end += 1
            }
            if standing.serving == nil, best > 0 {
                (standing.serving, standing.percent) = (first..<end, best)
            } else if standing.serving == nil {
                standing.passesFull = standing.passesFull || isFull
            } else if standing.percent < 100, standing.next == nil, best > 0 {
                standing.next = first..<end
            }
            first = end
        }
        standing.isFull = standing.serving == nil && standing.passesFull
        groups[number] = standing
        if isReturning { restart(nodes) }
        for node in nodes { wasOut[node] = !isIn(node) }
    }

    /// - Returns: whether it is open, whatever the request needs.
    private mutating func survey(
        node number: Int, _ group: inout Standings, _ best: inout Int, _ isFull: inout Bool
    ) -> Bool {
        let node = tree.nodes[number]
        nodePercents[number] = 0
        guard node.weight > 0 else { return false }
        var (isIn, probe): (Bool, (leaf: Int, since: Instant)?)
        switch node.content {
        case .leaf(let leaf):
            nodePercents[number] = standings[leaf].percent
            isFull = isFull || standings[leaf].reason == .atCapacity
            isIn = standings[leaf].isIn
            probe = standings[leaf].halfOpen.map { (leaf, $0.since) }
        case .group(let inner):
            nodePercents[number] = groups[inner].percent
            isFull = isFull || groups[inner].isFull
            isIn = groups[inner].isIn
            probe = groups[inner].probe
        }
        best = max(best, nodePercents[number])
        // Nobody is looked after in tiers that have nothing to do.
        if group.serving == nil, let probe, group.probe.map({ probe.since < $0.since }) ?? true { group.probe = probe }
        return isIn
    }

    /// Who was out and is back starts in the middle, with nothing to catch up and nothing to pay back.
    private mutating func restart(_ nodes: Range<Int>) {
        var (sum, count): (Int64, Int64) = (0, 0)
        for node in nodes where isIn(node) && !wasOut[node] {
            sum += credits[node]
            count += 1
        }
        let middle = count > 0 ? sum / count : 0
        for node in nodes where isIn(node) { credits[node] = wasOut[node] ? 0 : credits[node] - middle }
    }

    private func isIn(_ node: Int) -> Bool {
        guard tree.nodes[node].weight > 0 else { return false }
        return switch tree.nodes[node].content {
        case .leaf(let leaf): standings[leaf].isIn
        case .group(let group): groups[group].isIn
        }
    }
}
