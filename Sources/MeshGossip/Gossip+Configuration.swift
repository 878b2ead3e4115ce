internal import MeshModel
internal import MeshWire
internal import OrderedCollections

/// The lists of whom to admit and whom to dial may change while the node runs.
extension Gossip {
    mutating func configure(_ admission: LinkAdmission, _ peers: [StaticPeer], now: Now) {
        configuration.admission = admission
        configuration.staticPeers = peers
        dials.setStatic(peers, now: now.instant)
        for key in table.keys(of: .nodeDescriptor) where key != ownDescriptorKey {
            guard let entry = table[key], entry.isLive, !evaluate(entry, now: now) else { continue }
            for link in links.values where link.peer == entry.record.signer { drop(link.id, .notAdmitted) }
            forget(key, now: now)
        }
    }

    /// Takes the record away with all that stands on it. What others still hold of it waits here as any stranger's.
    private mutating func forget(_ key: RecordKey, now: Now) {
        for dependant in table.dependants(of: key) { forget(dependant, now: now) }
        remove(key, reason: .unadmitted, now: now)
    }
}
