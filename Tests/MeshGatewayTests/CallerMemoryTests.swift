import MeshCrypto
import MeshModel
import MeshRuntime
import Testing

@testable import MeshGateway

@Suite struct CallerMemoryTests {
    private let now = Timestamp(milliseconds: 1_000_000)

    /// Whoever the authenticator finds for a key.
    private func caller(_ secret: String, _ authenticator: Authenticator) throws -> (Caller, Timestamp?) {
        guard case .good(let caller, let until) = authenticator.standing(presenting: secret, wall: now) else {
            throw NotFound()
        }
        return (caller, until)
    }

    private struct NotFound: Error {}

    private func keyed(expires: Timestamp?) -> (secret: String, authenticator: Authenticator, account: APIKeyAccount) {
        let secret = APIKeySecret(home: SigningKey.random().publicKey, key: .random())
        let account = APIKeyAccount(
            publicKey: secret.key.publicKey, username: "bob", ownerKey: SigningKey.random().publicKey, label: "",
            scopes: [.inference], createdAt: Timestamp(milliseconds: 0), expiresAt: expires)
        let authenticator = Authenticator()
        authenticator.load(keys: [account], users: [])
        return (secret.text, authenticator, account)
    }

    @Test func itHoldsForTheSameHeaderOnly() throws {
        let (secret, authenticator, _) = keyed(expires: nil)
        let memory = CallerMemory()
        let header = "Bearer \(secret)"
        #expect(memory.caller(header, authenticator.edition, now) == nil)
        let (caller, until) = try caller(secret, authenticator)
        memory.note(header, caller, until: until, authenticator.edition)
        #expect(memory.caller(header, authenticator.edition, now) == caller)
        for other in [String(header.dropLast()), header + " ", "bearer \(secret)", ""] {
            #expect(memory.caller(other, authenticator.edition, now) == nil)
        }
    }

    @Test func itEndsWithTheKeyAndWithAnyChange() throws {
        let (secret, authenticator, account) = keyed(expires: now.advanced(byMilliseconds: 10))
        let memory = CallerMemory()
        let (caller, until) = try caller(secret, authenticator)
        memory.note(secret, caller, until: until, authenticator.edition)
        #expect(memory.caller(secret, authenticator.edition, now.advanced(byMilliseconds: 9)) == caller)
        #expect(memory.caller(secret, authenticator.edition, now.advanced(byMilliseconds: 10)) == nil)
        authenticator.load(keys: [account], users: [])
        #expect(memory.caller(secret, authenticator.edition, now) == nil)
    }
}
