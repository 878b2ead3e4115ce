internal import MeshModel
internal import MeshWire
internal import OrderedCollections

/// Links coming, going and speaking.
extension Gossip {
    mutating func linkUp(
        _ id: LinkID, peer: PublicKey, dialled: Bool, address: String?, descriptor: VerifiedRecord, now: Now
    ) {
        if let code = refusal(of: peer, now: now) {
            effects.append(.close(id, code))
            dials.failed(peer, address: address, due: backoff(peer, address: address, now: now))
            return
        }
        let wasAlive = isAlive(peer)
        supersede(linksOf: peer, dialled: dialled, now: now)
        let wasWanted = dials.succeeded(peer, address: address)
        dials.wake(now.instant)
        links[id] = Link(id: id, peer: peer, dialled: dialled, address: address, now: now.instant)
        switch take(descriptor, now: now) {
        case .accepted(let record): accepted(record, from: peer, now: now)
        case .rejected(let rejection):
            effects.append(.rejected(rejection, from: peer, blamed: false))
        case .ignored, .stale, .equivocation: break
        }
        if !dialled { dials.seen(peer, now: now.instant) }
        guard isUsable(RecordFacts.descriptorKey(of: peer, cryptography: configuration.cryptography)) else {
            drop(id, .notAdmitted)
            dials.failed(peer, address: address, due: backoff(peer, address: address, now: now))
            return
        }
        guard hasRoom(for: peer) else {
            drop(id, .tooManyLinks)
            dials.failed(peer, address: address, due: backoff(peer, address: address, now: now))
            return
        }
        if !wasAlive { effects.append(.livenessChanged(peer, alive: true)) }
        if dialled {
            if wasWanted == .reconciliation, linkedPeers.count > targetDegree {
                let wait = configuration.intervals.transientLinkMs
                links[id]?.transientUntil = now.instant.advanced(byMilliseconds: wait)
            }
            openRound(id, now: now)
        }
        if let lease = leases[RecordFacts.beaconKey(of: configuration.key, cryptography: configuration.cryptography)] {
            queueHeld(lease.record.key, to: id, now: now)
        }
    }

    /// Whoever dials again has lost the older link, whether we noticed or not; one of its own it closes itself. The other
    /// side lets it choose for a moment: of two dialled at once each side may see another one up first, and if each closed
    /// its older one, none would be left.
    private mutating func supersede(linksOf peer: PublicKey, dialled: Bool, now: Now) {
        let older = links.values.filter { $0.peer == peer && $0.dialled == dialled }
        guard !dialled else {
            for old in older { drop(old.id, .replaced) }
            return
        }
        for old in older.dropLast() { drop(old.id, .replaced) }
        guard let last = older.last else { return }
        links[last.id]?.supersededUntil = now.instant.advanced(
            byMilliseconds: configuration.intervals.supersededLinkMs)
    }

    /// The choice is due: the newer link may be the one that is gone.
    private mutating func endSuperseded(_ id: LinkID, now: Now) {
        guard let link = links[id], let until = link.supersededUntil, until <= now.instant else { return }
        links[id]?.supersededUntil = nil
        let isReplaced = links.values.contains {
            $0.peer == link.peer && $0.dialled == link.dialled && $0.id > link.id
        }
        if isReplaced { drop(id, .replaced) }
    }

    private func refusal(of peer: PublicKey, now: Now) -> CloseCode? {
        if peer == configuration.key { return .itself }
        if let block = blocks[peer], now.instant < block.until { return .blocked }
        if links.count >= Limits.linksAccepted { return .tooManyLinks }
        return nil
    }

    /// One operator's nodes, however many, have so many links; not counted are one's own operator's and configured ones.
    private func hasRoom(for peer: PublicKey) -> Bool {
        let sponsor = sponsor(ofNode: peer)
        if sponsor == configuration.operatorKey.map(Sponsor.operatorKey) || isStatic(peer) { return true }
        let count = links.values.count { $0.peer != peer && sponsor == self.sponsor(ofNode: $0.peer) }
        return count < Limits.linksPerOperator
    }

    private func isStatic(_ peer: PublicKey) -> Bool { dials.targets[.node(peer)]?.isStatic == true }

    mutating func linkDown(_ id: LinkID, isLost: Bool, now: Now) {
        guard let link = links.removeValue(forKey: id) else { return }
        let lived = now.instant.milliseconds(since: link.since)
        if link.dialled {
            if lived >= configuration.intervals.stableLinkMs { dials.stable(link.peer, address: link.address) }
            dials.failed(
                link.peer, address: link.address, due: backoff(link.peer, address: link.address, now: now))
        }
        dials.wake(now.instant)
        if isLost, !hasLink(to: link.peer) {
            let beacon = RecordFacts.beaconKey(of: link.peer, cryptography: configuration.cryptography)
            leases[beacon]?.isDoubted = true
        }
        if !isAlive(link.peer) { effects.append(.livenessChanged(link.peer, alive: false)) }
    }

    /// Ends a link from this side.
    mutating func drop(_ id: LinkID, _ code: CloseCode) {
        guard let link = links.removeValue(forKey: id) else { return }
        effects.append(.close(id, code))
        if code != .replaced, !isAlive(link.peer) { effects.append(.livenessChanged(link.peer, alive: false)) }
    }

    mutating func receive(_ frame: Aisbf_Mesh_V1_LinkFrame, from id: LinkID, now: Now) {
        guard let link = links[id] else { return }
        guard let message = GossipMessage(frame) else { return blame(.length, on: id, now: now) }
        switch links[id]?.charge(message, now.instant) {
        case .covered: break
        case .owed: return effects.append(.ignored(.throttled, from: link.peer))
        case .flooded: return block(link.peer, .flooding, now: now)
        case nil: return
        }
        switch message {
        case .push(let records, let hops): takeAll(records, from: id, hops: hops, now: now)
        case .announce(let summaries): announced(summaries, by: id, now: now)
        case .want(let keys): for key in keys { queueHeld(key, to: id, now: now) }
        case .syncOpen(let round, let salt): answerRound(round, salt: salt, from: id, now: now)
        case .syncRanges(let round, let salt, let ranges):
            compareRanges(ranges, round: round, salt: salt, from: id, now: now)
        case .syncNeed(let round, let keys): answerNeed(keys, round: round, from: id, now: now)
        case .syncRecords(let round, let records): takeRound(records, round: round, from: id, now: now)
        case .peers(let records): takeAll(records, from: id, hops: Limits.linkHops, now: now)
        case .drain: links[id]?.isDraining = true
        case .goodbye: drop(id, .finished)
        }
    }

    private mutating func announced(_ summaries: [RecordSummary], by id: LinkID, now: Now) {
        let due = now.instant.advanced(byMilliseconds: configuration.intervals.graftMs)
        for summary in summaries {
            links[id]?.known.note(summary.key, summary.version)
            let held = leases[summary.key]?.record.version ?? table[summary.key]?.record.version
            if let held, held >= summary.version { continue }
            wants.announced(summary, by: id, due: due)
        }
    }

    mutating func sendWants(_ now: Now) {
        let retry = now.instant.advanced(byMilliseconds: configuration.intervals.wantRetryMs)
        let up = links
        var questions: OrderedDictionary<LinkID, [RecordKey]> = [:]
        for (link, key) in wants.popDue(now.instant, retry: retry, isUp: { up[$0] != nil }) {
            questions[link, default: []].append(key)
        }
        for (id, keys) in questions {
            for start in stride(from: 0, to: keys.count, by: Limits.linkSummaries) {
                let message = GossipMessage.want(Array(keys[start...].prefix(Limits.linkSummaries)))
                // The next who announced it is asked in a moment.
                if maySend(message, to: id, now) { send(message, to: id, now) }
            }
        }
    }

    mutating func runLinkTimers(_ now: Now) {
        for id in links.keys {
            flushAnnouncements(id, now)
            runRounds(id, now)
            if let until = links[id]?.transientUntil, until <= now.instant { drop(id, .finished) }
            endSuperseded(id, now: now)
        }
    }

    /// A record was wrong: reported, and where an honest relay could not have sent it, counted against the link.
    mutating func blame(_ rejection: RecordRejection, on id: LinkID, now: Now) {
        guard let link = links[id] else { return }
        let isBlamed = Self.isBlamed(rejection)
        effects.append(.rejected(rejection, from: link.peer, blamed: isBlamed))
        guard isBlamed else { return }
        var rejects = link.rejects
        while let first = rejects.first, now.instant.milliseconds(since: first) >= Limits.linkRejectWindowMs {
            rejects.removeFirst()
        }
        rejects.append(now.instant)
        links[id]?.rejects = rejects
        if rejects.count >= Limits.linkRejectsBeforeClose { block(link.peer, .rejects, now: now) }
    }

    private mutating func block(_ peer: PublicKey, _ code: CloseCode, now: Now) {
        if blocks[peer] == nil, blocks.count >= Limits.gossipBlockedPeers { blocks.removeFirst() }
        let strikes = min((blocks[peer]?.strikes ?? 0) + 1, 16)
        let wait = min(Limits.linkRejectBlockMs << Int64(strikes - 1), Limits.linkRejectBlockLongestMs)
        blocks[peer] = Block(until: now.instant.advanced(byMilliseconds: wait), strikes: strikes)
        effects.append(.blocked(peer, milliseconds: wait))
        for link in links.values where link.peer == peer { drop(link.id, code) }
    }

    func isBlocked(_ peer: PublicKey, now: Now) -> Bool { blocks[peer].map { now.instant < $0.until } ?? false }
}
