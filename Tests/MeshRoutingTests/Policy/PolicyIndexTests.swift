import MeshModel
import Testing

@testable import MeshRouting

@Suite struct PolicyIndexTests {
    @Test func workersOfAProviderAtOneNodeAreOneCandidate() {
        let market = Market([.init(id: "a", slots: 2, workers: 3), .init(id: "b")])
        #expect(market.index.count == 2)
        #expect(market.index.candidate(market.number("a")).slots == 6)
    }

    @Test func ofWorkersThatDifferTheBestCounts() {
        var market = Market([.init(id: "a", model: WorkerModel(id: "m", contextTokens: 4_000, modalities: ["image"]))])
        let known = market.catalog.providers[0]
        var second = known.hosts[0]
        second.offer.models = [WorkerModel(id: "m", contextTokens: 16_000, quantization: "fp8"), WorkerModel(id: "n")]
        second.offer.endpoints = ["v1/rerank"]
        let hosts = known.hosts + [second]
        let provider = known.served(by: hosts, remote: hosts, modelsSeen: known.modelsSeen)
        market.index = PolicyIndex(Catalog(node: Market.here, nodes: market.catalog.nodes, providers: [provider]))
        #expect(market.index.count == 2)
        let candidate = market.index.candidate(0)
        #expect(candidate.model == "m" && candidate.contextTokens == 16_000 && candidate.modalities == [.image])
        #expect(candidate.quantization == "fp8" && candidate.slots == 2)
        #expect(market.index.candidate(1).model == "n")
    }

    @Test func statesFollowTheirCandidates() {
        let offers: [Market.Offer] = [.init(id: "a"), .init(id: "b"), .init(id: "c")]
        var before = Market(offers)
        before.measure("a", firstMs: 70, perSecond: 7)
        before.set("c") { $0.underWay = 3 }
        let after = Market([offers[2], .init(id: "new"), offers[0]])
        let carried = before.states.carried(from: before.index, to: after.index)
        #expect(carried[after.number("a")] == before.states[before.number("a")])
        #expect(carried[after.number("c")].underWay == 3)
        #expect(carried[after.number("new")] == CandidateState())
    }

    @Test func candidatesAreFound() {
        let market = Market([.init(id: "a", model: WorkerModel(id: "x")), .init(id: "b", model: WorkerModel(id: "x"))])
        let candidate = market.index.candidate(1)
        let number = market.index.number(
            provider: candidate.provider.key, node: candidate.node.key, model: candidate.model)
        #expect(number == 1)
        #expect(market.index.number(provider: candidate.provider.key, node: Market.here, model: "x") == nil)
        #expect(market.index.number(provider: candidate.provider.key, node: candidate.node.key, model: "y") == nil)
    }

    /// States of another index are nobody's.
    @Test func statesOfAnotherIndexDecideNothing() {
        let market = Market([.init(id: "a")])
        let other = PolicyStates(Market([.init(id: "a"), .init(id: "b")]).index)
        #expect(market.index.decide(market.query(), other, turn: 1).isEmpty)
        #expect(market.index.explain(market.query(), other, turn: 1).choices.isEmpty)
    }

    /// What is explained is what happens: on random markets, the first that `explain` lists is the first that is chosen,
    /// and each candidate has either a score or a reason.
    @Test(arguments: 0..<60)
    func explainTellsTheTruth(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        func draw<Element>(_ list: [Element]) -> Element { list[Int(random.next() % UInt64(list.count))] }
        // Some with more candidates than are looked at one by one.
        let offers = (0..<(seed % 4 == 0 ? 700 : 40)).map { number in
            Market.Offer(
                id: "p\(number)",
                model: WorkerModel(
                    id: draw(["m", "n", "o"]), contextTokens: draw([nil, 4_000, 32_000]),
                    modalities: draw([[], ["text"], ["image"]]), quantization: draw([nil, "fp8"]),
                    parameters: draw([[], RequestParameters([.tools])])),
                node: draw([Market.here, Market.there]), owner: draw([Market.seller, Market.alice]),
                access: draw([.everyone, .ownerOnly, .named([Market.alice])]),
                prices: draw([
                    nil, Prices(input: 10, output: 10), Prices(input: 1_000_000, output: 3_000_000),
                    Prices(input: Int64(random.next() % 3_000_000), output: Int64(random.next() % 9_000_000)),
                ]),
                dataPolicy: draw(DataPolicy.allCases), isHosted: draw([false, false, true]))
        }
        var market = Market(offers)
        for number in 0..<market.index.count {
            let (first, perSecond) = (Int64(random.next() % 3_000), Int64(random.next() % 100))
            let exclusion: Exclusion? = draw([nil, nil, nil, .cooling, .atCapacity])
            market.states.update(number) { state in
                state.speed = MeasuredSpeed(WorkerSpeed(tokensPerSecond: perSecond, firstContentMs: first))
                state.exclusion = exclusion
            }
        }
        for turn in 0..<20 {
            var preferences = RoutingPreferences()
            preferences.rules.retention = draw([.any, .any, .bounded, .none])
            preferences.rules.ceiling.prompt = draw([nil, nil, 500_000])
            preferences.prefer = draw([nil] + RoutingPreferences.Prefer.allCases.map { $0 })
            preferences.order = draw([[], [], ["p3", "p7"]])
            preferences.rules.ignore = draw([[], [], ["p1", "p5"]])
            let facts = PromptFacts(
                tokens: Int64(random.next() % 20_000), modalities: draw([[], [], [.image]]),
                parameters: draw([[], RequestParameters([.tools])]))
            let targets: [PolicyTarget]? = draw([nil, [PolicyTarget(model: "m"), PolicyTarget(model: "o")]])
            let query = market.query(draw(Policy.builtIn), preferences, targets: targets, facts: facts)
            let chosen = market.index.decide(query, market.states, turn: UInt64(turn))
            let report = market.index.explain(query, market.states, turn: UInt64(turn))
            #expect(chosen == Array(report.choices.prefix(Limits.policyChoices)))
            let asked = (0..<market.index.count).filter { number in
                targets.map { $0.contains { $0.model == market.index.candidate(number).model } } ?? true
            }
            #expect((report.choices.map(\.candidate) + report.excluded.map(\.candidate)).sorted() == asked)
        }
    }
}
