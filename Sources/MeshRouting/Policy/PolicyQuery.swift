package import MeshModel

/// A model that a request asks for: of one provider, or of any that the caller may use.
package struct PolicyTarget: Hashable, Sendable {
    package var model: String
    /// Nil: any.
    package var provider: RecordKey?

    package init(model: String, provider: RecordKey? = nil) {
        self.model = model
        self.provider = provider
    }
}

/// What is asked of a decision: everything that comes from the request and from the policy, made into numbers and sets of
/// numbers once, so that looking at a candidate compares numbers and nothing else.
package struct PolicyQuery: Sendable {
    /// One of the models asked for.
    struct Asked: Sendable {
        var model: Int
        /// -1: any.
        var provider: Int32
        /// Its place in the list; 0 for all where their order does not count.
        var position: UInt32
        /// Tokens that must fit, and those that should.
        var mustFit: UInt64
        var shouldFit: UInt64
    }

    /// Holds no reference: a copy costs nothing.
    struct Terms: Sendable {
        var ordering: PolicyOrdering
        /// Bits of `RequestParameters` and `Modalities`.
        var neededParameters: UInt64 = 0
        var neededModalities: UInt8 = 0
        var usedParameters: UInt64
        var usedModalities: UInt8
        var leastContext: UInt32 = 0
        /// The largest window that the prompt was said to be too long for.
        var exceeded: UInt32 = 0
        var requiresParameters = false
        var requiresModalities = false
        var isPrivate = false
        var isHereOnly = false
        var prefersHere: Bool
        var hosted: Policy.Hosted
        var retention = CandidateRules.Retention.any
        /// Of several the lowest.
        var ceiling: PriceCeiling?
        var speed: SpeedWish?
        var use: PricedUse
        /// What stands for a price that is not known.
        var unknownPrice: Int64
        /// Sets of providers, nodes and so on.
        var admitted = NumberSets.Place.all
        var own = NumberSets.Place.all
        /// Whether the caller has no provider at all.
        var ownsNone = false
        var providers = NumberSets.Place.all
        var operators = NumberSets.Place.all
        var regions = NumberSets.Place.all
        var quantizations = NumberSets.Place.all
        var endpoints = NumberSets.Place.all
    }

    let asked: [Asked]
    private(set) var terms: Terms
    private(set) var sets = NumberSets()
    /// The place of each provider in `order`; empty where there is none.
    let order: [UInt8]

    /// Rules of the policy and of the request hold together; an ordering in the request wins over the policy's.
    /// - Parameters:
    ///   - targets: models in the order in which they are to be tried; nil: any that the policy takes.
    ///   - endpoint: nil for chat.
    ///   - ratios: what was learnt of the models' own counting.
    ///   - exceeded: the largest window, in tokens, that the prompt was said to be too long for.
    package init(
        _ index: PolicyIndex, policy: Policy, preferences: RoutingPreferences? = nil, targets: [PolicyTarget]?,
        facts: PromptFacts = PromptFacts(), endpoint: EndpointPath? = nil, principal: Principal,
        ratios: TokenRatios = TokenRatios(), exceeded: UInt32 = 0
    ) {
        let use = PricedUse(
            inputTokens: min(max(facts.tokens, 0), 1 << 40),
            outputTokens: min(max(facts.longestAnswer ?? PolicyScale.usualTokens, 1), PolicyScale.usualTokens))
        terms = Terms(
            ordering: preferences?.ordering ?? policy.ordering, usedParameters: facts.parameters.rawValue,
            usedModalities: facts.modalities.rawValue,
            prefersHere: policy.prefersHere || preferences?.prefer == .local || preferences?.prefer == .private,
            hosted: preferences?.prefer == .private ? .never : policy.hosted,
            use: use, unknownPrice: PolicyScale.unknownPrices.cost(of: use).microUnits)
        terms.exceeded = exceeded
        let wish = preferences.map { $0.speed.isEmpty ? policy.speed : $0.speed } ?? policy.speed
        terms.speed = wish.isEmpty ? nil : wish
        order = index.places(preferences.map { $0.order.isEmpty ? policy.order : $0.order } ?? policy.order)
        asked = index.asked(
            targets, policy, keepsApart: preferences?.sort?.keepsModelsApart ?? true, facts: facts, ratios: ratios)
        keep(policy.rules, index)
        if let preferences { keep(preferences.rules, index) }
        switch preferences?.prefer {
        case .private: keep(Policy.private.rules, index)
        case .media: keep(Policy.media.rules, index)
        case nil, .local, .cheap, .fast, .context: break
        }
        if let admitted = index.admitted(principal) {
            sets.narrow(&terms.admitted, count: index.catalog.providers.count) { set in admitted.forEach { set($0) } }
        }
        let own = index.providers(of: principal.owner)
        terms.ownsNone = own.isEmpty
        if !own.isEmpty {
            sets.narrow(&terms.own, count: index.catalog.providers.count) { set in own.forEach { set($0) } }
        }
        if let endpoint {
            sets.narrow(&terms.endpoints, count: index.endpoints.count) { set in
                for (number, paths) in index.endpoints.enumerated() where endpoint.isOffered(by: paths) { set(number) }
            }
        }
    }

    /// Takes on rules beside those that hold already.
    private mutating func keep(_ rules: CandidateRules, _ index: PolicyIndex) {
        terms.neededParameters |= rules.parameters.rawValue
        terms.neededModalities |= rules.modalities.rawValue
        terms.leastContext = max(terms.leastContext, rules.leastContext)
        terms.requiresParameters = terms.requiresParameters || rules.needsParameters
        terms.requiresModalities = terms.requiresModalities || rules.needsModalities
        terms.retention = terms.retention.stricter(rules.retention)
        if !rules.ceiling.isEmpty { terms.ceiling = terms.ceiling?.lower(rules.ceiling) ?? rules.ceiling }
        switch rules.location {
        case .anywhere: break
        case .workers: terms.hosted = .never
        case .here: terms.isHereOnly = true
        case .private: terms.isPrivate = true
        }
        narrow(rules, index)
    }

    private mutating func narrow(_ rules: CandidateRules, _ index: PolicyIndex) {
        let providers = index.catalog.providers.count
        if !rules.only.isEmpty {
            sets.narrow(&terms.providers, count: providers) { set in
                for name in rules.only { index.providers(named: name).forEach { set($0) } }
            }
        }
        if !rules.ignore.isEmpty {
            let ignored = rules.ignore.flatMap { index.providers(named: $0) }
            sets.remove(ignored, from: &terms.providers, count: providers)
        }
        if !rules.operators.isEmpty {
            let names = rules.operators.map(PolicyIndex.folded)
            sets.narrow(&terms.operators, count: index.nodes.count) { set in
                for (number, node) in index.nodes.enumerated() where node.isRun(byOneOf: names) { set(number) }
            }
        }
        if !rules.regions.isEmpty {
            let names = rules.regions.map(PolicyIndex.folded)
            sets.narrow(&terms.regions, count: index.nodes.count) { set in
                for (number, node) in index.nodes.enumerated() where names.contains(node.region) { set(number) }
            }
        }
        if !rules.quantizations.isEmpty {
            sets.narrow(&terms.quantizations, count: index.quantizations.names.count) { set in
                for (number, name) in index.quantizations.names.enumerated()
                where rules.quantizations.contains(name.isEmpty ? "unknown" : name) {
                    set(number)
                }
            }
        }
    }
}

extension RoutingPreferences {
    /// What the request says about the order of candidates; nil where it says nothing.
    fileprivate var ordering: PolicyOrdering? {
        if let sort { return sort.by }
        return switch prefer {
        case .cheap: .price
        case .fast: .time
        case .context: .context
        case nil, .local, .private, .media: nil
        }
    }
}

extension PriceCeiling {
    /// The lower of each.
    package func lower(_ other: PriceCeiling) -> PriceCeiling {
        func lower(_ left: Int64?, _ right: Int64?) -> Int64? { left.map { min($0, right ?? $0) } ?? right }
        return PriceCeiling(
            prompt: lower(prompt, other.prompt), completion: lower(completion, other.completion),
            request: lower(request, other.request), image: lower(image, other.image),
            second: lower(second, other.second))
    }
}

extension CatalogNode {
    /// By the id of its operator, or by its own name.
    fileprivate func isRun(byOneOf names: [String]) -> Bool {
        names.contains(name) || operatorKey.map { names.contains(KeyText.operatorKey.text($0.bytes)) } ?? false
    }
}

/// Sets of small numbers, one behind the other in one array.
struct NumberSets: Sendable {
    /// Where a set begins.
    struct Place: Hashable, Sendable {
        fileprivate(set) var start: Int32
        /// Every number: nothing was asked.
        static let all = Place(start: -1)
    }

    private(set) var words: [UInt64] = []

    /// Leaves in the set at `place` what is in it and what `fill` names.
    mutating func narrow(_ place: inout Place, count: Int, _ fill: ((Int) -> Void) -> Void) {
        let start = words.count
        words += Array(repeating: 0, count: (count + 63) / 64)
        fill { words[start + $0 / 64] |= 1 << UInt64($0 % 64) }
        if place != .all {
            for word in start..<words.count { words[word] &= words[Int(place.start) + word - start] }
        }
        place.start = Int32(start)
    }

    /// Leaves in the set at `place` what is in it and not among `numbers`.
    mutating func remove(_ numbers: [Int], from place: inout Place, count: Int) {
        let start = words.count
        words += Array(repeating: UInt64.max, count: (count + 63) / 64)
        for number in numbers { words[start + number / 64] &= ~(1 << UInt64(number % 64)) }
        if place != .all {
            for word in start..<words.count { words[word] &= words[Int(place.start) + word - start] }
        }
        place.start = Int32(start)
    }
}

extension PolicyIndex {
    /// The place of each provider in `order`, or the one behind all.
    fileprivate func places(_ order: [String]) -> [UInt8] {
        guard !order.isEmpty else { return [] }
        var places = [UInt8](repeating: UInt8(clamping: order.count), count: catalog.providers.count)
        // Backwards, so that of two places the first counts.
        for (place, name) in order.enumerated().reversed() {
            for number in providers(named: name) { places[number] = UInt8(clamping: place) }
        }
        return places
    }

    fileprivate func asked(
        _ targets: [PolicyTarget]?, _ policy: Policy, keepsApart: Bool, facts: PromptFacts, ratios: TokenRatios
    ) -> [PolicyQuery.Asked] {
        let longest = UInt64(clamping: facts.longestAnswer ?? 0)
        func asked(_ model: Int, _ provider: Int32, _ position: Int) -> PolicyQuery.Asked {
            let fit = ratios.fit(tokens: facts.tokens, of: models.names[model])
            return PolicyQuery.Asked(
                model: model, provider: provider, position: UInt32(position), mustFit: fit.least &+ longest,
                shouldFit: fit.most &+ longest)
        }
        guard let targets else {
            return models.names.indices.filter { policy.takes(models.names[$0]) }.map { asked($0, -1, 0) }
        }
        var found: [PolicyQuery.Asked] = []
        for (position, target) in targets.enumerated() {
            guard let model = models[target.model] else { continue }
            var provider: Int32 = -1
            if let key = target.provider {
                let named = providers(named: ProviderKeyName.text(key))
                guard let place = named.first ?? catalog.providers.firstIndex(where: { $0.key == key }) else {
                    continue
                }
                provider = Int32(place)
            }
            // The same once more would only be asked twice.
            guard !found.contains(where: { $0.model == model && [-1, provider].contains($0.provider) })
            else { continue }
            found.append(asked(model, provider, keepsApart ? position : 0))
        }
        return found
    }
}

extension Policy {
    /// Whether the policy takes a model of that id.
    func takes(_ model: String) -> Bool {
        models.isEmpty
            || models.contains { pattern in
                pattern.hasSuffix("*") ? model.hasPrefix(pattern.dropLast()) : model == pattern
            }
    }
}
