import MeshExchange
package import MeshModel
package import MeshRouting

extension Market {
    /// Whom the next request like this one would be for, and why nobody else.
    package func explain(
        _ pool: PoolID, _ need: WorkerNeed, _ shape: PoolRequest, for asker: Asker
    ) -> RouteExplanation? {
        guard let leaves = leaves(pool) else { return nil }
        let facts = leaves.map { leaf -> MemberFacts in
            let facts = self.facts(leaf, need, for: asker.principal)
            return facts.exclusion == nil && isLimited(leaf, need, for: asker)
                ? MemberFacts(exclusion: .cooling) : facts
        }
        let now = SystemClock.instant
        guard let explained = explanation(pool, shape, facts, now: now) else { return nil }
        let candidates = explained.candidates.compactMap { candidate -> RouteExplanation.Candidate? in
            guard leaves.indices.contains(candidate.leaf) else { return nil }
            let leaf = leaves[candidate.leaf]
            let standing: RouteExplanation.Candidate.Standing =
                switch candidate.standing {
                case .share(let perMille): .share(perMille: perMille)
                case .excluded(let reason): .excluded(reason)
                }
            return .init(
                member: leaf.text, provider: leaf.provider, model: leaf.model, standing: standing,
                backAfterMs: candidate.until.map { max($0.milliseconds(since: now), 0) })
        }
        var told = RouteExplanation(strategy: .rotation, winner: nil, candidates: candidates, error: nil)
        switch explained.choice {
        case .ask(let pick): told.winner = winner(pick, leaves, pool, need, for: asker)
        case .wait: told.waits = true
        case .exhausted(let exhaustion):
            if case .error(let error) = PoolFailures().verdict(
                of: pool.modelName, exhaustion, leaves: leaves.map(\.text))
            {
                told.error = error
            }
        }
        return told
    }

    /// Whether the provider's own limits let nothing in, wherever it is asked: it would say so, and rest.
    private func isLimited(_ leaf: Leaf, _ need: WorkerNeed, for asker: Asker) -> Bool {
        guard let provider = leaf.provider else { return false }
        var need = need
        need.model = leaf.model.isEmpty ? nil : leaf.model
        let places = dispatcher.places(
            Route(providers: [provider], model: leaf.model), need, for: asker, isRehearsal: true)
        return !places.isEmpty && places.allSatisfy { dispatcher.refusal(of: $0, need) != nil }
    }

    private func winner(
        _ pick: PoolPick, _ leaves: [Leaf], _ pool: PoolID, _ need: WorkerNeed, for asker: Asker
    ) -> RouteExplanation.Winner? {
        guard leaves.indices.contains(pick.leaf), let provider = leaves[pick.leaf].provider else { return nil }
        let places = places(of: provider, pick, need, for: asker, isRehearsal: true)
        return places.first { mayAsk(pool, pick, at: $0.node ?? node) }.map {
            .init($0, model: pick.model, here: node, member: leaves[pick.leaf].text, reason: pick.reason.rawValue)
        }
    }

    /// The same for a request whose places a policy chooses.
    package func explain(
        _ wish: PolicyMarket.Wish, _ need: WorkerNeed, for asker: Asker
    ) -> RouteExplanation {
        let (chosen, excluded) = policies.explain(wish, need.endpoint, for: asker.principal)
        var winner: RouteExplanation.Winner?
        // Whose own limits let nothing in.
        var limited: [CandidateKey] = []
        for (number, (candidate, _)) in chosen.enumerated() where winner == nil || number < Limits.policyChoices {
            var need = need
            need.model = candidate.model
            let places = dispatcher.places(candidate.route, need, at: candidate.node.key, here: node, for: asker)
            let open = places.first { dispatcher.refusal(of: $0, need) == nil }
            if open == nil, !places.isEmpty { limited.append(candidate.key) }
            winner = winner ?? open.map { .init($0, model: candidate.model, here: node) }
        }
        var candidates = chosen.prefix(Limits.explainedCandidates).enumerated().map { number, choice in
            RouteExplanation.Candidate(
                provider: choice.0.provider, model: choice.0.model, node: choice.0.node.key,
                standing: limited.contains(choice.0.key) ? .excluded(.cooling) : .rank(number + 1), score: choice.1)
        }
        // Whom the caller may not use is none of theirs.
        for (candidate, reason) in excluded
        where reason != .unauthorised && candidates.count < Limits.explainedCandidates {
            candidates.append(
                .init(
                    provider: candidate.provider, model: candidate.model, node: candidate.node.key,
                    standing: .excluded(reason)))
        }
        return RouteExplanation(
            strategy: .policy, winner: winner, candidates: candidates,
            error: chosen.isEmpty ? wish.nobody(passedOver: excluded.map(\.1)) : nil)
    }
}
