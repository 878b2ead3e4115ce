package import MeshModel
package import MeshWire
internal import OrderedCollections

/// Builds a catalog from records, taking in only what the whole chain supports:
/// advert (owner) → scope binding (home node) or operator certificate → grant (owner or a listed attach key) →
/// attachment (the host the grant names) → the host's descriptor. For the workers of this node the session stands in
/// place of grant and attachment.
///
/// The last link, that the TLS peer is the key and pin of that descriptor, is checked by the node link itself.
package struct CatalogBuilder: Sendable {
    package let node: PublicKey
    /// What names mean at this node.
    package var names: NameBook
    private let cryptography: any RecordCryptography
    /// Adverts whose binding was found good, by advert hash: signatures are not checked again on every change.
    private var boundAdverts: Set<Bytes32> = []
    private var operators: [Bytes32: PublicKey] = [:]
    private var proofs: AttachKeyProofs
    private var modelsSeen: [RecordKey: [String]] = [:]
    private var speeds: [RecordKey: [CatalogSpeed]] = [:]

    /// - Parameter names: what was stored of an earlier run.
    package init(node: PublicKey, cryptography: any RecordCryptography, names: [NamePin] = []) {
        self.node = node
        self.names = NameBook(node: node, pins: names)
        self.cryptography = cryptography
        proofs = AttachKeyProofs(cryptography: cryptography)
    }

    /// There was more to check than one catalog may cost: another build will know more.
    package var isUnfinished: Bool { proofs.isUnfinished }

    package struct Records: Sendable {
        package var descriptors: [VerifiedRecord]
        package var adverts: [VerifiedRecord]
        package var grants: [VerifiedRecord]
        package var attachments: [VerifiedRecord]

        package init(
            descriptors: [VerifiedRecord], adverts: [VerifiedRecord], grants: [VerifiedRecord],
            attachments: [VerifiedRecord]
        ) {
            self.descriptors = descriptors
            self.adverts = adverts
            self.grants = grants
            self.attachments = attachments
        }
    }

    /// - Parameter reachable: nodes that could serve a request now; attachments elsewhere stay out.
    package mutating func build(
        _ records: Records, local: LocalWorkers = LocalWorkers(), reachable: [PublicKey], wall: Timestamp
    ) -> Catalog {
        proofs.beginRound()
        if boundAdverts.count > Limits.recordsStored { boundAdverts.removeAll() }
        if operators.count > Limits.recordsStored { operators.removeAll() }
        if modelsSeen.count > Limits.recordsStored { modelsSeen.removeAll() }
        if speeds.count > Limits.recordsStored { speeds.removeAll() }
        var nodes: [CatalogNode] = []
        for record in records.descriptors {
            guard case .nodeDescriptor(let body) = record.body, !record.envelope.isTombstone else { continue }
            nodes.append(
                CatalogNode(
                    key: record.signer, name: body.name, operatorKey: operatorKey(record, wall), apiURL: body.apiURL,
                    linkAddresses: body.linkAddresses))
        }
        let nodesByKey = Dictionary(nodes.map { ($0.key, $0) }, uniquingKeysWith: { first, _ in first })
        var providers: [RecordKey: CatalogProvider] = [:]
        var order: [RecordKey] = []
        for record in records.adverts {
            guard let provider = provider(record, nodesByKey, wall) else { continue }
            if providers.updateValue(provider, forKey: record.key) == nil { order.append(record.key) }
        }
        let grants = Dictionary(records.grants.map { ($0.key, $0) }, uniquingKeysWith: { first, _ in first })
        for record in records.attachments {
            guard record.signer != node, case .attachment(let body) = record.body, reachable.contains(record.signer),
                let host = nodesByKey[record.signer], let key = RecordKey(body.providerRecordKey),
                let provider = providers[key], grantHolds(body, record.signer, provider, grants, wall)
            else { continue }
            providers[key]?.hosts.append(Self.host(body, record, host))
        }
        let shown = order.compactMap { finished(providers[$0], local, wall) }
        names.learn(nodes, shown, wall: wall)
        return Catalog(node: node, nodes: nodes, providers: shown, names: names)
    }

    /// - Parameter provider: with the hosts at other nodes.
    private mutating func finished(
        _ provider: CatalogProvider?, _ local: LocalWorkers, _ wall: Timestamp
    ) -> CatalogProvider? {
        guard var provider else { return nil }
        let remote = provider.hosts
        let here = local.hosts(of: provider.key) { key in
            provider.attachKeys.contains { $0.key == key && $0.admits(host: node, at: wall) }
        }
        provider.remoteHosts = remote
        provider.hosts = here + remote
        var offered = OrderedSet(local.models(of: provider.key))
        for model in remote.lazy.flatMap(\.models) where offered.count < Limits.providerModels {
            offered.append(model.id)
        }
        // What is offered now is always known; of what no worker has any more, the latest.
        let gone = modelsSeen[provider.key, default: []].filter { !offered.contains($0) }
        provider.modelsSeen = Array(gone.suffix(Limits.workerModels)) + offered
        modelsSeen[provider.key] = provider.modelsSeen
        provider.speeds = remembered(remote, of: provider.key)
        return provider
    }

    /// What other nodes measured of the provider's workers, the newest last: for those that come here.
    private mutating func remembered(_ remote: [CatalogHost], of provider: RecordKey) -> [CatalogSpeed] {
        let told = remote.filter { $0.speed != WorkerSpeed() }
        var known = speeds[provider, default: []]
        if told.isEmpty { return known }
        let renewed = Set(told.map(\.clientHash))
        known.removeAll { renewed.contains($0.clientHash) }
        known += told.map { CatalogSpeed(clientHash: $0.clientHash, speed: $0.speed) }
        known.removeFirst(max(known.count - Limits.speedsPerProvider, 0))
        speeds[provider] = known
        return known
    }

    private mutating func provider(
        _ record: VerifiedRecord, _ nodes: [PublicKey: CatalogNode], _ wall: Timestamp
    ) -> CatalogProvider? {
        guard case .providerAdvert(let body) = record.body, let home = PublicKey(body.homeNode),
            let homeNode = nodes[home], NameRule.isValid(body.providerID)
        else { return nil }
        let scope: OwnerScope
        if body.hasBinding {
            guard bindingHolds(body.binding, record, home: home, wall) else { return nil }
            scope = .user(body.binding.username)
        } else {
            guard homeNode.operatorKey == record.signer else { return nil }
            scope = .global
        }
        let access: CatalogAccess
        switch body.access {
        case .public: access = .everyone
        case .named: access = .named(body.namedKeys.compactMap { PublicKey($0) })
        case .ownerOnly, .unspecified, .UNRECOGNIZED: access = .ownerOnly
        }
        let listed = body.attachKeys.prefix(Limits.advertAttachKeys)
        let proven = proofs.proven(listed, of: record, providerID: body.providerID, home: home)
        let keys = listed.compactMap { entry -> CatalogAttachKey? in
            guard let key = PublicKey(entry.publicKey) else { return nil }
            return CatalogAttachKey(
                key: key, label: entry.label,
                notAfter: entry.notAfterMs == 0 ? nil : Timestamp(milliseconds: Int64(clamping: entry.notAfterMs)),
                allowedHosts: entry.allowedHosts.compactMap { PublicKey($0) },
                derivation: TokenDerivation(rawValue: entry.derivation), isProven: proven.contains(key))
        }
        return CatalogProvider(
            key: record.key, advertHash: record.hash, owner: record.signer, providerID: body.providerID, scope: scope,
            homeNode: home, homeName: homeNode.name, access: access, attachKeys: keys,
            maxConcurrency: body.maxConcurrency == 0 ? nil : Int(body.maxConcurrency))
    }

    private mutating func bindingHolds(
        _ binding: Aisbf_Mesh_V1_ScopeBinding, _ advert: VerifiedRecord, home: PublicKey, _ wall: Timestamp
    ) -> Bool {
        let notAfter = Timestamp(milliseconds: Int64(clamping: binding.notAfterMs))
        guard PublicKey(binding.ownerKey) == advert.signer, PublicKey(binding.homeNode) == home,
            NameRule.isValid(binding.username), binding.username != "global", notAfter > wall
        else { return false }
        if boundAdverts.contains(advert.hash) { return true }
        let statement = Statement.scopeBinding(
            username: binding.username, owner: advert.signer, home: home, notAfter: notAfter)
        guard cryptography.verify(signature: Array(binding.signature), message: statement, key: home)
        else { return false }
        boundAdverts.insert(advert.hash)
        return true
    }

    private mutating func operatorKey(_ descriptor: VerifiedRecord, _ wall: Timestamp) -> PublicKey? {
        guard case .nodeDescriptor(let body) = descriptor.body, body.hasOperator,
            let key = PublicKey(body.operator.operatorKey)
        else { return nil }
        let notAfter = Timestamp(milliseconds: Int64(clamping: body.operator.notAfterMs))
        guard notAfter > wall else { return nil }
        if let known = operators[descriptor.hash] { return known }
        let statement = Statement.operatorCertificate(node: descriptor.signer, notAfter: notAfter)
        guard cryptography.verify(signature: Array(body.operator.signature), message: statement, key: key)
        else { return nil }
        operators[descriptor.hash] = key
        return key
    }

    private func grantHolds(
        _ body: Aisbf_Mesh_V1_Attachment, _ host: PublicKey, _ provider: CatalogProvider,
        _ grants: [RecordKey: VerifiedRecord], _ wall: Timestamp
    ) -> Bool {
        guard let key = RecordKey(body.grantKey), let grant = grants[key], case .attachGrant(let terms) = grant.body,
            Array(body.grantHash) == grant.hash.bytes, PublicKey(terms.hostingNode) == host,
            RecordKey(terms.providerRecordKey) == provider.key, grant.envelope.expires > wall,
            Timestamp(milliseconds: Int64(clamping: terms.notBeforeMs))
                <= wall.advanced(byMilliseconds: Limits.recordFutureSkewMs)
        else { return false }
        if grant.signer == provider.owner { return true }
        return provider.attachKeys.contains { $0.key == grant.signer && $0.admits(host: host, at: wall) }
    }

    private static func host(
        _ body: Aisbf_Mesh_V1_Attachment, _ record: VerifiedRecord, _ node: CatalogNode
    ) -> CatalogHost {
        CatalogHost(
            node: node.key, nodeName: node.name, attachment: record.key,
            clientHash: Array(body.clientHash.prefix(16)),
            models: body.models.prefix(Limits.workerModels).map {
                CatalogModel(id: $0.id, contextTokens: $0.contextTokens, modalities: Array($0.modalities.prefix(8)))
            }, slots: body.slots, gpuClass: String(body.hardware.gpuClass.prefix(64)),
            gpuCount: body.hardware.gpuCount, totalVramMb: body.hardware.totalVramMb,
            endpoints: Array(body.endpoints.prefix(Limits.workerEndpoints)), tokensPerSecond: body.tokensPerSecond,
            firstContentMs: body.firstContentMs, latencyMs: body.latencyMs, takesUploads: body.takesUploads)
    }
}
