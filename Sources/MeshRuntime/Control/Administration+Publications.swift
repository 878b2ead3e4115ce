import MeshBroker
import MeshCrypto
import MeshModel
import MeshRouting
import MeshStore
import MeshWire

/// What of rotations and policies the mesh is told: the ones that their owners publish, as adverts of a kind of their own.
extension Administration {
    /// What a rotation says at every other node: its members by their keys.
    func published(_ rotation: Rotation, of scope: OwnerScope) throws -> [UInt8] {
        let (told, problems) = rotation.published { (try? self.providerKey($0, in: scope)) ?? nil }
        guard problems.isEmpty else {
            throw Self.notPublished("rotation", rotation.name, problems.map(\.description))
        }
        return try sized(told.document.bytes, "rotation", rotation.name)
    }

    func published(_ policy: Policy, of scope: OwnerScope) throws -> [UInt8] {
        let known = catalog.current
        let (told, problems) = policy.published(
            { (try? self.providerKey($0, in: scope)) ?? nil },
            operatorKey: { name in known.nodes.first { $0.name == name }?.operatorKey })
        guard problems.isEmpty else { throw Self.notPublished("policy", policy.name, problems.map(\.description)) }
        return try sized(told.document.bytes, "policy", policy.name)
    }

    /// The provider that a name means in a scope, by the key that stays the same when its access changes. One's own need not
    /// be in the catalog yet.
    private func providerKey(_ name: String, in scope: OwnerScope) throws -> RecordKey? {
        if let own = try store.provider(scope: scope, id: name) { return Self.recordKey(own.ownerKey, own.providerID) }
        let owner = Principal(
            owner: try ownerKey(scope), username: scope.username, node: node,
            nodeOperator: identity.operatorKey.publicKey)
        return try? catalog.current.resolve(provider: name, for: owner).get().providers.first?.tokenSalt
    }

    private static func notPublished(_ kind: String, _ name: String, _ problems: [String]) -> MeshError {
        MeshError(
            .invalidRequest,
            "\(kind) '\(name)' cannot be published: \(problems.prefix(8).joined(separator: "; "))",
            parameter: "publish")
    }

    private func sized(_ document: [UInt8], _ kind: String, _ name: String) throws -> [UInt8] {
        guard document.count <= Limits.publicationBytes else {
            throw MeshError(
                .invalidRequest,
                "\(kind) '\(name)' would have \(document.count) bytes where it is published, and \(Limits.publicationBytes) is the most",
                parameter: "publish")
        }
        return document
    }

    /// What is published takes an owner's room for adverts, as providers do: beyond it the mesh would drop some.
    func requireRoom(for scope: OwnerScope, published: Int) throws {
        let providers = try store.providers(in: scope).count
        guard published <= Limits.publicationsPerOwner, providers + published <= Limits.providersPerOwner else {
            throw MeshError(
                .conflict,
                "\(scope.username) may publish \(Limits.publicationsPerOwner) rotations and policies, and have \(Limits.providersPerOwner) of these and providers together; unpublish one first",
                parameter: "publish")
        }
    }

    func publications(of scope: OwnerScope) throws -> Int {
        try store.marketEntries().count { $0.scope == scope && $0.published != nil }
    }

    /// Nothing is told of an owner who is gone or disabled.
    func publicationDrafts() throws -> [Broker.ProviderDraft] {
        try store.marketEntries().compactMap { entry in
            guard let document = entry.published, let owner = try? ownerKey(entry.scope) else { return nil }
            var advert = Aisbf_Mesh_V1_ProviderAdvert()
            advert.homeNode = node.bytes.protobuf
            Publication.write(
                entry.kind.published, entry.name, document: document, home: node, to: &advert,
                cryptography: Sodium.shared)
            if case .user(let username) = entry.scope {
                advert.binding = binding(username, owner, since: entry.changedAt)
            }
            return Broker.ProviderDraft(owner: owner, advert: advert)
        }
    }

    /// Waits until this node's own catalog has what was changed, for a moment at most.
    func settled(published ids: [(kind: MarketEntry.Kind, scope: OwnerScope, name: String, isThere: Bool)]) async {
        let home = node
        let wanted = ids.compactMap { entry -> (id: Publication.ID, isThere: Bool)? in
            guard let owner = try? ownerKey(entry.scope) else { return nil }
            return (
                Publication.ID(owner: owner, home: home, kind: entry.kind.published, name: entry.name), entry.isThere
            )
        }
        guard !wanted.isEmpty else { return }
        await catalog.wait(atMost: Limits.changeWaitMs) { catalog in
            wanted.allSatisfy { (catalog.publication($0.id) != nil) == $0.isThere }
        }
    }
}

extension MarketEntry.Kind {
    var published: Publication.Kind {
        switch self {
        case .rotation: .rotation
        case .policy: .policy
        }
    }
}
