import MeshExchange
package import MeshModel
package import MeshRouting
import Synchronization

/// What this node chooses by policy from: the candidates of the catalog of the moment, and what it has seen of each.
package final class PolicyMarket: Sendable {
    private struct State {
        var serial: UInt64 = 0
        var index: PolicyIndex
        var states: PolicyStates
        var ratios = TokenRatios()
        var troubles = CandidateTroubles()
        var turn: UInt64
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
        _ wish: Wish, _ endpoint: EndpointPath?, for principal: Principal, exceeded: UInt32 = 0
    ) -> [PolicyCandidate] {
        state.withLock { state in
            state.turn &+= 1
            let query = prepare(wish, endpoint, principal, exceeded: exceeded, &state)
            return state.index.decide(query, state.states, turn: state.turn).map {
                state.index.candidate($0.candidate)
            }
        }
    }

    /// Every candidate with its score or its one reason, as the next decision will see them.
    package func explain(
        _ wish: Wish, _ endpoint: EndpointPath?, for principal: Principal
    ) -> (chosen: [(PolicyCandidate, PolicyScore)], excluded: [(PolicyCandidate, Exclusion)]) {
        state.withLock { state in
            let query = prepare(wish, endpoint, principal, &state)
            let report = state.index.explain(query, state.states, turn: state.turn &+ 1)
            return (
                report.choices.map { (state.index.candidate($0.candidate), $0.score) },
                report.excluded.map { (state.index.candidate($0.candidate), $0.reason) }
            )
        }
    }

    private func prepare(
        _ wish: Wish, _ endpoint: EndpointPath?, _ principal: Principal, exceeded: UInt32 = 0, _ state: inout State
    ) -> PolicyQuery {
        let (known, serial) = catalog.edition
        if state.serial != serial {
            let index = PolicyIndex(known)
            state.states = state.states.carried(from: state.index, to: index)
            state.index = index
            state.serial = serial
        }
        for key in state.troubles.returned(now: SystemClock.instant) { change(key, &state) { $0.exclusion = nil } }
        return PolicyQuery(
            state.index, policy: wish.policy, preferences: wish.preferences, targets: wish.targets, facts: wish.facts,
            endpoint: endpoint, principal: principal, ratios: state.ratios, exceeded: exceeded)
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
