package import MeshModel
package import MeshWire
package import OrderedCollections

/// What routing, the CLI and the dashboards read.
extension Gossip {
    /// The record held under `key`, usable or not; nil for tombstones and for keys whose signer contradicted itself.
    package func record(_ key: RecordKey) -> VerifiedRecord? {
        guard let entry = table[key], entry.isLive else { return nil }
        return entry.record
    }

    /// The version held under `key`, whether it counts or not: what is said under it from now on must be above.
    package func version(of key: RecordKey) -> RecordVersion? {
        table[key]?.record.version ?? leases[key]?.record.version
    }

    /// Whether the record is held and everything it depends on is there.
    package func isUsable(_ key: RecordKey) -> Bool { table[key].map { $0.isLive && $0.isUsable } ?? false }

    /// Records of `type` that are live, by key; those whose dependencies are missing included.
    package func records(of type: RecordType) -> [VerifiedRecord] { table.keys(of: type).compactMap(record) }

    /// Records of `type` that count, by key.
    package func usableRecords(of type: RecordType) -> [VerifiedRecord] {
        table.keys(of: type).filter(isUsable).compactMap(record)
    }

    /// The record held under `key`, a tombstone and one whose signer contradicted itself too.
    package func held(_ key: RecordKey) -> VerifiedRecord? { table[key]?.record }

    /// A run of everything held, in the order of keys.
    package func records(after key: RecordKey?, atMost count: Int) -> [VerifiedRecord] {
        var start = key.map { table.lowerBound($0) } ?? 0
        let summaries = table.summaries
        if start < summaries.count, summaries[start].key == key { start += 1 }
        return summaries[start...].prefix(count).compactMap { table[$0.key]?.record }
    }

    package var recordCount: Int { table.count }
    package var pendingCount: Int { table.pendingCount }

    /// What reconciliation compares; equal on two nodes that hold the same.
    package var summaries: [RecordSummary] { table.summaries }

    package func descriptor(of node: PublicKey) -> VerifiedRecord? {
        record(RecordFacts.descriptorKey(of: node, cryptography: configuration.cryptography))
    }

    /// The node's latest beacon while its lease runs.
    package func beacon(of node: PublicKey) -> Lease? {
        leases[RecordFacts.beaconKey(of: node, cryptography: configuration.cryptography)]
    }

    /// Whether the node showed signs of life lately: a link to it, or a lease that runs and is not doubted.
    package func isAlive(_ node: PublicKey) -> Bool {
        node == configuration.key || hasLink(to: node) || beacon(of: node).map { !$0.isDoubted } ?? false
    }

    /// Nodes to which a request could go now: this one, those that are linked, and those that are alive and whose
    /// address is known, so that a link can be made.
    package var reachable: OrderedSet<PublicKey> {
        var nodes: OrderedSet<PublicKey> = [configuration.key]
        nodes.append(contentsOf: links.values.map(\.peer))
        for lease in leases.values where !lease.isDoubted && dials.targets[.node(lease.node)] != nil {
            nodes.append(lease.node)
        }
        return nodes
    }

    /// Nodes with a usable descriptor, by record key; this node included once it published its own.
    package var members: [PublicKey] {
        table.keys(of: .nodeDescriptor).filter(isUsable).compactMap { table[$0]?.record.signer }
    }

    /// The operator whose certificate stands in the node's descriptor, verified and not run out.
    package func operatorKey(of node: PublicKey, wall: Timestamp) -> PublicKey? {
        table[RecordFacts.descriptorKey(of: node, cryptography: configuration.cryptography)]
            .flatMap { validOperator($0, wall: wall) }
    }

    package var linkViews: [LinkView] {
        links.values.map {
            LinkView(id: $0.id, peer: $0.peer, dialled: $0.dialled, since: $0.since, rejects: $0.rejects.count)
        }
    }

    package func hasLink(to node: PublicKey) -> Bool { links.values.contains { $0.peer == node } }
}
