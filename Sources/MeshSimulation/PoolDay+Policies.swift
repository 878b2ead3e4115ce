import MeshGossip
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
        entries[number].departures.note(entries[number].catalog, catalog, now: clock)
        entries[number].catalog = catalog
        guard !market.policies.isEmpty else { return }
        let departed = entries[number].departures.providers(now: clock)
        entries[number].departed = PolicyIndex(Catalog(node: keys[number], nodes: nodes, providers: departed))
        if entries[number].desk == nil { entries[number].desk = PolicyDesk(catalog, turn: random.next()) }
        entries[number].desk?.layOut(PolicyIndex(catalog))
    }

    /// A request whose places a policy chooses: the best that was not asked for it yet, or one that is back in time.
    mutating func decide(_ number: Int) {
        let request = requests[number]
        let entry = request.entry
        if request.seats.isEmpty {
            if request.waitedSince == nil { entries[entry].repeats.requestBegan() }
        } else {
            guard AttemptCost.spent(request.costs) < Limits.forwardAttempts else {
                return refuse(number, retryAfterSeconds: 2)
            }
            guard entries[entry].repeats.spend(now: clock) else { return refuse(number, retryAfterSeconds: 2) }
        }
        let candidates = keys(number, entries[entry].desk?.view(takesTurn: true, now: clock))
        for key in candidates {
            guard let seat = market.seats.indices.first(where: { self.key(of: $0) == key }) else { continue }
            let places = market.sellers[market.seats[seat].seller].places
            if let places, entries[entry].underWay[seat] >= places { continue }
            return sendByPolicy(number, key, seat)
        }
        let early = keys(number, entries[entry].desk?.earlyView(now: clock))
        if let key = entries[entry].desk?.askEarly(early, now: clock),
            let seat = market.seats.indices.first(where: { self.key(of: $0) == key })
        {
            return sendByPolicy(number, key, seat)
        }
        if !request.seats.isEmpty { entries[entry].repeats.giveBack() }
        hold(number, hasFull: !candidates.isEmpty)
    }

    private func keys(_ number: Int, _ view: PolicyDesk.View?) -> [CandidateKey] {
        guard let view else { return [] }
        let request = requests[number]
        let own = PoolMarket.node(request.entry)
        let buyer = Principal(owner: own, username: "buyer", node: own, nodeOperator: own)
        let query = PolicyQuery(
            view.index, policy: market.policies[request.pool - ids.count], targets: nil, principal: buyer)
        let all = view.decide(query, limit: Limits.policyChoices).map(\.key)
        return all.filter { key in !request.seats.contains { self.key(of: $0) == key } }
    }

    /// A request for one seller by name: one of his nodes after the other, and when none of them is there any more, whoever of
    /// them comes back.
    mutating func askSeller(_ number: Int) {
        let request = requests[number]
        let entry = request.entry
        guard let seller = request.seller else { return }
        if request.seats.isEmpty {
            if request.waitedSince == nil { entries[entry].repeats.requestBegan() }
        } else {
            guard AttemptCost.spent(request.costs) < Limits.forwardAttempts, entries[entry].repeats.spend(now: clock)
            else { return refuse(number, retryAfterSeconds: 2) }
        }
        let there = market.seats.indices.filter { seat in
            market.seats[seat].seller == seller && entries[entry].isThere[seat] && !entries[entry].isLeaving[seat]
        }
        let best = there.filter { !request.seats.contains($0) }.min {
            entries[entry].underWay[$0] < entries[entry].underWay[$1]
        }
        if let best { return sendByPolicy(number, key(of: best), best) }
        if !request.seats.isEmpty { entries[entry].repeats.giveBack() }
        let since = request.waitedSince ?? clock
        let mayReturn =
            there.isEmpty && entries[entry].departures.mayReturn(PoolMarket.key(seller), now: clock)
            && clock < since.advanced(byMilliseconds: Limits.holdMs)
        guard mayReturn else { return refuse(number, retryAfterSeconds: 2) }
        wait(number, since: since)
    }

    /// It waits for whoever is at work, or back in time; else it is refused.
    private mutating func hold(_ number: Int, hasFull: Bool) {
        let request = requests[number]
        let since = request.waitedSince ?? clock
        let deadline = since.advanced(byMilliseconds: Limits.holdMs)
        // A copy: it is looked at with this day in hand.
        var desk = entries[request.entry].desk
        let departed = entries[request.entry].departed
        let soonest = hasFull ? clock : desk?.soonest(departed, now: clock) { keys(number, $0) }
        guard clock < deadline, let soonest, soonest < deadline else {
            let seconds = soonest.map { PoolExhaustion.seconds(inMs: $0.milliseconds(since: clock)) }
            return refuse(number, retryAfterSeconds: seconds ?? 2)
        }
        wait(number, since: since)
    }

    private mutating func wait(_ number: Int, since: Instant) {
        requests[number].waitedSince = since
        requests[number].isHeld = true
        queue.insert(.looks(number), at: after(Limits.poolLookMs))
    }

    mutating func looks(_ number: Int) {
        guard requests[number].isHeld else { return }
        requests[number].isHeld = false
        choose(number)
    }
}
