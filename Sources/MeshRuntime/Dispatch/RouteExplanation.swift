package import MeshExchange
package import MeshModel
package import MeshRouting

/// Where a request would go now, and why not elsewhere. Made from the same state and by the same rules as the request's
/// own way, and changes neither.
package struct RouteExplanation: Sendable {
    package enum Strategy: String, Sendable {
        /// The workers of the providers that the name means.
        case provider
        case rotation
        case policy
    }

    /// Somebody who could answer: with a place among those that would be asked, or with exactly one reason why not.
    package struct Candidate: Sendable {
        package enum Standing: Sendable {
            /// It would be asked as this one in the row, from 1.
            case rank(Int)
            /// It shares the requests: how many of a thousand would be for it first.
            case share(perMille: Int)
            case excluded(Exclusion)
        }

        /// As the owner of the rotation wrote it.
        package var member: String?
        /// Nil where a member's name means no provider.
        package var provider: CatalogProvider?
        package var model: String
        /// Nil where it is at several.
        package var node: PublicKey?
        package var worker: String?
        package var standing: Standing
        package var score: PolicyScore?
        /// When it may be asked again, where it rests.
        package var backAfterMs: Int64?

        package init(
            member: String? = nil, provider: CatalogProvider?, model: String, node: PublicKey? = nil,
            worker: String? = nil, standing: Standing, score: PolicyScore? = nil, backAfterMs: Int64? = nil
        ) {
            self.member = member
            self.provider = provider
            self.model = model
            self.node = node
            self.worker = worker
            self.standing = standing
            self.score = score
            self.backAfterMs = backAfterMs
        }
    }

    /// Who would be asked first.
    package struct Winner: Sendable {
        package var member: String?
        package var provider: CatalogProvider
        package var model: String
        package var node: PublicKey
        package var worker: String?
        /// Why it is this one, where that needs a word.
        package var reason: String?

        package init(
            _ place: any Place, model: String, here: PublicKey, member: String? = nil, reason: String? = nil
        ) {
            self.member = member
            provider = place.provider
            self.model = place.model ?? model
            node = place.node ?? here
            worker = place.worker
            self.reason = reason
        }
    }

    package var strategy: Strategy
    package var winner: Winner?
    package var candidates: [Candidate]
    /// What the buyer would be told, where nobody would be asked.
    package var error: MeshError?
    /// Whether the request would wait for somebody to become free.
    package var waits = false

    package init(strategy: Strategy, winner: Winner?, candidates: [Candidate], error: MeshError?) {
        self.strategy = strategy
        self.winner = winner
        self.candidates = candidates
        self.error = error
    }
}

extension Dispatcher {
    /// The places of a route in their order, and those of its providers' hosts that lack what is needed.
    package func explain(
        _ route: Route, _ need: WorkerNeed, here: PublicKey, for asker: Asker
    ) -> RouteExplanation {
        let places = places(route, need, for: asker, isRehearsal: true, limit: Limits.explainedCandidates)
        // Whose own limits let nothing in is asked, and says so.
        let refusals = places.map { refusal(of: $0, need) }
        var candidates = places.enumerated().map { number, place in
            RouteExplanation.Candidate(
                provider: place.provider, model: place.model ?? route.model, node: place.node ?? here,
                worker: place.worker, standing: refusals[number] == nil ? .rank(number + 1) : .excluded(.cooling))
        }
        for provider in route.providers {
            for host in provider.hosts where candidates.count < Limits.explainedCandidates {
                let isKnown = candidates.contains { $0.node == host.node && $0.provider?.key == provider.key }
                if isKnown { continue }
                candidates.append(
                    .init(
                        provider: provider, model: route.model, node: host.node,
                        standing: .excluded(host.meets(need) ? .absent : host.lack(of: need))))
            }
        }
        let winner = zip(places, refusals).first { $0.1 == nil }?.0
        return RouteExplanation(
            strategy: .provider, winner: winner.map { .init($0, model: route.model, here: here) },
            candidates: candidates,
            error: winner != nil ? nil : refusals.firstResult(\.self) ?? nobody(route, need))
    }
}

extension CatalogHost {
    /// Why it does not meet a need.
    fileprivate func lack(of need: WorkerNeed) -> Exclusion {
        var rest = need
        rest.endpoint = nil
        return need.endpoint != nil && meets(rest) ? .endpoint : .absent
    }
}
