package import MeshGossip
package import MeshModel
import MeshWire
internal import OrderedCollections

/// Builds a catalog from the chains that gossip found whole. For the workers of this node the session stands in place of
/// grant and attachment. What is checked here is what gossip cannot see: the text that is sealed in adverts, and the proofs
/// of attach keys, which are of use only to a node that admits workers.
///
/// The last link, that the TLS peer is the key and pin of that descriptor, is checked by the node link itself.
package struct CatalogBuilder: Sendable {
    package let node: PublicKey
    /// What names mean at this node.
    package var names: NameBook
    private let cryptography: any RecordCryptography
    /// Sealed adverts whose inner binding was found good, by what was read in them: signatures are not checked again on
    /// every change.
    private var boundTexts: Set<Bytes32> = []
    private var proofs: AttachKeyProofs
    private var modelsSeen: [RecordKey: [String]] = [:]
    private var speeds: [RecordKey: [CatalogSpeed]] = [:]
    /// What was read of publications, by their hash: nil for one that cannot be read.
    private var published: [Bytes32: Publication?] = [:]
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

    /// - Parameters:
    ///   - details: of the sealed adverts that this node may read.
    ///   - reachable: nodes that could serve a request now; attachments elsewhere stay out.
    package mutating func build(
        _ records: UsableRecords, local: LocalWorkers = LocalWorkers(), details: [RecordKey: ProviderDetails] = [:],
        reachable: [PublicKey], wall: Timestamp
    ) -> Catalog {
        if opened.count > Limits.sealedWaiting { opened.removeAll() }
        proofs.beginRound()
        if boundTexts.count > Limits.recordsStored { boundTexts.removeAll() }
        if modelsSeen.count > Limits.recordsStored { modelsSeen.removeAll() }
        if speeds.count > Limits.recordsStored { speeds.removeAll() }
        let nodes = records.nodes.map { known in
            CatalogNode(
                key: known.key, name: known.body.name, operatorKey: known.operatorKey, apiURL: known.body.apiURL,
                linkAddresses: known.body.linkAddresses, region: known.body.region)
        }
        var providers: [RecordKey: CatalogProvider] = [:]
        var hosts: [RecordKey: [CatalogHost]] = [:]
        var order: [RecordKey] = []
        var sealed: [SealedAdvert] = []
        for advert in records.adverts {
            let key = advert.record.key
            if details[key] == nil, let closed = SealedAdvert(advert.record) {
                sealed.append(closed)
                continue
            }
            guard let provider = provider(advert, details[key], wall) else { continue }
            if providers.updateValue(provider, forKey: key) == nil { order.append(key) }
        }
        let publications = publications(records)
        names.learnNames(of: nodes, order.compactMap { providers[$0] }, publications, wall: wall)
        let reachable = Set(reachable)
        var lists = ModelLists()
        for attachment in records.attachments {
            let (host, key) = (attachment.host, attachment.provider)
            guard host.key != node, reachable.contains(host.key), providers[key] != nil,
                let body = whole(attachment, details[key])
            else { continue }
            if body.page > 0 {
                lists.add(body)
                continue
            }
            if body.moreModels { lists.isContinued(body, in: key, at: hosts[key]?.count ?? 0) }
            hosts[key, default: []].append(
                CatalogHost(
                    node: host.key, nodeName: names.called(host.key, host.body.name),
                    attachment: attachment.record.key,
                    clientHash: Array(body.clientHash.prefix(16)), offer: WorkerOffer(body)))
        }
        for place in lists.continued {
            guard let begin = hosts[place.provider]?[place.index].offer.models else { continue }
            hosts[place.provider]?[place.index].offer.models = lists.complete(begin, place)
        }
        let shown = order.compactMap { finished(providers[$0], hosts[$0] ?? [], local, wall) }
        names.learn(nodes, shown, publications, wall: wall)
        return Catalog(
            node: node, nodes: nodes, providers: shown, sealed: sealed, publications: publications, names: names)
    }

    /// Those that can be read. A home that was renamed calls them otherwise, with the same bytes.
    private mutating func publications(_ records: UsableRecords) -> [Publication] {
        if published.count > 2 * records.publications.count + 64 { published.removeAll() }
        return records.publications.compactMap { advert in
            if let known = published[advert.record.hash] {
                guard let known else { return nil }
                if known.homeName == advert.home.body.name { return known }
            }
            let read = Publication(advert, cryptography: cryptography)
            published[advert.record.hash] = .some(read)
            return read
        }
    }

    /// The attachment with what is sealed in it; nil for one that cannot be opened.
    private mutating func whole(
        _ attachment: UsableRecords.Attachment, _ details: ProviderDetails?
    ) -> Aisbf_Mesh_V1_Attachment? {
        let (record, outer, provider) = (attachment.record, attachment.body, attachment.provider)
        if outer.sealed.isEmpty { return outer }
        guard let details else { return nil }
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

    /// - Parameter remote: its hosts at other nodes.
    private mutating func finished(
        _ provider: CatalogProvider?, _ remote: [CatalogHost], _ local: LocalWorkers, _ wall: Timestamp
    ) -> CatalogProvider? {
        guard let provider else { return nil }
        let here = local.hosts(of: provider.key) { key in
            key == provider.owner
                || provider.attachKeys.contains { $0.key == key && $0.admits(host: node, at: wall) }
        }
        var offered = OrderedSet(local.models(of: provider.key))
        for model in remote.lazy.flatMap(\.offer.models) where offered.count < Limits.providerModels {
            offered.append(model.id)
        }
        // What is offered now is always known; of what no worker has any more, the latest.
        let gone = modelsSeen[provider.key, default: []].filter { !offered.contains($0) }
        let seen = Array(gone.suffix(Limits.attachmentModels)) + offered
        modelsSeen[provider.key] = seen
        return provider.served(
            by: here + remote, remote: remote, speeds: remembered(remote, of: provider.key), modelsSeen: seen)
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
        _ advert: UsableRecords.Advert, _ details: ProviderDetails?, _ wall: Timestamp
    ) -> CatalogProvider? {
        let (record, home) = (advert.record, advert.home.key)
        let body = details?.whole(advert.body) ?? advert.body
        // The same sealed bytes may say two things under two keys: what was found good of one is not good of the other.
        let content =
            details.map {
                cryptography.hash32(record.hash.bytes + cryptography.hash32($0.sealed).bytes + $0.contentKey)
            }
            ?? record.hash
        guard let scope = details == nil ? advert.scope : innerScope(body, advert, content: content, wall)
        else { return nil }
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
        let salt = details.map { _ in
            let material = RecordEnvelope.keyMaterial(
                type: .providerAdvert, signer: record.signer, name: Array(body.providerID.utf8))
            return RecordKey(cryptography.hash16(material, key: []))
        }
        return CatalogProvider(
            key: record.key, advertHash: record.hash, owner: record.signer, providerID: body.providerID, scope: scope,
            homeNode: home, homeName: advert.home.body.name, access: access, attachKeys: keys,
            maxConcurrency: body.maxConcurrency == 0 ? nil : Int(body.maxConcurrency), kind: body.kind,
            prices: PriceList(body), dataPolicy: DataPolicy(body.dataPolicy), tokenSalt: salt)
    }

    /// Whose the provider is by what is sealed in its advert; nil when the home does not say so.
    private mutating func innerScope(
        _ body: Aisbf_Mesh_V1_ProviderAdvert, _ advert: UsableRecords.Advert, content: Bytes32, _ wall: Timestamp
    ) -> OwnerScope? {
        guard NameRule.isValid(body.providerID) else { return nil }
        guard body.hasBinding else { return advert.home.operatorKey == advert.record.signer ? .global : nil }
        let binding = body.binding
        let scope = OwnerScope(username: binding.username)
        let notAfter = Timestamp(milliseconds: Int64(clamping: binding.notAfterMs))
        guard PublicKey(binding.ownerKey) == advert.record.signer, PublicKey(binding.homeNode) == advert.home.key,
            NameRule.isValid(binding.username), scope != .global, notAfter > wall
        else { return nil }
        if boundTexts.contains(content) { return scope }
        let statement = Statement.scopeBinding(
            username: binding.username, owner: advert.record.signer, home: advert.home.key, notAfter: notAfter)
        guard cryptography.verify(signature: Array(binding.signature), message: statement, key: advert.home.key)
        else { return nil }
        boundTexts.insert(content)
        return scope
    }
}
