import MeshExchange
package import MeshModel
package import MeshRouting
import Synchronization

/// The catalog of the moment: replaced whole by the control plane, read by every request.
package final class CatalogHolder: Sendable {
    private final class Box: Sendable {
        let catalog: Catalog
        /// Another catalog has another number.
        let serial: UInt64
        /// Routes that were resolved in this catalog: the same few names are asked for again and again.
        let routes = Mutex<[RouteKey: Route]>([:])
        let listings = Mutex<[ListingKey: [Catalog.Listed]]>([:])
        init(_ catalog: Catalog, serial: UInt64) {
            self.catalog = catalog
            self.serial = serial
        }
    }

    private struct RouteKey: Hashable {
        var model: String
        var owner: PublicKey
        var username: String?
    }

    private struct ListingKey: Hashable {
        var owner: PublicKey
        var nodeOperator: PublicKey?
    }

    private let box: Mutex<Box>
    /// Names that led somewhere since they were last taken, each once a catalog.
    private let used = Mutex<[UsedName]>([])
    private let changes = ChangeBell()
    private let departures = Mutex(Departures())
    private let lastDeparted = Mutex<(serial: UInt64, index: PolicyIndex)?>(nil)

    package init(node: PublicKey) { box = Mutex(Box(.empty(node: node), serial: 1)) }

    /// Copies one reference; the lock is held for nothing else.
    package var current: Catalog { box.withLock { $0 }.catalog }

    /// The catalog, and the number that tells it from others.
    var edition: (catalog: Catalog, serial: UInt64) {
        let box = box.withLock { $0 }
        return (box.catalog, box.serial)
    }

    /// `Catalog.resolve`, remembered for as long as the catalog lives. Failures are not: they are rare, and their
    /// number is the caller's to choose.
    package func resolve(_ model: String, for principal: Principal) -> Result<Route, MeshError> {
        let box = box.withLock { $0 }
        let key = RouteKey(model: model, owner: principal.owner, username: principal.username)
        if let known = box.routes.withLock({ $0[key] }) { return .success(known) }
        let resolved = box.catalog.resolve(model, for: principal)
        if case .success(let route) = resolved {
            used.withLock { if $0.count < Limits.namesUsedAtOnce { $0.append(UsedName(model, by: principal.owner)) } }
            box.routes.withLock { routes in
                if routes.count >= Limits.routesRemembered { routes = [:] }
                routes[key] = route
            }
        }
        return resolved
    }

    /// `Catalog.listing`, remembered likewise: it is as long as the catalog, and clients ask for it again and again.
    package func listing(for principal: Principal) -> [Catalog.Listed] {
        let box = box.withLock { $0 }
        let key = ListingKey(owner: principal.owner, nodeOperator: principal.nodeOperator)
        if let known = box.listings.withLock({ $0[key] }) { return known }
        let listing = box.catalog.listing(for: principal)
        box.listings.withLock { listings in
            if listings.count >= Limits.listingsRemembered { listings = [:] }
            listings[key] = listing
        }
        return listing
    }

    package func takeUsedNames() -> [UsedName] {
        used.withLock { names in
            defer { names = [] }
            return names
        }
    }

    package func replace(_ catalog: Catalog) {
        let old = box.withLock { box in
            defer { box = Box(catalog, serial: box.serial + 1) }
            return box.catalog
        }
        departures.withLock { $0.note(old, catalog, now: SystemClock.instant) }
        changes.ring()
    }

    /// Whether a worker of it may be back in a moment: its last one has just left, or the catalog has not heard of that yet.
    func mayReturn(_ provider: CatalogProvider, model: String) -> Bool {
        let known = current.provider(provider.key) ?? provider
        if !known.hosts.isEmpty { return model.isEmpty || known.offers(model) }
        return departures.withLock { $0.mayReturn(provider.key, now: SystemClock.instant) }
    }

    /// What providers whose last worker has just left would offer. Laid out when it is asked for, and then kept.
    func departed() -> PolicyIndex? {
        let (serial, providers) = departures.withLock { departures in
            (departures.serial, departures.providers(now: SystemClock.instant))
        }
        guard !providers.isEmpty else { return nil }
        if let known = lastDeparted.withLock({ $0 }), known.serial == serial { return known.index }
        let catalog = current
        let index = PolicyIndex(Catalog(node: catalog.node, nodes: catalog.nodes, providers: providers))
        lastDeparted.withLock { $0 = (serial, index) }
        return index
    }

    /// Waits until a catalog is as it is wanted, at most for so long.
    /// - Returns: whether it is.
    @discardableResult
    package func wait(atMost milliseconds: Int64, until isSo: @escaping @Sendable (Catalog) -> Bool) async -> Bool {
        await changes.wait(atMost: milliseconds) { isSo(self.current) }
    }
}
