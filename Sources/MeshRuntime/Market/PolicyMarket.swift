import MeshExchange
package import MeshModel
package import MeshRouting
import NIOPosix
import Synchronization

/// What this node chooses by policy from: the candidates of the catalog of the moment, and what it has seen of each. A
/// decision looks at what it found when it began; nobody waits for it.
package final class PolicyMarket: Sendable {
    private struct State {
        /// Of the catalog that the index is of.
        var serial: UInt64 = 0
        var isLayingOut = false
        var index: PolicyIndex
        var states: PolicyStates
        var ratios = TokenRatios()
        var troubles = CandidateTroubles()
        var turn: UInt64
    }

    /// What one decision looks at.
    private struct View {
        var index: PolicyIndex
        var states: PolicyStates
        var ratios: TokenRatios
        var turn: UInt64

        func query(
            _ wish: Wish, _ endpoint: EndpointPath?, _ principal: Principal, exceeded: UInt32 = 0
        ) -> PolicyQuery {
            PolicyQuery(
                index, policy: wish.policy, preferences: wish.preferences, targets: wish.targets, facts: wish.facts,
                endpoint: endpoint, principal: principal, ratios: ratios, exceeded: exceeded)
        }
    }

    private let catalog: CatalogHolder
    private let state: Mutex<State>

    package init(catalog: CatalogHolder, seed: UInt64) {
        self.catalog = catalog
        let index = PolicyIndex(catalog.current)
        state = Mutex(State(index: index, states: PolicyStates(index), turn: seed))
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
        let query = view.query(wish, endpoint, principal, exceeded: exceeded)
        return view.index.decide(query, view.states, turn: view.turn, limit: limit).map {
            view.index.candidate($0.candidate)
        }
    }

    /// Whether a candidate offers `endpoint`, without a decision.
    package func offers(_ endpoint: EndpointPath, _ wish: Wish, for principal: Principal) -> Bool {
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

    private func view(takesTurn: Bool) -> View {
        layOutAnew()
        return state.withLock { state in
            for key in state.troubles.returned(now: SystemClock.instant) { change(key, &state) { $0.exclusion = nil } }
            let turn = state.turn &+ 1
            if takesTurn { state.turn = turn }
            return View(index: state.index, states: state.states, ratios: state.ratios, turn: turn)
        }
    }

    /// After a change of the catalog. A few candidates are laid out at once, and are all that is chosen from. Many are laid
    /// out beside the requests, which choose from those of before until then.
    private func layOutAnew() {
        let (known, serial) = catalog.edition
        let (isDue, isQuick) = state.withLock { state in
            let isDue = state.serial != serial && !state.isLayingOut
            if isDue { state.isLayingOut = true }
            return (isDue, state.index.count <= Limits.policyCandidatesAtOnce)
        }
        guard isDue else { return }
        if isQuick { return layOut(known, serial) }
        NIOThreadPool.singleton.submit { _ in self.layOut(known, serial) }
    }

    private func layOut(_ known: Catalog, _ serial: UInt64) {
        let index = PolicyIndex(known)
        state.withLock { state in
            state.states = state.states.carried(from: state.index, to: index)
            state.index = index
            state.serial = serial
            state.isLayingOut = false
        }
    }

    // MARK: What became of it

    func began(_ key: CandidateKey) { change(key) { $0.underWay += 1 } }

    func ended(_ key: CandidateKey) { change(key) { $0.underWay = max($0.underWay - 1, 0) } }

    func answered(_ key: CandidateKey, afterMs: Int64) {
        state.withLock { state in
            state.troubles.answered(key)
            change(key, &state) { candidate in
                candidate.exclusion = nil
                let known = candidate.speed.latencyMs.p50
                let next = known == 0 ? max(afterMs, 1) : known + (max(afterMs, 1) - known) / 8
                candidate.speed.latencyMs = Percentiles(all: next)
            }
        }
    }

    func failed(_ key: CandidateKey, _ fault: Fault) {
        state.withLock { state in
            guard state.troubles.failed(key, fault, now: SystemClock.instant) else { return }
            change(key, &state) { $0.exclusion = .cooling }
        }
    }

    private func change(_ key: CandidateKey, _ body: (inout CandidateState) -> Void) {
        state.withLock { change(key, &$0, body) }
    }

    private func change(_ key: CandidateKey, _ state: inout State, _ body: (inout CandidateState) -> Void) {
        guard let number = state.index.number(provider: key.provider, node: key.node, model: key.model) else { return }
        state.states.update(number, body)
    }
}
