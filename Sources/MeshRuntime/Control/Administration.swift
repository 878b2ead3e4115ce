package import MeshBroker
package import MeshCrypto
import MeshExchange
package import MeshModel
import MeshRouting
import MeshSessions
package import MeshStore
import MeshWire
import NIOPosix
import Synchronization

/// What the operator can do to this node: users, providers, tokens, API keys. Every change is stored before it is
/// told to anybody.
package final class Administration: Sendable {
    let store: MeshStore
    let directory: DataDirectory
    let identity: NodeIdentity
    private let authenticator: Authenticator
    let signers: Signers
    private let control: ControlPlane
    let sessions: SessionTable
    let catalog: CatalogHolder
    let upstreams: Upstreams
    let book: MarketBook
    let quotas: Quotas
    /// The time of day.
    let wall: @Sendable () -> Timestamp
    /// Held from reading the store to telling the others: of two changes at once, the later one is told last.
    private let telling = Mutex(())
    /// Keys in adverts of this node that are not proven yet.
    private let unproven = Mutex<[PublicKey]>([])

    package init(
        store: MeshStore, directory: DataDirectory, identity: NodeIdentity, authenticator: Authenticator,
        signers: Signers, control: ControlPlane, sessions: SessionTable, catalog: CatalogHolder, upstreams: Upstreams,
        book: MarketBook, quotas: Quotas, wall: @escaping @Sendable () -> Timestamp
    ) {
        self.quotas = quotas
        self.book = book
        self.wall = wall
        self.upstreams = upstreams
        self.store = store
        self.directory = directory
        self.identity = identity
        self.authenticator = authenticator
        self.signers = signers
        self.control = control
        self.sessions = sessions
        self.catalog = catalog
    }

    var node: PublicKey { identity.node.publicKey }

    /// Loads what is stored and tells the rest of the node. Call once at start.
    package func restore() async throws {
        try await blocking { [self] in
            for user in try store.users() {
                if let key = try directory.ownerKey(user.username) { signers.add(key) }
            }
            try reloadKeys()
            try publishProviders()
            try publishMarket()
            try publishQuotas()
        }
    }

    // MARK: Users

    package func users() async throws -> [UserAccount] { try await blocking { [store] in try store.users() } }

    package func createUser(_ username: String) async throws -> UserAccount {
        guard NameRule.isValid(username), username != "global" else {
            throw MeshError(
                .invalidRequest, "a username has \(NameRule.text); 'global' is reserved", parameter: "username")
        }
        return try await blocking { [self] in
            if try store.user(named: username) != nil {
                throw MeshError(.conflict, "there is a user '\(username)' already", parameter: "username")
            }
            let key = try directory.ownerKeyCreatingIfMissing(username)
            let user = UserAccount(username: username, ownerKey: key.publicKey, createdAt: wall())
            try store.createUser(user)
            signers.add(key)
            control.openAgain()
            try reloadKeys()
            return user
        }
    }

    // MARK: Providers

    package func providers() async throws -> [ProviderAccount] {
        try await blocking { [store] in try store.providers() }
    }

    package func provider(_ scope: OwnerScope, _ id: String) async throws -> ProviderAccount {
        try await blocking { [store] in
            guard let provider = try store.provider(scope: scope, id: id) else { throw Self.noProvider(scope, id) }
            return provider
        }
    }

    /// - Returns: the provider and its first registration token, which is shown once and kept nowhere.
    package func createProvider(
        _ id: String, scope: OwnerScope, access: ProviderAccess, displayName: String, maxConcurrency: Int
    ) async throws -> (provider: ProviderAccount, token: RegistrationToken) {
        guard NameRule.isValid(id) else {
            throw MeshError(.invalidRequest, "a provider id has \(NameRule.text)", parameter: "provider_id")
        }
        let token = RegistrationToken.random()
        let provider = try await blocking { [self] in
            let owner = try ownerOfNew(id, scope)
            let provider = ProviderAccount(
                providerID: id, scope: scope, ownerKey: owner, access: access,
                displayName: displayName.isEmpty ? id : displayName, maxConcurrency: maxConcurrency,
                attachKeys: [
                    AttachKeyEntry(
                        publicKey: token.key.publicKey, label: "first", createdAt: wall(),
                        proof: Self.proof(of: token.key, owner: owner, providerID: id))
                ], createdAt: wall())
            try requireRoom(provider)
            try store.createProvider(provider)
            try publishProviders()
            return provider
        }
        return (provider, token)
    }

    /// Who owns a provider that is to be made.
    func ownerOfNew(_ id: String, _ scope: OwnerScope) throws -> PublicKey {
        let owner = try ownerKey(scope)
        if try store.provider(scope: scope, id: id) != nil {
            throw MeshError(.conflict, "\(scope.username) has a provider '\(id)' already", parameter: "provider_id")
        }
        guard try store.providers(in: scope).count + publications(of: scope) < Limits.providersPerOwner else {
            throw MeshError(
                .conflict,
                "an owner may have at most \(Limits.providersPerOwner) providers and published rotations and policies")
        }
        return owner
    }

    package func removeProvider(_ scope: OwnerScope, _ id: String) async throws {
        try await blocking { [self] in
            guard let provider = try store.provider(scope: scope, id: id),
                try store.removeProvider(scope: scope, id: id)
            else { throw Self.noProvider(scope, id) }
            try publishProviders()
            if provider.upstream != nil { try directory.setUpstreamSecrets(nil, scope, id) }
            sessions.close(workersOf: recordKey(of: provider), .tokenRevoked)
        }
    }

    /// What the mesh knows the provider by: one that is not for everybody stands under an alias.
    func recordKey(of provider: ProviderAccount) -> RecordKey {
        if case .public = provider.access { return Self.recordKey(provider.ownerKey, provider.providerID) }
        let alias = signers.key(provider.ownerKey)?.alias(of: provider.providerID)
        return Self.recordKey(provider.ownerKey, alias ?? provider.providerID)
    }

    /// - Parameter name: of the provider, whatever its access: imported tokens are salted with this key.
    static func recordKey(_ owner: PublicKey, _ name: String) -> RecordKey {
        let material = RecordEnvelope.keyMaterial(type: .providerAdvert, signer: owner, name: Array(name.utf8))
        return RecordKey(Sodium.shared.hash16(material, key: []))
    }

    static func noProvider(_ scope: OwnerScope, _ id: String) -> MeshError {
        MeshError(.notFound, "\(scope.username) has no provider '\(id)'")
    }

    // MARK: API keys

    package func keys() async throws -> [APIKeyAccount] { try await blocking { [store] in try store.apiKeys() } }

    /// - Returns: the account and the secret, which is shown once and kept nowhere.
    package func createKey(
        username: String, label: String, scopes: [APIKeyScope], lifeSeconds: Int64?, defaultModel: String? = nil
    ) async throws -> (account: APIKeyAccount, secret: APIKeySecret) {
        let secret = APIKeySecret(home: node, key: .random())
        if let lifeSeconds, !(1...Limits.tokenLifeSeconds).contains(lifeSeconds) {
            throw MeshError(
                .invalidRequest, "expires_in_seconds must be between 1 and \(Limits.tokenLifeSeconds) (ten years)",
                parameter: "expires_in_seconds")
        }
        let account = try await blocking { [self] in
            let scope = OwnerScope(username: username)
            let now = wall()
            let account = APIKeyAccount(
                publicKey: secret.key.publicKey, username: scope.username, ownerKey: try ownerKey(scope), label: label,
                scopes: scopes, createdAt: now,
                expiresAt: lifeSeconds.map { now.advanced(byMilliseconds: $0 * 1_000) }, defaultModel: defaultModel)
            try store.createAPIKey(account)
            try reloadKeys()
            return account
        }
        return (account, secret)
    }

    package func revokeKey(_ keyID: String) async throws {
        try await blocking { [self] in
            let key = try knownKey(keyID)
            _ = try store.revokeAPIKey(publicKey: key.publicKey, at: wall())
            try reloadKeys()
        }
    }

    /// What requests with the key are for that name no model.
    /// - Parameter model: nil where they have to name one again.
    package func setDefaultModel(_ model: String?, ofKey keyID: String) async throws -> APIKeyAccount {
        try await blocking { [self] in
            var key = try knownKey(keyID)
            try store.setDefaultModel(model, of: key.publicKey)
            try reloadKeys()
            key.defaultModel = model
            return key
        }
    }

    /// A key with a secret of its own in place of `keyID`, which ends after `overlapSeconds`, at once with 0.
    package func rotateKey(
        _ keyID: String, overlapSeconds: Int64
    ) async throws -> (account: APIKeyAccount, secret: APIKeySecret) {
        guard (0...Limits.tokenOverlapSeconds).contains(overlapSeconds) else {
            throw MeshError(
                .invalidRequest, "overlap_seconds must be between 0 and \(Limits.tokenOverlapSeconds) (30 days)",
                parameter: "overlap_seconds")
        }
        let secret = APIKeySecret(home: node, key: .random())
        let account = try await blocking { [self] in
            let old = try knownKey(keyID)
            let now = wall()
            guard old.isValid(at: now) else {
                throw MeshError(.conflict, "the key \(old.keyID) has ended already; make a new one")
            }
            // As long as the old one was from its beginning.
            let life = old.expiresAt.map { $0.milliseconds - old.createdAt.milliseconds }
            let account = APIKeyAccount(
                publicKey: secret.key.publicKey, username: old.username, ownerKey: try ownerKey(old.scope),
                label: old.label, scopes: old.scopes, createdAt: now,
                expiresAt: life.map { now.advanced(byMilliseconds: $0) }, defaultModel: old.defaultModel)
            try store.replaceAPIKey(
                old, with: account, endingAt: now.advanced(byMilliseconds: overlapSeconds * 1_000), now: now)
            try reloadKeys()
            return account
        }
        return (account, secret)
    }

    func knownKey(_ keyID: String) throws -> APIKeyAccount {
        let matches = try store.apiKeys(idPrefix: keyID)
        let shown = keyID.prefix(64)
        guard let key = matches.first else { throw MeshError(.notFound, "there is no API key '\(shown)'") }
        guard matches.count == 1 else {
            throw MeshError(.conflict, "several API keys start with '\(shown)'; give more of the id")
        }
        return key
    }

    // MARK: Names

    /// The operator's word on a name; whoever asks behind it hears what the name means then.
    package func settle(_ input: Broker.NameInput) { control.submit(.names(input)) }

    // MARK: Telling the rest of the node

    func ownerKey(_ scope: OwnerScope) throws -> PublicKey {
        switch scope {
        case .global: return identity.operatorKey.publicKey
        case .user(let name):
            guard let user = try store.user(named: name) else {
                throw MeshError(
                    .notFound, "there is no user '\(name)'; create it with 'aisbf user create \(name)'",
                    parameter: "username")
            }
            guard !user.disabled else {
                throw MeshError(.conflict, "user '\(name)' is disabled; 'aisbf user enable \(name)' changes that")
            }
            return user.ownerKey
        }
    }

    func reloadKeys() throws {
        try telling.withLock { _ in
            let users = try store.users()
            authenticator.load(keys: try store.apiKeys(), users: users)
            control.submit(.readers(users.map(\.ownerKey)))
        }
    }

    /// What disabled users offer is withdrawn, not forgotten.
    func publishProviders() throws {
        let providers = try telling.withLock { _ in
            let disabled = Set(try store.users().filter(\.disabled).map(\.username))
            let all = try store.providers()
            let barred = all.filter { disabled.contains($0.scope.username) }
            let offered = all.filter { !disabled.contains($0.scope.username) }
            sessions.bar(Set(barred.map(recordKey)), .accountDisabled)
            control.submit(.providers(try offered.compactMap { try draft($0) } + publicationDrafts()))
            upstreams.set(try offered.compactMap { try upstream(of: $0) })
            return offered
        }
        let keys = providers.flatMap(\.attachKeys).filter { $0.proof == nil }.map(\.publicKey)
        unproven.withLock { $0 = keys }
    }

    /// Proves the keys of tokens from before there were proofs: this node made them and kept no seed, but it has the
    /// seed again once a worker has presented the token here. Cheap while there is nothing to do; call it every second.
    package func completeProofs() async throws {
        let presented = unproven.withLock { keys in keys.filter { signers.key($0) != nil } }
        guard !presented.isEmpty, store.health.state == .writable else { return }
        try await blocking { [self] in
            for provider in try store.providers() { try completeProofs(of: provider, presented) }
            try publishProviders()
            // What would not fit the advert is not tried again before something changes.
            unproven.withLock { keys in keys.removeAll { presented.contains($0) } }
        }
    }

    private func completeProofs(of provider: ProviderAccount, _ presented: [PublicKey]) throws {
        var provider = provider
        for index in provider.attachKeys.indices {
            let entry = provider.attachKeys[index]
            guard entry.proof == nil, presented.contains(entry.publicKey), let key = signers.key(entry.publicKey)
            else { continue }
            let proof = Self.proof(of: key, owner: provider.ownerKey, providerID: provider.providerID)
            provider.attachKeys[index].proof = proof
            guard (try? requireRoom(provider)) != nil else { return }
            try store.addAttachKeyProof(entry.publicKey, proof)
        }
    }

    /// Says, with the key of a token, which provider the token is for.
    static func proof(of key: SigningKey, owner: PublicKey, providerID: String) -> [UInt8] {
        key.sign(Statement.attachKey(owner: owner, providerID: providerID))
    }

    /// Nil for a provider of which nothing can be said, because its owner's key is not here.
    func draft(_ provider: ProviderAccount) throws -> Broker.ProviderDraft? {
        var advert = Aisbf_Mesh_V1_ProviderAdvert()
        advert.providerID = provider.providerID
        advert.homeNode = node.bytes.protobuf
        advert.kind = provider.kind
        advert.displayName = String(provider.displayName.prefix(64))
        advert.maxConcurrency = UInt32(clamping: provider.maxConcurrency)
        provider.prices.write(to: &advert)
        advert.dataPolicy = provider.dataPolicy.record
        switch provider.access {
        case .public: advert.access = .public
        case .ownerOnly: advert.access = .ownerOnly
        case .named(let keys):
            advert.access = .named
            advert.namedKeys = keys.prefix(Limits.advertNamedKeys).map(\.bytes.protobuf)
        }
        advert.attachKeys = provider.attachKeys.map { entry in
            var key = Aisbf_Mesh_V1_AttachKey()
            key.publicKey = entry.publicKey.bytes.protobuf
            key.label = entry.label.cut(toUTF8Bytes: 32)
            key.notAfterMs = entry.notAfter.map { UInt64(clamping: $0.milliseconds) } ?? 0
            key.allowedHosts = entry.allowedHosts.map(\.bytes.protobuf)
            key.derivation = entry.derivation.rawValue
            if let proof = entry.proof { key.proof = proof.protobuf }
            return key
        }
        if case .user(let username) = provider.scope {
            advert.binding = binding(username, provider.ownerKey, since: provider.createdAt)
        }
        if case .public = provider.access { return Broker.ProviderDraft(owner: provider.ownerKey, advert: advert) }
        return try sealed(advert, provider)
    }

    /// A provider that is not for everybody is nobody's business but its owner's, its workers' and its named buyers': for
    /// all others its advert holds what a token is checked against, under an alias.
    private func sealed(
        _ advert: Aisbf_Mesh_V1_ProviderAdvert, _ provider: ProviderAccount
    ) throws -> Broker.ProviderDraft? {
        guard let owner = signers.key(provider.ownerKey) else { return nil }
        var outer = Aisbf_Mesh_V1_ProviderAdvert()
        outer.providerID = owner.alias(of: provider.providerID)
        outer.homeNode = advert.homeNode
        outer.access = .ownerOnly
        outer.attachKeys = advert.attachKeys
        var inner = advert
        inner.homeNode = [UInt8]().protobuf
        for place in advert.attachKeys.indices {
            outer.attachKeys[place].label = ""
            outer.attachKeys[place].proof = [UInt8]().protobuf
            inner.attachKeys[place] = Aisbf_Mesh_V1_AttachKey()
            inner.attachKeys[place].label = advert.attachKeys[place].label
            inner.attachKeys[place].proof = advert.attachKeys[place].proof
        }
        if case .user(let username) = provider.scope {
            outer.binding = binding(
                owner.alias(of: "user \(username)"), provider.ownerKey, since: provider.createdAt)
        }
        var readers = [provider.ownerKey] + provider.attachKeys.map(\.publicKey)
        if case .named(let keys) = provider.access { readers += keys.prefix(Limits.advertNamedKeys) }
        let sealed = SealedMessage.seal(
            RecordBody.bytes(of: inner), to: readers, from: owner,
            context: SealedContext.advert(owner: provider.ownerKey, home: node, name: outer.providerID))
        guard let sealed else { return nil }
        outer.sealed = sealed.bytes.protobuf
        return Broker.ProviderDraft(
            owner: provider.ownerKey, advert: outer,
            details: ProviderDetails(advert: inner, sealed: sealed.bytes, contentKey: sealed.contentKey))
    }

    /// An advert that does not fit a record would never be heard of; so nothing is stored that makes one.
    func requireRoom(_ provider: ProviderAccount) throws {
        guard let draft = try draft(provider) else {
            throw MeshError(
                .internalError, "the key of the provider's owner is missing; see its file in the data directory")
        }
        let size = RecordBody.bytes(of: draft.advert).count
        guard size <= Limits.recordBodyBytes else {
            throw MeshError(
                .invalidRequest,
                "the provider's advert would have \(size) bytes, and \(Limits.recordBodyBytes) is the most; remove tokens or prices, or name fewer nodes and buyers"
            )
        }
    }

    /// - Parameter made: when what it is for was made: counted from then in whole years, so that the advert does not change at
    ///   every start.
    func binding(_ username: String, _ owner: PublicKey, since made: Timestamp) -> Aisbf_Mesh_V1_ScopeBinding {
        let year: Int64 = 365 * 86_400_000
        let age = max(0, wall().milliseconds - made.milliseconds)
        let notAfter = made.advanced(byMilliseconds: (age / year + 2) * year)
        var binding = Aisbf_Mesh_V1_ScopeBinding()
        binding.username = username
        binding.ownerKey = owner.bytes.protobuf
        binding.homeNode = node.bytes.protobuf
        binding.notAfterMs = UInt64(clamping: notAfter.milliseconds)
        binding.signature =
            identity.node.sign(
                Statement.scopeBinding(username: username, owner: owner, home: node, notAfter: notAfter)
            ).protobuf
        return binding
    }

    /// Runs what touches disk off the event loops; `StoreError`s keep their words for the log and become `conflict`
    /// or `internal_error` for the caller.
    func blocking<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
        do {
            return try await NIOThreadPool.singleton.runIfActive(body)
        } catch let error as StoreError { throw error.told }
    }
}
