package import MeshCrypto
package import MeshModel
import MeshRouting
import MeshWire
import Synchronization

/// The private keys this node may sign with, by public key.
package final class Signers: Sendable {
    private let fixed: Mutex<[PublicKey: SigningKey]>
    private let attachKeys: AttachKeyring

    package init(_ keys: [SigningKey], attachKeys: AttachKeyring) {
        fixed = Mutex(Dictionary(keys.map { ($0.publicKey, $0) }, uniquingKeysWith: { first, _ in first }))
        self.attachKeys = attachKeys
    }

    package func add(_ key: SigningKey) { fixed.withLock { $0[key.publicKey] = key } }

    /// What is sealed in an advert, if a key here opens it: a token of a worker that is here, or one of this node's, its
    /// operator's and its users' keys.
    func opened(_ record: VerifiedRecord) -> ProviderDetails? {
        guard let advert = SealedAdvert(record) else { return nil }
        let tokens = advert.attachKeys.compactMap { attachKeys.key($0.key) }
        let own = fixed.withLock { Array($0.values.prefix(Limits.sealedKeysTried)) }
        for key in tokens + own {
            if let details = advert.opened(with: key) { return details }
        }
        return nil
    }

    package func key(_ publicKey: PublicKey) -> SigningKey? {
        fixed.withLock { $0[publicKey] } ?? attachKeys.key(publicKey)
    }
}
