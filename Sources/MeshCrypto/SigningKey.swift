internal import CSodium
package import MeshModel

/// An Ed25519 key pair. The seed is its whole secret; the expanded secret key lives in memory only.
package struct SigningKey: MessageSigner {
    package let publicKey: PublicKey
    private let secretKey: [UInt8]

    /// Nil unless `seed` has 32 bytes.
    package init?(seed: [UInt8]) {
        guard seed.count == 32 else { return nil }
        _ = Sodium.shared
        var publicKey = [UInt8](repeating: 0, count: 32)
        var secretKey = [UInt8](repeating: 0, count: 64)
        guard crypto_sign_seed_keypair(&publicKey, &secretKey, seed) == 0, let key = PublicKey(publicKey)
        else { return nil }
        self.publicKey = key
        self.secretKey = secretKey
    }

    /// A fresh pair.
    package static func random() -> SigningKey {
        guard let key = SigningKey(seed: Sodium.shared.randomBytes(32)) else {
            preconditionFailure("libsodium refused a 32-byte seed")
        }
        return key
    }

    /// Seed and public key, as libsodium wants them.
    var expandedSecret: [UInt8] { secretKey }

    /// The 32 secret bytes; writing them anywhere but a key file or a once-shown token is a bug.
    package var seed: [UInt8] { Array(secretKey.prefix(32)) }

    package func sign(_ message: [UInt8]) -> [UInt8] {
        var signature = [UInt8](repeating: 0, count: 64)
        let status = crypto_sign_detached(&signature, nil, message, UInt64(message.count), secretKey)
        precondition(status == 0, "libsodium refused to sign")
        return signature
    }
}

extension SigningKey: CustomStringConvertible, CustomReflectable {
    /// Secrets must not slip out through interpolation or a debugger's dump.
    package var description: String { "SigningKey(\(publicKey))" }
    package var customMirror: Mirror { Mirror(self, children: ["publicKey": publicKey]) }
}
