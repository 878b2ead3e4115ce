import MeshAccounting
import MeshDialects
import MeshExchange
import MeshModel
import MeshRouting
import MeshRuntime
import MeshTransport
import NIOHTTP1

/// Why a request was not let in, with what is told beside it.
struct QuotaRefused: Error {
    var error: MeshError
    var fields: [(name: String, value: String)] = []
}

extension GatewayContext {
    /// Whose limits a request of `caller` has to keep.
    func subjects(_ caller: Caller) -> [QuotaSubject] {
        [QuotaSubject(.key, caller.keyID), QuotaSubject(.user, caller.username)]
    }

    /// A rotation or policy of this node, which may have limits of its own, for all who use it. Those of other nodes have
    /// none here, whatever they are called.
    private func subjects(_ destination: Destination, _ username: String) -> [QuotaSubject] {
        switch destination {
        case .route: return []
        case .pool(let pool, _):
            if let publisher = pool.publisher, publisher.home != identity.key { return [] }
            return [QuotaSubject(.rotation, "\(pool.scope.username)/\(pool.name)")]
        case .policy(let wish):
            if let told = publication(wish.name), told.id.kind == .policy {
                let isOwn = told.id.home == identity.key
                return isOwn ? [QuotaSubject(.policy, "\(told.scope.username)/\(told.name)")] : []
            }
            guard case .named(let name)? = PolicyName(wish.name),
                let owner = market.book.owner(ofPolicy: name, for: username)
            else { return [] }
            return [QuotaSubject(.policy, "\(owner.username)/\(name)")]
        }
    }

    /// Whether `caller` may come at all, from there and to there: known before the body is.
    func forbids(_ caller: Caller, _ route: String?, from place: ConnectionPlace) -> MeshError? {
        guard !quotas.isUnused else { return nil }
        let refusal = quotas.forbids(
            subjects(caller), QuotaRequest(address: place.remote.flatMap { .init($0) }, route: route))
        return refusal?.told(at: SystemClock.wall)
    }

    /// Whether `caller` may name a model that has these names: what is not allowed is not listed either.
    func mayName(_ caller: Caller) -> @Sendable ([String]) -> Bool {
        let allowed = quotas.allowedModels(subjects(caller))
        return { names in allowed.allSatisfy { patterns in names.contains { Quota.admits($0, patterns) } } }
    }

    /// Lets a request in by the limits of its key and user; nil where there are none. Whatever it may use at the most is
    /// held from now on.
    /// - Parameter destination: whom the caller cannot pay any more is left out of it.
    func admit(
        _ request: WorkRequest, _ destination: inout Destination, _ hot: HotRequest, from place: ConnectionPlace
    ) throws(QuotaRefused) -> Admission? {
        guard !quotas.isUnused else { return nil }
        let subjects = subjects(hot.caller) + self.subjects(destination, hot.caller.username)
        guard let needs = quotas.needs(subjects) else { return nil }
        let estimate = estimate(request, &destination, for: principal(hot.caller), needs, subjects)
        let asked = QuotaRequest(
            address: place.remote.flatMap { .init($0) }, route: hot.route.text, models: destination.names)
        switch quotas.admit(asked, estimate, for: subjects) {
        case .success(let admission): return admission
        case .failure(let refusal):
            count(refusal, request, destination, hot.caller)
            let now = SystemClock.wall
            throw QuotaRefused(error: refusal.told(at: now), fields: RateLimitFields.of(refusal, at: now))
        }
    }

    /// What a request may use at the most. Whom its caller cannot pay any more is left out of the destination.
    private func estimate(
        _ request: WorkRequest, _ destination: inout Destination, for caller: Principal,
        _ needs: (tokens: Bool, money: Bool), _ subjects: [QuotaSubject]
    ) -> QuotaEstimate {
        guard needs.tokens else { return .nothing }
        let facts = destination.facts ?? request.content.facts
        func cost(_ prices: [Prices]) -> QuotaEstimate {
            QuotaEstimate(
                prompt: facts.tokens, answer: facts.longestAnswer, answers: request.need.answersText,
                images: request.images, milliseconds: request.assumedMediaMs, prices: prices)
        }
        if needs.money, let left = quotas.moneyLeft(subjects) {
            let affordable = Affordable(
                left: left.microUnits, currency: left.currency, caller: caller.owner, cost: { cost([$0]) })
            destination = affordable.narrowed(destination, { prices($0, caller) }, { market.members(of: $0) })
        }
        return cost(needs.money ? prices(destination, caller) : [])
    }

    /// What the limits of `subjects`, and those of the destination, would say to a request. Takes nothing.
    func outlook(
        _ request: WorkRequest, _ destination: inout Destination, for caller: Principal, _ subjects: [QuotaSubject],
        from place: ConnectionPlace
    ) -> QuotaOutlook {
        let subjects = subjects + self.subjects(destination, caller.username ?? "")
        guard let needs = quotas.needs(subjects) else { return QuotaOutlook() }
        let estimate = estimate(request, &destination, for: caller, needs, subjects)
        return quotas.outlook(
            QuotaRequest(
                address: place.remote.flatMap { .init($0) }, route: request.need.route, models: destination.names),
            estimate,
            for: subjects)
    }

    /// Whoever looks at usage sees what was refused, too.
    private func count(
        _ refusal: QuotaRefusal, _ request: WorkRequest, _ destination: Destination, _ caller: Caller
    ) {
        var amounts = UsageAmounts()
        amounts.requests = 1
        usage.add(
            UsageGroup(
                side: .entry, kind: UsageKind(request.need.endpoint), key: caller.keyID, username: caller.username,
                provider: "", model: destination.model, node: "",
                outcome: refusal.told(at: SystemClock.wall).code.rawValue, currency: ""), amounts)
    }

    /// What those ask who may answer; nobody pays for what is theirs.
    private func prices(_ destination: Destination, _ caller: Principal) -> [Prices] {
        switch destination {
        case .route(let route):
            return route.providers.filter { $0.owner != caller.owner }.compactMap { $0.prices[model: route.model] }
        case .pool(let pool, let request):
            return market.members(of: pool).filter { member in
                member.provider.owner != caller.owner
                    && !request.unpayable.contains(PoolOffer(provider: member.provider.key, model: member.model))
            }.compactMap { $0.provider.prices[model: $0.model] }
        case .policy(let wish): return prices(wish, caller)
        }
    }

    private func prices(_ wish: PolicyMarket.Wish, _ principal: Principal) -> [Prices] {
        let ceilings = [wish.policy.rules.ceiling, wish.preferences?.rules.ceiling ?? PriceCeiling()]
        let others = catalog.current.providers.filter {
            $0.owner != principal.owner && !$0.prices.isEmpty && $0.admits(principal)
        }
        return others.flatMap { provider -> [Prices] in
            guard let targets = wish.targets else { return provider.prices.entries.map(\.prices) }
            return targets.filter { $0.provider ?? provider.key == provider.key }
                .compactMap { provider.prices[model: $0.model] }
        }.filter { prices in
            // Where there is a ceiling, a price that cannot be compared with it is above it.
            ceilings.allSatisfy { $0.isEmpty || prices.currency == .usd && $0.admits(prices) }
        }
    }
}

extension Destination {
    /// The models that are asked for, each by the names it has: all of them have to be allowed.
    var names: [[String]] {
        switch self {
        case .route(let route):
            // Each of the providers may answer.
            route.providers.map { $0.names(of: route.model) }
        case .pool(let pool, _): [[pool.modelName]]
        case .policy(let wish):
            [[wish.name]] + (wish.preferences?.models ?? []).map { [$0] }
        }
    }

    /// What was read of the prompt already.
    var facts: PromptFacts? { if case .policy(let wish) = self, wish.facts.tokens > 0 { wish.facts } else { nil } }
}

extension CatalogProvider {
    /// How a model of it may be called where it is allowed.
    func names(of model: String) -> [String] { [model, "\(providerID)/\(model)", "\(fullName)/\(model)"] }
}

extension HotRoute {
    /// As rules name it: below the base path.
    var text: String {
        switch call {
        case .chat: "chat/completions"
        case .messages: "messages"
        case .responses, .keptResponse: "responses"
        case .countTokens(.responses): "responses/input_tokens"
        case .countTokens: "messages/count_tokens"
        case .proxy(let endpoint): endpoint.route
        }
    }
}

/// `x-ratelimit-*`, as OpenAI's programs read them.
enum RateLimitFields {
    static func of(_ hold: QuotaHold) -> [(name: String, value: String)] {
        fields(hold.requests, "requests") + fields(hold.tokens, "tokens")
    }

    static func of(_ refusal: QuotaRefusal, at now: Timestamp) -> [(name: String, value: String)] {
        let unit: String
        switch refusal.limit {
        case .requestsPerMinute: unit = "requests"
        case .tokensPerMinute, .tokensPerDay, .tokensPerMonth: unit = "tokens"
        case .concurrent, .moneyPerDay, .moneyPerMonth, .expires, .addresses, .models, .routes: return []
        }
        let left = refusal.resets.map { max($0.milliseconds - now.milliseconds, 0) } ?? 0
        return fields(
            QuotaStanding(limit: refusal.limit, amount: refusal.amount, remaining: refusal.remaining, resetMs: left),
            unit)
    }

    private static func fields(_ standing: QuotaStanding?, _ unit: String) -> [(name: String, value: String)] {
        guard let standing else { return [] }
        return [
            ("x-ratelimit-limit-\(unit)", String(standing.amount)),
            ("x-ratelimit-remaining-\(unit)", String(standing.remaining)),
            ("x-ratelimit-reset-\(unit)", RateText.duration(standing.resetMs)),
        ]
    }
}
