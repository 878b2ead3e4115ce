package import MeshModel

/// A registration token: its payload is the seed of an attach key. Nodes keep the public key only.
package struct RegistrationToken: Sendable {
    package let key: SigningKey

    package static func random() -> RegistrationToken { RegistrationToken(key: .random()) }

    package init(key: SigningKey) { self.key = key }

    package static func parse(_ text: String) -> Result<RegistrationToken, KeyText.ParseError> {
        KeyText.registrationToken.parse(text).flatMap { seed in
            SigningKey(seed: seed).map { .success(RegistrationToken(key: $0)) } ?? .failure(.damaged)
        }
    }

    /// The attach key of a token that was minted elsewhere: Argon2id over its UTF-8, salted with the provider's record
    /// key, so that one token at two providers is two keys. Takes about 0.1 s and 64 MiB: never on an event loop.
    ///
    /// Nil for a text that may not be imported (`ImportedTokenText`), or when there is no memory for it.
    package static func imported(_ text: String, provider: RecordKey) -> RegistrationToken? {
        guard ImportedTokenText.problem(text) == nil,
            let seed = Sodium.shared.argon2id(Array(text.utf8), salt: provider.bytes, count: 32)
        else { return nil }
        return SigningKey(seed: seed).map(RegistrationToken.init)
    }

    /// The secret in its text form: shown once, never logged.
    package var text: String { KeyText.registrationToken.text(key.seed) }
}

/// An API key: four bytes that hint at its home node, then the seed of an Ed25519 key.
package struct APIKeySecret: Sendable {
    package let homeHint: [UInt8]
    package let key: SigningKey

    package init(home: PublicKey, key: SigningKey) {
        homeHint = Array(home.bytes.prefix(4))
        self.key = key
    }

    private init(homeHint: [UInt8], key: SigningKey) {
        self.homeHint = homeHint
        self.key = key
    }

    package static func parse(_ text: String) -> Result<APIKeySecret, KeyText.ParseError> {
        KeyText.apiKey.parse(text).flatMap { payload in
            SigningKey(seed: Array(payload.dropFirst(4))).map {
                .success(APIKeySecret(homeHint: Array(payload.prefix(4)), key: $0))
            } ?? .failure(.damaged)
        }
    }

    /// The secret in its text form: shown once, never logged.
    package var text: String { KeyText.apiKey.text(homeHint + key.seed) }
}
