package import MeshModel
import MeshRouting
import MeshWire

/// A worker that is connected here, as far as the mesh is told of it.
package struct AttachedWorker: Hashable, Sendable {
    package var sessionID: String
    package var provider: RecordKey
    package var owner: PublicKey
    /// Key of the token that admitted it; signs the grant.
    package var attachKey: PublicKey
    package var clientID: String
    package var models: [Model]
    package var gpuClass: String
    package var gpuCount: UInt32
    package var totalVramMb: UInt32
    package var endpoints: [String]
    package var since: Timestamp
    /// Measured here; 0 when not known.
    package var tokensPerSecond: UInt32
    package var firstContentMs: UInt32
    package var takesUploads: Bool
    /// Requests it takes at once; 0 when not told.
    package var slots: UInt32
    /// How long its requests take on the whole, measured here; 0 when not known.
    package var latencyMs: UInt32

    package struct Model: Hashable, Sendable {
        package var id: String
        package var contextTokens: UInt32
        package var modalities: [String]

        package init(id: String, contextTokens: UInt32, modalities: [String]) {
            self.id = id
            self.contextTokens = contextTokens
            self.modalities = modalities
        }
    }

    package init(
        sessionID: String, provider: RecordKey, owner: PublicKey, attachKey: PublicKey, clientID: String,
        models: [Model], gpuClass: String, gpuCount: UInt32, totalVramMb: UInt32, endpoints: [String], since: Timestamp,
        tokensPerSecond: UInt32 = 0, firstContentMs: UInt32 = 0, takesUploads: Bool = false, slots: UInt32 = 0,
        latencyMs: UInt32 = 0
    ) {
        self.sessionID = sessionID
        self.provider = provider
        self.owner = owner
        self.attachKey = attachKey
        self.clientID = clientID
        self.models = models
        self.gpuClass = gpuClass
        self.gpuCount = gpuCount
        self.totalVramMb = totalVramMb
        self.endpoints = endpoints
        self.since = since
        self.tokensPerSecond = tokensPerSecond
        self.firstContentMs = firstContentMs
        self.takesUploads = takesUploads
        self.slots = slots
        self.latencyMs = latencyMs
    }

    /// What choosing whom to announce goes by.
    var candidate: Announcements.Candidate {
        // The slash tells an endpoint from a model of the same name. What stands on pages is theirs.
        Announcements.Candidate(
            owner: owner, provider: provider, since: since,
            offers: models.prefix(modelsAttached).map(\.id) + endpoints.map { "/" + $0 })
    }

    /// What this node's own catalog shows of it.
    func catalogHost(
        node: PublicKey, attachment: RecordKey, _ cryptography: some RecordCryptography
    ) -> CatalogHost {
        CatalogHost(
            node: node, nodeName: "", attachment: attachment, clientHash: clientHash(cryptography),
            models: models.prefix(Limits.workerModels).map {
                CatalogModel(
                    id: $0.id, contextTokens: $0.contextTokens, modalities: Array($0.modalities.prefix(8)))
            }, slots: slots, gpuClass: gpuClass.cut(toUTF8Bytes: 64), gpuCount: gpuCount, totalVramMb: totalVramMb,
            endpoints: Array(endpoints.prefix(Limits.workerEndpoints)), tokensPerSecond: tokensPerSecond,
            firstContentMs: firstContentMs, latencyMs: latencyMs, takesUploads: takesUploads)
    }

    func clientHash(_ cryptography: some RecordCryptography) -> [UInt8] {
        cryptography.hash16(Array(clientID.utf8), key: provider.bytes).bytes
    }

    func grantName(host: PublicKey) -> OwnRecords.Name {
        OwnRecords.Name(type: .attachGrant, signer: attachKey, name: provider.bytes + host.bytes)
    }

    func attachmentName(host: PublicKey, _ cryptography: some RecordCryptography) -> OwnRecords.Name {
        OwnRecords.Name(type: .attachment, signer: host, name: provider.bytes + clientHash(cryptography))
    }

    func grantBody(host: PublicKey, notBefore: Timestamp) -> [UInt8] {
        var grant = Aisbf_Mesh_V1_AttachGrant()
        grant.providerRecordKey = provider.bytes.protobuf
        grant.ownerKey = owner.bytes.protobuf
        grant.hostingNode = host.bytes.protobuf
        grant.notBeforeMs = UInt64(clamping: notBefore.milliseconds)
        return RecordBody.bytes(of: grant)
    }

    /// The models that have no room are on pages; endpoints without room are cut, last first.
    func attachmentBody(
        grant: VerifiedRecord, details: ProviderDetails? = nil, _ cryptography: some RecordCryptography
    ) -> [UInt8] {
        var body = Aisbf_Mesh_V1_Attachment()
        body.hardware.gpuClass = gpuClass.cut(toUTF8Bytes: 64)
        body.hardware.gpuCount = gpuCount
        body.hardware.totalVramMb = totalVramMb
        body.endpoints = Array(endpoints.prefix(Limits.workerEndpoints))
        body.tokensPerSecond = tokensPerSecond
        body.firstContentMs = firstContentMs
        body.latencyMs = latencyMs
        body.slots = slots
        body.takesUploads = takesUploads
        body.sinceMs = UInt64(clamping: since.milliseconds)
        let attached = modelsAttached
        body.models = models.prefix(attached).map(\.offer.message)
        body.moreModels = attached < models.count
        let place = AttachmentPlace(
            provider: provider, owner: owner, host: hostingNode(of: grant), clientHash: clientHash(cryptography),
            grant: grant)
        var bytes = RecordBody.bytes(of: place.filled(with: body, details: details, cryptography))
        while bytes.count > Limits.recordBodyBytes, !body.endpoints.isEmpty {
            body.endpoints.removeLast()
            bytes = RecordBody.bytes(of: place.filled(with: body, details: details, cryptography))
        }
        return bytes
    }

    private func hostingNode(of grant: VerifiedRecord) -> PublicKey {
        guard case .attachGrant(let body) = grant.body, let host = PublicKey(body.hostingNode) else {
            return grant.signer
        }
        return host
    }
}
