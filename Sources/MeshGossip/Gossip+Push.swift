internal import MeshModel
internal import MeshWire
internal import OrderedCollections

/// Spreading what is new: eagerly to a few, by announcement to the rest.
extension Gossip {
    mutating func publish(_ record: VerifiedRecord, now: Now) {
        let own = configuration.key
        switch take(record, now: now) {
        case .accepted(let record):
            accepted(record, from: nil, now: now)
            for peer in primaryLinks() { queuePush(record, hops: 0, to: peer, urgent: true, now: now) }
        case .ignored(let reason): effects.append(.ignored(reason, from: own))
        case .stale: effects.append(.ignored(.stale, from: own))
        case .rejected(let rejection): effects.append(.rejected(rejection, from: own, blamed: false))
        case .equivocation: break
        }
    }

    mutating func restore(_ records: [VerifiedRecord], now: Now) {
        // What others rest on first, so that little waits.
        for record in records.sorted(by: { ($0.type.rawValue, $0.key) < ($1.type.rawValue, $1.key) }) {
            let rejection = VerifiedRecord.precheck(
                record.envelope, network: configuration.network, wall: now.wall)
            if let rejection {
                effects.append(.rejected(rejection, from: configuration.key, blamed: false))
                continue
            }
            if case .accepted(let record) = take(record, now: now) { accepted(record, from: nil, now: now) }
        }
    }

    /// Follows every record that was stored.
    mutating func accepted(_ record: VerifiedRecord, from peer: PublicKey?, now: Now) {
        if record.type == .beacon {
            if let lease = leases[record.key] { effects.append(.beacon(lease, from: peer)) }
            return
        }
        effects.append(.accepted(record, from: peer))
        updateUsability(of: record.key, now: now, changed: true)
        if record.type == .nodeDescriptor { learnAddresses(record, now: now) }
    }

    /// Records from a link, whatever frame brought them. True when something new was among them. What reconciliation
    /// brought (`isEager` false) is only announced: most others have it already.
    @discardableResult
    mutating func takeAll(
        _ records: [[UInt8]], from id: LinkID, hops: UInt32, isEager: Bool = true, now: Now
    ) -> Bool {
        var isNew = false
        for bytes in records {
            guard let link = links[id] else { return isNew }
            switch take(bytes, from: id, now: now) {
            case .accepted(let record):
                isNew = true
                links[id]?.known.note(record.key, record.version)
                accepted(record, from: link.peer, now: now)
                forward(record, except: link.peer, hops: hops, eager: isEager ? configuration.eagerLinks : 0, now: now)
            case .equivocation(let record):
                isNew = true
                forwardContradiction(record.key, except: link.peer, hops: hops, now: now)
            case .ignored(let reason): effects.append(.ignored(reason, from: link.peer))
            case .stale(let key):
                effects.append(.ignored(.stale, from: link.peer))
                queueHeld(key, to: id, now: now)
            case .rejected(let rejection): blame(rejection, on: id, now: now)
            }
        }
        return isNew
    }

    private mutating func forward(
        _ record: VerifiedRecord, except source: PublicKey, hops: UInt32, eager: Int, now: Now
    ) {
        guard hops < Limits.linkHops else { return }
        var targets = primaryLinks().filter {
            links[$0]?.peer != source && links[$0]?.peer != record.signer
                && links[$0]?.known.has(record.key, record.version) != true
        }
        targets.shuffle(using: &random)
        for id in targets.prefix(eager) {
            queuePush(record, hops: hops + 1, to: id, urgent: false, now: now)
        }
        let summary = RecordSummary(key: record.key, version: record.version, hashPrefix: record.hash.high.high)
        for id in targets.dropFirst(eager) { queueAnnouncement(summary, to: id, now: now) }
    }

    private mutating func forwardContradiction(_ key: RecordKey, except source: PublicKey, hops: UInt32, now: Now) {
        guard hops < Limits.linkHops else { return }
        for id in primaryLinks() where links[id]?.peer != source {
            for record in held(key) { enqueue(record, hops: hops + 1, to: id) }
        }
    }

    /// What answers a question about `key`: one record, or the two that contradict each other.
    func held(_ key: RecordKey) -> [VerifiedRecord] {
        if let lease = leases[key] { return [lease.record] }
        guard let entry = table[key] else { return [] }
        return [entry.record] + (entry.contradiction.map { [$0] } ?? [])
    }

    mutating func queueHeld(_ key: RecordKey, to id: LinkID, now: Now) {
        for record in held(key) { queuePush(record, hops: 0, to: id, urgent: false, now: now) }
    }

    /// `urgent` records go ahead of the budget; the others wait for reconciliation when it is spent.
    private mutating func queuePush(
        _ record: VerifiedRecord, hops: UInt32, to id: LinkID, urgent: Bool, now: Now
    ) {
        let size = record.envelope.bytes.count
        if urgent {
            guard links[id]?.maySendUrgently(now.instant) == true else { return }
            links[id]?.didSend(bytes: size, now.instant)
        } else if links[id]?.maySend(bytes: size, now.instant) != true {
            return
        }
        enqueue(record, hops: hops, to: id)
        links[id]?.known.note(record.key, record.version)
    }

    private mutating func enqueue(_ record: VerifiedRecord, hops: UInt32, to id: LinkID) {
        links[id]?.pushes.append(Link.PendingPush(record: record, hops: hops))
    }

    private mutating func queueAnnouncement(_ summary: RecordSummary, to id: LinkID, now: Now) {
        guard let link = links[id], link.announcements.count < Limits.linkSummaries else { return }
        links[id]?.announcements.append(summary)
        if link.announceDue == nil {
            let wait = configuration.intervals.announceMs
            links[id]?.announceDue = now.instant.advanced(byMilliseconds: wait)
        }
    }

    /// Sends what was queued for each link, in frames of a bounded number of records.
    mutating func flushPushes(_ now: Now) {
        for id in links.keys {
            guard let pushes = links[id]?.pushes, !pushes.isEmpty else { continue }
            links[id]?.pushes = []
            var rest = pushes[...]
            while !rest.isEmpty {
                let batch = rest.prefix(Limits.linkPushRecords)
                rest = rest.dropFirst(Limits.linkPushRecords)
                let hops = batch.map(\.hops).max() ?? 0
                send(.push(records: batch.map(\.record.envelope.bytes), hops: hops), to: id, now)
            }
        }
    }

    mutating func flushAnnouncements(_ id: LinkID, _ now: Now) {
        guard let link = links[id], let due = link.announceDue, due <= now.instant else { return }
        links[id]?.announceDue = nil
        links[id]?.announcements = []
        let news = link.announcements.filter { !link.known.has($0.key, $0.version) }
        let message = GossipMessage.announce(news)
        // What is not announced now is found by reconciliation.
        if !news.isEmpty, maySend(message, to: id, now) { send(message, to: id, now) }
    }

    /// Records were charged when they were queued; here it is everything else.
    mutating func send(_ message: GossipMessage, to id: LinkID, _ now: Now) {
        links[id]?.didSend(listBytes: message.weight - message.recordBytes, now.instant)
        effects.append(.send(id, message.frame))
    }

    /// Whether a list that can wait fits into what the peer has to bear.
    mutating func maySend(_ message: GossipMessage, to id: LinkID, _ now: Now) -> Bool {
        (links[id]?.sendable(now.instant) ?? 0) >= message.weight
    }

    /// One link per peer, the oldest: records need to go only once.
    func primaryLinks() -> [LinkID] {
        var seen: Set<PublicKey> = []
        return links.values.filter { !$0.isDraining && seen.insert($0.peer).inserted }.map(\.id)
    }
}
