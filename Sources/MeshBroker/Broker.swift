package import MeshGossip
package import MeshModel
package import MeshRouting
package import MeshWire
internal import OrderedCollections

/// One node's decisions as one value: composes gossip, the records this node speaks, and the catalog that requests
/// are routed by. It is told what happens and what time it is, and says what has to be done; it does no I/O, reads
/// no clock and draws no randomness but its own seeded one.
///
/// A worker is in this node's own catalog as soon as it attaches. The mesh sees it in three steps: it attaches, and
/// is among those that are announced → a grant is signed with its attach key → an attachment that names the grant's
/// hash is signed with the node key. Each step waits for the one before.
///
/// What must survive is on the disk before anybody hears of it (`Effects`):
/// - A record is signed, and its version spent, in the transaction that stores it. It is published when `.persisted`
///   brings it back.
/// - A catalog counts when the names it was built with are stored. Names go to the disk alone, so that no catalog
///   waits for signatures.
/// - One batch is under way at a time. What has to be stored meanwhile goes together into the next one, at most
///   `Limits.signingsPerCommit` records at once.
package struct Broker: Sendable {
    package enum Input: Sendable {
        case gossip(Gossip.Input)
        /// Registered, or changed what it offers.
        case workerAttached(AttachedWorker)
        case workerDetached(sessionID: String)
        /// What became of the batch that was to be stored.
        case persisted(StoreOutcome)
        /// This node's own descriptor.
        case describe(Aisbf_Mesh_V1_NodeDescriptor)
        /// The providers whose owners' keys this node keeps: all of them.
        case providers([ProviderDraft])
        case names(NameInput)
        /// The owner keys of this node's users: all of them.
        case readers([PublicKey])
        /// What is sealed in the advert of this key; nil when no key here opens it.
        case opened(RecordKey, ProviderDetails?)
        case loadChanged(slots: UInt32, inFlight: UInt32, draining: Bool)
        case tick
    }

    /// What becomes of names beside what the mesh says.
    package enum NameInput: Hashable, Sendable {
        /// Buyers of this node used them as `model`.
        case used([UsedName])
        /// The operator's word.
        case accept(MeshName, holder: [UInt8])
        case forget(MeshName)
    }

    /// A provider whose owner's key is kept here.
    package struct ProviderDraft: Hashable, Sendable {
        package var owner: PublicKey
        package var advert: Aisbf_Mesh_V1_ProviderAdvert
        /// What is sealed in the advert of a provider that is not for everybody.
        package var details: ProviderDetails?

        package init(owner: PublicKey, advert: Aisbf_Mesh_V1_ProviderAdvert, details: ProviderDetails? = nil) {
            self.owner = owner
            self.advert = advert
            self.details = details
        }

        var name: OwnRecords.Name {
            OwnRecords.Name(type: .providerAdvert, signer: owner, name: Array(advert.providerID.utf8))
        }
    }

    package enum Effect: Sendable {
        case gossip(Gossip.Effect)
        /// What others said, or are told of this node: worth having at the next start, and found again without.
        case keep(VerifiedRecord)
        case forget(RecordKey)
        /// Links show this descriptor of the node from now on.
        case describeNode(VerifiedRecord)
        /// For the operator to know.
        case nameClaimed(NameConflict)
        /// There may be a key here that opens what is sealed in this advert.
        case open(VerifiedRecord)
        case catalogChanged(Catalog)
    }

    package private(set) var gossip: Gossip
    private let node: PublicKey
    private let cryptography: any RecordCryptography
    private let bootID: UInt64
    private var own = OwnRecords()
    private var workers: HostedWorkers
    private var announcements = Announcements()
    private var pages: ModelPages
    /// The workers as this node's own catalog shows them.
    private var local = LocalWorkers()
    private var drafts: [ProviderDraft] = []
    /// What is sealed in adverts: of this node's own, and of those that were opened here.
    private var ownDetails: [RecordKey: ProviderDetails] = [:]
    private var openedDetails: OrderedDictionary<RecordKey, ProviderDetails> = [:]
    private var builder: CatalogBuilder
    private var load = (slots: UInt32(0), inFlight: UInt32(0), draining: false)
    private var isCatalogStale = true
    private var catalogBuiltAt = Instant(nanoseconds: 0)

    private let shortestCatalogIntervalMs: Int64
    private var catalogIntervalMs: Int64

    /// What is on its way to the disk.
    private enum UnderWay: Sendable { case names, records }
    private var underWay: UnderWay?
    /// Changes of names that are not on the disk, the last of each name.
    private var unstoredNames: OrderedDictionary<MeshName, NameChange> = [:]
    /// When names that found no room are tried again.
    private var namesRetry: Instant?
    /// Waits for its names to be stored.
    private var heldCatalog: Catalog?
    private var isBeaconDue = false
    private var namesInARow = 0

    /// - Parameters:
    ///   - names: what names meant in an earlier run.
    ///   - catalogIntervalMs: shortest time between two catalogs, so that a flood of records does not mean a flood of
    ///     rebuilds. It grows with the catalog.
    package init(
        configuration: Gossip.Configuration, names: [NamePin] = [],
        catalogIntervalMs: Int64 = Limits.catalogIntervalMs, now: Now
    ) {
        shortestCatalogIntervalMs = catalogIntervalMs
        self.catalogIntervalMs = catalogIntervalMs
        node = configuration.key
        cryptography = configuration.cryptography
        bootID = configuration.seed
        workers = HostedWorkers(node: configuration.key)
        pages = ModelPages(node: configuration.key)
        gossip = Gossip(configuration: configuration, now: now)
        builder = CatalogBuilder(node: configuration.key, cryptography: configuration.cryptography, names: names)
    }

    package mutating func handle(_ input: Input, now: Now) -> Effects {
        var effects: [Effect] = []
        switch input {
        case .gossip(let input):
            // What is reachable depends on links, whether or not gossip counted the node as alive before.
            switch input {
            case .linkUp, .linkDown, .configure: isCatalogStale = true
            case .restore(let records):
                // The descriptor is always signed anew: links show the one of this start.
                for record in records where isOwnAdvert(record) { own.adopt(record, wall: now.wall) }
            case .frame, .publish, .dialFailed, .reach, .tick: break
            }
            take(gossip.handle(input, now: now), now: now, &effects)
        case .workerAttached(var worker):
            worker.offer = worker.offer.bounded()
            attach(worker, now: now)
        case .workerDetached(let sessionID): detach(sessionID, now: now)
        case .persisted(let outcome): take(outcome, now: now, &effects)
        case .describe(let descriptor):
            local.rename(descriptor.name)
            let name = OwnRecords.Name(type: .nodeDescriptor, signer: node, name: [])
            own.want(
                name, body: RecordBody.bytes(of: descriptor), lifeMs: RecordType.nodeDescriptor.maximumLifeMs,
                refreshMs: Limits.recordRefreshMs, now: now.instant)
        case .providers(let drafts): replaceProviders(drafts, now: now)
        case .opened(let key, let details): take(details, of: key, now: now)
        case .names(let input): take(input, wall: now.wall)
        case .readers(let keys): if builder.names.setReaders(Set(keys)) { isCatalogStale = true }
        case .loadChanged(let slots, let inFlight, let draining): load = (slots, inFlight, draining)
        case .tick: take(gossip.handle(.tick, now: now), now: now, &effects)
        }
        buryStaleAttachments(input)
        reviewAnnouncements(now)
        // Requests that are here already need the catalog and no signature.
        rebuildCatalog(now, &effects)
        return withBatch(effects, now: now)
    }

    package var nextDeadline: Instant? {
        let catalog = isCatalogStale ? catalogBuiltAt.advanced(byMilliseconds: catalogIntervalMs) : nil
        // What waits for the batch that is under way waits for no clock.
        let batch = underWay == nil ? [own.nextDeadline, namesRetry] : []
        return (batch + [gossip.nextDeadline, announcements.reviewDue, catalog]).compactMap { $0 }.min()
    }

    /// Whether no worker is here and the mesh has been told so: nothing is on its way to the disk, and nothing due.
    package func isQuiet(now: Instant) -> Bool { workers.isEmpty && underWay == nil && own.nextDeadline > now }

    // MARK: What must survive

    private mutating func withBatch(_ immediate: [Effect], now: Now) -> Effects {
        var effects = Effects(immediate: immediate)
        guard underWay == nil else { return effects }
        if let names = dueNames(now.instant) {
            underWay = .names
            namesInARow += 1
            effects.persist = .names(names)
            if let catalog = heldCatalog { effects.afterPersist = [.catalogChanged(catalog)] }
            heldCatalog = nil
            return effects
        }
        if let catalog = heldCatalog, !builder.names.hasChanges {
            effects.immediate.append(.catalogChanged(catalog))
            heldCatalog = nil
        }
        let requests = dueRecords(now.instant)
        namesInARow = 0
        if !requests.isEmpty {
            underWay = .records
            effects.persist = .records(requests)
        }
        return effects
    }

    private mutating func dueNames(_ now: Instant) -> [NameChange]? {
        // Somebody who brings new names all the time must not keep this node from saying anything.
        guard namesInARow < Limits.nameBatchesInARow || own.nextDeadline > now && !isBeaconDue else { return nil }
        let changes = builder.names.takeChanges()
        for change in changes { unstoredNames[change.name] = change }
        let isDue = !changes.isEmpty || namesRetry.map { $0 <= now } ?? false
        guard isDue, !unstoredNames.isEmpty else { return nil }
        namesRetry = nil
        return Array(unstoredNames.values)
    }

    private mutating func dueRecords(_ now: Instant) -> [SigningRequest] {
        var requests = own.due(now: now, atMost: Limits.signingsPerCommit - (isBeaconDue ? 1 : 0))
        if isBeaconDue { requests.append(beaconRequest()) }
        isBeaconDue = false
        for index in requests.indices {
            let request = requests[index]
            let name = OwnRecords.Name(type: request.type, signer: request.signer, name: request.name)
            requests[index].above = gossip.version(of: name.recordKey(cryptography))
        }
        return requests
    }

    private mutating func take(_ outcome: StoreOutcome, now: Now, _ effects: inout [Effect]) {
        underWay = nil
        switch outcome {
        case .names(isStored: true): unstoredNames = [:]
        // They hold as long as the node runs; buyers are served.
        case .names(isStored: false): namesRetry = now.instant.advanced(byMilliseconds: Limits.namesRetryMs)
        case .records(let outcomes):
            for outcome in outcomes {
                if let record = outcome.record {
                    take(signed: record, now: now, &effects)
                } else if outcome.request.type.isReconciled {
                    own.notSigned(outcome.request, now: now.instant)
                }
            }
        }
    }

    // MARK: Gossip

    private mutating func take(_ outcome: [Gossip.Effect], now: Now, _ effects: inout [Effect]) {
        for effect in outcome {
            switch effect {
            case .accepted(let record, let source):
                if record.type != .beacon { isCatalogStale = true }
                if record.type.isReconciled { effects.append(.keep(record)) }
                if mayBeOpened(record) { effects.append(.open(record)) }
                // Attach keys are shared with other hosts, so any name this node wants may be taken by another.
                if source != nil, record.type.isReconciled { own.superseded(by: record, node: node) }
            case .equivocation(let key, _, _):
                isCatalogStale = true
                own.contradicted(key)
            case .removed(let key, _, let reason):
                isCatalogStale = true
                effects.append(.forget(key))
                if reason == .quota { own.evicted(key, now: now.instant) }
            case .usabilityChanged, .livenessChanged, .close: isCatalogStale = true
            case .beaconDue: isBeaconDue = true
            case .send, .dial, .unreachable, .beacon, .rejected, .ignored, .blocked, .syncFinished: break
            }
            effects.append(.gossip(effect))
        }
    }

    private func beaconRequest() -> SigningRequest {
        var beacon = Aisbf_Mesh_V1_Beacon()
        beacon.bootID = bootID
        beacon.slots = load.slots
        beacon.inFlight = load.inFlight
        beacon.draining = load.draining
        beacon.intervalMs = UInt32(clamping: gossip.configuration.intervals.beaconMs)
        let descriptor = OwnRecords.Name(type: .nodeDescriptor, signer: node, name: [])
        if let record = own.signed(descriptor) { beacon.descriptorHash = record.hash.bytes.protobuf }
        return SigningRequest(
            type: .beacon, signer: node, name: [], body: RecordBody.bytes(of: beacon),
            lifeMs: min(gossip.configuration.intervals.beaconMs * 3, RecordType.beacon.maximumLifeMs),
            isTombstone: false)
    }

    // MARK: Workers

    private mutating func attach(_ worker: AttachedWorker, now: Now) {
        let attachment = workers.attach(worker, cryptography)
        local.set(
            worker.catalogHost(node: node, attachment: attachment, cryptography), of: worker.provider,
            attachKey: worker.attachKey)
        isCatalogStale = true
        announcements.set(worker.candidate, for: attachment, now: now.instant)
        announce(attachment, now: now)
        let rest = Array(worker.offer.models.dropFirst(worker.offer.modelsAttached))
        take(pages.set(rest, of: worker, attachment: attachment, cryptography), now: now)
    }

    private mutating func take(_ change: ModelPages.Change, now: Now) {
        for (key, name) in change.removed {
            if announcements.isAnnounced(key) { own.drop(name) }
            announcements.remove(key, now: now.instant)
        }
        for key in change.changed {
            guard let page = pages[key] else { continue }
            announcements.set(page.candidate, for: key, now: now.instant)
            announce(page: key, now: now)
        }
    }

    private mutating func detach(_ sessionID: String, now: Now) {
        guard let departure = workers.detach(sessionID) else { return }
        isCatalogStale = true
        if let successor = departure.successor {
            attach(successor, now: now)
        } else {
            local.remove(departure.attachment, of: departure.provider)
            take(pages.remove(departure.attachment), now: now)
            if announcements.isAnnounced(departure.attachment) { own.drop(departure.name) }
            announcements.remove(departure.attachment, now: now.instant)
        }
        if let grant = departure.unusedGrant, own.wants(grant) { own.drop(grant) }
    }

    /// Has the worker's grant and, once that is signed, its attachment signed, if the mesh is told of this worker.
    private mutating func announce(_ attachment: RecordKey, now: Now) {
        guard announcements.isAnnounced(attachment), let hosted = workers[attachment], let worker = hosted.worker
        else { return }
        let grantName = worker.grantName(host: node)
        if !own.wants(grantName) {
            own.want(
                grantName, body: worker.grantBody(host: node, notBefore: now.wall),
                lifeMs: RecordType.attachGrant.maximumLifeMs, refreshMs: Limits.recordRefreshMs, now: now.instant)
        }
        guard let grant = own.signed(grantName) else { return }
        own.want(
            hosted.name,
            body: worker.attachmentBody(grant: grant, details: details(of: worker.provider), cryptography),
            lifeMs: RecordType.attachment.maximumLifeMs, refreshMs: Limits.attachmentRefreshMs, now: now.instant)
    }

    private mutating func announce(page key: RecordKey, now: Now) {
        guard announcements.isAnnounced(key), let page = pages[key], let grant = own.signed(page.grant) else { return }
        own.want(
            page.name, body: page.body(grant: grant, details: details(of: page.provider), cryptography),
            lifeMs: RecordType.attachment.maximumLifeMs, refreshMs: Limits.attachmentRefreshMs, now: now.instant)
    }

    private mutating func reviewAnnouncements(_ now: Now) {
        let change = announcements.review(now: now.instant)
        for key in change.withdrawn { if let name = workers[key]?.name ?? pages[key]?.name { own.drop(name) } }
        for key in change.announced {
            announce(key, now: now)
            announce(page: key, now: now)
        }
    }

    private mutating func take(signed record: VerifiedRecord, now: Now, _ effects: inout [Effect]) {
        own.signed(record)
        if record.type == .nodeDescriptor, record.signer == node { effects.append(.describeNode(record)) }
        let outcome = gossip.handle(.publish(record), now: now)
        take(outcome, now: now, &effects)
        let isRefused = outcome.contains { effect in
            if case .rejected(_, from: node, _) = effect { true } else { false }
        }
        if isRefused {
            own.evicted(record.key, now: now.instant)
        } else if record.type == .attachGrant {
            let name = OwnRecords.Name(type: .attachGrant, signer: record.signer, name: record.body.name)
            for attachment in workers.attachments(under: name) { announce(attachment, now: now) }
            for page in pages.pages(under: name) { announce(page: page, now: now) }
        }
    }

    /// After a crash the node's own store still says that workers are attached which are not.
    private mutating func buryStaleAttachments(_ input: Input) {
        guard case .gossip(.restore) = input else { return }
        for record in gossip.records(of: .attachment) where record.signer == node {
            let name = OwnRecords.Name(type: .attachment, signer: node, name: record.body.name)
            if !own.wants(name) { own.drop(name) }
        }
    }

    // MARK: Providers and catalog

    private func isOwnAdvert(_ record: VerifiedRecord) -> Bool {
        guard case .providerAdvert(let body) = record.body else { return false }
        return PublicKey(body.homeNode) == node
    }

    private mutating func replaceProviders(_ drafts: [ProviderDraft], now: Now) {
        let names = Set(drafts.map(\.name))
        for old in self.drafts where !names.contains(old.name) { own.drop(old.name) }
        self.drafts = drafts
        defer { own.dropAdopted() }
        let before = ownDetails
        ownDetails = [:]
        for draft in drafts {
            own.want(
                draft.name, body: RecordBody.bytes(of: draft.advert), lifeMs: RecordType.providerAdvert.maximumLifeMs,
                refreshMs: Limits.recordRefreshMs, now: now.instant)
            guard let details = draft.details else { continue }
            let key = draft.name.recordKey(cryptography)
            ownDetails[key] = details
            if let old = before[key], old.contentKey != details.contentKey { announceAll(of: key, now: now) }
        }
        isCatalogStale = true
    }

    // MARK: Private providers

    private func details(of provider: RecordKey) -> ProviderDetails? {
        ownDetails[provider] ?? openedDetails[provider]
    }

    private func mayBeOpened(_ record: VerifiedRecord) -> Bool {
        guard case .providerAdvert(let body) = record.body, !body.sealed.isEmpty, ownDetails[record.key] == nil
        else { return false }
        return openedDetails[record.key]?.isOf(record) != true
    }

    /// Adverts that no key here has opened so far.
    package var closedAdverts: [VerifiedRecord] { gossip.usableRecords(of: .providerAdvert).filter(mayBeOpened) }

    private mutating func take(_ details: ProviderDetails?, of key: RecordKey, now: Now) {
        guard let record = gossip.record(key) else { return }
        isCatalogStale = true
        guard let details, details.isOf(record) else {
            // What was opened before stays until it is known that nothing here opens what came in its place.
            if details == nil, openedDetails[key]?.isOf(record) == false { openedDetails.removeValue(forKey: key) }
            return
        }
        let old = openedDetails.updateValue(details, forKey: key)
        if old?.contentKey != details.contentKey { announceAll(of: key, now: now) }
    }

    /// Workers here are told of anew: who may read about them has changed.
    private mutating func announceAll(of provider: RecordKey, now: Now) {
        for attachment in workers.attachments(of: provider) { announce(attachment, now: now) }
        for page in pages.pages(of: provider) { announce(page: page, now: now) }
    }

    private mutating func forgetDetails() {
        let gone = openedDetails.keys.filter { gossip.record($0) == nil }
        for key in gone { openedDetails.removeValue(forKey: key) }
    }

    /// What names mean here.
    package var names: NameBook { builder.names }

    private mutating func take(_ input: NameInput, wall: Timestamp) {
        switch input {
        // It changes no name's meaning, so no catalog either.
        case .used(let names): return builder.names.used(names)
        case .accept(let name, let holder): builder.names.accept(name, holder, wall: wall)
        case .forget(let name): builder.names.forget(name)
        }
        isCatalogStale = true
    }

    private mutating func rebuildCatalog(_ now: Now, _ effects: inout [Effect]) {
        guard isCatalogStale,
            now.instant.milliseconds(since: catalogBuiltAt) >= catalogIntervalMs
        else { return }
        isCatalogStale = false
        catalogBuiltAt = now.instant
        forgetDetails()
        var details = ownDetails
        for (key, opened) in openedDetails where details[key] == nil { details[key] = opened }
        let catalog = builder.build(
            gossip.usable(now: now), local: local, details: details, reachable: Array(gossip.reachable), wall: now.wall)
        catalogIntervalMs = max(shortestCatalogIntervalMs, Int64(clamping: catalog.size / 500))
        isCatalogStale = builder.isUnfinished
        effects += builder.names.takeNews().map(Effect.nameClaimed)
        if builder.names.hasChanges || underWay == .names {
            heldCatalog = catalog
        } else {
            heldCatalog = nil
            effects.append(.catalogChanged(catalog))
        }
    }
}
