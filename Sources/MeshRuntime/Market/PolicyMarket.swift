import MeshExchange
package import MeshModel
package import MeshRouting
import NIOPosix
import Synchronization

/// What this node chooses by policy from: the candidates of the catalog of the moment, and what it has seen of each. A
/// decision looks at what it found when it began; nobody waits for it.
package final class PolicyMarket: Sendable {
    private struct State {
        /// Of the catalog that the desk is of.
        var serial: UInt64 = 0
        var isLayingOut = false
        var desk: PolicyDesk
    }

    private let catalog: CatalogHolder
    private let state: Mutex<State>

    package init(catalog: CatalogHolder, seed: UInt64) {
        self.catalog = catalog
        state = Mutex(State(desk: PolicyDesk(catalog.current, turn: seed)))
    }

    /// What a request says, for a decision.
    package struct Wish: Sendable {
        /// What the buyer asked for, as it was written.
        package var name: String
        package var policy: Policy
        package var preferences: RoutingPreferences?
        /// Nil: any model that the policy takes.
        package var targets: [PolicyTarget]?
        package var facts: PromptFacts

        package init(
            _ name: String, policy: Policy, preferences: RoutingPreferences?, targets: [PolicyTarget]?,
            facts: PromptFacts
        ) {
            self.name = name
            self.policy = policy
            self.preferences = preferences
            self.targets = targets
            self.facts = facts
        }
    }

    /// The best candidates, best first.
    /// - Parameter exceeded: the largest window that the prompt was said to be too long for.
    func decide(
        _ wish: Wish, _ endpoint: EndpointPath?, for principal: Principal, exceeded: UInt32 = 0,
        limit: Int = Limits.policyChoices
    ) -> [PolicyCandidate] {
        let view = view(takesTurn: true)
        return view.decide(view.query(wish, endpoint, principal, exceeded: exceeded), limit: limit)
    }

    /// Of those that rest the one that is asked all the same, because nobody else is left; nil where that may not be.
    /// - Parameter asked: those that were asked for this request.
    func leastBad(
        _ wish: Wish, _ endpoint: EndpointPath?, for principal: Principal, exceeded: UInt32, asked: [CandidateKey]
    ) -> PolicyCandidate? {
        let now = SystemClock.instant
        guard let view = state.withLock({ $0.desk.earlyView(now: now) }) else { return nil }
        let candidates = view.decide(
            view.query(wish, endpoint, principal, exceeded: exceeded), limit: Limits.policyChoices
        ).filter { !asked.contains($0.key) }
        let key = state.withLock { $0.desk.askEarly(candidates.map(\.key), now: now) }
        return candidates.first { $0.key == key }
    }

    /// When the first of those is back who rest or have just left, and who would do; nil where waiting does not help.
    /// - Parameter asked: those that were asked for this request.
    func soonest(
        _ wish: Wish, _ endpoint: EndpointPath?, for principal: Principal, exceeded: UInt32, asked: [CandidateKey]
    ) -> Instant? {
        let departed = catalog.departed()
        let now = SystemClock.instant
        // A copy that shares its storage: nobody waits while it is looked at.
        var desk = state.withLock { $0.desk }
        return desk.soonest(departed, now: now) { view in
            view.decide(view.query(wish, endpoint, principal, exceeded: exceeded), limit: Limits.policyChoices)
                .map(\.key).filter { !asked.contains($0) }
        }
    }

    /// Whether a candidate offers `endpoint` (nil: chats), without a decision.
    package func offers(_ endpoint: EndpointPath?, _ wish: Wish, for principal: Principal) -> Bool {
        let view = view(takesTurn: false)
        let query = view.query(wish, endpoint, principal)
        return !view.index.decide(query, view.states, turn: view.turn, limit: 1).isEmpty
    }

    /// Every candidate with its score or its one reason, as the next decision will see them.
    package func explain(
        _ wish: Wish, _ endpoint: EndpointPath?, for principal: Principal
    ) -> (chosen: [(PolicyCandidate, PolicyScore)], excluded: [(PolicyCandidate, Exclusion)]) {
        let view = view(takesTurn: false)
        let report = view.index.explain(view.query(wish, endpoint, principal), view.states, turn: view.turn)
        return (
            report.choices.map { (view.index.candidate($0.candidate), $0.score) },
            report.excluded.map { (view.index.candidate($0.candidate), $0.reason) }
        )
    }

    private func view(takesTurn: Bool) -> PolicyDesk.View {
        layOutAnew()
        return state.withLock { $0.desk.view(takesTurn: takesTurn, now: SystemClock.instant) }
    }

    /// After a change of the catalog. A few candidates are laid out at once, and are all that is chosen from. Many are laid
    /// out beside the requests, which choose from those of before until then.
    private func layOutAnew() {
        let (known, serial) = catalog.edition
        let (isDue, isQuick) = state.withLock { state in
            let isDue = state.serial != serial && !state.isLayingOut
            if isDue { state.isLayingOut = true }
            return (isDue, state.desk.count <= Limits.policyCandidatesAtOnce)
        }
        guard isDue else { return }
        if isQuick { return layOut(known, serial) }
        NIOThreadPool.singleton.submit { _ in self.layOut(known, serial) }
    }

    private func layOut(_ known: Catalog, _ serial: UInt64) {
        let index = PolicyIndex(known)
        state.withLock { state in
            state.desk.layOut(index)
            state.serial = serial
            state.isLayingOut = false
        }
    }

    // MARK: What became of it

    func began(_ key: CandidateKey) { state.withLock { $0.desk.began(key) } }

    func ended(_ key: CandidateKey) { state.withLock { $0.desk.ended(key) } }

    /// A worker told how many tokens a prompt had.
    /// - Parameter estimate: reads the prompt; asked outside the lock, and only where something is learnt from it.
    package func learn(model: String, estimate: () -> Int64, counted: Int64) {
        guard state.withLock({ $0.desk.wantsPrompt(of: model) }) else { return }
        let estimate = estimate()
        state.withLock { $0.desk.learn(model: model, estimate: estimate, counted: counted) }
    }

    func answered(_ key: CandidateKey, afterMs: Int64) {
        state.withLock { $0.desk.answered(key, afterMs: afterMs) }
    }

    func failed(_ key: CandidateKey, _ fault: Fault) {
        state.withLock { $0.desk.failed(key, fault, now: SystemClock.instant) }
    }
}

extension PolicyDesk.View {
    fileprivate func query(
        _ wish: PolicyMarket.Wish, _ endpoint: EndpointPath?, _ principal: Principal, exceeded: UInt32 = 0
    ) -> PolicyQuery {
        PolicyQuery(
            index, policy: wish.policy, preferences: wish.preferences, targets: wish.targets, facts: wish.facts,
            endpoint: endpoint, principal: principal, ratios: ratios, exceeded: exceeded)
    }
}
