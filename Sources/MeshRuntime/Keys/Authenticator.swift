import MeshCrypto
package import MeshModel
import Synchronization

/// Who calls: an API key that was found good.
package final class Caller: Equatable, Sendable {
    package let keyID: String
    package let username: String
    package let owner: PublicKey
    package let scopes: [APIKeyScope]
    /// What a request is for that names no model.
    package let defaultModel: String?

    init(keyID: String, username: String, owner: PublicKey, scopes: [APIKeyScope], defaultModel: String?) {
        self.keyID = keyID
        self.username = username
        self.owner = owner
        self.scopes = scopes
        self.defaultModel = defaultModel
    }

    package static func == (one: Caller, other: Caller) -> Bool {
        one.keyID == other.keyID && one.username == other.username && one.owner == other.owner
            && one.scopes == other.scopes && one.defaultModel == other.defaultModel
    }
}

/// Answers "whose key is this?" from memory. Only public keys are held; the secret a buyer presents is turned into
/// its public key, which costs a scalar multiplication, so the answer is kept under a keyed hash of the secret.
package final class Authenticator: Sendable {
    private struct State {
        var accounts: [PublicKey: APIKeyAccount] = [:]
        var disabledUsers: Set<String> = []
        var known: [Bytes16: PublicKey] = [:]
    }

    private let state = Mutex(State())
    /// Another number whenever somebody may be good for something else than before.
    private let changes = Atomic<UInt64>(0)
    private let hashKey = Sodium.shared.randomBytes(32)

    package init() {}

    /// Replaces everything that is known of keys and users; revoked keys are gone at once.
    package func load(keys: [APIKeyAccount], users: [UserAccount]) {
        state.withLock { state in
            state.accounts = Dictionary(keys.map { ($0.publicKey, $0) }, uniquingKeysWith: { first, _ in first })
            state.disabledUsers = Set(users.filter(\.disabled).map(\.username))
            state.known = [:]
        }
        changes.add(1, ordering: .releasing)
    }

    /// What was found of a key holds as long as this number is the same, and the key has not expired.
    package var edition: UInt64 { changes.load(ordering: .acquiring) }

    /// What a presented secret is good for.
    package enum Standing: Sendable {
        case good(Caller, until: Timestamp?)
        /// The key is good and its user is disabled. Only the holder of the key learns it.
        case disabled
        /// Every kind of key that is not good, without a hint which.
        case unknown
    }

    package func standing(presenting secret: String, wall: Timestamp) -> Standing {
        guard secret.utf8.count <= 256 else { return .unknown }
        let digest = Sodium.shared.hash16(Array(secret.utf8), key: hashKey)
        let publicKey: PublicKey
        if let known = state.withLock({ $0.known[digest] }) {
            publicKey = known
        } else {
            guard case .success(let parsed) = APIKeySecret.parse(secret) else { return .unknown }
            publicKey = parsed.key.publicKey
        }
        return state.withLock { state in
            guard let account = state.accounts[publicKey], account.isValid(at: wall) else { return .unknown }
            guard !state.disabledUsers.contains(account.username) else { return .disabled }
            if state.known[digest] == nil {
                if state.known.count >= Limits.authenticationCacheEntries { state.known = [:] }
                state.known[digest] = publicKey
            }
            let caller = Caller(
                keyID: account.keyID, username: account.username, owner: account.ownerKey, scopes: account.scopes,
                defaultModel: account.defaultModel)
            return .good(caller, until: account.expiresAt)
        }
    }
}
