package import Logging
package import MeshAccounting
import MeshExchange
import MeshModel
package import MeshStore
import Metrics
import NIOPosix
import Synchronization

/// What was used at this node: counted in memory by requests, written down in batches, and read by reports.
package final class UsageBook: Sendable {
    private struct State {
        var batch = UsageBatch()
        var written = SystemClock.instant
        var aged = Instant(nanoseconds: 0)
        /// What costs money waits no longer than the next look.
        var isPaid = false
    }

    private let state = Mutex(State())
    private let store: MeshStore?
    private let logger: Logger
    package let generations = GenerationBook()
    private let input = Counter(label: "aisbf_tokens_total", dimensions: [("direction", "input")])
    private let output = Counter(label: "aisbf_tokens_total", dimensions: [("direction", "output")])
    private let unwritten = Counter(label: "aisbf_usage_writes_failed_total")

    /// - Parameter store: nil where nothing is kept.
    package init(store: MeshStore? = nil, logger: Logger = Logger(label: "aisbf.usage")) {
        self.store = store
        self.logger = logger
    }

    package func add(_ group: UsageGroup, _ amounts: UsageAmounts) {
        let now = SystemClock.wall
        state.withLock { state in
            state.batch.add(group, amounts, at: now)
            if amounts.money > 0 { state.isPaid = true }
        }
        input.increment(by: amounts.input)
        output.increment(by: amounts.output)
    }

    /// Writes what is due. Call it every second; it blocks.
    package func look() {
        let now = SystemClock.instant
        let isDue = state.withLock { state in
            state.isPaid || now.milliseconds(since: state.written) >= Limits.usageWriteMs
        }
        if isDue { flush() }
        let isOld = state.withLock { state in
            guard now.milliseconds(since: state.aged) >= 3_600_000 else { return false }
            state.aged = now
            return true
        }
        if isOld { try? store?.ageUsage(now: SystemClock.wall.seconds) }
    }

    /// Writes everything. Blocks.
    package func flush() {
        let rows = state.withLock { state in
            (state.written, state.isPaid) = (SystemClock.instant, false)
            return state.batch.take()
        }
        guard let store, !rows.isEmpty else { return }
        do throws(StoreError) { try store.addUsage(rows) } catch {
            unwritten.increment()
            // The store's own watch says why.
            state.withLock { $0.batch.putBack(rows) }
        }
    }

    /// The sums of what is asked, with what happened up to now. Off the calling thread.
    package func sums(_ queries: [UsageQuery]) async throws -> [[UsageSum]] {
        do {
            return try await NIOThreadPool.singleton.runIfActive { [self] in
                flush()
                return try queries.map { try store?.usage($0) ?? [] }
            }
        } catch let error as StoreError {
            logger.warning("usage cannot be read", metadata: ["error": "\(error)"])
            throw MeshError(.internalError, "the node's store failed; its log says why")
        }
    }
}
