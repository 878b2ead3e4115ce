import MeshAccounting
import MeshExchange
package import MeshModel
import MeshRouting
import MeshSessions
import MeshUpstream

/// One thing that stands between a provider's workers and requests, and how it stands now.
package struct SellerGate: Hashable, Sendable {
    package enum State: String, Hashable, Sendable {
        case open
        /// Some requests come through, others do not.
        case narrow
        case closed
    }

    package var gate: String
    package var state: State
    package var words: String

    init(_ gate: String, _ state: State, _ words: String) {
        self.gate = gate
        self.state = state
        self.words = words
    }
}

extension NodeViews {
    /// Why the workers of a provider of this node get no requests: every gate on their way, in the order in which requests
    /// meet them.
    package func gates(
        _ account: ProviderAccount, _ quotas: Quotas, _ market: Market, isDraining: Bool
    ) -> [SellerGate] {
        let known = catalog.current.providers(withID: account.providerID)
            .first { $0.owner == account.ownerKey && $0.homeNode == facts.key }
        guard let provider = known else {
            return [
                SellerGate(
                    "advert", .closed,
                    "its advert is not signed yet: see 'aisbf node status' for the clock and the disk of this node")
            ]
        }
        var gates = [
            SellerGate("advert", .open, "announced as \(provider.fullName)"), node(isDraining), mesh(),
            access(provider), workers(provider),
        ]
        if sessions.sessions(of: provider.key).isEmpty && provider.hosts.isEmpty { return gates }
        gates += [models(provider), places(provider), limit(provider, quotas), price(provider)]
        return gates + rotations(provider, market)
    }

    private func node(_ isDraining: Bool) -> SellerGate {
        if isDraining { return SellerGate("node", .closed, "this node is shutting down and takes nothing new") }
        guard !clock.isSuspect(now: SystemClock.now) else {
            return SellerGate("node", .narrow, "this node's clock is doubted: it signs nothing new for other nodes")
        }
        return SellerGate("node", .open, "takes requests")
    }

    private func mesh() -> SellerGate {
        let (linked, others) = (links.all.count, max(catalog.current.nodes.count - 1, 0))
        guard others > 0 else { return SellerGate("mesh", .open, "there is no other node") }
        guard linked > 0 else {
            return SellerGate("mesh", .narrow, "no link to any of \(others) nodes: only buyers of this node come")
        }
        return SellerGate("mesh", .open, "\(linked) links, \(others) other nodes")
    }

    private func access(_ provider: CatalogProvider) -> SellerGate {
        switch provider.access {
        case .everyone: SellerGate("access", .open, "everybody may use it")
        case .ownerOnly: SellerGate("access", .narrow, "only keys of its owner; see 'aisbf provider set --access'")
        case .named(let keys): SellerGate("access", .narrow, "only its owner and \(keys.count) who are named")
        }
    }

    private func workers(_ provider: CatalogProvider) -> SellerGate {
        let here = sessions.sessions(of: provider.key).count
        let elsewhere = provider.hosts.filter { $0.node != facts.key }.count
        if let standing = upstreams.standing(of: provider.key) {
            let told = standing.problem.map { ": \($0)" } ?? ""
            return SellerGate(
                "upstream", here > 0 ? .open : .closed, "\(standing.state.rawValue)\(told)")
        }
        guard here + elsewhere > 0 else {
            let last = ends(of: provider.key).last.map { "; the last one left at \($0.at.utcText)" } ?? ""
            return SellerGate("workers", .closed, "none is attached\(last)")
        }
        let announced = provider.hosts.count { $0.node == facts.key }
        let words = "\(here) here, \(elsewhere) at other nodes"
        guard announced >= here else {
            return SellerGate("workers", .narrow, "\(words); other nodes know of \(announced) of those here")
        }
        return SellerGate("workers", .open, words)
    }

    private func models(_ provider: CatalogProvider) -> SellerGate {
        var models: [String] = []
        for session in sessions.sessions(of: provider.key) {
            for model in session.current.offer.models where !models.contains(model.id) { models.append(model.id) }
        }
        for host in provider.hosts {
            for model in host.offer.models where !models.contains(model.id) { models.append(model.id) }
        }
        guard let first = models.first else {
            return SellerGate("models", .closed, "its workers offer none: is a model loaded?")
        }
        return SellerGate("models", .open, models.count == 1 ? first : "\(first) and \(models.count - 1) more")
    }

    private func places(_ provider: CatalogProvider) -> SellerGate {
        let own = sessions.sessions(of: provider.key)
        guard !own.isEmpty else { return SellerGate("places", .open, "at other nodes, which know for themselves") }
        let now = SystemClock.instant
        let (full, resting) = (own.count { $0.isFull }, own.count { $0.isResting(now: now) })
        let words = "\(full) full and \(resting) resting after refusals, of \(own.count) here"
        if full == own.count { return SellerGate("places", .closed, words) }
        return SellerGate("places", full + resting > 0 ? .narrow : .open, words)
    }

    private func limit(_ provider: CatalogProvider, _ quotas: Quotas) -> SellerGate {
        let subject = SellerQuota.subject(provider, at: facts.key)
        let outlook = quotas.outlook(
            QuotaRequest(address: nil, route: nil, models: []), QuotaEstimate.nothing, for: [subject])
        guard let refusal = outlook.refusal else {
            return SellerGate("limits", .open, outlook.standings.isEmpty ? "it has none" : "they let requests in")
        }
        return SellerGate("limits", .closed, refusal.told(at: SystemClock.wall).message)
    }

    private func price(_ provider: CatalogProvider) -> SellerGate {
        if provider.prices.isEmpty { return SellerGate("price", .open, "it tells none: free") }
        if let currency = provider.prices.entries.map(\.prices.currency).first(where: { $0 != .usd }) {
            return SellerGate(
                "price", .narrow, "in \(currency), which is not compared: buyers with a ceiling pass it over")
        }
        return SellerGate("price", .open, "whoever has a lower ceiling, or less left, passes it over")
    }

    /// What the rotations of this node think of it.
    private func rotations(_ provider: CatalogProvider, _ market: Market) -> [SellerGate] {
        let edition = market.book.current
        return edition.order.prefix(Limits.explainedCandidates).compactMap { id -> SellerGate? in
            guard let entry = edition.rotations[id],
                market.members(of: id).contains(where: { $0.provider.key == provider.key })
            else { return nil }
            let asker = Asker(
                principal: Principal(
                    owner: entry.owner, username: id.scope.username, node: facts.key,
                    nodeOperator: facts.operatorKey), requestID: "")
            guard let told = market.explain(id, WorkerNeed(model: nil), PoolRequest(), for: asker) else { return nil }
            let own = told.candidates.filter { $0.provider?.key == provider.key }
            let reasons = own.compactMap { candidate -> Exclusion? in
                if case .excluded(let reason) = candidate.standing { reason } else { nil }
            }
            guard let reason = reasons.first else { return SellerGate(id.modelName, .open, "takes its turns") }
            return SellerGate(
                id.modelName, reasons.count == own.count ? .closed : .narrow, "\(reason.rawValue): \(reason.words)")
        }
    }
}
