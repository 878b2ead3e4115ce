import MeshAccounting
import MeshModel
import MeshRouting
import MeshRuntime

/// Leaves out of a destination who asks for more than its caller has left. The hold is made for the dearest who may answer,
/// and anybody may call a model by a common name and ask a fortune for it: that must not keep the caller from the others.
struct Affordable {
    /// Of the caller's limits of money, the least that is left.
    let left: Int64
    let currency: Currency
    let caller: PublicKey
    /// What the request may use at the most, at a price.
    let cost: (Prices) -> QuotaEstimate

    private func isAffordable(_ prices: Prices) -> Bool { most(prices).map { $0 <= left } ?? false }

    /// Nil in another currency: it could not be counted.
    private func most(_ prices: Prices) -> Int64? {
        let costs = cost(prices).costs
        guard let first = costs.first else { return 0 }
        return costs.count == 1 && first.currency == currency ? first.most : nil
    }

    /// - Parameters:
    ///   - candidates: what those ask that a policy may choose.
    ///   - members: those of a pool.
    func narrowed(
        _ destination: Destination, _ candidates: (PolicyMarket.Wish) -> [Prices],
        _ members: (PoolID) -> [(provider: CatalogProvider, model: String)]
    ) -> Destination {
        switch destination {
        case .pool(let pool, let request): .pool(pool, narrowed(request, members(pool)))
        case .route(let route): .route(narrowed(route))
        case .policy(let wish): .policy(narrowed(wish, candidates(wish)))
        }
    }

    /// Of the members of a pool those whom the caller can pay. Where there are none the limit says so.
    func narrowed(
        _ request: PoolRequest, _ members: [(provider: CatalogProvider, model: String)]
    ) -> PoolRequest {
        let unpayable = members.filter { !isPayable($0.provider, $0.model) }
        guard unpayable.count < members.count else { return request }
        var request = request
        request.unpayable = unpayable.map { PoolOffer(provider: $0.provider.key, model: $0.model) }
        return request
    }

    /// Nobody pays for what is theirs, or has no price.
    private func isPayable(_ provider: CatalogProvider, _ model: String) -> Bool {
        provider.owner == caller || provider.prices[model: model].map(isAffordable) ?? true
    }

    /// Of several sellers of one model those whom the caller can pay.
    func narrowed(_ route: Route) -> Route {
        guard route.providers.count > 1 else { return route }
        var route = route
        let good = route.providers.filter { isPayable($0, route.model) }
        // Where nobody is, the limit says so.
        if !good.isEmpty { route.providers = good }
        return route
    }

    /// A ceiling below which every candidate can be paid. It is set only where one cannot; whoever tells no price is left
    /// out with them then, as wherever there is a ceiling.
    func narrowed(_ wish: PolicyMarket.Wish, _ candidates: [Prices]) -> PolicyMarket.Wish {
        let costs = candidates.map { ($0, most($0) ?? .max) }
        guard costs.contains(where: { $0.1 > left }) else { return wish }
        var ceiling: Prices?
        for (prices, most) in costs.sorted(by: { $0.1 < $1.1 }) where most <= left {
            let next = ceiling.map { $0.dearer(prices) } ?? prices
            guard isAffordable(next) else { break }
            ceiling = next
        }
        guard let ceiling else { return wish }
        var wish = wish
        wish.policy.rules.ceiling = wish.policy.rules.ceiling.lower(PriceCeiling(ceiling))
        return wish
    }
}

extension Prices {
    /// The higher of each.
    fileprivate func dearer(_ other: Prices) -> Prices {
        let cached = max(cachedInput ?? input, other.cachedInput ?? other.input)
        return Prices(
            currency: currency, input: max(input, other.input), cachedInput: cached, output: max(output, other.output),
            request: max(request, other.request), image: max(image, other.image), second: max(second, other.second))
    }
}

extension PriceCeiling {
    /// Whoever asks as much takes the request.
    fileprivate init(_ prices: Prices) {
        self.init(
            prompt: prices.input, completion: prices.output, request: prices.request, image: prices.image,
            second: prices.second)
    }
}
