/// What pure code asks of cryptography. `MeshCrypto` implements it over libsodium; nothing else does, because two
/// verifiers that disagree on edge cases would let an attacker split the mesh.
package protocol RecordCryptography: Sendable {
    /// Ed25519 as libsodium 1.0.18 verifies it: canonical S, no small-order key or R.
    func verify(signature: [UInt8], message: [UInt8], key: PublicKey) -> Bool
    /// BLAKE2b with an output of 16 bytes; `key` may be empty or up to 64 bytes.
    func hash16(_ message: [UInt8], key: [UInt8]) -> Bytes16
    /// BLAKE2b with an output of 32 bytes.
    func hash32(_ message: [UInt8]) -> Bytes32
    /// `text` for whoever has `key` (32 bytes), bound to `context`; the same bytes for the same text.
    func seal(_ text: [UInt8], key: [UInt8], context: [UInt8]) -> [UInt8]
    /// Nil unless `sealed` was made with this key and context.
    func open(_ sealed: [UInt8], key: [UInt8], context: [UInt8]) -> [UInt8]?
}

/// A key that can sign; the seed stays behind it.
package protocol MessageSigner: Sendable {
    var publicKey: PublicKey { get }
    func sign(_ message: [UInt8]) -> [UInt8]
}

/// What a signature is over starts with one of these, so that no signature can be presented as another kind.
package enum SignatureDomain: String, Sendable {
    case record = "aisbf-mesh-v1\0"
    case operatorCertificate = "aisbf-operator-certificate-v1\0"
    case scopeBinding = "aisbf-scope-binding-v1\0"
    case linkHandshake = "aisbf-link-handshake-v1\0"
    case principal = "aisbf-principal-v1\0"
    case attachKey = "aisbf-attach-key-v1\0"

    package var bytes: [UInt8] { Array(rawValue.utf8) }
}
