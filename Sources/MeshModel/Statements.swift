/// Short signed statements that stand inside records: who operates a node, which owner a username means, and which
/// provider a token is for.
package enum Statement {
    /// What an operator signs to say "this node is mine until then".
    package static func operatorCertificate(node: PublicKey, notAfter: Timestamp) -> [UInt8] {
        SignatureDomain.operatorCertificate.bytes + node.bytes + UInt64(notAfter.milliseconds).bigEndianBytes
    }

    /// What a home node signs to say "this username is that owner here until then".
    package static func scopeBinding(
        username: String, owner: PublicKey, home: PublicKey, notAfter: Timestamp
    ) -> [UInt8] {
        SignatureDomain.scopeBinding.bytes + home.bytes + owner.bytes + UInt64(notAfter.milliseconds).bigEndianBytes
            + Array(username.utf8)
    }

    /// What an owner signs to say "this entry node asks for me until then".
    package static func principal(owner: PublicKey, entry: PublicKey, notAfter: Timestamp) -> [UInt8] {
        SignatureDomain.principal.bytes + owner.bytes + entry.bytes + UInt64(notAfter.milliseconds).bigEndianBytes
    }

    /// What an attach key signs to say "I admit workers to that provider of that owner". Owner and id are the
    /// provider's whole name: its record key follows from them.
    package static func attachKey(owner: PublicKey, providerID: String) -> [UInt8] {
        SignatureDomain.attachKey.bytes + owner.bytes + Array(providerID.utf8)
    }
}
