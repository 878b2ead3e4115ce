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
    /// Adverts whose binding was found good, by what was read in them: signatures are not checked again on every change.
    private var boundAdverts: Set<Bytes32> = []
    private var operators: [Bytes32: PublicKey] = [:]
    private var proofs: AttachKeyProofs
    private var modelsSeen: [RecordKey: [String]] = [:]
    private var speeds: [RecordKey: [CatalogSpeed]] = [:]
    /// Attachments that were opened, by hash and key.
    private var opened: [Bytes32: Aisbf_Mesh_V1_Attachment] = [:]

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

    /// - Parameters:
    ///   - details: of the sealed adverts that this node may read.
    ///   - reachable: nodes that could serve a request now; attachments elsewhere stay out.
    package mutating func build(
        _ records: Records, local: LocalWorkers = LocalWorkers(), details: [RecordKey: ProviderDetails] = [:],
        reachable: [PublicKey], wall: Timestamp
    ) -> Catalog {
        if opened.count > Limits.sealedWaiting { opened.removeAll() }
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
        var sealed: [SealedAdvert] = []
        for record in records.adverts {
            if details[record.key] == nil, let advert = SealedAdvert(record) {
                sealed.append(advert)
                continue
            }
            guard let provider = provider(record, details[record.key], nodesByKey, wall) else { continue }
            if providers.updateValue(provider, forKey: record.key) == nil { order.append(record.key) }
        }
        let grants = Dictionary(records.grants.map { ($0.key, $0) }, uniquingKeysWith: { first, _ in first })
        let reachable = Set(reachable)
        var lists = ModelLists()
        for record in records.attachments {
            guard record.signer != node, case .attachment(let outer) = record.body, reachable.contains(record.signer),
                let host = nodesByKey[record.signer], let key = RecordKey(outer.providerRecordKey),
                let provider = providers[key], grantHolds(outer, record.signer, provider, grants, wall),
                let body = whole(outer, record, details[key])
            else { continue }
            if body.page > 0 {
                lists.add(body)
                continue
            }
            if body.moreModels { lists.isContinued(body, in: key, at: provider.hosts.count) }
            providers[key]?.hosts.append(
                CatalogHost(
                    node: host.key, nodeName: host.name, attachment: record.key,
                    clientHash: Array(body.clientHash.prefix(16)), offer: WorkerOffer(body)))
        }
        for place in lists.continued {
            guard let begin = providers[place.provider]?.hosts[place.index].offer.models else { continue }
            providers[place.provider]?.hosts[place.index].offer.models = lists.complete(begin, place)
        }
        let shown = order.compactMap { finished(providers[$0], local, wall) }
        names.learn(nodes, shown, wall: wall)
        return Catalog(node: node, nodes: nodes, providers: shown, sealed: sealed, names: names)
    }

    /// The attachment with what is sealed in it; nil for one that cannot be opened.
    private mutating func whole(
        _ outer: Aisbf_Mesh_V1_Attachment, _ record: VerifiedRecord, _ details: ProviderDetails?
    ) -> Aisbf_Mesh_V1_Attachment? {
        if outer.sealed.isEmpty { return outer }
        guard let details, let provider = RecordKey(outer.providerRecordKey) else { return nil }
        let content = cryptography.hash32(record.hash.bytes + details.contentKey)
        if let known = opened[content] { return known }
        let context = SealedContext.attachment(
            provider: provider, host: record.signer, clientHash: Array(outer.clientHash))
        guard let text = cryptography.open(Array(outer.sealed), key: details.contentKey, context: context),
            case .attachment(var body)? = RecordBody.decode(.attachment, text)
        else { return nil }
        body.grantKey = outer.grantKey
        body.clientHash = outer.clientHash
        opened[content] = body
        return body
    }

    /// - Parameter provider: with the hosts at other nodes.
    private mutating func finished(
        _ provider: CatalogProvider?, _ local: LocalWorkers, _ wall: Timestamp
    ) -> CatalogProvider? {
        guard var provider else { return nil }
        let remote = provider.hosts
        let here = local.hosts(of: provider.key) { key in
            key == provider.owner
                || provider.attachKeys.contains { $0.key == key && $0.admits(host: node, at: wall) }
        }
        provider.remoteHosts = remote
        provider.hosts = here + remote
        var offered = OrderedSet(local.models(of: provider.key))
        for model in remote.lazy.flatMap(\.offer.models) where offered.count < Limits.providerModels {
            offered.append(model.id)
        }
        // What is offered now is always known; of what no worker has any more, the latest.
        let gone = modelsSeen[provider.key, default: []].filter { !offered.contains($0) }
        provider.modelsSeen = Array(gone.suffix(Limits.attachmentModels)) + offered
        modelsSeen[provider.key] = provider.modelsSeen
        provider.speeds = remembered(remote, of: provider.key)
        return provider
    }

    /// What other nodes measured of the provider's workers, the newest last: for those that come here.
    private mutating func remembered(_ remote: [CatalogHost], of provider: RecordKey) -> [CatalogSpeed] {
        let told = remote.filter { $0.offer.speed != WorkerSpeed() }
        var known = speeds[provider, default: []]
        if told.isEmpty { return known }
        let renewed = Set(told.map(\.clientHash))
        known.removeAll { renewed.contains($0.clientHash) }
        known += told.map { CatalogSpeed(clientHash: $0.clientHash, speed: $0.offer.speed) }
        known.removeFirst(max(known.count - Limits.speedsPerProvider, 0))
        speeds[provider] = known
        return known
    }

    private mutating func provider(
        _ record: VerifiedRecord, _ details: ProviderDetails?, _ nodes: [PublicKey: CatalogNode], _ wall: Timestamp
    ) -> CatalogProvider? {
        guard case .providerAdvert(let outer) = record.body, let home = PublicKey(outer.homeNode),
            let homeNode = nodes[home], case let body = details?.whole(outer) ?? outer,
            NameRule.isValid(body.providerID)
        else { return nil }
        // The same sealed bytes may say two things under two keys: what was found good of one is not good of the other.
        let content =
            details.map {
                cryptography.hash32(record.hash.bytes + cryptography.hash32($0.sealed).bytes + $0.contentKey)
            }
            ?? record.hash
        let scope: OwnerScope
        if body.hasBinding {
            guard bindingHolds(body.binding, record, content: content, home: home, wall) else { return nil }
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
        let proven = proofs.proven(
            listed, of: record, content: content, providerID: body.providerID, home: home)
        let keys = listed.compactMap { entry in
            CatalogAttachKey(entry, isProven: PublicKey(entry.publicKey).map(proven.contains) ?? false)
        }
        var provider = CatalogProvider(
            key: record.key, advertHash: record.hash, owner: record.signer, providerID: body.providerID, scope: scope,
            homeNode: home, homeName: homeNode.name, access: access, attachKeys: keys,
            maxConcurrency: body.maxConcurrency == 0 ? nil : Int(body.maxConcurrency))
        if details != nil {
            let material = RecordEnvelope.keyMaterial(
                type: .providerAdvert, signer: record.signer, name: Array(body.providerID.utf8))
            provider.tokenSalt = RecordKey(cryptography.hash16(material, key: []))
        }
        return provider
    }

    private mutating func bindingHolds(
        _ binding: Aisbf_Mesh_V1_ScopeBinding, _ advert: VerifiedRecord, content: Bytes32, home: PublicKey,
        _ wall: Timestamp
    ) -> Bool {
        let notAfter = Timestamp(milliseconds: Int64(clamping: binding.notAfterMs))
        guard PublicKey(binding.ownerKey) == advert.signer, PublicKey(binding.homeNode) == home,
            NameRule.isValid(binding.username), binding.username != "global", notAfter > wall
        else { return false }
        if boundAdverts.contains(content) { return true }
        let statement = Statement.scopeBinding(
            username: binding.username, owner: advert.signer, home: home, notAfter: notAfter)
        guard cryptography.verify(signature: Array(binding.signature), message: statement, key: home)
        else { return false }
        boundAdverts.insert(content)
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
}
