import MeshModel

extension Pool {
    mutating func began(_ pick: PoolPick, at node: PublicKey, _ commons: inout PoolCommons, now: Instant) -> PoolAttempt
    {
        if let (leaf, seat) = seat(pick, node) {
            leaves[leaf].seats[seat].underWay += 1
            commons.board.began(leaves[leaf].seats[seat].place)
        }
        return PoolAttempt(pick: pick, node: node, began: now)
    }

    /// Nothing was sent to whoever was picked.
    mutating func dropped(_ pick: PoolPick, _ commons: inout PoolCommons, now: Instant) {
        if let place = pick.probePlace, let number = pick.probe { commons.board.endProbe(place, number: number) }
        if !pick.isFirst { budget.giveBack() }
        wake(for: nil, isNew: true, &commons, now)
    }

    /// The first content has come: whoever was on trial is well.
    mutating func answered(_ attempt: inout PoolAttempt, _ commons: inout PoolCommons, now: Instant) -> PoolNews? {
        guard !attempt.hasAnswered else { return nil }
        attempt.hasAnswered = true
        guard let (leaf, seat) = seat(attempt.pick, attempt.node), endProbe(attempt, &commons) else { return nil }
        let place = leaves[leaf].seats[seat].place
        leaves[leaf].seats[seat].health.probeSucceeded(now: now)
        if commons.board[place].isDown || !isResting(place, commons, now) {
            commons.board.open(place, now: now)
        }
        wake(for: nil, isNew: true, &commons, now)
        return .returned
    }

    /// It is over, in whatever way. Follows every `began` once.
    mutating func ended(
        _ attempt: PoolAttempt, _ outcome: PoolOutcome, _ commons: inout PoolCommons, now: Instant
    ) -> PoolNews? {
        guard let (leaf, seat) = seat(attempt.pick, attempt.node) else { return nil }
        leaves[leaf].seats[seat].underWay = max(leaves[leaf].seats[seat].underWay - 1, 0)
        commons.board.ended(leaves[leaf].seats[seat].place)
        var attempt = attempt
        let news: PoolNews?
        switch outcome {
        case .served:
            let returned = answered(&attempt, &commons, now: now)
            leaves[leaf].seats[seat].health.succeeded(settings, now: now)
            commons.board.took(leaves[leaf].seats[seat].place, sent: attempt.began)
            news = returned
        case .failed(let fault): news = failed(attempt, fault, leaf, seat, &commons, now)
        case .cancelled:
            _ = endProbe(attempt, &commons)
            news = nil
        }
        wake(for: leaf, isNew: true, &commons, now)
        return news
    }

    private mutating func failed(
        _ attempt: PoolAttempt, _ fault: Fault, _ leaf: Int, _ seat: Int, _ commons: inout PoolCommons, _ now: Instant
    ) -> PoolNews? {
        let wasProbe = endProbe(attempt, &commons)
        let place = leaves[leaf].seats[seat].place
        switch fault.consequence.penalty {
        case .none: return nil
        case .full:
            commons.board.full(place, now: now)
            return nil
        case .count:
            if wasProbe {
                leaves[leaf].seats[seat].health.probeFailed(fault, settings, &random, now: now)
            } else {
                let isBenched = leaves[leaf].seats[seat].health.failed(fault, settings, &random, now: now)
                guard isBenched else { return nil }
            }
            return leaves[leaf].seats[seat].health.recovery.until.map { .benched(until: $0) }
        case .rest:
            commons.board.rest(place, until: now.advanced(byMilliseconds: fault.restMs ?? settings.cooldownMs))
            return commons.board[place].recovery.until.map { .rests(until: $0) }
        case .down:
            commons.board.down(place, now: now)
            return .down(fault)
        }
    }

    /// - Returns: whether the attempt was the one probe of its place.
    private func endProbe(_ attempt: PoolAttempt, _ commons: inout PoolCommons) -> Bool {
        guard let place = attempt.pick.probePlace, let number = attempt.pick.probe else { return false }
        return commons.board.endProbe(place, number: number)
    }

    private func isResting(_ place: Int, _ commons: PoolCommons, _ now: Instant) -> Bool {
        if case .resting = commons.board[place].recovery.phase(now: now) { true } else { false }
    }

    private func seat(_ pick: PoolPick, _ node: PublicKey) -> (leaf: Int, seat: Int)? {
        guard pick.serial == serial, let leaf = leaves.firstIndex(where: { $0.identity == pick.identity }) else {
            return nil
        }
        let seat = leaves[leaf].seats.firstIndex {
            $0.key.node == node && $0.key.provider == pick.provider && $0.key.model == pick.model
        }
        return seat.map { (leaf, $0) }
    }
}
