internal import MeshModel
internal import MeshWire
internal import OrderedCollections

/// Leases: who was heard of lately. Nobody can say of somebody else that he is dead.
extension Gossip {
    mutating func takeBeacon(_ record: VerifiedRecord, now: Now) -> Verdict {
        guard case .beacon(let beacon) = record.body else { return .rejected(.semantics) }
        let descriptor = RecordFacts.descriptorKey(of: record.signer, cryptography: configuration.cryptography)
        guard isUsable(descriptor) || record.signer == configuration.key else { return .ignored(.stranger) }
        if leases[record.key] == nil, leases.count >= Limits.gossipLeases { return .rejected(.quota) }
        let wasAlive = isAlive(record.signer)
        let life = record.envelope.expires.milliseconds - record.envelope.issued.milliseconds
        leases[record.key] = Lease(
            record: record, beacon: beacon, expires: now.instant.advanced(byMilliseconds: life))
        if !wasAlive {
            dials.seen(record.signer, now: now.instant)
            effects.append(.livenessChanged(record.signer, alive: true))
        }
        wants.satisfied(record.key, version: record.version)
        return .accepted(record)
    }

    mutating func expireLeases(_ now: Now) {
        let ended = leases.values.filter { $0.expires <= now.instant }
        for lease in ended {
            leases.removeValue(forKey: lease.record.key)
            effects.append(.removed(lease.record.key, .beacon, .expired))
            if !isAlive(lease.node) { effects.append(.livenessChanged(lease.node, alive: false)) }
        }
    }
}
