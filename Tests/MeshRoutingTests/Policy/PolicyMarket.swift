import MeshCrypto
import MeshModel

@testable import MeshRouting

/// A small market to choose in.
struct Market {
    static let here = SigningKey.random().publicKey
    static let there = SigningKey.random().publicKey
    static let operatorHere = SigningKey.random().publicKey
    static let operatorThere = SigningKey.random().publicKey
    static let alice = SigningKey.random().publicKey
    static let seller = SigningKey.random().publicKey

    static var asAlice: Principal {
        Principal(owner: alice, username: "alice", node: here, nodeOperator: operatorHere)
    }

    /// One provider with one worker.
    struct Offer {
        var id: String
        var model = WorkerModel(id: "m")
        var node = Market.there
        var home = Market.there
        var owner = Market.seller
        var access = CatalogAccess.everyone
        var prices: Prices?
        var dataPolicy = DataPolicy.unknown
        var isHosted = false
        var endpoints: [String] = []
        var slots: UInt32 = 1
        var workers = 1
    }

    var catalog: Catalog
    var index: PolicyIndex
    var states: PolicyStates

    init(_ offers: [Offer]) {
        let providers = offers.map { offer in
            let hosts = (0..<offer.workers).map { number in
                CatalogHost(
                    node: offer.node, nodeName: offer.node == Market.here ? "north" : "south",
                    attachment: RecordKey(Bytes16(high: 1, low: UInt64(number))), clientHash: [],
                    offer: WorkerOffer(models: [offer.model], endpoints: offer.endpoints, slots: offer.slots))
            }
            return CatalogProvider(
                key: RecordKey(Sodium.shared.hash16(Array("\(offer.owner) \(offer.id)".utf8), key: [])),
                advertHash: .zero, owner: offer.owner, providerID: offer.id,
                scope: .user(offer.owner == Market.alice ? "alice" : "bob"), homeNode: offer.home,
                homeName: offer.home == Market.here ? "north" : "south", access: offer.access, attachKeys: [],
                hosts: hosts, modelsSeen: [offer.model.id],
                kind: offer.isHosted ? ProviderKind.upstream : ProviderKind.workers,
                prices: PriceList(offer.prices.map { [PriceList.Entry(model: "", prices: $0)] } ?? []),
                dataPolicy: offer.dataPolicy)
        }
        let nodes = [
            CatalogNode(
                key: Market.here, name: "north", operatorKey: Market.operatorHere, apiURL: "", linkAddresses: [],
                region: "eu"),
            CatalogNode(
                key: Market.there, name: "south", operatorKey: Market.operatorThere, apiURL: "", linkAddresses: []),
        ]
        catalog = Catalog(node: Market.here, nodes: nodes, providers: providers)
        index = PolicyIndex(catalog)
        states = PolicyStates(index)
    }

    func number(_ id: String) -> Int {
        (0..<index.count).first { index.candidate($0).provider.providerID == id } ?? -1
    }

    mutating func set(_ id: String, _ change: (inout CandidateState) -> Void) { states.update(number(id), change) }

    mutating func measure(_ id: String, firstMs: Int64, perSecond: Int64) {
        set(id) { $0.speed = MeasuredSpeed(WorkerSpeed(tokensPerSecond: perSecond, firstContentMs: firstMs)) }
    }

    func query(
        _ policy: Policy = .standard, _ preferences: RoutingPreferences? = nil, targets: [PolicyTarget]? = nil,
        facts: PromptFacts = PromptFacts(), endpoint: EndpointPath? = nil
    ) -> PolicyQuery {
        PolicyQuery(
            index, policy: policy, preferences: preferences, targets: targets, facts: facts, endpoint: endpoint,
            principal: Market.asAlice)
    }

    /// Ids of the providers, best first.
    func order(_ query: PolicyQuery, turn: UInt64 = 1) -> [String] {
        index.decide(query, states, turn: turn).map { index.candidate($0.candidate).provider.providerID }
    }

    func reason(_ id: String, _ query: PolicyQuery) -> Exclusion? {
        let number = number(id)
        return index.explain(query, states, turn: 1).excluded.first { $0.candidate == number }?.reason
    }
}
