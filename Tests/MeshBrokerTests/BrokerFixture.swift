import MeshBroker
import MeshCrypto
import MeshGossip
import MeshModel
import MeshWire

/// A broker with the shell's part played by hand: signs what it asks for, with keys it was given.
struct BrokerFixture {
    static let network = NetworkID(Bytes16(high: 1, low: 2))
    static let start = Timestamp(milliseconds: 1_790_000_000_000)

    let node: SigningKey
    let operatorKey: SigningKey
    var keys: [SigningKey]
    var broker: Broker
    var nowMs: Int64 = 0
    var versions: UInt64 = 0
    var catalog: Int = 0
    private(set) var signed: [VerifiedRecord] = []
    private(set) var effects: [Broker.Effect] = []
    /// While false, signatures cannot be had.
    var canSign = true
    /// While false, the disk is full.
    var canStoreNames = true
    /// How often something had to be stored.
    private(set) var batches = 0

    init(seed: UInt8, keys: [SigningKey] = []) {
        node = SigningKey(seed: [UInt8](repeating: seed, count: 32)) ?? .random()
        operatorKey = SigningKey(seed: [UInt8](repeating: seed &+ 100, count: 32)) ?? .random()
        self.keys = [node, operatorKey] + keys
        var configuration = Gossip.Configuration(
            key: node.publicKey, network: Self.network, cryptography: Sodium.shared, seed: UInt64(seed),
            admission: LinkAdmission(isOpen: true))
        configuration.intervals.antiEntropyMs = 3_600_000
        configuration.intervals.beaconMs = 900_000 / 3
        broker = Broker(configuration: configuration, now: Self.now(0))
    }

    static func now(_ milliseconds: Int64) -> Now {
        Now(
            instant: Instant(nanoseconds: 0).advanced(byMilliseconds: milliseconds),
            wall: start.advanced(byMilliseconds: milliseconds))
    }

    /// Feeds `input` and everything that follows from it.
    mutating func feed(_ input: Broker.Input) {
        var queue = [input]
        while !queue.isEmpty {
            let next = queue.removeFirst()
            let outcome = broker.handle(next, now: Self.now(nowMs))
            effects += outcome.immediate
            guard let batch = outcome.persist else { continue }
            batches += 1
            effects += outcome.afterPersist
            queue.append(.persisted(stored(batch)))
        }
    }

    mutating func stored(_ batch: StoreBatch) -> StoreOutcome {
        switch batch {
        case .names: return .names(isStored: canStoreNames)
        case .records(let requests):
            return .records(
                requests.map { request in
                    let record = sign(request)
                    if let record { signed.append(record) }
                    return SigningOutcome(request: request, record: record)
                })
        }
    }

    mutating func sign(_ request: SigningRequest) -> VerifiedRecord? {
        guard canSign, let key = keys.first(where: { $0.publicKey == request.signer }) else { return nil }
        versions += 1
        let wall = Self.now(nowMs).wall
        let draft = RecordDraft(
            type: request.type, network: Self.network, signer: request.signer, name: request.name,
            version: RecordVersion(epoch: RecordVersion.epoch(at: Self.start), sequence: versions), issued: wall,
            expires: wall.advanced(byMilliseconds: request.lifeMs), isTombstone: request.isTombstone, body: request.body
        )
        return try? VerifiedRecord.verify(
            bytes: draft.signed(by: key, cryptography: Sodium.shared), network: Self.network, wall: wall,
            cryptography: Sodium.shared
        ).get()
    }

    func signed(_ type: RecordType) -> [VerifiedRecord] { signed.filter { $0.type == type } }

    mutating func describe(name: String) {
        let notAfter = Self.start.advanced(byMilliseconds: 400 * 86_400_000)
        var body = Aisbf_Mesh_V1_NodeDescriptor()
        body.name = name
        body.operator.operatorKey = operatorKey.publicKey.bytes.protobuf
        body.operator.notAfterMs = UInt64(notAfter.milliseconds)
        body.operator.signature =
            operatorKey.sign(
                Statement.operatorCertificate(node: node.publicKey, notAfter: notAfter)
            ).protobuf
        body.tlsSpkiPins = [[UInt8](repeating: 7, count: 32).protobuf]
        body.protocolMin = 1
        body.protocolMax = 1
        feed(.describe(body))
    }

    /// A provider of this node's operator, attachable with `attachKey`.
    func draft(_ id: String, attachKeys: [PublicKey]) -> Broker.ProviderDraft {
        var advert = Aisbf_Mesh_V1_ProviderAdvert()
        advert.providerID = id
        advert.homeNode = node.publicKey.bytes.protobuf
        advert.access = .public
        advert.kind = "coderai"
        advert.attachKeys = attachKeys.map { key in
            var entry = Aisbf_Mesh_V1_AttachKey()
            entry.publicKey = key.bytes.protobuf
            return entry
        }
        return Broker.ProviderDraft(owner: operatorKey.publicKey, advert: advert)
    }

    /// A provider of a user of this node.
    func draft(_ id: String, username: String, owner: PublicKey, attachKeys: [PublicKey]) -> Broker.ProviderDraft {
        var draft = draft(id, attachKeys: attachKeys)
        draft.owner = owner
        let notAfter = Self.start.advanced(byMilliseconds: 400 * 86_400_000)
        draft.advert.binding.username = username
        draft.advert.binding.ownerKey = owner.bytes.protobuf
        draft.advert.binding.homeNode = node.publicKey.bytes.protobuf
        draft.advert.binding.notAfterMs = UInt64(notAfter.milliseconds)
        draft.advert.binding.signature =
            node.sign(
                Statement.scopeBinding(username: username, owner: owner, home: node.publicKey, notAfter: notAfter)
            ).protobuf
        return draft
    }

    /// What the mesh would know of `type`: the newest record under each key, without those that were buried.
    func told(_ type: RecordType) -> [VerifiedRecord] {
        var newest: [RecordKey: VerifiedRecord] = [:]
        for record in signed(type) { newest[record.key] = record }
        return newest.values.filter { !$0.envelope.isTombstone }
    }

    func worker(
        _ provider: RecordKey, owner: PublicKey? = nil, attachKey: PublicKey, number: Int = 1, models: [String]
    ) -> AttachedWorker {
        AttachedWorker(
            sessionID: "s\(number)", provider: provider, owner: owner ?? operatorKey.publicKey, attachKey: attachKey,
            clientID: "w\(number)", since: Self.now(nowMs).wall,
            offer: WorkerOffer(models: ModelList(models.map { WorkerModel(id: $0, contextTokens: 4_096) })))
    }
}
