internal import CSodium
internal import Crypto
package import MeshModel

/// libsodium as this project uses it. Every entry point initialises the library first (`sodium_init` may be called
/// from many threads, any number of times).
package struct Sodium: RecordCryptography {
    private init() {}

    package static let shared: Sodium = {
        // A process without working cryptography must not start: this is a broken installation, not an input.
        precondition(sodium_init() >= 0, "libsodium could not be initialised")
        return Sodium()
    }()

    package func verify(signature: [UInt8], message: [UInt8], key: PublicKey) -> Bool {
        guard signature.count == 64 else { return false }
        return crypto_sign_verify_detached(signature, message, UInt64(message.count), key.bytes) == 0
    }

    package func hash16(_ message: [UInt8], key: [UInt8]) -> Bytes16 {
        // Two loads, because this is on the way of every request.
        digest(message, key: key, count: 16).withUnsafeBytes { bytes in
            Bytes16(
                high: UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self)),
                low: UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)))
        }
    }

    package func hash32(_ message: [UInt8]) -> Bytes32 {
        Bytes32(digest(message, key: [], count: 32)) ?? .zero
    }

    /// BLAKE2b of `message`, `count` (16 to 64) bytes long, keyed when `key` (at most 64 bytes) is not empty.
    package func digest(_ message: [UInt8], key: [UInt8], count: Int) -> [UInt8] {
        precondition((16...64).contains(count) && key.count <= 64)
        var output = [UInt8](repeating: 0, count: count)
        let status = crypto_generichash(&output, count, message, UInt64(message.count), key, key.count)
        precondition(status == 0, "BLAKE2b refused lengths that were checked")
        return output
    }

    /// SHA-256, where a standard asks for it (SPKI pins, RFC 9530 content digests). By BoringSSL, which uses what processors have
    /// for it: every forwarded body goes through here, and libsodium's is plain C.
    package func sha256(_ message: some ContiguousBytesCollection) -> [UInt8] {
        message.withContiguousBytes { bytes in
            var hash = SHA256()
            hash.update(bufferPointer: bytes)
            return hash.finalize().withUnsafeBytes { Array($0) }
        }
    }

    /// SHA-256 of what comes in pieces.
    package func sha256Stream() -> SHA256Stream { SHA256Stream() }

    package func randomBytes(_ count: Int) -> [UInt8] {
        var output = [UInt8](repeating: 0, count: count)
        randombytes_buf(&output, count)
        return output
    }

    package func randomSeed() -> UInt64 { UInt64(bigEndian: randomBytes(8)) }

    /// Compares in time that depends on the lengths only.
    package func equal(_ left: [UInt8], _ right: [UInt8]) -> Bool {
        left.count == right.count && sodium_memcmp(left, right, left.count) == 0
    }

    /// SipHash-2-4 of 16 bytes: for what is looked up many times and must not be kept as it is. Not for what others see.
    /// - Parameter key: 16 bytes that nobody else knows.
    package func shortHash16(_ message: UnsafeRawBufferPointer, key: [UInt8]) -> Bytes16 {
        precondition(key.count == 16)
        var output: (high: UInt64, low: UInt64) = (0, 0)
        withUnsafeMutableBytes(of: &output) { output in
            guard let place = output.bindMemory(to: UInt8.self).baseAddress else { return }
            let text = message.bindMemory(to: UInt8.self).baseAddress
            _ = crypto_shorthash_siphashx24(place, text, UInt64(message.count), key)
        }
        return Bytes16(high: output.high, low: output.low)
    }

    /// Argon2id over `passphrase` (libsodium's interactive limits: 64 MiB, about 0.1 s). Never on an event loop.
    package func argon2id(_ passphrase: [UInt8], salt: [UInt8], count: Int) -> [UInt8]? {
        guard salt.count == 16 else { return nil }
        var output = [UInt8](repeating: 0, count: count)
        let characters = passphrase.map { CChar(bitPattern: $0) }
        let status = crypto_pwhash(
            &output, UInt64(count), characters, UInt64(characters.count), salt,
            UInt64(crypto_pwhash_opslimit_interactive()), crypto_pwhash_memlimit_interactive(),
            crypto_pwhash_alg_argon2id13())
        return status == 0 ? output : nil
    }

    package static var version: String { String(cString: sodium_version_string()) }
}

/// Bytes that lie in one piece, whatever type holds them.
package protocol ContiguousBytesCollection {
    func withContiguousBytes<Value>(_ body: (UnsafeRawBufferPointer) -> Value) -> Value
}

extension Array<UInt8>: ContiguousBytesCollection {
    package func withContiguousBytes<Value>(_ body: (UnsafeRawBufferPointer) -> Value) -> Value {
        withUnsafeBytes(body)
    }
}

extension UnsafeRawBufferPointer: ContiguousBytesCollection {
    package func withContiguousBytes<Value>(_ body: (UnsafeRawBufferPointer) -> Value) -> Value { body(self) }
}

/// A SHA-256 that is fed piece by piece.
package struct SHA256Stream: Sendable {
    private var hash = SHA256()

    fileprivate init() {}

    package mutating func update(_ bytes: UnsafeRawBufferPointer) { hash.update(bufferPointer: bytes) }

    /// The digest of everything so far; more may follow.
    package func digest() -> [UInt8] {
        hash.finalize().withUnsafeBytes { Array($0) }
    }
}
