package import MeshModel
package import MeshRouting
import Synchronization

/// The catalog of the moment: replaced whole by the control plane, read by every request.
package final class CatalogHolder: Sendable {
    private final class Box: Sendable {
        let catalog: Catalog
        init(_ catalog: Catalog) { self.catalog = catalog }
    }

    private let box: Mutex<Box>

    package init(node: PublicKey) { box = Mutex(Box(.empty(node: node))) }

    /// Copies one reference; the lock is held for nothing else.
    package var current: Catalog { box.withLock { $0 }.catalog }

    package func replace(_ catalog: Catalog) {
        let new = Box(catalog)
        box.withLock { $0 = new }
    }
}
