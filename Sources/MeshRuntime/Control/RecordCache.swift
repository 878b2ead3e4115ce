import MeshModel
import MeshStore
import Synchronization

/// What waits to be written to the store and need not be there: records of others, and peers. A cache, not a promise:
/// what is lost here comes back by reconciliation.
final class RecordCache: Sendable {
    private let store: MeshStore
    private let metrics: ControlMetrics
    private let unsaved = Mutex<[StoreChange]>([])

    init(_ store: MeshStore, metrics: ControlMetrics) {
        self.store = store
        self.metrics = metrics
    }

    func add(_ change: StoreChange) {
        unsaved.withLock { if $0.count < Limits.cacheChangesWaiting { $0.append(change) } }
    }

    /// Writes what came since the last call, in one transaction. What there is no room for waits for a better time.
    /// Blocks.
    func flush() throws(StoreError) {
        let changes = unsaved.withLock { changes in
            defer { changes = [] }
            return changes
        }
        guard !changes.isEmpty else { return }
        do throws(StoreError) {
            if try isSaved(changes) { return }
            // One change that the store does not take must not cost the others, nor the node.
            for change in changes where try !isSaved([change]) { metrics.unsavable() }
        } catch {
            guard error.isPassing else { throw error }
            unsaved.withLock { later in
                later = changes + later.prefix(max(0, Limits.cacheChangesWaiting - changes.count))
            }
        }
    }

    /// False when the store refuses what the changes say; every other failure is thrown.
    private func isSaved(_ changes: [StoreChange]) throws(StoreError) -> Bool {
        let outcome: Result<Void, StoreError>
        do throws(StoreError) { outcome = .success(try store.apply(changes)) } catch { outcome = .failure(error) }
        switch outcome {
        case .success: return true
        case .failure(.invalid): return false
        case .failure(let error): throw error
        }
    }
}
