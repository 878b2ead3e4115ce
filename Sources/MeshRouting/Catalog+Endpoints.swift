package import MeshModel

extension Catalog {
    /// The provider that `name` means for `principal`: `provider`, `seller@node/provider` or `key:…`, as in the name of
    /// a model.
    package func resolve(provider name: String, for principal: Principal) -> Result<Route, MeshError> {
        let found: CatalogProvider?
        // With a slash behind it, it reads as the beginning of a model's name.
        switch ModelName(name + "/") {
        case .key(let key, _): found = provider(pinned: key) ?? provider(key)
        case .full(let owner, let home, let id, _): found = provider(owner: owner, home: home, id: id)
        case .provider(let id, _):
            switch names.short(id, in: "", for: principal) {
            case .provider(let key): found = provider(pinned: key)
            case .contested, .unknown, .model:
                let namesakes = providers(withID: id).filter { $0.admits(principal) }
                guard namesakes.isEmpty else { return .failure(several(namesakes)) }
                found = nil
            }
        case .bare: found = nil
        }
        guard let found, found.admits(principal) else {
            return .failure(
                MeshError(
                    .notFound,
                    "there is no provider '\(name.prefix(256))' for this key; GET /v1/models lists what there is",
                    parameter: "provider"))
        }
        return .success(Route(providers: [found], model: ""))
    }

    /// Who offers `endpoint`, for a request that names neither model nor provider. An answer depends on what an earlier
    /// request left at a worker, so several providers are ambiguous.
    package func resolve(endpoint: EndpointPath, for principal: Principal) -> Result<Route, MeshError> {
        let offering = providers.filter { provider in
            provider.admits(principal) && provider.hosts.contains { endpoint.isOffered(by: $0.offer.endpoints) }
        }
        guard !offering.isEmpty else {
            return .failure(
                MeshError(
                    .endpointNotOffered,
                    "no provider that is connected now offers \(endpoint); a worker has to advertise it"))
        }
        if offering.count > 1 { return .failure(several(offering)) }
        return .success(Route(providers: offering, model: ""))
    }

    private func several(_ providers: [CatalogProvider]) -> MeshError {
        let names = providers.prefix(8).map(\.fullName).sorted().joined(separator: ", ")
        return MeshError(
            .modelAmbiguous,
            "several providers could take this; name one with the query 'provider' or the header aisbf-provider: \(names)",
            parameter: "provider")
    }
}
