package import MeshModel

/// A `model` string, cut at the slashes that matter; model ids may contain slashes themselves.
package enum ModelName: Hashable, Sendable {
    /// `seller@node/provider/model`
    case full(owner: String, node: String, provider: String, model: String)
    /// `key:…/model`
    case key(RecordKey, model: String)
    /// `provider/model`, or a model id that contains a slash
    case provider(String, model: String)
    case bare(String)

    package init(_ text: String) {
        guard let slash = text.firstIndex(of: "/") else {
            self = .bare(text)
            return
        }
        let first = text[..<slash]
        let rest = text[text.index(after: slash)...]
        if let key = ProviderKeyName.key(first) {
            self = .key(key, model: String(rest))
        } else if let at = first.firstIndex(of: "@"), let second = rest.firstIndex(of: "/") {
            self = .full(
                owner: String(first[..<at]), node: String(first[first.index(after: at)...]),
                provider: String(rest[..<second]), model: String(rest[rest.index(after: second)...]))
        } else {
            self = .provider(String(first), model: String(rest))
        }
    }
}

extension Catalog {
    /// What `text` means for `principal` (Docs/Reference/http-api.md, "Model names").
    package func resolve(_ text: String, for principal: Principal) -> Result<Route, MeshError> {
        switch meaning(of: text, for: principal) {
        case .route(let route): return .success(route)
        case .ambiguous(let names):
            let joined = names.joined(separator: ", ")
            return .failure(
                MeshError(
                    .modelAmbiguous, "'\(text.prefix(256))' could mean several providers; use one of: \(joined)",
                    parameter: "model"))
        case .unknown: return .failure(unknown(text, principal))
        }
    }

    enum Meaning {
        case route(Route)
        /// Names of what it could mean, each of which means one.
        case ambiguous([String])
        case unknown
    }

    /// Makes no suggestions: those come from the listing, which asks here for every name it shows.
    func meaning(of text: String, for principal: Principal) -> Meaning {
        switch ModelName(text) {
        case .full(let owner, let home, let id, let model):
            return narrow(provider(owner: owner, home: home, id: id), model: model, principal)
        case .key(let key, let model):
            return narrow(provider(pinned: key) ?? provider(key), model: model, principal)
        case .provider(let id, let model):
            switch names.short(id, in: text, for: principal) {
            // Gone or not for the caller: never somebody else's of that name.
            case .provider(let key): return narrow(provider(pinned: key), model: model, principal)
            case .model: return bare(text, principal)
            case .contested: return ambiguous(id, model: model, principal)
            case .unknown:
                let isThere = providers(withID: id).contains { $0.admits(principal) }
                return isThere ? ambiguous(id, model: model, principal) : bare(text, principal)
            }
        case .bare: return bare(text, principal)
        }
    }

    /// The one provider that a full name means, whatever its node and its owner are called now.
    func provider(owner: String, home: String, id: String) -> CatalogProvider? {
        guard let home = names.node(named: home), let key = names.owner(named: owner, at: home) else { return nil }
        return providers(withID: id).first {
            $0.homeNode == home && $0.owner == key && $0.scope.username == owner
        }
    }

    /// A provider the caller may not use is no different from one that does not exist.
    private func narrow(_ provider: CatalogProvider?, model: String, _ principal: Principal) -> Meaning {
        guard let provider, provider.admits(principal) else { return .unknown }
        if provider.offers(model) || provider.hosts.isEmpty || provider.modelsSeen.contains(model) {
            return .route(Route(providers: [provider], model: model))
        }
        return .unknown
    }

    private func ambiguous(_ id: String, model: String, _ principal: Principal) -> Meaning {
        let admitted = providers(withID: id).filter { $0.admits(principal) }.prefix(8)
        return admitted.isEmpty ? .unknown : .ambiguous(admitted.map { "\($0.fullName)/\(model)" }.sorted())
    }

    private func bare(_ model: String, _ principal: Principal) -> Meaning {
        let admitted = providers(seenWith: model).filter { $0.admits(principal) }
        if admitted.isEmpty { return .unknown }
        let offering = admitted.filter { $0.offers(model) }
        return .route(Route(providers: offering.isEmpty ? admitted : offering, model: model))
    }

    private func unknown(_ text: String, _ principal: Principal) -> MeshError {
        let near = near(text, for: principal)
        let hint =
            near.isEmpty
            ? "GET /v1/models lists what this key may use" : "did you mean \(near.joined(separator: ", "))?"
        return MeshError(.modelNotFound, "no provider offers '\(text.prefix(256))'; \(hint)", parameter: "model")
    }

    // MARK: Listing

    package struct Listed: Hashable, Sendable {
        package var id: String
        package var provider: CatalogProvider
        package var model: WorkerModel
    }

    /// Everything `principal` may name, each id accepted as it stands, sorted.
    package func listing(for principal: Principal) -> [Listed] {
        var listed: [Listed] = []
        for provider in providers where provider.admits(principal) {
            let prefix = ShortPrefix(provider, in: self, principal)
            var seen: Set<String> = []
            for model in provider.hosts.lazy.flatMap(\.offer.models) where seen.insert(model.id).inserted {
                listed.append(Listed(id: prefix.name(of: model.id, names), provider: provider, model: model))
            }
        }
        return listed.sorted { ($0.id, $0.provider.key) < ($1.id, $1.provider.key) }
    }

    /// What `listing` shows as `id`, or under another name that leads to the same.
    package func listed(_ id: String, for principal: Principal) -> Listed? {
        guard case .route(let route) = meaning(of: id, for: principal), route.providers.count == 1,
            let provider = route.providers.first,
            let model = provider.hosts.lazy.flatMap(\.offer.models).first(where: { $0.id == route.model })
        else { return nil }
        let name = ShortPrefix(provider, in: self, principal).name(of: model.id, names)
        return Listed(id: name, provider: provider, model: model)
    }

    /// How one caller names a provider's models.
    struct ShortPrefix {
        private let id: String
        private let mark: String
        /// Since when `id` means the provider; nil where it does not.
        private let since: UInt64?
        private let caller: Principal

        init(_ provider: CatalogProvider, in catalog: Catalog, _ principal: Principal) {
            id = provider.providerID
            mark = provider.fullName
            caller = principal
            // No model has an empty id, so this asks for the provider alone.
            let isShort = catalog.names.short(id, in: "", for: principal) == .provider(provider.tokenSalt)
            since = isShort ? catalog.names.since(id, for: principal) : nil
        }

        /// `provider/model` where that is enough.
        func name(of model: String, _ names: NameBook) -> String {
            let short = "\(id)/\(model)"
            guard let since, !names.isModel(short, before: since, for: caller) else { return "\(mark)/\(model)" }
            return short
        }
    }
}
