import MeshCrypto
import MeshExchange
package import MeshModel
import MeshStore
import MeshUpstream

/// What an operator wants to be different about a provider's upstream; nil: as it is.
package struct UpstreamChange: Sendable {
    package enum Key: Sendable {
        case unchanged
        case set(String)
        case removed
    }

    package var baseURL: String?
    package var endpoints: [String]?
    package var key: Key

    package init(baseURL: String? = nil, endpoints: [String]? = nil, key: Key = .unchanged) {
        self.baseURL = baseURL
        self.endpoints = endpoints
        self.key = key
    }

    private var isEmpty: Bool {
        if case .unchanged = key { return baseURL == nil && endpoints == nil }
        return false
    }

    /// The settings as they are to be. Nothing is asked of the upstream.
    func applied(to provider: ProviderAccount) throws(MeshError) -> UpstreamSettings? {
        guard provider.kind == ProviderKind.upstream else {
            guard isEmpty else {
                throw MeshError(
                    .invalidRequest,
                    "only a provider of kind '\(ProviderKind.upstream)' has a base_url, endpoints and a key"
                )
            }
            return nil
        }
        var settings = provider.upstream ?? UpstreamSettings(baseURL: "")
        if let baseURL { settings.baseURL = try Self.address(baseURL) }
        if let endpoints { settings.endpoints = try Self.checked(endpoints) }
        switch key {
        case .unchanged: break
        case .set(let key):
            // The words say what is wrong and never what was given.
            if let problem = BackendKey.problem(key) {
                throw MeshError(.invalidRequest, "api_key \(problem)", parameter: "api_key")
            }
            settings.hasKey = true
        case .removed: settings.hasKey = false
        }
        guard !settings.baseURL.isEmpty else {
            throw MeshError(
                .invalidRequest,
                "a provider of kind '\(ProviderKind.upstream)' needs a base_url, such as https://api.example.com/v1",
                parameter: "base_url")
        }
        return settings
    }

    private static func address(_ text: String) throws(MeshError) -> String {
        do throws(BackendAddress.Problem) { return try BackendAddress(text).description } catch {
            throw MeshError(.invalidRequest, "base_url \(error.words)", parameter: "base_url")
        }
    }

    private static func checked(_ endpoints: [String]) throws(MeshError) -> [String] {
        var names: [String] = []
        for endpoint in endpoints {
            let name = endpoint.hasPrefix("/") ? String(endpoint.dropFirst()) : endpoint
            guard EndpointPath("/\(name)") != nil else {
                let families = EndpointPath.Family.allCases.map(\.rawValue).joined(separator: ", ")
                throw MeshError(
                    .invalidRequest,
                    "an endpoint is a path such as v1/embeddings, below v1/ and one of: \(families)",
                    parameter: "endpoints")
            }
            if !names.contains(name) { names.append(name) }
        }
        guard names.count <= Limits.workerEndpoints else {
            throw MeshError(
                .invalidRequest, "an upstream has at most \(Limits.workerEndpoints) endpoints", parameter: "endpoints")
        }
        return names
    }
}

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
            provider.upstream = try upstream.applied(to: provider)
            try requireRoom(provider)
            // What a provider of this name left behind is not this one's.
            try directory.setUpstreamKey(nil, scope, id)
            try keep(upstream.key, of: provider)
            do { try store.createProvider(provider) } catch {
                try directory.setUpstreamKey(nil, scope, id)
                throw error
            }
            try publishProviders()
            return provider
        }
    }

    /// - Returns: whether the key that is kept is another one now.
    @discardableResult
    func keep(_ key: UpstreamChange.Key, of provider: ProviderAccount) throws -> Bool {
        switch key {
        case .unchanged: return false
        case .set(let key): try directory.setUpstreamKey(key, provider.scope, provider.providerID)
        case .removed: try directory.setUpstreamKey(nil, provider.scope, provider.providerID)
        }
        return true
    }

    /// What is served of a provider here; nil for one that has workers.
    func upstream(of provider: ProviderAccount) throws -> UpstreamProvider? {
        guard let settings = provider.upstream else { return nil }
        var key: String?
        var problem: String?
        // A damaged file costs its own provider, and no other one's change and no start.
        do throws(StoreError) { key = try directory.upstreamKey(provider.scope, provider.providerID) } catch {
            problem = error.description
        }
        return UpstreamProvider(
            provider: recordKey(of: provider), owner: provider.ownerKey, providerID: provider.providerID,
            scope: provider.scope, settings: settings,
            apiKey: key, keyProblem: problem)
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
