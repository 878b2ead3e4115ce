package import MeshModel

/// A `model` string, cut at the slashes that matter; model ids may contain slashes themselves.
package enum ModelName: Hashable, Sendable {
    /// `seller@node/provider/model`
    case full(owner: String, node: String, provider: String, model: String)
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
        if let at = first.firstIndex(of: "@"), let second = rest.firstIndex(of: "/") {
            self = .full(
                owner: String(first[..<at]), node: String(first[first.index(after: at)...]),
                provider: String(rest[..<second]), model: String(rest[rest.index(after: second)...]))
        } else {
            self = .provider(String(first), model: String(rest))
        }
    }
}

/// Where a request may go: the providers that a name means for one caller, and the model id their workers know.
package struct Route: Hashable, Sendable {
    package var providers: [CatalogProvider]
    /// Empty when the request names none.
    package var model: String

    package init(providers: [CatalogProvider], model: String) {
        self.providers = providers
        self.model = model
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
                    .modelAmbiguous, "'\(text)' names several providers; use one of: \(joined)", parameter: "model"))
        case .unknown: return .failure(unknown(text, principal))
        }
    }

    private enum Meaning {
        case route(Route)
        /// Full names of what it could mean.
        case ambiguous([String])
        case unknown
    }

    /// Makes no suggestions: those come from the listing, which asks here for every name it shows.
    private func meaning(of text: String, for principal: Principal) -> Meaning {
        switch ModelName(text) {
        case .full(let owner, let home, let id, let model):
            let named = providers(withID: id).filter { $0.scope.username == owner && $0.homeName == home }
            return narrow(named, model: model, principal)
        case .provider(let id, let model):
            let named = providers(withID: id)
            if named.isEmpty { return bare(text, principal) }
            let admitted = named.filter { $0.admits(principal) }
            let own = admitted.filter { $0.homeNode == node && $0.scope.username == principal.username }
            if !own.isEmpty { return narrow(own, model: model, principal) }
            let global = admitted.filter { $0.scope == .global && $0.homeNode == node }
            if !global.isEmpty { return narrow(global, model: model, principal) }
            return narrow(admitted, model: model, principal)
        case .bare: return bare(text, principal)
        }
    }

    /// One provider is a route, several are ambiguous, none is unknown.
    private func narrow(
        _ named: [CatalogProvider], model: String, _ principal: Principal
    ) -> Meaning {
        let admitted = named.filter { $0.admits(principal) }
        guard let provider = admitted.first else {
            // A provider the caller may not use is no different from one that does not exist.
            return .unknown
        }
        if admitted.count > 1 {
            return .ambiguous(admitted.map { "\($0.fullName)/\(model)" }.sorted())
        }
        if provider.offers(model) || provider.hosts.isEmpty || provider.modelsSeen.contains(model) {
            return .route(Route(providers: [provider], model: model))
        }
        return .unknown
    }

    private func bare(_ model: String, _ principal: Principal) -> Meaning {
        let admitted = providers(seenWith: model).filter { $0.admits(principal) }
        if admitted.isEmpty { return .unknown }
        let offering = admitted.filter { $0.offers(model) }
        return .route(Route(providers: offering.isEmpty ? admitted : offering, model: model))
    }

    private func unknown(_ text: String, _ principal: Principal) -> MeshError {
        let near = NearNames.closest(to: text, among: listing(for: principal).map(\.id), limit: 3)
        let hint =
            near.isEmpty
            ? "GET /v1/models lists what this key may use" : "did you mean \(near.joined(separator: ", "))?"
        return MeshError(.modelNotFound, "no provider offers '\(text.prefix(256))'; \(hint)", parameter: "model")
    }

    package struct Listed: Hashable, Sendable {
        package var id: String
        package var provider: CatalogProvider
        package var model: CatalogModel
    }

    /// Everything `principal` may name, each id accepted as it stands, sorted.
    package func listing(for principal: Principal) -> [Listed] {
        var listed: [Listed] = []
        for provider in providers where provider.admits(principal) {
            var seen: Set<String> = []
            for model in provider.hosts.lazy.flatMap(\.models) where seen.insert(model.id).inserted {
                listed.append(
                    Listed(id: shortestName(provider, model.id, principal), provider: provider, model: model))
            }
        }
        return listed.sorted { ($0.id, $0.provider.key) < ($1.id, $1.provider.key) }
    }

    /// What `listing` shows as `id`, or under another name that leads to the same.
    package func listed(_ id: String, for principal: Principal) -> Listed? {
        guard case .route(let route) = meaning(of: id, for: principal), route.providers.count == 1,
            let provider = route.providers.first,
            let model = provider.hosts.lazy.flatMap(\.models).first(where: { $0.id == route.model })
        else { return nil }
        return Listed(id: shortestName(provider, model.id, principal), provider: provider, model: model)
    }

    /// `provider/model` where that is enough, else the full name.
    private func shortestName(_ provider: CatalogProvider, _ model: String, _ principal: Principal) -> String {
        let short = "\(provider.providerID)/\(model)"
        let namesakes = providers(withID: provider.providerID).filter { $0.admits(principal) }
        if namesakes.count == 1 { return short }
        if case .route(let route) = meaning(of: short, for: principal), route.providers.map(\.key) == [provider.key] {
            return short
        }
        return "\(provider.fullName)/\(model)"
    }
}

/// Suggestions for a mistyped name.
package enum NearNames {
    /// Up to `limit` of `names`, closest first; nothing that is more than half different.
    package static func closest(to text: String, among names: [String], limit: Int) -> [String] {
        let wanted = Array(text.utf8.prefix(128))
        let scored = names.prefix(2_000).compactMap { name -> (distance: Int, name: String)? in
            let bytes = Array(name.utf8.prefix(128))
            let tail = name.split(separator: "/").last.map { Array($0.utf8) } ?? bytes
            var distance = min(editDistance(wanted, bytes), editDistance(wanted, tail) + 1)
            // Another model of the provider that was named is a likely meaning, however it is spelled.
            if let slash = wanted.firstIndex(of: UInt8(ascii: "/")), bytes.starts(with: wanted[...slash]) {
                distance = min(distance, max(2, wanted.count / 2))
            }
            return distance <= max(2, wanted.count / 2) ? (distance, name) : nil
        }
        return scored.sorted { ($0.distance, $0.name) < ($1.distance, $1.name) }.prefix(limit).map(\.name)
    }

    /// Levenshtein distance.
    static func editDistance(_ left: [UInt8], _ right: [UInt8]) -> Int {
        var row = Array(0...right.count)
        for (i, byte) in left.enumerated() {
            var diagonal = row[0]
            row[0] = i + 1
            for (j, other) in right.enumerated() {
                let replaced = diagonal + (byte == other ? 0 : 1)
                diagonal = row[j + 1]
                row[j + 1] = min(replaced, row[j] + 1, row[j + 1] + 1)
            }
        }
        return row[right.count]
    }
}
