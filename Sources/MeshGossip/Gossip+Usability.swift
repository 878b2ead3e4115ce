internal import MeshModel
internal import MeshWire
internal import OrderedCollections

/// Which records count: the chain advert → descriptor, grant → advert, attachment → grant and descriptor.
extension Gossip {
    func evaluate(_ entry: RecordTable.Entry, now: Now) -> Bool {
        guard entry.isLive else { return false }
        switch entry.record.body {
        case .nodeDescriptor:
            return entry.record.signer == configuration.key
                || configuration.admission.admits(
                    node: entry.record.signer, operatorKey: validOperator(entry, wall: now.wall))
        case .providerAdvert(let body): return isWhole(body, entry, now)
        case .attachGrant(let body): return isWhole(body, entry.record, now)
        case .attachment(let body): return isWhole(body, entry)
        case .beacon, .tombstone: return false
        }
    }

    func validOperator(_ entry: RecordTable.Entry, wall: Timestamp) -> PublicKey? {
        guard entry.isLive, case .nodeDescriptor(let body) = entry.record.body,
            let operatorKey = entry.facts.operatorKey, UInt64(clamping: wall.milliseconds) < body.operator.notAfterMs
        else { return nil }
        return operatorKey
    }

    /// Whose nodes the record stands on: its own signer's, the home's, the home of its provider's. Nil while the
    /// descriptor in question is not held: what waits has a bound of its own.
    func sponsor(of entry: RecordTable.Entry) -> Sponsor? {
        guard entry.isLive else { return nil }
        switch entry.record.body {
        case .nodeDescriptor: return Sponsor(entry.facts.operatorKey)
        case .providerAdvert: return sponsor(holding: entry.facts.dependencies.first)
        case .attachGrant: return entry.facts.dependencies.first.flatMap { table[$0]?.sponsor }
        case .attachment: return sponsor(holding: entry.facts.dependencies.last)
        case .beacon, .tombstone: return nil
        }
    }

    private func sponsor(holding descriptor: RecordKey?) -> Sponsor? {
        guard let descriptor, let entry = table[descriptor], entry.isLive else { return nil }
        return entry.sponsor
    }

    /// The operator of a member, for whatever is counted by operators.
    func sponsor(ofNode node: PublicKey) -> Sponsor {
        sponsor(holding: RecordFacts.descriptorKey(of: node, cryptography: configuration.cryptography)) ?? .uncertified
    }

    private func usableEntry(_ key: RecordKey?) -> RecordTable.Entry? {
        guard let key, let entry = table[key], entry.isLive, entry.isUsable else { return nil }
        return entry
    }

    private func isWhole(
        _ body: Aisbf_Mesh_V1_ProviderAdvert, _ entry: RecordTable.Entry, _ now: Now
    ) -> Bool {
        guard let home = usableEntry(entry.facts.dependencies.first) else { return false }
        if body.hasBinding { return UInt64(clamping: now.wall.milliseconds) < body.binding.notAfterMs }
        return validOperator(home, wall: now.wall) == entry.record.signer
    }

    private func isWhole(_ body: Aisbf_Mesh_V1_AttachGrant, _ record: VerifiedRecord, _ now: Now) -> Bool {
        guard let advert = usableEntry(RecordKey(body.providerRecordKey)),
            case .providerAdvert(let offer) = advert.record.body,
            PublicKey(body.ownerKey) == advert.record.signer
        else { return false }
        let latest = now.wall.advanced(byMilliseconds: Limits.recordFutureSkewMs)
        guard body.notBeforeMs <= UInt64(clamping: latest.milliseconds) else { return false }
        if record.signer == advert.record.signer { return true }
        return offer.attachKeys.contains { attachKey in
            PublicKey(attachKey.publicKey) == record.signer
                && (attachKey.notAfterMs == 0 || UInt64(clamping: now.wall.milliseconds) < attachKey.notAfterMs)
                && (attachKey.allowedHosts.isEmpty || attachKey.allowedHosts.contains(body.hostingNode))
        }
    }

    private func isWhole(_ body: Aisbf_Mesh_V1_Attachment, _ entry: RecordTable.Entry) -> Bool {
        guard let grant = usableEntry(entry.facts.dependencies.first),
            usableEntry(entry.facts.dependencies.last) != nil, case .attachGrant(let granted) = grant.record.body
        else { return false }
        return PublicKey(granted.hostingNode) == entry.record.signer
            && granted.providerRecordKey == body.providerRecordKey && granted.ownerKey == body.ownerKey
            && Bytes32(body.grantHash) == grant.record.hash
    }

    /// Puts the record into the queue for the earliest moment at which it ends or the clock alone changes its state.
    mutating func schedule(_ key: RecordKey, now: Now) {
        guard let entry = table[key] else { return }
        var due = entry.expires
        if let boundary = nextBoundary(entry, wall: now.wall) {
            let wait = boundary.milliseconds - now.wall.milliseconds
            due = min(due, now.instant.advanced(byMilliseconds: max(wait, 1)))
        }
        if let queued = entry.queued, queued <= due { return }
        table.setQueued(key, due)
        reviews.insert(key, at: due)
    }

    private func nextBoundary(_ entry: RecordTable.Entry, wall: Timestamp) -> Timestamp? {
        guard entry.isLive else { return nil }
        var boundaries: [UInt64] = []
        switch entry.record.body {
        case .nodeDescriptor(let body): if body.hasOperator { boundaries = [body.operator.notAfterMs] }
        case .providerAdvert(let body):
            if body.hasBinding { boundaries = [body.binding.notAfterMs] }
            boundaries += body.attachKeys.map(\.notAfterMs)
        case .attachGrant(let body):
            let skew = UInt64(clamping: Limits.recordFutureSkewMs)
            boundaries = [body.notBeforeMs > skew ? body.notBeforeMs - skew : 0]
        case .attachment, .beacon, .tombstone: break
        }
        // Every boundary was checked to be below 2^53 when the record was taken.
        return boundaries.filter { $0 > UInt64(clamping: wall.milliseconds) }.min()
            .map { Timestamp(milliseconds: Int64(clamping: $0)) }
    }

    mutating func reviewRecords(_ now: Now) {
        while let (key, deadline) = reviews.popDue(now.instant) {
            guard let entry = table[key], entry.queued == deadline else { continue }
            table.setQueued(key, nil)
            if entry.expires <= now.instant {
                remove(key, reason: .expired, now: now)
            } else {
                // An attach key that ran out changes nothing in its advert and everything in the grants under it.
                updateUsability(of: key, now: now, changed: true)
            }
        }
        if reviews.count > 2 * table.count + 1_024 { rebuildReviews(now) }
    }

    private mutating func rebuildReviews(_ now: Now) {
        reviews.removeAll()
        for summary in table.summaries {
            table.setQueued(summary.key, nil)
            schedule(summary.key, now: now)
        }
    }
}
