internal import MeshModel
internal import MeshWire
internal import OrderedCollections

/// Range reconciliation (Docs/Protocol/gossip.md): two nodes find where their tables differ by comparing
/// fingerprints of ranges, splitting those that differ in 16, down to lists of at most 16.
extension Gossip {
    /// Starts a round on a link; replaces one that is under way.
    mutating func openRound(_ id: LinkID, now: Now) {
        // Whatever comes of it, the round that was due is not due any more.
        links[id]?.syncDue = nil
        guard let link = links[id], !link.isDraining else { return }
        roundCounter &+= 1
        // The lowest bit says which side opened the round, so that both may use the same counter.
        let round = roundCounter << 1 | (link.dialled ? 1 : 0)
        let salt = freshSalt()
        let state = SyncRound(round: round, ownSalt: salt, ends: roundEnd(now))
        links[id]?.opened = state
        send(.syncOpen(round: round, salt: salt), to: id, now)
    }

    mutating func answerRound(_ round: UInt64, salt: Bytes16, from id: LinkID, now: Now) {
        guard let link = links[id], (round & 1 == 1) != link.dialled else { return unexpected(id) }
        guard mayCompare(table.count, for: id, now) else { return }
        let own = freshSalt()
        let state = SyncRound(round: round, ownSalt: own, peerSalt: salt, ends: roundEnd(now))
        links[id]?.answered = state
        let whole = SyncRange(
            lower: RecordKey(.zero), upper: nil,
            content: .fingerprint(fingerprint(table.summaries[...], key: salt.bytes + own.bytes)))
        send(.syncRanges(round: round, salt: own, ranges: [whole]), to: id, now)
    }

    mutating func compareRanges(
        _ ranges: [SyncRange], round: UInt64, salt: Bytes16, from id: LinkID, now: Now
    ) {
        guard let link = links[id], let key = step(round, salt: salt, link: link) else { return unexpected(id) }
        guard mayCompare(work(ranges), for: id, now) else { return }
        let isOpener = link.opened?.round == round
        var answer = RoundAnswer()
        for range in ranges { compare(range, key: key, into: &answer) }
        if isOpener, answer.isEmpty { return finishRound(id, equal: link.opened?.isDirty != true, now: now) }
        let own = isOpener ? link.opened?.ownSalt : link.answered?.ownSalt
        if !answer.ranges.isEmpty, let own {
            let ranges = fitting(answer.ranges, to: id, now)
            send(.syncRanges(round: round, salt: own, ranges: ranges), to: id, now)
            if ranges.count < answer.ranges.count { markDirty(id, isOpener) }
        }
        if !answer.needed.isEmpty {
            let question = GossipMessage.syncNeed(
                round: round, keys: Array(answer.needed.prefix(Limits.linkSummaries)))
            if maySend(question, to: id, now) {
                send(question, to: id, now)
            } else {
                markDirty(id, isOpener)
            }
        }
        if !give(answer.given, round: round, to: id, now: now) { markDirty(id, isOpener) }
        if isOpener, answer.ranges.isEmpty, answer.needed.isEmpty { finishRound(id, equal: false, now: now) }
    }

    /// As many of the ranges as a frame holds and the peer has to bear, and always one, so that a round gets on.
    private mutating func fitting(_ ranges: [SyncRange], to id: LinkID, _ now: Now) -> [SyncRange] {
        var room = links[id]?.sendable(now.instant) ?? 0
        var count = 0
        for range in ranges.prefix(Limits.syncRangesPerFrame) {
            room -= range.weight
            guard room >= 0 || count == 0 else { break }
            count += 1
        }
        return Array(ranges.prefix(count))
    }

    /// Records that have to be hashed to answer: each range is hashed once, and once more in parts if it differs.
    private func work(_ ranges: [SyncRange]) -> Int {
        ranges.reduce(0) { total, range in
            guard case .fingerprint = range.content else { return total }
            return total + 2 * table.indices(from: range.lower, to: range.upper).count
        }
    }

    /// Hashing the whole table costs a peer a few bytes to ask for: so many a second, the rest is passed over.
    private mutating func mayCompare(_ count: Int, for id: LinkID, _ now: Now) -> Bool {
        if links[id]?.takeComparison(of: count, now.instant) == true { return true }
        if let link = links[id] { effects.append(.ignored(.throttled, from: link.peer)) }
        return false
    }

    /// Checks that the frame belongs to a round that is under way, and gives its fingerprint key.
    private mutating func step(_ round: UInt64, salt: Bytes16, link: Link) -> [UInt8]? {
        if var opened = link.opened, opened.round == round {
            guard opened.steps < Limits.syncSteps, opened.peerSalt == nil || opened.peerSalt == salt
            else { return nil }
            opened.steps += 1
            opened.peerSalt = salt
            links[link.id]?.opened = opened
            return opened.ownSalt.bytes + salt.bytes
        }
        if var answered = link.answered, answered.round == round {
            guard answered.steps < Limits.syncSteps, answered.peerSalt == salt else { return nil }
            answered.steps += 1
            links[link.id]?.answered = answered
            return salt.bytes + answered.ownSalt.bytes
        }
        return nil
    }

    private struct RoundAnswer {
        var ranges: [SyncRange] = []
        var needed: [RecordKey] = []
        var given: [RecordKey] = []

        var isEmpty: Bool { ranges.isEmpty && needed.isEmpty && given.isEmpty }
    }

    private func compare(_ range: SyncRange, key: [UInt8], into answer: inout RoundAnswer) {
        // Work on one frame stays bounded whatever it asks for.
        guard answer.ranges.count <= Limits.syncRangesPerFrame else { return }
        let held = table.summaries[table.indices(from: range.lower, to: range.upper)]
        switch range.content {
        case .fingerprint(let theirs):
            guard fingerprint(held, key: key) != theirs else { return }
            if held.count <= Limits.syncListEntries {
                answer.ranges.append(
                    SyncRange(lower: range.lower, upper: range.upper, content: .list(Array(held))))
            } else {
                split(held, range, key: key, into: &answer)
            }
        case .list(let theirs): compare(held, with: theirs, range, into: &answer)
        }
    }

    private func split(
        _ held: ArraySlice<RecordSummary>, _ range: SyncRange, key: [UInt8], into answer: inout RoundAnswer
    ) {
        let parts = Limits.syncSplit
        var lower = range.lower
        for part in 0..<parts {
            let first = held.startIndex + held.count * part / parts
            let end = held.startIndex + held.count * (part + 1) / parts
            let upper = part == parts - 1 ? range.upper : held[end].key
            answer.ranges.append(
                SyncRange(
                    lower: lower, upper: upper, content: .fingerprint(fingerprint(held[first..<end], key: key))))
            if let upper { lower = upper }
        }
    }

    private func compare(
        _ held: ArraySlice<RecordSummary>, with theirs: [RecordSummary], _ range: SyncRange,
        into answer: inout RoundAnswer
    ) {
        var listed: [RecordKey: RecordSummary] = [:]
        for entry in theirs where entry.key >= range.lower && range.upper.map({ entry.key < $0 }) != false {
            listed[entry.key] = entry
            guard let own = table[entry.key]?.summary else {
                answer.needed.append(entry.key)
                continue
            }
            if own.version < entry.version {
                answer.needed.append(entry.key)
            } else if own.version == entry.version, own.hashPrefix != entry.hashPrefix {
                // One of us knows of a contradiction, or both find it now by showing what they have.
                if own.hashPrefix != .max { answer.needed.append(entry.key) }
                if entry.hashPrefix != .max { answer.given.append(entry.key) }
            }
        }
        for own in held where listed[own.key].map({ $0.version < own.version }) != false {
            answer.given.append(own.key)
        }
    }

    mutating func answerNeed(_ keys: [RecordKey], round: UInt64, from id: LinkID, now: Now) {
        guard let link = links[id], link.opened?.round == round || link.answered?.round == round
        else { return unexpected(id) }
        if !give(keys, round: round, to: id, now: now) { markDirty(id, link.opened?.round == round) }
    }

    mutating func takeRound(_ records: [[UInt8]], round: UInt64, from id: LinkID, now: Now) {
        guard let link = links[id], link.opened?.round == round || link.answered?.round == round
        else { return unexpected(id) }
        let isNew = takeAll(records, from: id, hops: 0, isEager: false, now: now)
        if isNew { markDirty(id, link.opened?.round == round) }
    }

    /// Sends what is held under `keys` as far as the link's budget goes; false when something stayed behind.
    private mutating func give(_ keys: [RecordKey], round: UInt64, to id: LinkID, now: Now) -> Bool {
        var isComplete = true
        var batch: [VerifiedRecord] = []
        for key in keys {
            for record in held(key) {
                guard links[id]?.maySend(bytes: record.envelope.bytes.count, now.instant) == true else {
                    isComplete = false
                    break
                }
                batch.append(record)
            }
            guard isComplete else { break }
        }
        for record in batch { links[id]?.known.note(record.key, record.version) }
        for start in stride(from: 0, to: batch.count, by: Limits.linkPushRecords) {
            let part = batch[start...].prefix(Limits.linkPushRecords)
            send(.syncRecords(round: round, records: part.map(\.envelope.bytes)), to: id, now)
        }
        return isComplete
    }

    private mutating func finishRound(_ id: LinkID, equal: Bool, now: Now) {
        guard let link = links[id] else { return }
        effects.append(.syncFinished(link.peer, equal: equal))
        if link.opened?.isDirty == true {
            let due = now.instant.advanced(byMilliseconds: configuration.intervals.resyncMs)
            links[id]?.syncDue = due
        } else if equal, link.transientUntil != nil {
            drop(id, .finished)
            return
        }
        links[id]?.opened = nil
    }

    private mutating func markDirty(_ id: LinkID, _ isOpener: Bool) {
        if isOpener { links[id]?.opened?.isDirty = true } else { links[id]?.answered?.isDirty = true }
    }

    /// Ends rounds whose time is over; one that moved records is followed by another.
    mutating func runRounds(_ id: LinkID, _ now: Now) {
        guard let link = links[id] else { return }
        if let opened = link.opened, opened.isDirty, link.syncDue == nil {
            let due = now.instant.advanced(byMilliseconds: configuration.intervals.resyncMs)
            links[id]?.syncDue = due
        } else if let opened = link.opened, opened.ends <= now.instant {
            links[id]?.opened = nil
        }
        if let answered = link.answered, answered.ends <= now.instant { links[id]?.answered = nil }
        if let due = links[id]?.syncDue, due <= now.instant { openRound(id, now: now) }
    }

    /// Reconciles with a member drawn from all, linked or not: neighbours alone would leave a node behind whose
    /// neighbours are silent. First an operator is drawn, then one of his nodes: many nodes make nobody likelier.
    mutating func reconcileWithRandomMember(_ now: Now) {
        var others: OrderedDictionary<Sponsor, [PublicKey]> = [:]
        for member in members where member != configuration.key {
            others[sponsor(ofNode: member), default: []].append(member)
        }
        if let drawn = others.values.randomElement(using: &random)?.randomElement(using: &random) {
            if let id = links.values.first(where: { $0.peer == drawn && !$0.isDraining })?.id {
                return openRound(id, now: now)
            }
            if startDial(to: drawn, purpose: .reconciliation, now: now) { return }
        }
        reconcileWithRandomLink(now)
    }

    mutating func reconcileWithRandomLink(_ now: Now) {
        if let id = primaryLinks().randomElement(using: &random) { openRound(id, now: now) }
    }

    private func fingerprint(_ summaries: ArraySlice<RecordSummary>, key: [UInt8]) -> Bytes16 {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(summaries.count * 32)
        for summary in summaries { bytes += summary.bytes }
        return configuration.cryptography.hash16(bytes, key: key)
    }

    /// Sixteen bytes nobody can foretell from earlier ones: the generator's draws never leave this node bare.
    private mutating func freshSalt() -> Bytes16 {
        let draw = random.next().bigEndianBytes + random.next().bigEndianBytes
        return configuration.cryptography.hash16(draw, key: configuration.seed.bigEndianBytes)
    }

    private func roundEnd(_ now: Now) -> Instant { now.instant.advanced(byMilliseconds: Limits.syncRoundMs) }

    private mutating func unexpected(_ id: LinkID) {
        if let link = links[id] { effects.append(.ignored(.unexpected, from: link.peer)) }
    }
}
