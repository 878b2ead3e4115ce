package import MeshModel

/// What sealed bytes are bound to, so that nobody can put them into another record.
package enum SealedContext {
    /// - Parameter name: the provider id outside, which says nothing.
    package static func advert(owner: PublicKey, home: PublicKey, name: String) -> [UInt8] {
        Array("advert\0".utf8) + owner.bytes + home.bytes + Array(name.utf8)
    }

    package static func attachment(provider: RecordKey, host: PublicKey, clientHash: [UInt8]) -> [UInt8] {
        Array("attachment\0".utf8) + provider.bytes + host.bytes + clientHash
    }
}
