package import MeshModel

extension Catalog {
    /// The provider that `name` means for `principal`: `provider` or `seller@node/provider`.
    package func resolve(provider name: String, for principal: Principal) -> Result<Route, MeshError> {
        let admitted = providers.filter { provider in
            (provider.providerID == name || provider.fullName == name) && provider.admits(principal)
        }
        let own = admitted.filter { $0.homeNode == node && $0.scope.username == principal.username }
        let meant = own.isEmpty ? admitted : own
        guard let provider = meant.first else {
            return .failure(
                MeshError(
                    .notFound,
                    "there is no provider '\(name.prefix(256))' for this key; GET /v1/models lists what there is",
                    parameter: "provider"))
        }
        guard meant.count == 1 else { return .failure(Self.several(meant)) }
        return .success(Route(providers: [provider], model: ""))
    }

    /// Who offers `endpoint`, for a request that names neither model nor provider. Where an answer depends on what
    /// an earlier request left at a worker, several providers are ambiguous.
    package func resolve(endpoint: EndpointPath, for principal: Principal) -> Result<Route, MeshError> {
        let offering = providers.filter { provider in
            provider.admits(principal) && provider.hosts.contains { endpoint.isOffered(by: $0.endpoints) }
        }
        guard !offering.isEmpty else {
            return .failure(
                MeshError(
                    .endpointNotOffered,
                    "no provider that is connected now offers \(endpoint); a worker has to advertise it"))
        }
        if offering.count > 1, endpoint.family.keepsState { return .failure(Self.several(offering)) }
        return .success(Route(providers: offering, model: ""))
    }

    private static func several(_ providers: [CatalogProvider]) -> MeshError {
        let names = providers.prefix(8).map(\.fullName).sorted().joined(separator: ", ")
        return MeshError(
            .modelAmbiguous,
            "several providers could take this; name one with the query 'provider' or the header aisbf-provider: \(names)",
            parameter: "provider")
    }
}
