import MeshAccounting
import MeshExchange
package import MeshModel
import MeshRouting
import MeshSessions
import MeshStore

/// What an operator wants to be different about a provider; nil: as it is.
package struct ProviderChange: Sendable {
    package var access: ProviderAccess?
    /// Who is named, without saying anything about `access`, which has to be `named` then.
    package var named: [PublicKey]?
    package var displayName: String?
    package var maxConcurrency: Int?
    package var upstream: UpstreamChange
    package var dataPolicy: DataPolicy?
    package var prices: PriceChange?

    package init(
        access: ProviderAccess? = nil, named: [PublicKey]? = nil, displayName: String? = nil,
        maxConcurrency: Int? = nil, upstream: UpstreamChange = UpstreamChange()
    ) {
        self.upstream = upstream
        self.access = access
        self.named = named
        self.displayName = displayName
        self.maxConcurrency = maxConcurrency
    }
}

/// What becomes of accounts after they were made.
extension Administration {
    /// A disabled user's keys and workers are refused from now on, and what it offers is withdrawn from the mesh.
    /// Nothing is deleted: enabling takes it all back.
    package func setUser(_ username: String, disabled: Bool) async throws -> UserAccount {
        let (user, providers) = try await blocking { [self] in
            guard var user = try store.user(named: username) else { throw Self.noUser(username) }
            try store.setUserDisabled(username, disabled)
            user.disabled = disabled
            try reloadKeys()
            try publishProviders()
            try publishMarket()
            return (user, try store.providers(in: .user(username)).map(recordKey))
        }
        let isShown = !disabled
        await settled { catalog in providers.allSatisfy { (catalog.provider($0) != nil) == isShown } }
        return user
    }

    /// Removes a user with its API keys; one that has providers only with `force`, and these with it. The file of its
    /// owner key is put aside: a later user of the same name is somebody else.
    package func removeUser(_ username: String, force: Bool) async throws {
        let providers = try await blocking { [self] in
            guard try store.user(named: username) != nil else { throw Self.noUser(username) }
            let providers = try store.providers(in: .user(username))
            guard providers.isEmpty || force else {
                let names = providers.prefix(8).map { "\(username)/\($0.providerID)" }.joined(separator: ", ")
                throw MeshError(
                    .conflict,
                    "user '\(username)' still has providers (\(names)); remove them first, or add --force to remove them as well"
                )
            }
            let keys = providers.map(recordKey)
            let market = try store.marketEntries().filter { $0.scope == .user(username) }
            try store.changeMarket(saved: [], removed: market.map { ($0.kind, $0.scope, $0.name) })
            // A later user of the same name is somebody else.
            try store.removeQuota(QuotaSubject(.user, username))
            try store.removeUser(username)
            try publishQuotas()
            try reloadKeys()
            try publishProviders()
            try publishMarket()
            for key in keys { sessions.close(workersOf: key, .tokenRevoked) }
            for provider in providers where provider.upstream != nil {
                try directory.setUpstreamSecrets(nil, provider.scope, provider.providerID)
            }
            return keys
        }
        // The withdrawal is signed with the owner's key, so it comes first.
        await settled { catalog in providers.allSatisfy { catalog.provider($0) == nil } }
        try await blocking { [directory, wall] in try directory.retireOwnerKey(username, at: wall()) }
    }

    package func updateProvider(
        _ scope: OwnerScope, _ id: String, _ change: ProviderChange
    ) async throws -> ProviderAccount {
        let (provider, before, oldKey) = try await blocking {
            [self] () throws -> (ProviderAccount, Bytes32?, RecordKey) in
            guard let old = try store.provider(scope: scope, id: id) else { throw Self.noProvider(scope, id) }
            var provider = old
            if let access = change.access { provider.access = access }
            if let named = change.named {
                guard case .named = provider.access else {
                    throw MeshError(
                        .invalidRequest, "'named' belongs to the access 'named'; this provider's is another",
                        parameter: "named")
                }
                provider.access = .named(named)
            }
            if let name = change.displayName { provider.displayName = name.isEmpty ? id : name }
            if let limit = change.maxConcurrency { provider.maxConcurrency = limit }
            if let policy = change.dataPolicy { provider.dataPolicy = policy }
            if let prices = change.prices { provider.prices = try prices.applied(to: provider.prices) }
            provider.upstream = try change.upstream.applied(to: old, upstreams.rule)
            let oldKey = recordKey(of: old)
            let before = catalog.current.provider(oldKey)?.advertHash
            let isNewKey = try keep(change.upstream, of: provider)
            guard provider != old || isNewKey else { return (provider, nil, oldKey) }
            try requireRoom(provider)
            try store.updateProvider(provider)
            try publishProviders()
            // Where it is served from is nobody's business but this node's.
            var told = provider
            told.upstream = old.upstream
            return (provider, told == old ? nil : before, oldKey)
        }
        if before != nil {
            let key = recordKey(of: provider)
            await settled { catalog in
                // What became private or public is another record, and the old one has to be gone.
                guard let now = catalog.provider(key), now.advertHash != before else { return false }
                return key == oldKey || catalog.provider(oldKey) == nil
            }
        }
        return provider
    }

    static func noUser(_ username: String) -> MeshError {
        MeshError(.notFound, "there is no user '\(username.prefix(64))'")
    }

    /// Waits until this node itself acts on a change: at most two seconds, because it will in any case, and a node
    /// whose clock is doubted signs nothing.
    private func settled(_ isSo: @escaping @Sendable (Catalog) -> Bool) async {
        await catalog.wait(atMost: Limits.changeWaitMs, until: isSo)
    }
}
