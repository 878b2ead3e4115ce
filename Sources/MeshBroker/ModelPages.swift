import MeshModel
import MeshRouting
import MeshWire
internal import OrderedCollections

/// The models that do not fit the attachments of this node's workers, on pages: attachments of their own, which say
/// nothing but what else the workers of one provider and token offer here (Docs/Protocol/records.md). Workers with equal
/// lists share their pages.
///
/// A model stays on its page for as long as anybody offers it, so that one more or less costs one record and not all.
struct ModelPages: Sendable {
    /// A page as the mesh is told of it.
    struct Page: Sendable {
        var name: OwnRecords.Name
        var owner: PublicKey
        var provider: RecordKey
        /// The grant it rests on, as its workers do.
        var grant: OwnRecords.Name
        /// 1 for the first.
        var number: Int
        var since: Timestamp
        fileprivate(set) var models: OrderedDictionary<String, WorkerModel> = [:]
        fileprivate var bytes = 0

        var candidate: Announcements.Candidate {
            Announcements.Candidate(
                owner: owner, provider: provider, since: since, offers: Array(models.keys), isPage: true)
        }
    }

    /// Pages that are there now and say something else than before, and pages that are no more.
    struct Change: Sendable {
        var changed: OrderedSet<RecordKey> = []
        var removed: [(key: RecordKey, name: OwnRecords.Name)] = []
    }

    private struct Listed: Sendable {
        var workers: Int
        var page: RecordKey
    }

    private struct Group: Sendable {
        var pages: [RecordKey] = []
        var listed: [String: Listed] = [:]
        /// The rest of the worker that came last: most have the same, and share it.
        var last: [WorkerModel] = []
    }

    private var groups: [OwnRecords.Name: Group] = [:]
    private var pages: [RecordKey: Page] = [:]
    private var order: OrderedSet<RecordKey> = []
    /// What each worker has on pages, and of which grant.
    private var rests: [RecordKey: (grant: OwnRecords.Name, models: [WorkerModel])] = [:]
    private let node: PublicKey

    init(node: PublicKey) { self.node = node }

    subscript(key: RecordKey) -> Page? { pages[key] }

    /// The pages that rest on `grant`.
    func pages(under grant: OwnRecords.Name) -> [RecordKey] { groups[grant]?.pages ?? [] }

    func pages(of provider: RecordKey) -> [RecordKey] { order.filter { pages[$0]?.provider == provider } }

    /// The worker of `attachment` offers `rest` beside what its attachment lists.
    mutating func set(
        _ rest: [WorkerModel], of worker: AttachedWorker, attachment: RecordKey,
        _ cryptography: some RecordCryptography
    ) -> Change {
        let grant = worker.grantName(host: node)
        if let known = rests[attachment], known.grant == grant, known.models == rest { return Change() }
        var change = Change()
        // The new ones first: what both lists have stays where it is.
        for model in rest { add(model, worker, grant, &change, cryptography) }
        release(attachment, &change)
        if !rest.isEmpty {
            let last = groups[grant]?.last ?? []
            rests[attachment] = (grant, last == rest ? last : rest)
            if last != rest { groups[grant, default: Group()].last = rest }
        }
        finish(&change)
        return change
    }

    mutating func remove(_ attachment: RecordKey) -> Change {
        var change = Change()
        release(attachment, &change)
        finish(&change)
        return change
    }

    private mutating func add(
        _ model: WorkerModel, _ worker: AttachedWorker, _ grant: OwnRecords.Name, _ change: inout Change,
        _ cryptography: some RecordCryptography
    ) {
        if let page = groups[grant]?.listed[model.id]?.page {
            groups[grant]?.listed[model.id]?.workers += 1
            guard pages[page]?.models[model.id] != model else { return }
            // Another length would need another place; what the first worker said of it stays.
            guard model.record.size == pages[page]?.models[model.id]?.record.size else { return }
            pages[page]?.models[model.id] = model
            change.changed.append(page)
            return
        }
        let size = model.record.size
        guard let page = place(for: size, worker, grant, cryptography) else { return }
        groups[grant]?.listed[model.id] = Listed(workers: 1, page: page)
        pages[page]?.models[model.id] = model
        pages[page]?.bytes += size
        change.changed.append(page)
    }

    /// The first page with room, or a new one; nil when there are as many as there may be.
    private mutating func place(
        for size: Int, _ worker: AttachedWorker, _ grant: OwnRecords.Name, _ cryptography: some RecordCryptography
    ) -> RecordKey? {
        let group = groups[grant, default: Group()]
        let open = group.pages.first { key in
            pages[key].map { $0.bytes + size <= AttachmentPage.room && $0.models.count < Limits.attachmentModels }
                ?? false
        }
        if let open { return open }
        let taken = Set(group.pages.compactMap { pages[$0]?.number })
        guard let number = (1...Limits.modelPages).first(where: { !taken.contains($0) }) else { return nil }
        let hash = worker.pageHash(number, cryptography)
        let name = OwnRecords.Name(type: .attachment, signer: node, name: worker.provider.bytes + hash)
        let key = name.recordKey(cryptography)
        pages[key] = Page(
            name: name, owner: worker.owner, provider: worker.provider, grant: grant, number: number,
            since: worker.since)
        groups[grant, default: Group()].pages.append(key)
        order.append(key)
        return key
    }

    private mutating func release(_ attachment: RecordKey, _ change: inout Change) {
        guard let rest = rests.removeValue(forKey: attachment) else { return }
        for model in rest.models {
            guard let listed = groups[rest.grant]?.listed[model.id] else { continue }
            if listed.workers > 1 {
                groups[rest.grant]?.listed[model.id]?.workers -= 1
                continue
            }
            groups[rest.grant]?.listed[model.id] = nil
            if let gone = pages[listed.page]?.models.removeValue(forKey: model.id) {
                pages[listed.page]?.bytes -= gone.record.size
            }
            change.changed.append(listed.page)
        }
    }

    private mutating func finish(_ change: inout Change) {
        for key in change.changed where pages[key]?.models.isEmpty ?? true {
            guard let page = pages.removeValue(forKey: key) else { continue }
            order.remove(key)
            change.removed.append((key, page.name))
            groups[page.grant]?.pages.removeAll { $0 == key }
            if groups[page.grant]?.pages.isEmpty ?? false { groups[page.grant] = nil }
        }
        for (key, _) in change.removed { change.changed.remove(key) }
    }
}

extension ModelPages.Page {
    func body(
        grant: VerifiedRecord, details: ProviderDetails?, _ cryptography: some RecordCryptography
    ) -> [UInt8] {
        var body = Aisbf_Mesh_V1_Attachment()
        body.sinceMs = UInt64(clamping: since.milliseconds)
        AttachmentPage.write(models.values, number: number, to: &body)
        let place = AttachmentPlace(
            provider: provider, owner: owner, host: name.signer, clientHash: Array(name.name.suffix(16)), grant: grant)
        return RecordBody.bytes(of: place.filled(with: body, details: details, cryptography))
    }
}

/// What an attachment says to everybody: where it belongs and what it rests on.
struct AttachmentPlace {
    var provider: RecordKey
    var owner: PublicKey
    var host: PublicKey
    var clientHash: [UInt8]
    var grant: VerifiedRecord

    /// The attachment with `content`, which is sealed where the provider is not for everybody.
    func filled(
        with content: Aisbf_Mesh_V1_Attachment, details: ProviderDetails?, _ cryptography: some RecordCryptography
    ) -> Aisbf_Mesh_V1_Attachment {
        var body = content
        if let details {
            body = Aisbf_Mesh_V1_Attachment()
            body.sealed =
                cryptography.seal(
                    RecordBody.bytes(of: content), key: details.contentKey,
                    context: SealedContext.attachment(provider: provider, host: host, clientHash: clientHash)
                ).protobuf
        }
        body.providerRecordKey = provider.bytes.protobuf
        body.ownerKey = owner.bytes.protobuf
        body.grantKey = grant.key.bytes.protobuf
        body.grantHash = grant.hash.bytes.protobuf
        body.clientHash = clientHash.protobuf
        return body
    }
}

extension AttachedWorker {
    /// In the place of a client's hash. Its key is longer than a client hash's, so that no client id leads to it; the token
    /// that admitted the workers is in it, because their pages rest on its grant.
    func pageHash(_ number: Int, _ cryptography: some RecordCryptography) -> [UInt8] {
        cryptography.hash16(
            attachKey.bytes + UInt64(number).bigEndianBytes, key: provider.bytes + Array("aisbf-models".utf8)
        ).bytes
    }
}
