package import MeshExchange
package import MeshModel
package import MeshRouting
package import NIOCore
import Synchronization

/// Turns a route into places to ask, and a request into a running exchange.
package final class Dispatcher: Sendable {
    private let locals: [any LocalPlaces]
    private let remotes: ForwardPlaces
    private let quotas: Quotas
    private let node: PublicKey?
    let holding: Holding?
    private let tickers = LoopTickers<Exchange>()
    /// How much of what buyers ask for by the name of a provider or of a policy may be asked for twice.
    private let retries = Mutex(RetryBudget(limit: Limits.routeRetryBudget, reserve: Limits.routeRetryReserve))

    /// - Parameters:
    ///   - locals: where requests can be answered at this node.
    ///   - quotas: of the providers that are answered for here.
    ///   - node: this one; nil where nothing is limited.
    ///   - holding: nil where no request waits for workers to come back.
    package init(
        locals: [any LocalPlaces], remotes: ForwardPlaces, quotas: Quotas = Quotas(), node: PublicKey? = nil,
        holding: Holding? = nil
    ) {
        self.holding = holding
        self.quotas = quotas
        self.node = node
        self.locals = locals
        self.remotes = remotes
    }

    /// A request of this node's own buyer, on its way to whoever answers it.
    package func exchange(
        _ request: WorkRequest, on route: Route, for asker: Asker, upload: UploadFlow?, writer: any AnswerWriter,
        eventLoop: any EventLoop
    ) -> Exchange {
        requestBegan()
        let finder = RouteFinder(
            dispatcher: self, route: route, need: request.need, asker: asker, holding: holding, eventLoop: eventLoop)
        return exchange(request, by: finder, upload: upload, writer: writer, eventLoop: eventLoop)
    }

    func requestBegan() { retries.withLock { $0.requestBegan() } }
    func mayRepeat() -> Bool { retries.withLock { $0.spend(now: SystemClock.instant) } }

    /// The same for places that somebody else chooses.
    package func exchange(
        _ request: WorkRequest, by finder: any PlaceFinder, upload: UploadFlow?, writer: any AnswerWriter,
        eventLoop: any EventLoop
    ) -> Exchange {
        Exchange(
            request, upload: upload, finder: finder, repeats: Limits.forwardAttempts, boundsStream: true,
            tickers: tickers, writer: writer, eventLoop: eventLoop)
    }

    /// A request of another node's buyer. It is never passed on.
    package func hosting(
        _ request: WorkRequest, of provider: CatalogProvider, upload: UploadFlow?, writer: any AnswerWriter,
        eventLoop: any EventLoop
    ) -> Exchange {
        let finder = HostingFinder(dispatcher: self, provider: provider, need: request.need)
        return Exchange(
            request, upload: upload, finder: finder, repeats: Limits.repeatsByHost, boundsStream: false,
            tickers: tickers, writer: writer, eventLoop: eventLoop)
    }

    /// Whether anything at this node has what is needed.
    package func isServed(_ need: WorkerNeed, of provider: RecordKey) -> Bool {
        locals.contains { $0.meets(need, of: provider) }
    }

    /// Where `route` may be served now, in the order of its plan.
    /// - Parameter isRehearsal: whether nobody is asked: the next request then finds the same order.
    package func places(
        _ route: Route, _ need: WorkerNeed, for asker: Asker, isRehearsal: Bool = false,
        limit: Int = Limits.forwardAttempts
    ) -> [any Place] {
        let offers = localOffers(of: route.providers, need)
        let hosts = remotes.places(route, need, for: asker, limit: limit, isRehearsal: isRehearsal)
        // By far the most frequent case has no order.
        if offers.count == 1, hosts.isEmpty { return limit > 0 ? [offers[0].offer.place] : [] }
        let legs = RoutePlan.legs(
            locals: offers.map { RoutePlan.Local(provider: $0.provider, isResting: $0.offer.isResting) },
            hosts: hosts.count, limit: limit)
        return legs.map { leg in
            switch leg.target {
            case .local(let number): offers[number].offer.place
            case .host(let number): hosts[number]
            }
        }
    }

    fileprivate func places(here provider: CatalogProvider, _ need: WorkerNeed) -> [any Place] {
        localOffers(of: [provider], need).prefix(Limits.forwardAttempts).map(\.offer.place)
    }

    /// Those of them that are at one node.
    package func places(
        _ route: Route, _ need: WorkerNeed, at node: PublicKey, here: PublicKey, for asker: Asker
    ) -> [any Place] {
        guard node == here else { return remotes.place(route, need, at: node, for: asker).map { [$0] } ?? [] }
        return localOffers(of: route.providers, need).map(\.offer)
            .sorted { !$0.isResting && $1.isResting }.map(\.place)
    }

    /// Whether any place, here or at another node, is known to have what is needed now.
    package func isOffered(_ route: Route, _ need: WorkerNeed) -> Bool { isMet(need, by: route) }

    /// What a provider can do about a need now.
    package enum Standing: Hashable, Sendable {
        case offered
        /// By workers here alone, and they have as many requests as they take.
        case full
        /// It has the model, and does not offer the endpoint.
        case lacksEndpoint
        case absent
    }

    package func standing(of provider: CatalogProvider, _ need: WorkerNeed) -> Standing {
        if remotes.meets(need, of: provider) || locals.contains(where: { $0.hasRoom(need, of: provider.key) }) {
            return .offered
        }
        if isServed(need, of: provider.key) { return .full }
        return lacksEndpoint(Route(providers: [provider], model: need.model ?? ""), need) ? .lacksEndpoint : .absent
    }

    private func localOffers(
        of providers: [CatalogProvider], _ need: WorkerNeed
    ) -> [(provider: Int, offer: LocalOffer)] {
        var found: [(provider: Int, offer: LocalOffer)] = []
        for (number, provider) in providers.enumerated() {
            for local in locals {
                for offer in local.offers(of: provider, need) { found.append((number, limited(offer, provider))) }
            }
        }
        return found
    }

    private func limited(_ offer: LocalOffer, _ provider: CatalogProvider) -> LocalOffer {
        guard let node, !quotas.isUnused else { return offer }
        let subject = SellerQuota.subject(provider, at: node)
        guard quotas.needs([subject]) != nil else { return offer }
        return LocalOffer(
            place: LimitedPlace(place: offer.place, subject: subject, quotas: quotas), isResting: offer.isResting)
    }

    /// What a place would say because of its provider's own limits; nil where it would take the request. For explanations:
    /// it copies the books.
    func refusal(of place: any Place, _ need: WorkerNeed) -> MeshError? {
        guard let node, place is LimitedPlace else { return nil }
        var need = need
        need.model = place.model ?? need.model
        return SellerQuota.refusal(of: place.provider, need, at: node, quotas)
    }

    func nobody(_ route: Route, _ need: WorkerNeed) -> MeshError {
        let names = route.providers.map(\.fullName).joined(separator: ", ")
        if let endpoint = need.endpoint, lacksEndpoint(route, need) {
            return MeshError(
                .endpointNotOffered,
                "no worker of \(names) offers \(endpoint); its seller's worker would have to advertise it")
        }
        return MeshError(
            .workerUnavailable, "no worker of \(names) is connected now; try again shortly", retryAfterSeconds: 2)
    }

    package static func noWorker(_ need: WorkerNeed) -> MeshError {
        MeshError(
            .workerUnavailable, "no worker for '\(need.model?.prefix(128) ?? "this")' is attached here now",
            retryAfterSeconds: 2)
    }

    /// Whether a connected worker of `route` has the model but does not offer the endpoint: trying again later is no
    /// use then.
    private func lacksEndpoint(_ route: Route, _ need: WorkerNeed) -> Bool {
        guard need.endpoint != nil else { return false }
        return isMet(WorkerNeed(model: need.model), by: route)
            && !isMet(WorkerNeed(model: need.model, endpoint: need.endpoint), by: route)
    }

    private func isMet(_ need: WorkerNeed, by route: Route) -> Bool {
        route.providers.contains { isServed(need, of: $0.key) || remotes.meets(need, of: $0) }
    }
}

/// The places of a provider here, for another node.
private final class HostingFinder: PlaceFinder {
    let dispatcher: Dispatcher
    let provider: CatalogProvider
    let need: WorkerNeed

    init(dispatcher: Dispatcher, provider: CatalogProvider, need: WorkerNeed) {
        self.dispatcher = dispatcher
        self.provider = provider
        self.need = need
    }

    func find(_ found: @escaping @Sendable ([any Place]) -> Void) { found(dispatcher.places(here: provider, need)) }
    func none() -> MeshError { Dispatcher.noWorker(need) }
    func mayRepeat() -> Bool { true }
}
