import ArgumentParser
import MeshModel
import MeshRouting

/// P9: what a routing decision costs on a mesh of many workers, without a node around it.
struct Choose: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "P9: the time of a routing decision at so many workers and models, each worker its own seller's.")

    @Option(help: "Workers; each is a provider of its own, so that nothing can be taken together.") var workers = 1_260
    @Option(help: "Models, each at every worker.") var models = 15
    @Option(help: "Decisions that are timed, of each kind.") var decisions = 2_000

    func validate() throws {
        guard (1...20_000).contains(workers), (1...200).contains(models), (1...1_000_000).contains(decisions) else {
            throw ValidationError("--workers is 1 to 20000, --models 1 to 200, --decisions 1 to 1000000.")
        }
    }

    func run() throws {
        let market = Market(workers: workers, models: models)
        let clock = ContinuousClock()
        let built = clock.measure { _ = PolicyIndex(market.catalog) }
        print(
            "\(workers) workers x \(models) models: \(market.index.count) candidates, laid out in \(microseconds(built)) us"
        )
        print("decision                                  p50 us   p99 us   candidates")
        for kind in market.kinds {
            var times: [Double] = []
            var taken = 0
            for turn in 0..<decisions {
                let time = clock.measure {
                    let query = market.query(kind)
                    taken &+= market.index.decide(query, market.states, turn: UInt64(turn)).count
                }
                times.append(microseconds(time))
            }
            times.sort()
            let name = kind.name.padding(to: 40)
            let p50 = rounded(times[times.count / 2])
            let p99 = rounded(times[min(times.count * 99 / 100, times.count - 1)])
            print("\(name) \(p50)   \(p99)   \(taken / decisions) taken")
        }
    }

    private func microseconds(_ duration: Duration) -> Double {
        let (seconds, attoseconds) = duration.components
        return Double(seconds) * 1e6 + Double(attoseconds) / 1e12
    }

    private func rounded(_ value: Double) -> String {
        let tenths = Int(value * 10)
        return "\(tenths / 10).\(tenths % 10)".leftPadding(to: 7)
    }
}

extension String {
    fileprivate func padding(to width: Int) -> String { self + String(repeating: " ", count: max(width - count, 0)) }
    fileprivate func leftPadding(to width: Int) -> String {
        String(repeating: " ", count: max(width - count, 0)) + self
    }
}

/// Sellers that differ in all that a decision goes by.
private struct Market {
    struct Kind {
        var name: String
        var policy = Policy.standard
        var preferences: RoutingPreferences?
        /// Nil: any model.
        var model: String? = "model-3"
    }

    let catalog: Catalog
    let index: PolicyIndex
    private(set) var states: PolicyStates
    private let caller: Principal

    var kinds: [Kind] {
        var rules = RoutingPreferences()
        rules.rules.ceiling = PriceCeiling(prompt: 2_000_000, completion: 4_000_000)
        rules.rules.retention = .bounded
        rules.speed.latencyMs.p50 = 900
        var names = RoutingPreferences()
        names.order = ["seller-7", "seller-8"]
        names.rules.ignore = ["seller-9"]
        return [
            Kind(name: "a model, by price and time"),
            Kind(name: "a model, cheapest", policy: .cheap),
            Kind(name: "a model, fastest", policy: .fast),
            Kind(name: "a model, with ceilings and wishes", preferences: rules),
            Kind(name: "a model, with names of providers", preferences: names),
            Kind(name: "auto, any model", model: nil),
            Kind(name: "auto:cheap, any model", policy: .cheap, model: nil),
        ]
    }

    init(workers: Int, models: Int) {
        func key(_ number: Int, _ kind: UInt64) -> PublicKey {
            PublicKey(Bytes32(high: Bytes16(high: kind, low: 0), low: Bytes16(high: 0, low: UInt64(number))))
        }
        let nodes = (0..<min(workers, 64)).map { number in
            CatalogNode(
                key: key(number, 1), name: "node-\(number)", operatorKey: key(number % 16, 2), apiURL: "",
                linkAddresses: [], region: number % 2 == 0 ? "eu" : "us")
        }
        var random = SeededGenerator(seed: 1)
        let providers = (0..<workers).map { number -> CatalogProvider in
            let home = nodes[number % nodes.count]
            let list = ModelList(
                (0..<models).map {
                    WorkerModel(id: "model-\($0)", contextTokens: 4_096 << UInt32($0 % 5), modalities: ["text"])
                })
            let host = CatalogHost(
                node: home.key, nodeName: home.name, attachment: RecordKey(Bytes16(high: 1, low: UInt64(number))),
                clientHash: [], offer: WorkerOffer(models: list, slots: 2))
            let input = Int64(random.next() % 3_000_000)
            return CatalogProvider(
                key: RecordKey(Bytes16(high: 2, low: UInt64(number))), advertHash: .zero, owner: key(number, 3),
                providerID: "seller-\(number)", scope: .user("user-\(number)"), homeNode: home.key, homeName: home.name,
                access: .everyone, attachKeys: [], hosts: [host], modelsSeen: [],
                prices: PriceList([.init(model: "", prices: Prices(input: input, output: input * 3))]),
                dataPolicy: DataPolicy.allCases[number % DataPolicy.allCases.count])
        }
        catalog = Catalog(node: nodes[0].key, nodes: nodes, providers: providers)
        index = PolicyIndex(catalog)
        states = PolicyStates(index)
        caller = Principal(owner: key(0, 4), username: "buyer", node: nodes[0].key, nodeOperator: key(0, 2))
        for number in 0..<index.count {
            let speed = WorkerSpeed(
                tokensPerSecond: Int64(random.next() % 100), firstContentMs: Int64(random.next() % 3_000))
            let isCooling = random.next() % 50 == 0
            states.update(number) { state in
                state.speed = MeasuredSpeed(speed)
                state.exclusion = isCooling ? .cooling : nil
            }
        }
    }

    func query(_ kind: Kind) -> PolicyQuery {
        PolicyQuery(
            index, policy: kind.policy, preferences: kind.preferences,
            targets: kind.model.map { [PolicyTarget(model: $0)] }, facts: PromptFacts(tokens: 1_200),
            principal: caller)
    }
}
