package import MeshModel
package import MeshRouting
import Synchronization

/// The catalog of the moment: replaced whole by the control plane, read by every request.
package final class CatalogHolder: Sendable {
    private final class Box: Sendable {
        let catalog: Catalog
        /// Routes that were resolved in this catalog: the same few names are asked for again and again.
        let routes = Mutex<[RouteKey: Route]>([:])
        init(_ catalog: Catalog) { self.catalog = catalog }
    }

    private struct RouteKey: Hashable {
        var model: String
        var owner: PublicKey
        var username: String?
    }

    private let box: Mutex<Box>

    package init(node: PublicKey) { box = Mutex(Box(.empty(node: node))) }

    /// Copies one reference; the lock is held for nothing else.
    package var current: Catalog { box.withLock { $0 }.catalog }

    /// `Catalog.resolve`, remembered for as long as the catalog lives. Failures are not: they are rare, and their
    /// number is the caller's to choose.
    package func resolve(_ model: String, for principal: Principal) -> Result<Route, MeshError> {
        let box = box.withLock { $0 }
        let key = RouteKey(model: model, owner: principal.owner, username: principal.username)
        if let known = box.routes.withLock({ $0[key] }) { return .success(known) }
        let resolved = box.catalog.resolve(model, for: principal)
        if case .success(let route) = resolved {
            box.routes.withLock { routes in
                if routes.count >= Limits.routesRemembered { routes = [:] }
                routes[key] = route
            }
        }
        return resolved
    }

    package func replace(_ catalog: Catalog) {
        let new = Box(catalog)
        box.withLock { $0 = new }
    }
}
