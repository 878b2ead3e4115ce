package import Logging
import MeshExchange
package import MeshModel
package import MeshStore
import Metrics
import Synchronization

/// Tells the operator when the store cannot be written to, and when it can again.
package final class StoreWatch: Sendable {
    /// What stands in the way of writing, and since when.
    package struct Trouble: Hashable, Sendable {
        package var state: StoreHealth.State
        package var since: Timestamp

        /// As documents name it.
        package var problem: String { state == .full ? "disk_full" : "unwritable" }
    }

    private let store: MeshStore
    private let logger: Logger
    private let trouble = Mutex<Trouble?>(nil)
    private let counted = Atomic<Int>(0)
    private let writable = Gauge(label: "aisbf_store_writable")
    private let failures = Counter(label: "aisbf_store_write_failures_total")

    package init(store: MeshStore, logger: Logger) {
        self.store = store
        self.logger = logger
        writable.record(1)
    }

    package var current: Trouble? { trouble.withLock { $0 } }
    package var freeBytes: Int64? { store.freeBytes }

    /// Call it every second.
    package func look(now: Timestamp) {
        let failed = store.health.failedWrites
        failures.increment(by: failed - counted.exchange(failed, ordering: .relaxed))
        let state = store.health.state
        let before = trouble.withLock { trouble -> Trouble? in
            // Whoever is told that it is over finds the metric saying so.
            if trouble?.state ?? .writable != state { writable.record(state == .writable ? 1 : 0) }
            defer {
                if state == .writable {
                    trouble = nil
                } else {
                    trouble = Trouble(state: state, since: trouble?.since ?? now)
                }
            }
            return trouble
        }
        guard before?.state ?? .writable != state else { return }
        let metadata: Logger.Metadata = [
            "store.path": "\(store.path)", "free.bytes": "\(store.freeBytes.map { String($0) } ?? "unknown")",
        ]
        switch state {
        case .writable: logger.notice("the store is writable again", metadata: metadata)
        case .full:
            logger.error(
                "the disk is full: nothing is stored or announced until there is room again; buyers are served",
                metadata: metadata)
        case .unwritable:
            logger.error(
                "the store cannot be written to: nothing is stored or announced until it can; buyers are served",
                metadata: metadata)
        }
    }
}
