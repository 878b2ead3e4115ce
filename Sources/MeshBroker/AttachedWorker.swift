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
    package var since: Timestamp
    package var offer: WorkerOffer

    package init(
        sessionID: String, provider: RecordKey, owner: PublicKey, attachKey: PublicKey, clientID: String,
        since: Timestamp, offer: WorkerOffer
    ) {
        self.sessionID = sessionID
        self.provider = provider
        self.owner = owner
        self.attachKey = attachKey
        self.clientID = clientID
        self.since = since
        self.offer = offer
    }

    /// What choosing whom to announce goes by.
    var candidate: Announcements.Candidate {
        // The slash tells an endpoint from a model of the same name. What stands on pages is theirs.
        Announcements.Candidate(
            owner: owner, provider: provider, since: since,
            offers: offer.models.prefix(offer.modelsAttached).map(\.id) + offer.endpoints.map { "/" + $0 })
    }

    /// What this node's own catalog shows of it.
    func catalogHost(
        node: PublicKey, attachment: RecordKey, _ cryptography: some RecordCryptography
    ) -> CatalogHost {
        CatalogHost(
            node: node, nodeName: "", attachment: attachment, clientHash: clientHash(cryptography), offer: offer)
    }

    func clientHash(_ cryptography: some RecordCryptography) -> [UInt8] {
        WorkerMark.clientHash(clientID, provider: provider, cryptography)
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
        offer.write(to: &body)
        body.sinceMs = UInt64(clamping: since.milliseconds)
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
