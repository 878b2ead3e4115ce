import MeshModel

extension Pool {
    /// What a request is to do now.
    /// - Parameter facts: of each leaf, for this request.
    mutating func choose(
        _ request: PoolRequest, _ commons: inout PoolCommons, now: Instant, facts: (Int) -> MemberFacts
    ) -> PoolChoice {
        let isRetry = !request.tried.isEmpty
        noticeReturns(now: now, facts: facts)
        if !isRetry, request.ticket == nil { budget.requestBegan() }
        if isRetry {
            guard settings.mayAskMore(request) else { return exhausted(.attempts, request, &commons, now) }
            guard budget.spend(now: now) else { return exhausted(.retryBudget, request, &commons, now) }
        }
        // Who met somebody full, or has one attempt left, goes where all was well lately, in whatever tier.
        let isLast = isRetry && request.spent == settings.attempts - 1
        let scope: Scope = isLast || request.tried.last?.cost == .full ? .surely : .others
        survey(request, scope, commons.board, now, facts)
        if scope == .surely, groups[0].serving == nil { survey(request, .others, commons.board, now, facts) }
        if isRetry, groups[0].serving == nil, groups[0].probe == nil {
            survey(request, .again, commons.board, now, facts)
        }
        let choice = take(request, &commons, now)
        if isRetry {
            switch choice {
            case .ask: break
            case .wait, .exhausted: budget.giveBack()
            }
        }
        return choice
    }

    private mutating func take(_ request: PoolRequest, _ commons: inout PoolCommons, _ now: Instant) -> PoolChoice {
        let isRetry = !request.tried.isEmpty
        // A request that has failed already has waited long enough. And a conversation has something to lose: it tries
        // nobody out, unless nobody else has come to do it.
        if let probe = groups[0].probe, !isRetry,
            (request.isShort && request.session == nil)
                || now.milliseconds(since: probe.since) >= Limits.poolProbeWaitMs
        {
            return ask(probe.leaf, .probe, request, &commons, now)
        }
        let (pinned, mayPin) = pinned(request, now)
        if let pinned {
            // It counts as that member's turn, so that the others' turns make up for it.
            if !isRetry, trace(to: pinned) { charge(isDrawn: false) }
            return ask(pinned, .session, request, &commons, now)
        }
        if groups[0].serving != nil {
            let (leaf, isSpilled) = draw(mayPin ? request.session : nil)
            if isSpilled, !isRetry, let ticket = wait(request, isSpill: true, &commons, now) { return .wait(ticket) }
            if !isRetry { charge(isDrawn: true) }
            if mayPin, let session = request.session {
                sessions.set(PoolSessions.Pin(identity: leaves[leaf].identity, used: now), for: session)
            }
            return ask(leaf, isAgain(leaf, request) ? .again : .share, isSpilled: isSpilled, request, &commons, now)
        }
        if let probe = groups[0].probe { return ask(probe.leaf, .probe, request, &commons, now) }
        if let ticket = wait(request, isSpill: false, &commons, now) { return .wait(ticket) }
        if let leaf = leastBad() { return ask(leaf, .leastBad, request, &commons, now) }
        return exhausted(.members, request, &commons, now)
    }

    private func isAgain(_ leaf: Int, _ request: PoolRequest) -> Bool {
        !request.tried.isEmpty && request.tried.contains { $0.identity == leaves[leaf].identity }
    }

    // MARK: Conversations

    /// The leaf that has the conversation, if it can take the request now; and whether another may have it from now on.
    private mutating func pinned(_ request: PoolRequest, _ now: Instant) -> (leaf: Int?, mayPin: Bool) {
        guard settings.stickiness != .off, let session = request.session else { return (nil, false) }
        // One failure moves no conversation: whoever fails often rests, and that does.
        guard request.tried.isEmpty else { return (nil, false) }
        guard var pin = sessions.pin(session, idleMs: settings.stickyIdleMs, now: now),
            let leaf = leaves.firstIndex(where: { $0.identity == pin.identity })
        else { return (nil, true) }
        pin.used = now
        if standings[leaf].percent > 0 {
            pin.fullSince = nil
            sessions.set(pin, for: session)
            return (leaf, true)
        }
        guard standings[leaf].reason == .atCapacity else { return (nil, true) }
        // Somebody else answers this once; the conversation stays where its beginning is known.
        let since = pin.fullSince ?? now
        pin.fullSince = since
        guard now.milliseconds(since: since) < Limits.poolPinFullMs else { return (nil, true) }
        sessions.set(pin, for: session)
        return (nil, false)
    }

    // MARK: Turns

    /// Goes down the tree to the leaf whose turn it is, or where a conversation belongs.
    private mutating func draw(_ session: UInt64?) -> (leaf: Int, isSpilled: Bool) {
        path.removeAll(keepingCapacity: true)
        var (group, isSpilled) = (0, false)
        while true {
            isSpilled = isSpilled || groups[group].passesFull
            guard let run = run(of: group) else { preconditionFailure("a group without members was drawn from") }
            let node = session.map { nearest(run, to: $0) } ?? foremost(run)
            path.append((group, node, run))
            switch tree.nodes[node].content {
            case .leaf(let leaf): return (leaves[leaf].twin ?? leaf, isSpilled)
            case .group(let inner): group = inner
            }
        }
    }

    /// The tier that has its turn: what comes back takes only some of the requests from whoever stood in for it.
    private func run(of group: Int) -> Range<Int>? {
        guard let next = groups[group].next else { return groups[group].serving }
        return rampCredits[group] + groups[group].percent >= 100 ? groups[group].serving : next
    }

    private mutating func foremost(_ run: Range<Int>) -> Int {
        var best = run.lowerBound
        var (credit, equals) = (Int64.min, UInt64(0))
        for node in run where nodePercents[node] > 0 {
            let own = credits[node] + part(node)
            if own > credit {
                (best, credit, equals) = (node, own, 1)
            } else if own == credit {
                equals += 1
                if random.next() % equals == 0 { best = node }
            }
        }
        return best
    }

    private func nearest(_ run: Range<Int>, to session: UInt64) -> Int {
        var best: (node: Int, distance: UInt64)?
        for node in run where nodePercents[node] > 0 {
            let distance = Rendezvous.distance(session, tree.nodes[node].identity)
            let isBetter = best.map {
                Rendezvous.isBetter(distance, weight: part(node), than: $0.distance, weight: part($0.node))
            }
            if isBetter ?? true { best = (node, distance) }
        }
        return best?.node ?? run.lowerBound
    }

    /// What a node adds to its credit with every turn of its tier.
    private func part(_ node: Int) -> Int64 { tree.nodes[node].weight * Int64(nodePercents[node]) }

    /// Finds the way to a leaf that was not drawn.
    /// - Returns: whether it is on its tier's turn: one of another tier costs nobody here anything.
    private mutating func trace(to leaf: Int) -> Bool {
        path.removeAll(keepingCapacity: true)
        return trace(0, leaf)
    }

    private mutating func trace(_ group: Int, _ leaf: Int) -> Bool {
        guard let run = groups[group].serving else { return false }
        for node in run where nodePercents[node] > 0 {
            path.append((group, node, run))
            switch tree.nodes[node].content {
            case .leaf(let found): if (leaves[found].twin ?? found) == leaf { return true }
            case .group(let inner): if trace(inner, leaf) { return true }
            }
            path.removeLast()
        }
        return false
    }

    /// A turn was taken along the path.
    /// - Parameter isDrawn: whether it was its tier's turn, too.
    private mutating func charge(isDrawn: Bool) {
        for step in path {
            if isDrawn, groups[step.group].next != nil {
                let credit = rampCredits[step.group] + groups[step.group].percent
                rampCredits[step.group] = credit >= 100 ? credit - 100 : credit
            }
            var total: Int64 = 0
            for node in step.run where nodePercents[node] > 0 {
                credits[node] += part(node)
                total += part(node)
            }
            credits[step.node] -= total
            // Conversations may ask for one alone; nobody has to make up for more than one round of that.
            for node in step.run where nodePercents[node] > 0 { credits[node] = min(max(credits[node], -total), total) }
        }
    }

    // MARK: When there is nobody

    private mutating func wait(
        _ request: PoolRequest, isSpill: Bool, _ commons: inout PoolCommons, _ now: Instant
    ) -> PoolTicket? {
        if let ticket = request.ticket {
            guard let entry = queue[ticket], now < (isSpill ? entry.spillAt : entry.deadline),
                isSpill || isWorthWaiting(until: entry.deadline)
            else { return nil }
            let returned = queue.returned(ticket, now: now)
            if returned.wasWoken { wake(for: returned.leaf, isNew: false, &commons, now) }
            return ticket
        }
        let deadline = now.advanced(byMilliseconds: settings.queueMs - request.waitedMs)
        let spillAt = min(now.advanced(byMilliseconds: settings.spillMs), deadline)
        guard queue.count < settings.queueLength, now < (isSpill ? spillAt : deadline),
            isSpill || isWorthWaiting(until: deadline)
        else { return nil }
        commons.tickets += 1
        let ticket = PoolTicket(number: commons.tickets)
        let priority = min(max(request.priority, 0), Limits.poolPriorities - 1)
        queue.add(PoolQueue.Entry(ticket: ticket, spillAt: spillAt, deadline: deadline), priority: priority, now: now)
        return ticket
    }

    /// Whether somebody may be free or back by then.
    private func isWorthWaiting(until deadline: Instant) -> Bool {
        standings.contains { standing in
            switch standing.reason {
            case .atCapacity, .halfOpenBusy: true
            case .cooling: standing.back.map { $0 < deadline } ?? false
            case .absent: standing.mayReturn
            case nil, .unauthorised, .disabled, .loop, .endpoint, .parameters, .modality, .context, .provider,
                .operator, .region, .location, .quantization, .priceCeiling, .retention, .budget, .draining:
                false
            }
        }
    }

    /// Of those that rest for their failures the one that was not asked for the longest time; of several the one that will
    /// be back first; behind those, one whose key was refused. One request at a time, and not many: what rests by its own word
    /// is left alone.
    private func leastBad() -> Int? {
        var best: (leaf: Int, early: Early)?
        for leaf in leaves.indices where leaves[leaf].twin == nil {
            guard let early = standings[leaf].early, best.map({ early.isBetter(than: $0.early) }) ?? true else {
                continue
            }
            best = (leaf, early)
        }
        return best?.leaf
    }

    // MARK: Answers

    private mutating func ask(
        _ number: Int, _ reason: PoolPick.Reason, isSpilled: Bool = false, _ request: PoolRequest,
        _ commons: inout PoolCommons, _ now: Instant
    ) -> PoolChoice {
        finish(request, &commons, now)
        let leaf = leaves[number]
        var pick = PoolPick(
            leaf: number, provider: leaf.provider ?? RecordKey(.zero), model: leaf.model,
            seats: standings[number].open, reason: reason, isSpilled: isSpilled, identity: leaf.identity,
            isFirst: request.tried.isEmpty, serial: serial)
        let seat: Int? =
            switch reason {
            case .share, .session, .again: nil
            case .probe: standings[number].halfOpen?.seat
            case .leastBad: standings[number].early?.seat
            }
        if let seat {
            pick.seats = PoolSeats([seat])
            pick.probePlace = leaf.seats[seat].place
            pick.probe = commons.board.beginProbe(leaf.seats[seat].place, isEarly: reason == .leastBad, now: now)
        }
        return .ask(pick)
    }

    private mutating func exhausted(
        _ cause: PoolExhaustion.Cause, _ request: PoolRequest, _ commons: inout PoolCommons, _ now: Instant
    ) -> PoolChoice {
        finish(request, &commons, now)
        guard cause == .members else {
            return .exhausted(PoolExhaustion(cause: cause, retryAfterSeconds: 1, reasons: []))
        }
        var soonest: Int64?
        for standing in standings {
            guard let reason = standing.reason, reason.passes else { continue }
            // Who is at work is back after a moment, nobody knows when.
            let left = reason == .cooling ? standing.back.map { $0.milliseconds(since: now) } ?? 0 : 0
            soonest = min(soonest ?? left, left)
        }
        let seconds = soonest.map(PoolExhaustion.seconds(inMs:))
        return .exhausted(
            PoolExhaustion(cause: cause, retryAfterSeconds: seconds, reasons: standings.map(\.reason)))
    }

    /// It waits no longer. If nothing was kept for it, something may be free for the next one, too.
    private mutating func finish(_ request: PoolRequest, _ commons: inout PoolCommons, _ now: Instant) {
        guard let ticket = request.ticket, let entry = queue.remove(ticket) else { return }
        if entry.wokenAt != nil, entry.keeps == nil { wake(for: nil, isNew: false, &commons, now) }
    }
}
