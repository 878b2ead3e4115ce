package import MeshCrypto
package import MeshRouting

extension SealedAdvert {
    /// What is sealed in it, if it was sealed to `key`.
    package func opened(with key: SigningKey) -> ProviderDetails? {
        SealedMessage.open(sealed, with: key, context: context).flatMap {
            ProviderDetails(text: $0.text, sealed: sealed, contentKey: $0.contentKey)
        }
    }
}
