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

/// What is asked of a decision: everything that comes from the request and from the policy, as far as possible as numbers and
/// sets that are made once for all candidates.
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

    let asked: [Asked]
    let principal: Principal
    let ordering: PolicyOrdering
    let rules: [CandidateRules]
    let facts: PromptFacts
    /// The union of what the rules ask for.
    let neededParameters: RequestParameters
    let neededModalities: Modalities
    let leastContext: UInt32
    let requiresParameters: Bool
    let requiresModalities: Bool
    let isPrivate: Bool
    let isHereOnly: Bool
    let retention: CandidateRules.Retention
    let ceilings: [PriceCeiling]
    /// Nil: any.
    let providers: NumberSet?
    let operators: NumberSet?
    let regions: NumberSet?
    let quantizations: NumberSet?
    let endpoints: NumberSet?
    /// The place of each provider in `order`; empty where there is none.
    let order: [UInt8]
    let prefersHere: Bool
    let hosted: Policy.Hosted
    let speed: SpeedWish
    let use: PricedUse

    /// Rules of the policy and of the request hold together; an ordering in the request wins over the policy's.
    /// - Parameters:
    ///   - targets: models in the order in which they are to be tried; nil: any that the policy takes.
    ///   - endpoint: nil for chat.
    ///   - ratios: what was learnt of the models' own counting.
    package init(
        _ index: PolicyIndex, policy: Policy, preferences: RoutingPreferences? = nil, targets: [PolicyTarget]?,
        facts: PromptFacts = PromptFacts(), endpoint: EndpointPath? = nil, principal: Principal,
        ratios: TokenRatios = TokenRatios()
    ) {
        var rules = [policy.rules]
        if let preferences { rules.append(preferences.rules) }
        switch preferences?.prefer {
        case .private: rules.append(Policy.private.rules)
        case .media: rules.append(Policy.media.rules)
        case nil, .local, .cheap, .fast, .context: break
        }
        self.rules = rules
        self.principal = principal
        self.facts = facts
        ordering = preferences?.ordering ?? policy.ordering
        neededParameters = rules.reduce(into: []) { $0.formUnion($1.parameters) }
        neededModalities = rules.reduce(into: []) { $0.formUnion($1.modalities) }
        leastContext = rules.reduce(0) { max($0, $1.leastContext) }
        requiresParameters = rules.contains(where: \.needsParameters)
        requiresModalities = rules.contains(where: \.needsModalities)
        isPrivate = rules.contains { $0.location == .private }
        isHereOnly = rules.contains { $0.location == .here }
        retention = rules.reduce(.any) { $0.stricter($1.retention) }
        ceilings = rules.map(\.ceiling).filter { !$0.isEmpty }
        prefersHere = policy.prefersHere || preferences?.prefer == .local || preferences?.prefer == .private
        let isWorkersOnly = rules.contains { $0.location == .workers }
        hosted = isWorkersOnly || preferences?.prefer == .private ? .never : policy.hosted
        speed = preferences.map { $0.speed.isEmpty ? policy.speed : $0.speed } ?? policy.speed
        providers = index.providers(rules)
        operators = index.operators(rules)
        regions = index.regions(rules)
        quantizations = index.quantizations(rules)
        endpoints = endpoint.map(index.endpoints(offering:))
        let order = preferences.map { $0.order.isEmpty ? policy.order : $0.order } ?? policy.order
        self.order = index.places(order)
        use = PricedUse(
            inputTokens: facts.tokens,
            outputTokens: min(facts.longestAnswer ?? PolicyScale.usualTokens, PolicyScale.usualTokens),
            images: 0)
        asked = index.asked(
            targets, policy, keepsApart: preferences?.sort?.keepsModelsApart ?? true, facts: facts, ratios: ratios)
    }
}

extension RoutingPreferences {
    /// What the request says about the order of candidates; nil where it says nothing.
    var ordering: PolicyOrdering? {
        if let sort { return sort.by }
        return switch prefer {
        case .cheap: .price
        case .fast: .time
        case .context: .context
        case nil, .local, .private, .media: nil
        }
    }
}

/// A set of small numbers.
struct NumberSet: Sendable {
    private var words: [UInt64]

    init(count: Int) { words = Array(repeating: 0, count: (count + 63) / 64) }

    mutating func insert(_ number: Int) { words[number / 64] |= 1 << UInt64(number % 64) }
    mutating func formIntersection(_ other: NumberSet) {
        for place in words.indices { words[place] &= other.words[place] }
    }

    @inline(__always)
    func contains(_ number: Int32) -> Bool { words[Int(number) / 64] >> UInt64(number % 64) & 1 == 1 }
}

extension PolicyIndex {
    // MARK: Names to numbers

    /// The providers that each rule leaves.
    fileprivate func providers(_ rules: [CandidateRules]) -> NumberSet? {
        guard rules.contains(where: { !$0.only.isEmpty || !$0.ignore.isEmpty }) else { return nil }
        let named = rules.map { (only: Set($0.only.map(Self.folded)), ignore: Set($0.ignore.map(Self.folded))) }
        return set(catalog.providers) { provider in
            let names = names(of: provider)
            return named.allSatisfy { rule in
                (rule.only.isEmpty || names.contains(where: rule.only.contains))
                    && !names.contains(where: rule.ignore.contains)
            }
        }
    }

    fileprivate func places(_ order: [String]) -> [UInt8] {
        guard !order.isEmpty else { return [] }
        let wanted = order.map(Self.folded)
        return catalog.providers.map { provider in
            let names = names(of: provider)
            return UInt8(clamping: wanted.firstIndex(where: names.contains) ?? wanted.count)
        }
    }

    private func names(of provider: CatalogProvider) -> [String] {
        [provider.providerID, provider.fullName, catalog.mark(of: provider), ProviderKeyName.text(provider.tokenSalt)]
    }

    fileprivate func operators(_ rules: [CandidateRules]) -> NumberSet? {
        let lists = rules.map(\.operators).filter { !$0.isEmpty }.map { Set($0.map(Self.folded)) }
        guard !lists.isEmpty else { return nil }
        return set(nodes) { node in
            let key = node.operatorKey.map { KeyText.operatorKey.text($0.bytes) }
            return lists.allSatisfy { $0.contains(node.name) || key.map($0.contains) ?? false }
        }
    }

    fileprivate func regions(_ rules: [CandidateRules]) -> NumberSet? {
        let lists = rules.map(\.regions).filter { !$0.isEmpty }.map { Set($0.map(Self.folded)) }
        guard !lists.isEmpty else { return nil }
        return set(nodes) { node in lists.allSatisfy { !node.region.isEmpty && $0.contains(Self.folded(node.region)) } }
    }

    fileprivate func quantizations(_ rules: [CandidateRules]) -> NumberSet? {
        let lists = rules.map(\.quantizations).filter { !$0.isEmpty }
        guard !lists.isEmpty else { return nil }
        return set(quantizations.names) { name in lists.allSatisfy { $0.contains(name.isEmpty ? "unknown" : name) } }
    }

    fileprivate func endpoints(offering endpoint: EndpointPath) -> NumberSet {
        set(endpoints) { endpoint.isOffered(by: $0) }
    }

    private func set<Element>(_ elements: [Element], where holds: (Element) -> Bool) -> NumberSet {
        var found = NumberSet(count: elements.count)
        for (number, element) in elements.enumerated() where holds(element) { found.insert(number) }
        return found
    }

    /// Names are written in any case by people, and in lower case by the mesh; keys are in lower case too.
    private static func folded(_ name: String) -> String { name.lowercased() }

    // MARK: Models

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
                guard let place = catalog.providers.firstIndex(where: { $0.key == key }) else { continue }
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
