internal import CSodium
package import MeshModel

/// One message that each of several Ed25519 keys can open, and nobody else (Docs/Protocol/records.md, "Private
/// providers"). Nothing in it tells who they are; how many there are is rounded up.
///
/// Layout: version 1, ephemeral X25519 key 32, number of places 1, then for each place the content's key (16 bytes) in a
/// wrap that only its reader can take off, then the content (XChaCha20-Poly1305, 16 bytes longer than its text). Everything
/// follows from the sender's seed and what is said, so that the same words to the same readers are the same bytes, and a
/// record that says nothing new is not signed anew.
package struct SealedMessage: Sendable {
    package let bytes: [UInt8]
    /// What opens the content; also what else the readers of this message may read is sealed with it.
    package let contentKey: [UInt8]

    private static let version: UInt8 = 1
    private static let wrapBytes = 16
    private static let headerBytes = 34

    /// - Parameters:
    ///   - readers: who can open it; a key that is no point of the curve opens nothing.
    ///   - sender: only its seed is used, to draw keys from.
    ///   - context: has to be the same when it is opened; at most a few hundred bytes.
    /// - Returns: nil when there are more readers than places.
    package static func seal(
        _ text: [UInt8], to readers: [PublicKey], from sender: SigningKey, context: [UInt8]
    ) -> SealedMessage? {
        let places = (readers.count + 7) / 8 * 8
        guard places > 0, places <= Limits.sealedReaders else { return nil }
        let audience = readers.flatMap(\.bytes)
        let secret = sender.seed
        // Whoever is no reader any more must not read what comes next: another audience, another key.
        let content = derive("content", context + audience, key: secret, count: wrapBytes)
        let ephemeral = derive(
            "ephemeral", Sodium.shared.hash32(context + audience + text).bytes, key: secret, count: 32)
        var public25519 = [UInt8](repeating: 0, count: 32)
        guard crypto_scalarmult_base(&public25519, ephemeral) == 0 else { return nil }
        var bytes = [version] + public25519 + [UInt8(places)]
        for place in 0..<places {
            let wrap = place < readers.count ? Self.wrap(for: readers[place], ephemeral, public25519) : nil
            bytes += zip(
                content, wrap ?? derive("filling", [UInt8(place)] + public25519, key: secret, count: wrapBytes)
            )
            .map { $0 ^ $1 }
        }
        let contentKey = expanded(content)
        let associated = bytes + context
        var sealed = [UInt8](repeating: 0, count: text.count + Int(crypto_aead_xchacha20poly1305_ietf_abytes()))
        var length: UInt64 = 0
        let status = crypto_aead_xchacha20poly1305_ietf_encrypt(
            &sealed, &length, text, UInt64(text.count), associated, UInt64(associated.count), nil, nonce(public25519),
            contentKey)
        guard status == 0 else { return nil }
        return SealedMessage(bytes: bytes + sealed, contentKey: contentKey)
    }

    /// The text, if `reader` is one of those it was sealed to.
    package static func open(
        _ bytes: [UInt8], with reader: SigningKey, context: [UInt8]
    ) -> (text: [UInt8], contentKey: [UInt8])? {
        guard bytes.count > headerBytes, bytes[0] == version else { return nil }
        let places = Int(bytes[33])
        let contentStart = headerBytes + places * wrapBytes
        let overhead = Int(crypto_aead_xchacha20poly1305_ietf_abytes())
        guard places <= Limits.sealedReaders, bytes.count >= contentStart + overhead else { return nil }
        let public25519 = Array(bytes[1..<33])
        guard let shared = reader.sharedSecret(with: public25519) else { return nil }
        let wrap = Self.wrap(shared, public25519, reader.publicKey)
        let sealed = Array(bytes[contentStart...])
        let associated = Array(bytes[..<contentStart]) + context
        let nonce = Self.nonce(public25519)
        for place in 0..<places {
            let start = headerBytes + place * wrapBytes
            let contentKey = expanded(zip(bytes[start..<start + wrapBytes], wrap).map { $0 ^ $1 })
            var text = [UInt8](repeating: 0, count: sealed.count - overhead)
            var length: UInt64 = 0
            let status = crypto_aead_xchacha20poly1305_ietf_decrypt(
                &text, &length, nil, sealed, UInt64(sealed.count), associated, UInt64(associated.count), nonce,
                contentKey)
            if status == 0 { return (text, contentKey) }
        }
        return nil
    }

    private static func wrap(for reader: PublicKey, _ ephemeral: [UInt8], _ public25519: [UInt8]) -> [UInt8]? {
        var curve = [UInt8](repeating: 0, count: 32)
        var shared = [UInt8](repeating: 0, count: 32)
        guard crypto_sign_ed25519_pk_to_curve25519(&curve, reader.bytes) == 0,
            crypto_scalarmult(&shared, ephemeral, curve) == 0
        else { return nil }
        return wrap(shared, public25519, reader)
    }

    private static func wrap(_ shared: [UInt8], _ public25519: [UInt8], _ reader: PublicKey) -> [UInt8] {
        derive("wrap", public25519 + reader.bytes, key: shared, count: wrapBytes)
    }

    private static func expanded(_ content: [UInt8]) -> [UInt8] { derive("expand", content, key: [], count: 32) }

    private static func nonce(_ public25519: [UInt8]) -> [UInt8] { derive("nonce", public25519, key: [], count: 24) }

    private static func derive(_ purpose: String, _ input: [UInt8], key: [UInt8], count: Int) -> [UInt8] {
        Sodium.shared.digest(Array("aisbf-sealed-v1\0\(purpose)\0".utf8) + input, key: key, count: count)
    }
}

extension SigningKey {
    /// What this key and the X25519 key `other` have in common; nil for a key that has nothing in common with anybody.
    func sharedSecret(with other: [UInt8]) -> [UInt8]? {
        var curve = [UInt8](repeating: 0, count: 32)
        var shared = [UInt8](repeating: 0, count: 32)
        guard crypto_sign_ed25519_sk_to_curve25519(&curve, expandedSecret) == 0,
            crypto_scalarmult(&shared, curve, other) == 0
        else { return nil }
        return shared
    }

    /// A name that says nothing to whoever has not the key, and is always the same.
    package func alias(of name: String) -> String {
        let message = Array("aisbf-alias-v1\0\(name)".utf8)
        return "x-" + hexText(Sodium.shared.digest(message, key: seed, count: 16))
    }
}

extension Sodium {
    /// `text` for whoever has `key` (32 bytes), with `context` that has to be the same when it is opened. The nonce follows
    /// from both, so that the same text is the same bytes.
    package func seal(_ text: [UInt8], key: [UInt8], context: [UInt8]) -> [UInt8] {
        let nonce = digest(Array("aisbf-sealed-v1\0text\0".utf8) + context + text, key: key, count: 24)
        var sealed = [UInt8](repeating: 0, count: text.count + Int(crypto_aead_xchacha20poly1305_ietf_abytes()))
        var length: UInt64 = 0
        precondition(key.count == 32)
        let status = crypto_aead_xchacha20poly1305_ietf_encrypt(
            &sealed, &length, text, UInt64(text.count), context, UInt64(context.count), nil, nonce, key)
        precondition(status == 0, "libsodium refused to seal")
        return nonce + sealed
    }

    package func open(_ sealed: [UInt8], key: [UInt8], context: [UInt8]) -> [UInt8]? {
        let overhead = Int(crypto_aead_xchacha20poly1305_ietf_abytes())
        guard key.count == 32, sealed.count >= 24 + overhead else { return nil }
        let body = Array(sealed[24...])
        var text = [UInt8](repeating: 0, count: body.count - overhead)
        var length: UInt64 = 0
        let status = crypto_aead_xchacha20poly1305_ietf_decrypt(
            &text, &length, nil, body, UInt64(body.count), context, UInt64(context.count), Array(sealed.prefix(24)), key
        )
        return status == 0 ? text : nil
    }
}
