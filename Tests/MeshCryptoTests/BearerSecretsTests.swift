import MeshCrypto
import MeshModel
import Testing

@Suite struct BearerSecretsTests {
    @Test func aRegistrationTokenIsAKey() throws {
        let token = RegistrationToken.random()
        let parsed = try RegistrationToken.parse(token.text).get()
        #expect(parsed.key.publicKey == token.key.publicKey)
        #expect(token.text.hasPrefix("aisbf_reg_"))
    }

    @Test func anAPIKeyHintsAtItsHome() throws {
        let home = SigningKey.random().publicKey
        let secret = APIKeySecret(home: home, key: .random())
        let parsed = try APIKeySecret.parse(secret.text).get()
        #expect(parsed.homeHint == Array(home.bytes.prefix(4)))
        #expect(parsed.key.publicKey == secret.key.publicKey)
    }

    @Test func oneKindIsNotTakenForTheOther() {
        let token = RegistrationToken.random().text
        guard case .failure(let error) = APIKeySecret.parse(token) else {
            Issue.record("a registration token was taken for an API key")
            return
        }
        #expect(error == .otherKind(.registrationToken))
    }
}
