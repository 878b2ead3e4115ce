internal import MeshModel
internal import MeshWire
internal import OrderedCollections

/// Taking records in: the order of checks, the rules on versions, quotas, and what depends on what.
extension Gossip {
    enum Verdict {
        case accepted(VerifiedRecord)
        case ignored(IgnoreReason)
        /// We hold a newer one, which the sender should see.
        case stale(held: RecordKey)
        case rejected(RecordRejection)
        case equivocation(VerifiedRecord)
    }

    /// Rejections that follow from the two sides' clocks, lists or fill and not from a broken record: an honest
    /// relay may cause them, so no link is blamed.
    static func isBlamed(_ rejection: RecordRejection) -> Bool {
        switch rejection {
        case .expired, .future, .epochAhead, .banned, .quota: false
        case .truncated, .oversize, .magic, .unknownType, .unknownSuite, .unknownFlags, .wrongNetwork, .length,
            .lifetime, .smallOrderKey, .signature, .body, .recordKey, .semantics:
            true
        }
    }

    /// One record from the wire, cheap checks first; the signature is checked only of what would be taken.
    mutating func take(_ bytes: [UInt8], from link: LinkID, now: Now) -> Verdict {
        let envelope: RecordEnvelope
        switch RecordEnvelope.parse(bytes) {
        case .success(let parsed): envelope = parsed
        case .failure(let rejection): return .rejected(rejection)
        }
        let cryptography = configuration.cryptography
        if let rejection = VerifiedRecord.precheck(envelope, network: configuration.network, wall: now.wall) {
            return .rejected(rejection)
        }
        if let known = compare(envelope) { return known }
        if banned.contains(envelope.signer) { return .rejected(.banned) }
        guard links[link]?.takeCheck(now.instant) == true else { return .ignored(.throttled) }
        switch VerifiedRecord.verify(
            envelope, network: configuration.network, wall: now.wall, cryptography: cryptography)
        {
        case .success(let record): return take(record, now: now)
        case .failure(let rejection): return .rejected(rejection)
        }
    }

    /// A record that is verified already.
    mutating func take(_ record: VerifiedRecord, now: Now) -> Verdict {
        if let known = compare(record.envelope) { return known }
        if banned.contains(record.signer) { return .rejected(.banned) }
        guard let facts = RecordFacts.of(record, cryptography: configuration.cryptography)
        else { return .rejected(.semantics) }
        if record.type == .beacon { return takeBeacon(record, now: now) }
        if let held = table[record.key], held.record.version == record.version {
            contradict(held, with: record, now: now)
            return .equivocation(record)
        }
        return store(record, facts: facts, now: now)
    }

    /// What is known without any signature: nil when the record is newer than ours, or contradicts it.
    private func compare(_ envelope: RecordEnvelope) -> Verdict? {
        let held: VerifiedRecord
        if envelope.type == .beacon {
            guard let lease = leases[envelope.key] else { return nil }
            held = lease.record
            if envelope.version <= held.version { return .ignored(.duplicate) }
            return nil
        }
        guard let entry = table[envelope.key] else { return nil }
        held = entry.record
        if envelope.version > held.version { return nil }
        if envelope.version < held.version { return .stale(held: envelope.key) }
        if entry.isPoisoned { return .ignored(.duplicate) }
        let hash = configuration.cryptography.hash32(Array(envelope.signedBytes))
        return hash == held.hash ? .ignored(.duplicate) : nil
    }

    private mutating func store(_ record: VerifiedRecord, facts: RecordFacts, now: Now) -> Verdict {
        let key = record.key
        let old = table[key]
        if old == nil, table.count >= Limits.recordsStored { return .rejected(.quota) }
        if old == nil, record.envelope.isTombstone, record.signer != configuration.key {
            // A tombstone of nothing proves nothing about its signer; a flood of them must not fill the table.
            guard orphans.count < Limits.gossipOrphanTombstones else { return .ignored(.throttled) }
            orphans.append(key)
        }
        var entry = RecordTable.Entry(record: record, expires: effectiveExpiry(record, now), facts: facts)
        entry.sponsor = sponsor(of: entry)
        for group in entry.groups {
            guard let loser = table.excess(in: group, adding: key) else { continue }
            if loser == key { return .rejected(.quota) }
            remove(loser, reason: .quota, now: now)
        }
        let isUsable = evaluate(entry, now: now)
        if !isUsable, entry.isLive, old?.isLive != true, table.pendingCount >= Limits.gossipPendingRecords {
            return .rejected(.quota)
        }
        if record.type == .nodeDescriptor, !isUsable, entry.isLive, record.signer != configuration.key {
            return .rejected(.banned)
        }
        entry.isUsable = old?.isUsable ?? false
        entry.queued = old?.queued
        table.store(entry)
        wants.satisfied(key, version: record.version)
        return .accepted(record)
    }

    /// Hard end by the signer's clock, and never longer than the record's life after it came.
    private func effectiveExpiry(_ record: VerifiedRecord, _ now: Now) -> Instant {
        let expires = record.envelope.expires.milliseconds
        let byWall = expires + Limits.recordExpiryGraceMs - now.wall.milliseconds
        let byLife = expires - record.envelope.issued.milliseconds
        return now.instant.advanced(byMilliseconds: min(byWall, byLife))
    }

    private mutating func contradict(_ held: RecordTable.Entry, with other: VerifiedRecord, now: Now) {
        var entry = held
        entry.contradiction = other
        // The mark outlives both records: after it neither can come back.
        entry.expires = max(held.expires, effectiveExpiry(other, now))
        table.store(entry)
        schedule(other.key, now: now)
        effects.append(.equivocation(other.key, signer: other.signer, version: other.version))
        effects.append(.removed(other.key, other.type, .equivocation))
        updateUsability(of: other.key, now: now)
    }

    mutating func remove(_ key: RecordKey, reason: RemovalReason, now: Now) {
        guard let entry = table[key] else { return }
        if entry.isLive && entry.isUsable {
            effects.append(.usabilityChanged(key, entry.record.type, usable: false))
        }
        table.remove(key)
        orphans.remove(key)
        if entry.record.type.isReconciled { effects.append(.removed(key, entry.record.type, reason)) }
        for dependant in table.dependants(of: key) { updateUsability(of: dependant, now: now) }
    }

    /// Looks again at whether the record counts, and at what rests on it. The chain has no cycles: descriptor,
    /// advert, grant, attachment.
    mutating func updateUsability(of key: RecordKey, now: Now, changed: Bool = false) {
        guard let entry = table[key] else { return }
        let sponsor = sponsor(of: entry)
        if sponsor != entry.sponsor {
            table.setSponsor(key, sponsor)
            if let sponsor, let loser = table.surplus(in: .sponsored(sponsor, entry.record.type)) {
                remove(loser, reason: .quota, now: now)
                if loser == key { return }
            }
        }
        let isUsable = evaluate(entry, now: now)
        if isUsable != entry.isUsable {
            table.setUsable(key, isUsable)
            effects.append(.usabilityChanged(key, entry.record.type, usable: isUsable))
        }
        schedule(key, now: now)
        guard changed || isUsable != entry.isUsable else { return }
        for dependant in table.dependants(of: key) { updateUsability(of: dependant, now: now) }
    }
}
