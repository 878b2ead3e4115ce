import MeshModel
import MeshRouting
import Testing

@testable import MeshRouting

private func rules(_ change: (inout RoutingPreferences) -> Void) -> RoutingPreferences {
    var preferences = RoutingPreferences()
    change(&preferences)
    return preferences
}

/// Who may not take a request, and why.
@Suite struct PolicyExclusionTests {
    private static let market = Market([
        .init(id: "plain"),
        .init(id: "closed", access: .ownerOnly),
        .init(
            id: "rich",
            model: WorkerModel(
                id: "m", contextTokens: 8_000, modalities: ["text", "image"], quantization: "fp8",
                parameters: RequestParameters([.tools, .seed])),
            node: Market.here, home: Market.here, prices: Prices(input: 500_000, output: 1_500_000),
            dataPolicy: .none, endpoints: ["v1/embeddings"]),
        .init(
            id: "texts", model: WorkerModel(id: "m", modalities: ["text"], parameters: RequestParameters([.seed])),
            dataPolicy: .bounded),
        .init(id: "api", prices: Prices(input: 9_000_000), dataPolicy: .none, isHosted: true),
        .init(id: "mine", owner: Market.alice, access: .ownerOnly, prices: Prices(input: 9_000_000)),
    ])

    struct Case: Sendable, CustomStringConvertible {
        var description: String
        var preferences: RoutingPreferences
        var facts = PromptFacts()
        var policy = Policy.standard
        /// By provider: the reason; who is not named here may take it. `closed` never may.
        var reasons: [String: Exclusion]
    }

    static let cases: [Case] = [
        Case(description: "nothing asked", preferences: rules { _ in }, reasons: [:]),
        Case(
            description: "only", preferences: rules { $0.rules.only = ["RICH", "bob@south/plain"] },
            reasons: ["texts": .provider, "api": .provider, "mine": .provider]),
        Case(
            description: "ignore", preferences: rules { $0.rules.ignore = ["texts", "bob@south/api"] },
            reasons: ["texts": .provider, "api": .provider]),
        Case(
            description: "region; who tells none is in none", preferences: rules { $0.rules.regions = ["EU"] },
            reasons: ["plain": .region, "texts": .region, "api": .region, "mine": .region]),
        Case(
            description: "operator by key",
            preferences: rules { $0.rules.operators = [KeyText.operatorKey.text(Market.operatorHere.bytes)] },
            reasons: ["plain": .operator, "texts": .operator, "api": .operator, "mine": .operator]),
        Case(
            description: "operator by the name of a node", preferences: rules { $0.rules.operators = ["south"] },
            reasons: ["rich": .operator]),
        Case(
            description: "quantization", preferences: rules { $0.rules.quantizations = ["fp8", "bf16"] },
            reasons: ["plain": .quantization, "texts": .quantization, "api": .quantization, "mine": .quantization]),
        Case(
            description: "quantization or unknown",
            preferences: rules { $0.rules.quantizations = ["int4", "unknown"] }, reasons: ["rich": .quantization]),
        Case(
            description: "price; unknown is too dear, and one's own costs nothing",
            preferences: rules { $0.rules.ceiling = PriceCeiling(prompt: 500_000) },
            reasons: ["plain": .priceCeiling, "texts": .priceCeiling, "api": .priceCeiling]),
        Case(
            description: "price of the answer", preferences: rules { $0.rules.ceiling.completion = 1_499_999 },
            reasons: ["plain": .priceCeiling, "rich": .priceCeiling, "texts": .priceCeiling]),
        Case(
            description: "retention", preferences: rules { $0.rules.retention = .bounded },
            reasons: ["plain": .retention]),
        Case(
            description: "zero retention", preferences: rules { $0.rules.retention = .none },
            reasons: ["plain": .retention, "texts": .retention]),
        Case(
            description: "tools: only those that say they have none are left out", preferences: rules { _ in },
            facts: PromptFacts(parameters: RequestParameters([.tools])), reasons: ["texts": .parameters]),
        Case(
            description: "every parameter must be known", preferences: rules { $0.rules.needsParameters = true },
            facts: PromptFacts(parameters: RequestParameters([.seed])),
            reasons: ["plain": .parameters, "api": .parameters, "mine": .parameters]),
        Case(
            description: "an image", preferences: rules { _ in }, facts: PromptFacts(modalities: [.image]),
            reasons: ["texts": .modality]),
        Case(
            description: "an image, for sure", preferences: rules { $0.prefer = .media },
            facts: PromptFacts(modalities: [.image]),
            reasons: ["plain": .modality, "texts": .modality, "api": .modality, "mine": .modality]),
        Case(
            description: "too long for sure", preferences: rules { _ in }, facts: PromptFacts(tokens: 10_668),
            reasons: ["rich": .context]),
        Case(
            description: "too long by the estimate alone", preferences: rules { _ in },
            facts: PromptFacts(tokens: 10_666),
            reasons: [:]),
        Case(
            description: "no room for the answer", preferences: rules { _ in },
            facts: PromptFacts(tokens: 1_000, longestAnswer: 7_251), reasons: ["rich": .context]),
        Case(
            description: "windows must be known", preferences: rules { _ in }, policy: .context,
            reasons: ["plain": .context, "texts": .context, "api": .context, "mine": .context]),
        Case(
            description: "workers only", preferences: rules { $0.rules.location = .workers },
            reasons: ["api": .location]),
        Case(
            description: "here only", preferences: rules { $0.rules.location = .here },
            reasons: ["plain": .location, "texts": .location, "api": .location, "mine": .location]),
        Case(
            description: "private", preferences: rules { _ in }, policy: .private,
            reasons: ["plain": .location, "texts": .location, "api": .location, "rich": .location]),
        Case(
            description: "the first reason is told",
            preferences: rules {
                $0.rules.only = ["mine"]
                $0.rules.ceiling.prompt = 0
                $0.rules.retention = .none
            }, facts: PromptFacts(modalities: [.image]),
            reasons: ["plain": .provider, "texts": .modality, "api": .provider, "rich": .provider]),
    ]

    @Test(arguments: cases)
    func eachHasItsReason(one: Case) {
        let query = Self.market.query(one.policy, one.preferences, facts: one.facts)
        for id in ["plain", "rich", "texts", "api", "mine"] {
            #expect(Self.market.reason(id, query) == one.reasons[id], "\(id)")
        }
        #expect(Self.market.reason("closed", query) == .unauthorised)
    }

    @Test func endpointsAreOffered() throws {
        let query = Self.market.query(endpoint: EndpointPath("/v1/embeddings"))
        #expect(Self.market.order(query) == ["rich"])
        #expect(Self.market.reason("plain", query) == .endpoint)
    }

    @Test func whatPassesIsToldLast() {
        var market = Self.market
        market.set("plain") { $0.exclusion = .cooling }
        market.set("closed") { $0.exclusion = .atCapacity }
        market.set("rich") { $0.exclusion = .disabled }
        #expect(market.reason("plain", market.query()) == .cooling)
        #expect(market.reason("closed", market.query()) == .unauthorised)
        let priced = market.query(.standard, rules { $0.rules.ceiling.prompt = 1 })
        #expect(market.reason("plain", priced) == .priceCeiling)
        #expect(market.reason("rich", priced) == .disabled)
    }

    @Test func rulesOfThePolicyAndOfTheRequestHoldTogether() {
        var policy = Policy(name: "p")
        policy.rules.only = ["rich", "texts"]
        let query = Self.market.query(policy, rules { $0.rules.only = ["texts", "plain"] })
        #expect(Self.market.order(query) == ["texts"])
    }

    @Test func aPolicyMayNameModels() {
        let market = Market([
            .init(id: "a", model: WorkerModel(id: "qwen3-coder-30b")), .init(id: "b", model: WorkerModel(id: "qwen3")),
            .init(id: "c", model: WorkerModel(id: "devstral")),
        ])
        let query = market.query(Policy(name: "code", models: ["qwen3-coder*", "devstral"]))
        #expect(market.order(query).sorted() == ["a", "c"])
    }
}

/// Who of those that may comes first.
@Suite struct PolicyOrderingTests {
    /// In dollars a million tokens.
    private static func priced(_ id: String, _ dollars: Int64) -> Market.Offer {
        .init(id: id, prices: Prices(input: dollars * 1_000_000, output: dollars * 1_000_000))
    }

    @Test func cheapGoesByThePriceOfThisRequest() {
        let market = Market([
            .init(id: "input", prices: Prices(input: 100, output: 9_000_000)),
            .init(id: "output", prices: Prices(input: 1_000_000, output: 100)), .init(id: "untold"),
            .init(id: "own", owner: Market.alice, access: .ownerOnly),
        ])
        let long = market.query(.cheap, facts: PromptFacts(tokens: 50_000, longestAnswer: 10))
        #expect(market.order(long) == ["own", "input", "output", "untold"])
        let short = market.query(.cheap, facts: PromptFacts(tokens: 100))
        #expect(market.order(short) == ["own", "output", "input", "untold"])
    }

    @Test func amongEquallyCheapTheFasterIsFirst() {
        var market = Market([Self.priced("a", 100), Self.priced("b", 100)])
        market.measure("a", firstMs: 900, perSecond: 10)
        market.measure("b", firstMs: 100, perSecond: 80)
        for turn in 0..<20 { #expect(market.order(market.query(.cheap), turn: UInt64(turn)) == ["b", "a"]) }
    }

    @Test func pricesInAnotherCurrencyAreNotCompared() throws {
        let euro = Prices(currency: try #require(Currency("EUR")), input: 1, output: 1)
        let market = Market([.init(id: "euro", prices: euro), Self.priced("dollar", 9)])
        #expect(market.order(market.query(.cheap)) == ["dollar", "euro"])
        #expect(market.reason("euro", market.query(.cheap, rules { $0.rules.ceiling.prompt = 10 })) == .priceCeiling)
    }

    @Test func fastGoesByTheWholeAnswer() {
        var market = Market([.init(id: "prompt"), .init(id: "steady"), .init(id: "new")])
        market.measure("prompt", firstMs: 100, perSecond: 5)
        market.measure("steady", firstMs: 900, perSecond: 100)
        #expect(market.order(market.query(.fast)) == ["steady", "new", "prompt"])
        let short = market.query(.fast, facts: PromptFacts(longestAnswer: 1))
        #expect(market.order(short) == ["prompt", "steady", "new"])
        #expect(
            market.order(market.query(.fast, rules { $0.sort = .init(by: .latency) })) == ["prompt", "steady", "new"])
        let throughput = market.query(.fast, rules { $0.sort = .init(by: .throughput) })
        #expect(market.order(throughput) == ["steady", "new", "prompt"])
    }

    @Test func whoIsBusyIsSlower() {
        var market = Market([.init(id: "a", slots: 2), .init(id: "b", slots: 2)])
        market.measure("a", firstMs: 400, perSecond: 50)
        market.measure("b", firstMs: 500, perSecond: 50)
        #expect(market.order(market.query(.fast)) == ["a", "b"])
        market.set("a") { $0.underWay = 2 }
        #expect(market.order(market.query(.fast)) == ["b", "a"])
    }

    @Test func balancedWeighsMoneyAgainstTime() {
        // 256 tokens at 2 dollars a million are 512 millionths; five seconds of waiting are worth 1,000.
        var market = Market([
            .init(id: "free", prices: .free), .init(id: "quick", prices: Prices(output: 2_000_000)),
        ])
        market.measure("free", firstMs: 4_000, perSecond: 100)
        market.measure("quick", firstMs: 100, perSecond: 100)
        #expect(market.order(market.query()) == ["quick", "free"])
        market.measure("free", firstMs: 2_000, perSecond: 100)
        #expect(market.order(market.query()) == ["free", "quick"])
    }

    @Test func hostedIsTheLastResort() {
        var market = Market([.init(id: "api", prices: .free, isHosted: true), .init(id: "worker")])
        market.measure("api", firstMs: 1, perSecond: 1_000)
        market.measure("worker", firstMs: 9_000, perSecond: 1)
        #expect(market.order(market.query()) == ["worker", "api"])
        #expect(market.order(market.query(.fast)) == ["api", "worker"])
        market.set("worker") { $0.exclusion = .cooling }
        #expect(market.order(market.query()) == ["api"])
    }

    @Test func contextGoesByTheWindow() {
        let market = Market([
            .init(id: "small", model: WorkerModel(id: "m", contextTokens: 8_000)),
            .init(id: "large", model: WorkerModel(id: "m", contextTokens: 200_000)), .init(id: "untold"),
        ])
        #expect(market.order(market.query(.context)) == ["large", "small"])
        // Asked for by the request alone it orders, and leaves nobody out.
        #expect(market.order(market.query(.standard, rules { $0.prefer = .context })) == ["large", "small", "untold"])
    }

    @Test func whereThePromptMayNotFitIsBehind() {
        var market = Market([
            .init(id: "tight", model: WorkerModel(id: "m", contextTokens: 8_000)),
            .init(id: "roomy", model: WorkerModel(id: "m", contextTokens: 9_000)), .init(id: "untold"),
        ])
        market.measure("tight", firstMs: 1, perSecond: 1_000)
        market.measure("roomy", firstMs: 9_000, perSecond: 1)
        market.measure("untold", firstMs: 5_000, perSecond: 20)
        // 7,500 × 1.15 = 8,625.
        #expect(market.order(market.query(facts: PromptFacts(tokens: 7_500))) == ["untold", "roomy", "tight"])
        #expect(market.order(market.query(facts: PromptFacts(tokens: 6_900))) == ["tight", "untold", "roomy"])
    }

    @Test func whoIsKnownToTakeImagesIsBeforeWhoMay() {
        let market = Market([
            .init(id: "untold", prices: .free),
            .init(
                id: "seeing", model: WorkerModel(id: "m", modalities: ["image"]),
                prices: Prices(input: 9_000_000, output: 9_000_000)),
        ])
        let facts = PromptFacts(tokens: 1_000, modalities: [.image])
        #expect(market.order(market.query(.cheap, facts: facts)) == ["seeing", "untold"])
        #expect(market.order(market.query(.media, facts: facts)) == ["seeing"])
    }

    @Test func localComesFirstWhereItIsPreferred() {
        var market = Market([
            .init(id: "far", prices: .free), .init(id: "near", node: Market.here, home: Market.here),
        ])
        market.measure("near", firstMs: 9_000, perSecond: 1)
        #expect(market.order(market.query()) == ["far", "near"])
        #expect(market.order(market.query(.standard, rules { $0.prefer = .local })) == ["near", "far"])
    }

    @Test func privateIsForWhoWasNamedAtANodeThatMayKnow() {
        let market = Market([
            .init(id: "own", owner: Market.alice, access: .everyone),
            .init(id: "named", node: Market.here, access: .named([Market.alice])),
            // Its workers are at a node of somebody else, which is not its home.
            .init(id: "away", node: Market.there, home: Market.here, access: .named([Market.alice])),
            .init(id: "public", node: Market.here, home: Market.here),
            .init(id: "key", owner: Market.alice, access: .ownerOnly, isHosted: true),
        ])
        #expect(market.order(market.query(.private)) == ["named", "own"])
        #expect(market.order(market.query(.cheap, rules { $0.prefer = .private })) == ["named", "own"])
        #expect(market.reason("away", market.query(.private)) == .location)
    }

    @Test func orderPutsNamesInFront() {
        let market = Market([Self.priced("a", 1), Self.priced("b", 9), Self.priced("c", 5), Self.priced("d", 3)])
        #expect(market.order(market.query(.cheap, rules { $0.order = ["B", "c"] })) == ["b", "c", "a", "d"])
    }

    @Test func wishesForSpeedAreSoft() {
        var market = Market([Self.priced("cheap", 1), Self.priced("fast", 9), Self.priced("unknown", 5)])
        market.measure("cheap", firstMs: 3_000, perSecond: 10)
        market.measure("fast", firstMs: 200, perSecond: 90)
        let wish = rules { $0.speed.throughput.p50 = 50_000 }
        #expect(market.order(market.query(.cheap, wish)) == ["fast", "cheap", "unknown"])
        let latency = rules { $0.speed.latencyMs.p90 = 250 }
        #expect(market.order(market.query(.cheap, latency)) == ["fast", "cheap", "unknown"])
    }

    @Test func modelsOfAListStayInTheirOrder() {
        let market = Market([
            .init(id: "a", model: WorkerModel(id: "first"), prices: Prices(output: 9_000_000)),
            .init(id: "b", model: WorkerModel(id: "second"), prices: .free),
            .init(id: "c", model: WorkerModel(id: "first"), prices: Prices(output: 5_000_000)),
        ])
        let targets = [PolicyTarget(model: "first"), PolicyTarget(model: "gone"), PolicyTarget(model: "second")]
        #expect(market.order(market.query(.cheap, targets: targets)) == ["c", "a", "b"])
        let apart = rules { $0.sort = .init(by: .price, keepsModelsApart: false) }
        #expect(market.order(market.query(.cheap, apart, targets: targets)) == ["b", "c", "a"])
        // Named twice, asked once; and of one provider only.
        let key = market.index.candidate(market.number("a")).provider.key
        let one = [
            PolicyTarget(model: "first", provider: key), PolicyTarget(model: "second"), PolicyTarget(model: "second"),
        ]
        #expect(market.order(market.query(.cheap, targets: one)) == ["a", "b"])
    }

    @Test func equalsTakeTurns() {
        let market = Market((0..<4).map { .init(id: "p\($0)") })
        let query = market.query()
        var firsts: [String: Int] = [:]
        for turn in 0..<4_000 { firsts[market.order(query, turn: UInt64(turn))[0], default: 0] += 1 }
        #expect(firsts.count == 4)
        for (_, count) in firsts { #expect((850...1_150).contains(count)) }
        #expect(market.order(query, turn: 7) == market.order(query, turn: 7))
    }

    @Test func noMoreThanAllowed() {
        let market = Market((0..<30).map { .init(id: "p\($0)") })
        #expect(market.order(market.query()).count == Limits.policyChoices)
        #expect(market.index.decide(market.query(), market.states, turn: 1, limit: 3).count == 3)
        #expect(market.index.decide(market.query(), market.states, turn: 1, limit: 0).isEmpty)
    }
}
