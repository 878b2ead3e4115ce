import MeshCrypto
import MeshModel
import Testing

@Suite struct ImportedTokenTests {
    private static let provider = RecordKey(Array(0..<16)) ?? RecordKey(.zero)

    /// The seed was worked out with an implementation of RFC 9106 of its own (Argon2id, version 0x13, 2 passes, 64 MiB,
    /// 1 lane, 32 bytes), not with libsodium: nodes of other builds must find the same key for ever.
    @Test func theSeedIsTheGoldenOne() throws {
        let token = try #require(
            RegistrationToken.imported("an-existing-registration-token", provider: Self.provider))
        #expect(hexText(token.key.seed) == "cf6aea8957edff7042f91e0e760e6ab0f7d11acfad178ba41f4b58d672746ffb")
    }

    @Test func oneTokenAtTwoProvidersIsTwoKeys() {
        let text = "an-existing-registration-token"
        let other = RegistrationToken.imported(text, provider: RecordKey(.zero))
        let here = RegistrationToken.imported(text, provider: Self.provider)
        #expect(here != nil && here?.key.publicKey != other?.key.publicKey)
    }

    @Test func whatMayNotBeImportedIsNotDerived() {
        #expect(RegistrationToken.imported("fifteen-letters", provider: Self.provider) == nil)
        #expect(RegistrationToken.imported(RegistrationToken.random().text, provider: Self.provider) == nil)
    }
}
