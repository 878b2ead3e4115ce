import MeshModel
import MeshRouting

/// Requests whose places a policy chooses.
extension PoolDay {
    private static let model = "m"

    func key(of seat: Int) -> CandidateKey {
        CandidateKey(
            provider: PoolMarket.key(market.seats[seat].seller), node: market.seats[seat].node, model: Self.model)
    }

    /// What a node sees of the sellers, as a catalog.
    mutating func layOut(_ number: Int) {
        guard !market.policies.isEmpty else { return }
        let entry = entries[number]
        let keys = entries.indices.map(PoolMarket.node)
        let nodes = keys.map { CatalogNode(key: $0, name: "\($0)", operatorKey: $0, apiURL: "", linkAddresses: []) }
        let providers = market.sellers.enumerated().map { seller, facts in
            let seats = market.seats.indices.filter { market.seats[$0].seller == seller && entry.isThere[$0] }
            let hosts = seats.map { seat in
                CatalogHost(
                    node: market.seats[seat].node, nodeName: "", attachment: RecordKey(.zero), clientHash: [],
                    offer: WorkerOffer(models: [WorkerModel(id: Self.model)], endpoints: [], slots: 1))
            }
            let home = market.seats.first { $0.seller == seller }?.node ?? keys[number]
            return CatalogProvider(
                key: PoolMarket.key(seller), advertHash: .zero, owner: home, providerID: "\(seller)",
                scope: .user("seller"), homeNode: home, homeName: facts.name, access: .everyone, attachKeys: [],
                hosts: hosts, modelsSeen: [Self.model],
                kind: facts.isHosted ? ProviderKind.upstream : ProviderKind.workers)
        }
        let catalog = Catalog(node: keys[number], nodes: nodes, providers: providers)
        if entries[number].desk == nil { entries[number].desk = PolicyDesk(catalog, turn: random.next()) }
        entries[number].desk?.layOut(PolicyIndex(catalog))
    }

    /// A request whose places a policy chooses: the best that was not asked for it yet.
    mutating func decide(_ number: Int) {
        let request = requests[number]
        if request.seats.isEmpty {
            entries[request.entry].repeats.requestBegan()
        } else {
            guard request.seats.count < Limits.forwardAttempts, entries[request.entry].repeats.spend(now: clock) else {
                return refuse(number, retryAfterSeconds: 2)
            }
        }
        let own = PoolMarket.node(request.entry)
        let buyer = Principal(owner: own, username: "buyer", node: own, nodeOperator: own)
        let policy = market.policies[request.pool - ids.count]
        func keys(_ view: PolicyDesk.View?) -> [CandidateKey] {
            guard let view else { return [] }
            let query = PolicyQuery(view.index, policy: policy, targets: nil, principal: buyer)
            let all = view.decide(query, limit: Limits.policyChoices).map(\.key)
            return all.filter { key in !request.seats.contains { self.key(of: $0) == key } }
        }
        for key in keys(entries[request.entry].desk?.view(takesTurn: true, now: clock)) {
            guard let seat = market.seats.indices.first(where: { self.key(of: $0) == key }) else { continue }
            let places = market.sellers[market.seats[seat].seller].places
            if let places, entries[request.entry].underWay[seat] >= places { continue }
            return sendByPolicy(number, key, seat)
        }
        let early = keys(entries[request.entry].desk?.earlyView(now: clock))
        if let key = entries[request.entry].desk?.askEarly(early, now: clock),
            let seat = market.seats.indices.first(where: { self.key(of: $0) == key })
        {
            return sendByPolicy(number, key, seat)
        }
        refuse(number, retryAfterSeconds: 2)
    }
}
