import MeshCrypto
import MeshModel
import Testing

@Suite struct SealedMessageTests {
    private static func key(_ byte: UInt8) -> SigningKey {
        SigningKey(seed: [UInt8](repeating: byte, count: 32)) ?? .random()
    }

    private let sender = key(2)
    private let readers = [key(2), key(3), key(1)]
    private let context = Array("context".utf8)
    private let text = Array("text".utf8)

    private func sealed(_ keys: [SigningKey]? = nil, _ text: [UInt8]? = nil) -> SealedMessage? {
        SealedMessage.seal(text ?? self.text, to: (keys ?? readers).map(\.publicKey), from: sender, context: context)
    }

    /// Worked out with implementations of their own of BLAKE2b, X25519, the map between the curves and
    /// XChaCha20-Poly1305, not with libsodium.
    @Test func theBytesAreTheGoldenOnes() throws {
        let message = try #require(sealed())
        let golden = [
            "01fa8249ddf1965f1caf02ff4825d5df388a83011f3f65b532bfd050018f3fe85a080b9ff04a6d9a3a7080858e9c7ef5",
            "1daefcb097a9f450881dec5fd4a33d9d2d26333ac171fc418516634c8836530b7351fe9d899d784d6ba1183765c739eb",
            "66c9fa621126ef064751233029eab99b2f5910fa88cd556a2cdf6dedfca9bce82def7822ca1e89971e81247a1b2dc070",
            "2cfcf97a2bdaa002e30f98fd45f31f8ded8d3a09a735c68537785cc091a32d7c0edd03bb8cfa",
        ].joined()
        #expect(hexText(message.bytes) == golden)
        #expect(hexText(message.contentKey) == "ae552cf9091bd977a6a410077f98fb9551ede0e16cd6d1887f33fb18b0c889c3")
        let attachment = Sodium.shared.seal(text, key: message.contentKey, context: context)
        #expect(
            hexText(attachment)
                == "3552ab85385b161164a8a561bdf7788a5a64118354c68ea8d58fe6e85b99316db77e073d053fd1b8a16c1319")
        #expect(sender.alias(of: "gpu") == "x-0ef248ccdcc207222d4450aa469f4891")
    }

    @Test func everyReaderOpensItAndNobodyElse() throws {
        let message = try #require(sealed())
        for reader in readers {
            let opened = try #require(SealedMessage.open(message.bytes, with: reader, context: context))
            #expect(opened.text == text && opened.contentKey == message.contentKey)
            #expect(SealedMessage.open(message.bytes, with: reader, context: context + [0]) == nil)
        }
        #expect(SealedMessage.open(message.bytes, with: Self.key(9), context: context) == nil)
    }

    @Test func aChangeOrACutOpensNothing() throws {
        let message = try #require(sealed())
        for place in message.bytes.indices {
            var changed = message.bytes
            changed[place] ^= 0x10
            // The wraps are part of what is authenticated, the reader's own and those of others.
            #expect(SealedMessage.open(changed, with: readers[1], context: context) == nil, "byte \(place)")
        }
        for count in message.bytes.indices {
            #expect(SealedMessage.open(Array(message.bytes.prefix(count)), with: readers[1], context: context) == nil)
        }
        #expect(SealedMessage.open(message.bytes + [0], with: readers[1], context: context) == nil)
    }

    @Test func theSameIsTheSameBytesAndAnotherAudienceAnotherKey() throws {
        let first = try #require(sealed())
        #expect(sealed()?.bytes == first.bytes)
        let other = try #require(sealed(nil, Array("other".utf8)))
        #expect(other.contentKey == first.contentKey && other.bytes[1..<33] != first.bytes[1..<33])
        let fewer = try #require(sealed(Array(readers.dropLast())))
        #expect(fewer.contentKey != first.contentKey, "who was a reader does not read on")
        #expect(fewer.bytes.count == first.bytes.count, "how many there are shows in eights only")
    }

    @Test(arguments: [
        (1, true), (8, true), (9, true), (Limits.sealedReaders, true), (Limits.sealedReaders + 1, false), (0, false),
    ])
    func readersAreBounded(count: Int, isSealed: Bool) {
        let keys = (0..<count).map { Self.key(UInt8($0)) }
        #expect((sealed(keys) != nil) == isSealed)
        guard let message = sealed(keys), let last = keys.last else { return }
        #expect(SealedMessage.open(message.bytes, with: last, context: context)?.text == text)
    }

    /// A key that is no point of the curve, or one of small order, has nothing in common with anybody.
    @Test func badKeysOpenNothingAndCostTheOthersNothing() throws {
        let bad = try [
            [UInt8](repeating: 0, count: 32), [1] + [UInt8](repeating: 0, count: 31),
            [UInt8](repeating: 0xFF, count: 32),
        ]
        .map { try #require(PublicKey($0)) }
        let message = try #require(
            SealedMessage.seal(text, to: bad + [readers[1].publicKey], from: sender, context: context))
        #expect(SealedMessage.open(message.bytes, with: readers[1], context: context)?.text == text)
        var small = message.bytes
        small.replaceSubrange(1..<33, with: [UInt8](repeating: 0, count: 32))
        #expect(SealedMessage.open(small, with: readers[1], context: context) == nil)
    }

    @Test func whatIsSealedWithTheContentKeyIsBoundToItsPlace() {
        let key = [UInt8](repeating: 5, count: 32)
        let sealed = Sodium.shared.seal(text, key: key, context: context)
        #expect(Sodium.shared.open(sealed, key: key, context: context) == text)
        #expect(Sodium.shared.open(sealed, key: key, context: []) == nil)
        #expect(Sodium.shared.open(sealed, key: [UInt8](repeating: 6, count: 32), context: context) == nil)
        #expect(Sodium.shared.open(sealed, key: [1], context: context) == nil)
        for count in 0..<sealed.count {
            #expect(Sodium.shared.open(Array(sealed.prefix(count)), key: key, context: context) == nil)
        }
    }
}
