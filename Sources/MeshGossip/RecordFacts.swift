internal import MeshModel
internal import MeshWire

/// What a record's body says about its place among the others, worked out once when it is taken: everything here
/// follows from the record alone, so every node finds the same.
struct RecordFacts: Hashable, Sendable {
    /// Records without which this one counts for nothing.
    var dependencies: [RecordKey] = []
    var groups: [QuotaGroup] = []
    /// The operator of a node descriptor whose certificate verified.
    var operatorKey: PublicKey?

    /// Nil when the record is wrong in itself: whoever passes it on did not check it.
    static func of(
        _ record: VerifiedRecord, cryptography: any RecordCryptography
    ) -> RecordFacts? {
        switch record.body {
        case .nodeDescriptor(let body): descriptor(body, record, cryptography)
        case .beacon(let body): body.intervalMs <= 300_000 ? RecordFacts() : nil
        case .providerAdvert(let body): advert(body, record, cryptography)
        case .attachGrant(let body): grant(body, record)
        case .attachment(let body): attachment(body, record, cryptography)
        case .tombstone: RecordFacts()
        }
    }

    /// Where the descriptor of `node` is found.
    static func descriptorKey(of node: PublicKey, cryptography: any RecordCryptography) -> RecordKey {
        key(.nodeDescriptor, signer: node, cryptography)
    }

    static func beaconKey(of node: PublicKey, cryptography: any RecordCryptography) -> RecordKey {
        key(.beacon, signer: node, cryptography)
    }

    private static func key(
        _ type: RecordType, signer: PublicKey, _ cryptography: any RecordCryptography
    ) -> RecordKey {
        RecordKey(cryptography.hash16(RecordEnvelope.keyMaterial(type: type, signer: signer, name: []), key: []))
    }

    private static func descriptor(
        _ body: Aisbf_Mesh_V1_NodeDescriptor, _ record: VerifiedRecord, _ cryptography: any RecordCryptography
    ) -> RecordFacts? {
        guard NameRule.isValid(body.name), body.linkAddresses.count <= Limits.descriptorAddresses,
            body.linkAddresses.allSatisfy(isShort), isShort(body.apiURL), isShort(body.region),
            body.tlsSpkiPins.count <= Limits.descriptorPins, body.tlsSpkiPins.allSatisfy({ $0.count == 32 })
        else { return nil }
        guard body.hasOperator else { return RecordFacts() }
        guard let operatorKey = PublicKey(body.operator.operatorKey), body.operator.notAfterMs < 1 << 53
        else { return nil }
        let notAfter = Timestamp(milliseconds: Int64(body.operator.notAfterMs))
        let statement = Statement.operatorCertificate(node: record.signer, notAfter: notAfter)
        guard
            cryptography.verify(
                signature: Array(body.operator.signature), message: statement, key: operatorKey)
        else { return nil }
        return RecordFacts(operatorKey: operatorKey)
    }

    private static func advert(
        _ body: Aisbf_Mesh_V1_ProviderAdvert, _ record: VerifiedRecord, _ cryptography: any RecordCryptography
    ) -> RecordFacts? {
        guard NameRule.isValid(body.providerID), let home = PublicKey(body.homeNode), isShort(body.displayName),
            isShort(body.kind), body.models.count <= Limits.attachmentModels,
            body.models.allSatisfy({ isShort($0.id) }),
            body.namedKeys.count <= Limits.advertNamedKeys, body.namedKeys.allSatisfy({ $0.count == 32 }),
            body.attachKeys.count <= Limits.advertAttachKeys, body.attachKeys.allSatisfy(isSound)
        else { return nil }
        var groups: [QuotaGroup] = [.adverts(owner: record.signer)]
        if body.hasBinding {
            // Only what the home node signed counts against it.
            groups.append(.advertsAtHome(home))
            let binding = body.binding
            guard binding.homeNode == body.homeNode, PublicKey(binding.ownerKey) == record.signer,
                NameRule.isValid(binding.username), OwnerScope(username: binding.username) != .global,
                binding.notAfterMs < 1 << 53
            else { return nil }
            let statement = Statement.scopeBinding(
                username: binding.username, owner: record.signer, home: home,
                notAfter: Timestamp(milliseconds: Int64(binding.notAfterMs)))
            guard cryptography.verify(signature: Array(binding.signature), message: statement, key: home)
            else { return nil }
        }
        return RecordFacts(
            dependencies: [descriptorKey(of: home, cryptography: cryptography)],
            groups: groups)
    }

    private static func isSound(_ key: Aisbf_Mesh_V1_AttachKey) -> Bool {
        key.publicKey.count == 32 && key.notAfterMs < 1 << 53 && key.allowedHosts.count <= Limits.attachKeyHosts
            && key.allowedHosts.allSatisfy { $0.count == 32 }
    }

    private static func grant(_ body: Aisbf_Mesh_V1_AttachGrant, _ record: VerifiedRecord) -> RecordFacts? {
        guard let provider = RecordKey(body.providerRecordKey), PublicKey(body.ownerKey) != nil,
            PublicKey(body.hostingNode) != nil, body.notBeforeMs < 1 << 53
        else { return nil }
        return RecordFacts(dependencies: [provider], groups: [.hosts(provider: provider, signer: record.signer)])
    }

    private static func attachment(
        _ body: Aisbf_Mesh_V1_Attachment, _ record: VerifiedRecord, _ cryptography: any RecordCryptography
    ) -> RecordFacts? {
        guard RecordKey(body.providerRecordKey) != nil, PublicKey(body.ownerKey) != nil,
            let grant = RecordKey(body.grantKey), body.grantHash.count == 32, body.clientHash.count == 16,
            body.models.count <= Limits.attachmentModels, body.models.allSatisfy({ isShort($0.id) }),
            body.endpoints.count <= Limits.attachmentEndpoints, body.endpoints.allSatisfy(isShort)
        else { return nil }
        return RecordFacts(
            dependencies: [grant, descriptorKey(of: record.signer, cryptography: cryptography)],
            groups: [.attachments(node: record.signer)])
    }

    private static func isShort(_ text: String) -> Bool { text.utf8.count <= Limits.recordTextBytes }
}
