import MeshExchange
import MeshModel
import MeshRouting
import NIOCore

/// The places of a route, as they are when they are asked for. When there is none and somebody has just left, the request waits
/// for a while. Lives on its exchange's event loop.
final class RouteFinder: PlaceFinder {
    private let dispatcher: Dispatcher
    private let route: Route
    private let need: WorkerNeed
    private let asker: Asker
    private let holding: Holding?
    private let hold: Hold?

    /// - Parameter holding: nil where nobody waits.
    init(
        dispatcher: Dispatcher, route: Route, need: WorkerNeed, asker: Asker, holding: Holding?,
        eventLoop: any EventLoop
    ) {
        self.dispatcher = dispatcher
        self.route = route
        self.need = need
        self.asker = asker
        self.holding = holding
        hold = holding.map { Hold($0.holds, eventLoop: eventLoop) }
    }

    var waited: QueueWait? { hold?.wait }

    func mayRepeat() -> Bool { dispatcher.mayRepeat() }
    func leave() { hold?.end() }

    func none() -> MeshError { dispatcher.nobody(route, need) }

    func find(_ found: @escaping @Sendable ([any Place]) -> Void) {
        guard let holding, let hold else { return found(dispatcher.places(route, need, for: asker)) }
        // Who comes now comes behind those that wait already.
        if !holding.holds.isWaitedFor({ name }) {
            let places = dispatcher.places(route, need, for: asker)
            guard places.isEmpty, mayReturn(route, holding) else { return found(places) }
        }
        if !hold.wait(for: name, look: { [self] in look(found) }) { found(dispatcher.places(route, need, for: asker)) }
    }

    private func look(_ found: @Sendable ([any Place]) -> Void) {
        guard let holding, let hold, hold.isWaiting else { return }
        let route = holding.renewed(route)
        let hasRoom = route.providers.contains { dispatcher.standing(of: $0, need) == .offered }
        if !hasRoom, SystemClock.instant < hold.deadline, mayReturn(route, holding) || isFull(route) { return }
        hold.leave()
        found(dispatcher.places(route, need, for: asker))
    }

    /// A worker that is there and does not do this, or another one than was asked for, is not waited for.
    private func mayReturn(_ route: Route, _ holding: Holding) -> Bool {
        guard need.worker == nil, holding.mayReturn(route) else { return false }
        return route.providers.allSatisfy { dispatcher.standing(of: $0, need) == .absent }
    }

    private func isFull(_ route: Route) -> Bool {
        route.providers.contains { dispatcher.standing(of: $0, need) == .full }
    }

    private var name: String {
        (route.providers.map(\.fullName) + [route.model]).joined(separator: " ")
    }
}

/// What a request that waits for workers to come back looks at.
package struct Holding: Sendable {
    package let holds: Holds
    private let catalog: CatalogHolder

    package init(holds: Holds, catalog: CatalogHolder) {
        self.holds = holds
        self.catalog = catalog
    }

    /// Whether a worker of it may be back in a moment.
    func mayReturn(_ route: Route) -> Bool {
        holds.patienceMs > 0 && route.providers.contains { catalog.mayReturn($0, model: route.model) }
    }

    /// The same with its providers as they are now.
    func renewed(_ route: Route) -> Route {
        let current = catalog.current
        return Route(providers: route.providers.map { current.provider($0.key) ?? $0 }, model: route.model)
    }
}
