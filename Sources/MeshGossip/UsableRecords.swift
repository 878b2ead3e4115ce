package import MeshModel
package import MeshWire
internal import OrderedCollections

/// What counts at this node now, joined into its chains: advert (owner) → the home's binding of the username, or its
/// operator's certificate → grant (owner or a listed attach key) → attachment (the host the grant names) → the host's
/// descriptor. Every signature in it was checked when its record was taken, nothing in it has run out, and whoever is
/// handed one has nothing to check again. Only gossip makes them.
package struct UsableRecords: Sendable {
    /// A node that is admitted.
    package struct Node: Hashable, Sendable {
        package let key: PublicKey
        package let body: Aisbf_Mesh_V1_NodeDescriptor
        /// Whose certificate the descriptor carries.
        package let operatorKey: PublicKey?
    }

    /// A provider's advert whose home says that it is its owner's. What is sealed in it nobody has looked at.
    package struct Advert: Hashable, Sendable {
        package let record: VerifiedRecord
        package let body: Aisbf_Mesh_V1_ProviderAdvert
        package let home: Node
        package let scope: OwnerScope
    }

    /// A worker, or a page of models, that the provider's owner or one of its tokens granted to the node that tells of it.
    package struct Attachment: Hashable, Sendable {
        package let record: VerifiedRecord
        package let body: Aisbf_Mesh_V1_Attachment
        package let provider: RecordKey
        package let host: Node
    }

    package let nodes: [Node]
    package let adverts: [Advert]
    /// Adverts that tell of no provider, but of what an owner publishes.
    package let publications: [Advert]
    package let attachments: [Attachment]

    fileprivate init(nodes: [Node], adverts: [Advert], publications: [Advert], attachments: [Attachment]) {
        self.nodes = nodes
        self.adverts = adverts
        self.publications = publications
        self.attachments = attachments
    }
}

extension Gossip {
    /// The chains that are whole at this moment, each kind by record key.
    package func usable(now: Now) -> UsableRecords {
        var nodes: OrderedDictionary<PublicKey, UsableRecords.Node> = [:]
        for entry in current(.nodeDescriptor, now) {
            guard case .nodeDescriptor(let body) = entry.record.body else { continue }
            nodes[entry.record.signer] = UsableRecords.Node(
                key: entry.record.signer, body: body, operatorKey: validOperator(entry, wall: now.wall))
        }
        var adverts: OrderedDictionary<RecordKey, UsableRecords.Advert> = [:]
        var publications: [UsableRecords.Advert] = []
        for entry in current(.providerAdvert, now) {
            guard case .providerAdvert(let body) = entry.record.body,
                let home = PublicKey(body.homeNode).flatMap({ nodes[$0] })
            else { continue }
            let advert = UsableRecords.Advert(
                record: entry.record, body: body, home: home,
                scope: body.hasBinding ? .user(body.binding.username) : .global)
            if body.hasPublication { publications.append(advert) } else { adverts[entry.record.key] = advert }
        }
        var grants: OrderedSet<RecordKey> = []
        for entry in current(.attachGrant, now) where entry.record.envelope.expires > now.wall {
            guard let advert = entry.facts.dependencies.first, adverts[advert] != nil else { continue }
            grants.append(entry.record.key)
        }
        let attachments = current(.attachment, now).compactMap { entry -> UsableRecords.Attachment? in
            guard case .attachment(let body) = entry.record.body, let grant = entry.facts.dependencies.first,
                grants.contains(grant), let host = nodes[entry.record.signer],
                let provider = RecordKey(body.providerRecordKey)
            else { return nil }
            return UsableRecords.Attachment(record: entry.record, body: body, provider: provider, host: host)
        }
        return UsableRecords(
            nodes: Array(nodes.values), adverts: Array(adverts.values), publications: publications,
            attachments: attachments)
    }

    /// What is usable, and still is by the clock alone.
    private func current(_ type: RecordType, _ now: Now) -> [RecordTable.Entry] {
        table.keys(of: type).compactMap { table[$0] }
            .filter { $0.isUsable && $0.expires > now.instant && evaluate($0, now: now) }
    }
}
