import MeshDialects
import MeshExchange
import MeshModel
import MeshRouting
import MeshRuntime
import NIOHTTP1

extension GatewayContext {
    /// What the buyer wants to be told of the way of its request; nil where it does not.
    func metadata(
        _ head: HTTPRequestHead, _ request: WorkRequest, _ destination: Destination, for asker: Asker
    ) -> RouterMetadata? {
        guard head.headers.first(name: RouterMetadata.header)?.lowercased() == "enabled" else { return nil }
        let explained: RouteExplanation? =
            switch destination {
            case .route(let route): dispatcher.explain(route, request.need, here: identity.key, for: asker)
            case .policy(let wish): market.explain(wish, request.need, for: asker)
            case .pool(let pool, let shape): market.explain(pool, request.need, shape, for: asker)
            }
        var available: [RouterMetadata.Endpoint] = []
        for candidate in explained?.candidates ?? [] {
            if case .excluded = candidate.standing { continue }
            guard let provider = candidate.provider else { continue }
            let endpoint = RouterMetadata.Endpoint(model: candidate.model, provider: provider.fullName)
            if !available.contains(endpoint) { available.append(endpoint) }
        }
        return RouterMetadata(
            requested: destination.model, strategy: explained?.strategy.metadata ?? "direct", available: available)
    }
}

extension RouteExplanation.Strategy {
    fileprivate var metadata: String {
        switch self {
        case .provider: "direct"
        case .rotation: "rotation"
        case .policy: "auto"
        }
    }
}
