package import MeshModel
package import MeshWire

/// What is sealed in the advert of a provider that is not for everybody, as one of its readers opened it
/// (Docs/Protocol/records.md, "Private providers").
package struct ProviderDetails: Hashable, Sendable {
    package var advert: Aisbf_Mesh_V1_ProviderAdvert
    /// The bytes it came from.
    package var sealed: [UInt8]
    /// Opens what its workers' nodes say of them.
    package var contentKey: [UInt8]

    package init(advert: Aisbf_Mesh_V1_ProviderAdvert, sealed: [UInt8], contentKey: [UInt8]) {
        self.advert = advert
        self.sealed = sealed
        self.contentKey = contentKey
    }

    /// Nil for what is no such text. Whether it is true is the catalog's to find out.
    package init?(text: [UInt8], sealed: [UInt8], contentKey: [UInt8]) {
        guard case .providerAdvert(let advert)? = RecordBody.decode(.providerAdvert, text) else { return nil }
        self.init(advert: advert, sealed: sealed, contentKey: contentKey)
    }

    package var scope: OwnerScope { advert.hasBinding ? OwnerScope(username: advert.binding.username) : .global }

    package func isOf(_ record: VerifiedRecord) -> Bool {
        if case .providerAdvert(let outer) = record.body { outer.sealed.elementsEqual(sealed) } else { false }
    }

    /// The advert as a public provider's would be. Where the two are not of one time, the keys have no proof yet.
    func whole(_ outer: Aisbf_Mesh_V1_ProviderAdvert) -> Aisbf_Mesh_V1_ProviderAdvert {
        var whole = advert
        whole.homeNode = outer.homeNode
        whole.attachKeys = outer.attachKeys
        guard outer.sealed.elementsEqual(sealed) else { return whole }
        for (place, told) in advert.attachKeys.enumerated() where place < whole.attachKeys.count {
            whole.attachKeys[place].label = told.label
            whole.attachKeys[place].proof = told.proof
        }
        return whole
    }
}

extension ProviderDetails: CustomStringConvertible {
    /// The key must not slip out.
    package var description: String { "ProviderDetails(\(advert.providerID))" }
}

/// The advert of a provider that this node is not to know: enough to admit a worker whose token opens it.
package struct SealedAdvert: Sendable {
    package var key: RecordKey
    package var owner: PublicKey
    package var attachKeys: [CatalogAttachKey]
    package var sealed: [UInt8]
    package var context: [UInt8]

    /// Nil for an advert with nothing sealed in it.
    package init?(_ record: VerifiedRecord) {
        guard case .providerAdvert(let body) = record.body, !body.sealed.isEmpty, let home = PublicKey(body.homeNode)
        else { return nil }
        key = record.key
        owner = record.signer
        sealed = Array(body.sealed)
        context = SealedContext.advert(owner: record.signer, home: home, name: body.providerID)
        attachKeys = body.attachKeys.prefix(Limits.advertAttachKeys).compactMap {
            CatalogAttachKey($0, isProven: false)
        }
    }

    /// Whether `details`, which the token of `key` opened, say that a worker which calls itself so may attach at `host`.
    package func admits(
        _ key: PublicKey, by details: ProviderDetails, scope: OwnerScope, providerID: String, host: PublicKey,
        wall: Timestamp, _ cryptography: some RecordCryptography
    ) -> Bool {
        guard details.scope == scope, details.advert.providerID == providerID,
            let place = attachKeys.firstIndex(where: { $0.key == key && $0.admits(host: host, at: wall) }),
            place < details.advert.attachKeys.count
        else { return false }
        // Anybody can seal something to a key: only its holder can sign for whom it is.
        return cryptography.verify(
            signature: Array(details.advert.attachKeys[place].proof),
            message: Statement.attachKey(owner: owner, providerID: providerID), key: key)
    }
}

extension CatalogAttachKey {
    init?(_ entry: Aisbf_Mesh_V1_AttachKey, isProven: Bool) {
        guard let key = PublicKey(entry.publicKey) else { return nil }
        self.init(
            key: key, label: entry.label,
            notAfter: entry.notAfterMs == 0 ? nil : Timestamp(milliseconds: Int64(clamping: entry.notAfterMs)),
            allowedHosts: entry.allowedHosts.compactMap { PublicKey($0) },
            derivation: TokenDerivation(rawValue: entry.derivation), isProven: isProven)
    }
}
