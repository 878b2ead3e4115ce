import MeshCrypto
import MeshExchange
package import MeshModel
import MeshStore

/// Providers that this node serves itself. It holds their keys, and so it is their only place.
extension Administration {
    package func createUpstream(
        _ id: String, scope: OwnerScope, access: ProviderAccess, displayName: String, maxConcurrency: Int,
        upstream: UpstreamChange
    ) async throws -> ProviderAccount {
        guard NameRule.isValid(id) else {
            throw MeshError(.invalidRequest, "a provider id has \(NameRule.text)", parameter: "provider_id")
        }
        return try await blocking { [self] in
            var provider = ProviderAccount(
                providerID: id, scope: scope, ownerKey: try ownerOfNew(id, scope), access: access,
                kind: ProviderKind.upstream, displayName: displayName.isEmpty ? id : displayName,
                maxConcurrency: maxConcurrency, attachKeys: [], createdAt: wall())
            provider.upstream = try upstream.applied(to: provider, upstreams.rule)
            try requireRoom(provider)
            // What a provider of this name left behind is not this one's.
            try directory.setUpstreamSecrets(nil, scope, id)
            try keep(upstream, of: provider)
            do { try store.createProvider(provider) } catch {
                try directory.setUpstreamSecrets(nil, scope, id)
                throw error
            }
            try publishProviders()
            return provider
        }
    }

    /// - Returns: whether what the upstream is asked with is something else now.
    @discardableResult
    func keep(_ change: UpstreamChange, of provider: ProviderAccount) throws -> Bool {
        var known = UpstreamSecrets()
        do throws(StoreError) {
            known = try directory.upstreamSecrets(provider.scope, provider.providerID) ?? known
        } catch {
            // New keys mend a damaged file; nothing else may be written in its place.
            guard change.replacesKeys else {
                if change.headers == nil { return false }
                throw error
            }
        }
        guard let secrets = change.applied(to: known) else { return false }
        try directory.setUpstreamSecrets(secrets.isEmpty ? nil : secrets, provider.scope, provider.providerID)
        return true
    }

    /// What is served of a provider here; nil for one that has workers.
    func upstream(of provider: ProviderAccount) throws -> UpstreamProvider? {
        guard let settings = provider.upstream else { return nil }
        var secrets = UpstreamSecrets()
        var problem: String?
        // A damaged file costs its own provider, and no other one's change and no start.
        do throws(StoreError) {
            secrets = try directory.upstreamSecrets(provider.scope, provider.providerID) ?? secrets
        } catch {
            problem = error.description
        }
        return UpstreamProvider(
            provider: recordKey(of: provider), owner: provider.ownerKey, providerID: provider.providerID,
            scope: provider.scope, settings: settings,
            secrets: secrets, keyProblem: problem)
    }

    /// A provider of this kind has no workers.
    static func requireWorkers(_ provider: ProviderAccount) throws(MeshError) {
        guard provider.upstream == nil else {
            throw MeshError(
                .conflict,
                "'\(provider.providerID)' is of kind '\(ProviderKind.upstream)': this node serves it itself, so it has no workers and no tokens"
            )
        }
    }
}
