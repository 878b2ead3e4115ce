import MeshModel
import MeshWire

/// The workers attached here: by session, which is how they come and go, and by attachment, which is what they are to
/// the mesh. One worker may have two sessions while it reconnects; the newer one speaks for it.
struct HostedWorkers: Sendable {
    struct Hosted: Sendable {
        /// One per session, the newest last.
        var sessions: [AttachedWorker]
        let name: OwnRecords.Name

        var worker: AttachedWorker? { sessions.last }
    }

    private var hosted = DenseTable<RecordKey, Hosted>()
    private var attachments: [String: RecordKey] = [:]
    /// Which attachments rest on a grant, and by how many sessions.
    private var grants: [OwnRecords.Name: DenseTable<RecordKey, Int>] = [:]
    private let node: PublicKey

    init(node: PublicKey) { self.node = node }

    var isEmpty: Bool { attachments.isEmpty }

    subscript(attachment: RecordKey) -> Hosted? { hosted[attachment] }

    /// The attachments of workers that were admitted by the grant's key.
    func attachments(under grant: OwnRecords.Name) -> [RecordKey] { grants[grant]?.keys ?? [] }

    func attachments(of provider: RecordKey) -> [RecordKey] {
        hosted.keys.filter { hosted[$0]?.worker?.provider == provider }
    }

    /// - Returns: the worker's attachment.
    mutating func attach(_ worker: AttachedWorker, _ cryptography: some RecordCryptography) -> RecordKey {
        var worker = worker
        let grant = worker.grantName(host: node)
        if let last = grants[grant]?.keys.last, let models = hosted[last]?.worker?.offer.models,
            models == worker.offer.models
        {
            // Most workers of a provider have the same list: one for all.
            worker.offer.models = models
        }
        if let known = attachments[worker.sessionID] {
            hosted.update(known) { hosted in
                for index in hosted.sessions.indices where hosted.sessions[index].sessionID == worker.sessionID {
                    hosted.sessions[index] = worker
                }
            }
            return known
        }
        let name = worker.attachmentName(host: node, cryptography)
        let key = name.recordKey(cryptography)
        attachments[worker.sessionID] = key
        hosted.update(key, from: Hosted(sessions: [], name: name)) { $0.sessions.append(worker) }
        grants[grant, default: DenseTable()].update(key, from: 0) { $0 += 1 }
        return key
    }

    /// What became of a session that ended.
    struct Departure: Sendable {
        var attachment: RecordKey
        var name: OwnRecords.Name
        var provider: RecordKey
        /// The session that goes on for the same worker.
        var successor: AttachedWorker?
        /// The grant that nobody here needs any more.
        var unusedGrant: OwnRecords.Name?
    }

    mutating func detach(_ sessionID: String) -> Departure? {
        guard let key = attachments.removeValue(forKey: sessionID), let entry = hosted[key],
            let worker = entry.sessions.first(where: { $0.sessionID == sessionID })
        else { return nil }
        let successor = entry.sessions.last { $0.sessionID != sessionID }
        if successor == nil {
            hosted.remove(key)
        } else {
            hosted.update(key) { $0.sessions.removeAll { $0.sessionID == sessionID } }
        }
        let grant = worker.grantName(host: node)
        let isUnused = release(grant, by: key)
        return Departure(
            attachment: key, name: entry.name, provider: worker.provider, successor: successor,
            unusedGrant: isUnused ? grant : nil)
    }

    private mutating func release(_ grant: OwnRecords.Name, by attachment: RecordKey) -> Bool {
        let left = grants[grant]?.update(attachment) { count -> Int in
            count -= 1
            return count
        }
        if left == 0 { grants[grant]?.remove(attachment) }
        guard grants[grant]?.isEmpty == true else { return false }
        grants[grant] = nil
        return true
    }
}

extension OwnRecords.Name {
    func recordKey(_ cryptography: some RecordCryptography) -> RecordKey {
        RecordKey(cryptography.hash16(RecordEnvelope.keyMaterial(type: type, signer: signer, name: name), key: []))
    }
}
