import MeshDialects
import MeshExchange
import MeshModel
import MeshRouting
import MeshRuntime
import MeshWire
import NIOCore
import NIOHTTP1

/// Where a buyer's request goes.
enum Destination {
    case route(Route)
    case pool(PoolID, PoolRequest)
    case policy(PolicyMarket.Wish)

    /// What it is called in the log.
    var model: String {
        switch self {
        case .route(let route): route.model
        case .pool(let pool, _): pool.modelName
        case .policy(let wish): wish.name
        }
    }

    /// Whether those who may answer are different sellers, of whom some may take what others do not.
    var isMixed: Bool {
        switch self {
        case .route(let route): route.providers.count > 1
        case .pool, .policy: true
        }
    }

    /// The one id that all places have for the model.
    var onlyModel: String? {
        switch self {
        case .route(let route): route.model.isEmpty ? nil : route.model
        case .pool, .policy: nil
        }
    }
}

extension GatewayContext {
    func exchange(
        _ request: WorkRequest, to destination: Destination, for asker: Asker, upload: UploadFlow?,
        writer: any AnswerWriter, eventLoop: any EventLoop
    ) -> Exchange {
        switch destination {
        case .route(let route):
            dispatcher.exchange(
                request, on: route, for: asker, upload: upload, writer: writer, eventLoop: eventLoop)
        case .pool(let pool, let shape):
            market.exchange(
                request, in: pool, shape, for: asker, upload: upload, writer: writer, eventLoop: eventLoop)
        case .policy(let wish):
            market.exchange(
                request, by: wish, for: asker, upload: upload, writer: writer, eventLoop: eventLoop)
        }
    }

    /// A policy or a pool by its name; a model whose buyer says how its provider is to be chosen; or a model as it stands.
    func destination(
        _ body: BuyerBody, _ preferences: RoutingPreferences?, _ headers: HTTPHeaders, _ principal: Principal
    ) throws(MeshError) -> Destination {
        if let policy = try policy(body.model, principal) {
            let targets =
                try preferences?.models.isEmpty ?? true ? nil : self.targets(preferences?.models ?? [], principal)
            return .policy(
                .init(body.model, policy: policy, preferences: preferences, targets: targets, facts: Self.facts(body)))
        }
        if let pool = pool(body.model, principal) {
            return .pool(
                pool,
                PoolRequest(
                    headers, body, session: preferences?.session, sticky: market.stickiness(of: pool),
                    of: principal))
        }
        if let preferences, preferences.choosesProviders {
            let targets = try targets([body.model] + preferences.models, principal)
            return .policy(
                .init(
                    body.model, policy: .standard, preferences: preferences, targets: targets, facts: Self.facts(body)))
        }
        switch catalog.resolve(body.model, for: principal) {
        case .success(let route): return .route(route)
        case .failure(let error):
            guard error.code == .modelNotFound else { throw error }
            for alias in ModelAlias.targets(body.model) {
                if let meant = meant(by: alias, body, preferences, headers, principal) { return meant }
            }
            guard let suffix = ModelSuffix(body.model) else { throw error }
            var preferences = preferences ?? RoutingPreferences()
            preferences.sort = .init(by: suffix.ordering)
            let targets = try targets([suffix.model] + preferences.models, principal)
            return .policy(
                .init(
                    body.model, policy: .standard, preferences: preferences, targets: targets, facts: Self.facts(body)))
        }
    }

    /// What another name for a policy or a pool means; nil where there is none.
    private func meant(
        by alias: String, _ body: BuyerBody, _ preferences: RoutingPreferences?, _ headers: HTTPHeaders,
        _ principal: Principal
    ) -> Destination? {
        if let pool = pool(alias, principal) {
            let sticky = market.stickiness(of: pool)
            return .pool(
                pool, PoolRequest(headers, body, session: preferences?.session, sticky: sticky, of: principal))
        }
        guard let name = PolicyName(alias),
            case .success(let policy) = market.book.policy(name, for: principal.username)
        else { return nil }
        return .policy(
            .init(alias, policy: policy, preferences: preferences, targets: nil, facts: Self.facts(body)))
    }

    /// What is known of the prompt: read only where somebody chooses by it.
    private static func facts(_ body: BuyerBody) -> PromptFacts {
        body.bytes.withUnsafeReadableBytes { PromptReading.facts(body.fields, in: $0) }
    }

    /// The pool that `rotation/NAME` means for the caller, or `owner@node/rotation/NAME` for everybody; nil for other names,
    /// and where there is no such pool.
    func pool(_ model: String, _ principal: Principal) -> PoolID? {
        if let name = PoolID.name(ofModel: model) { return market.book.pool(name, for: principal.username) }
        guard let told = publication(model), told.id.kind == .rotation else { return nil }
        return market.pool(told)
    }

    /// The policy that a name means for the caller; nil for other names.
    func policy(_ model: String, _ principal: Principal) throws(MeshError) -> Policy? {
        if case .policy(let policy)? = publication(model)?.content { return policy }
        guard let name = PolicyName(model) else { return nil }
        return try market.book.policy(name, for: principal.username).get()
    }

    /// What somebody has published under a name.
    func publication(_ model: String) -> Publication? {
        guard let name = PublicationName(model) else { return nil }
        return catalog.current.publication(name)
    }

    /// Those of `names` that mean something here; an error when none does.
    private func targets(_ names: [String], _ principal: Principal) throws(MeshError) -> [PolicyTarget] {
        var targets: [PolicyTarget] = []
        var first: MeshError?
        for name in names {
            switch catalog.resolve(name, for: principal) {
            case .success(let route): targets.append(Self.target(name, route))
            case .failure(let error):
                // Several may have it: that is what is chosen from.
                if error.code == .modelAmbiguous, case .bare(let model) = ModelName(name) {
                    targets.append(PolicyTarget(model: model))
                } else {
                    first = first ?? error
                }
            }
        }
        if targets.isEmpty, let first { throw first }
        return targets
    }

    private static func target(_ name: String, _ route: Route) -> PolicyTarget {
        if case .bare = ModelName(name) { return PolicyTarget(model: route.model) }
        return PolicyTarget(model: route.model, provider: route.providers.count == 1 ? route.providers[0].key : nil)
    }
}

extension RoutingPreferences {
    /// Whether it says anything of who is to answer.
    var choosesProviders: Bool {
        var rest = self
        rest.session = nil
        rest.unknown = []
        rest.mayResume = false
        return rest != RoutingPreferences()
    }
}
