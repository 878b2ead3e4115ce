package import Logging
package import MeshAccounting
import MeshExchange
package import MeshModel
package import MeshStore
import Metrics
import NIOPosix
import Synchronization

/// Who may use how much at this node: the shell of `Ledger`. Requests ask it in memory; what days and months give out is taken
/// of the store ahead of need, on another thread.
package final class Quotas: Sendable {
    private struct State {
        var ledger = Ledger()
        /// What the store is to write.
        var waiting: [QuotaSlice] = []
        var isWriting = false
        /// When the store failed last: it is not asked again by every request.
        var failed: Instant?
        /// What nobody has used was given back: nothing is taken any more.
        var isClosed = false

        mutating func want(_ slices: [QuotaSlice]) {
            if !isClosed { waiting += slices }
        }
    }

    private let state = Mutex(State())
    /// Whose turn it is to write.
    private let turn = Mutex(())
    /// So that nobody looks for what nobody has.
    private let isEmpty = Atomic<Bool>(true)
    private let store: MeshStore?
    private let logger: Logger
    private let refusals: [QuotaLimit: Counter]
    private let holds = Gauge(label: "aisbf_quota_holds")

    /// - Parameter store: nil where nothing is limited.
    package init(store: MeshStore? = nil, logger: Logger = Logger(label: "aisbf.quotas")) {
        self.store = store
        self.logger = logger
        refusals = Dictionary(
            uniqueKeysWithValues: QuotaLimit.allCases.map {
                ($0, Counter(label: "aisbf_quota_refusals_total", dimensions: [("limit", $0.rawValue)]))
            })
    }

    // MARK: Definitions

    /// Replaces all quotas, and takes the first slices of what is new. Blocks until those are on the disk, unless another
    /// thread is writing already: it takes them with what it has.
    package func define(_ quotas: [(subject: QuotaSubject, quota: Quota)]) {
        state.withLock { state in
            state.want(state.ledger.define(quotas, now: SystemClock.now))
            state.want(state.ledger.wanted(now: SystemClock.now))
            isEmpty.store(state.ledger.isEmpty, ordering: .releasing)
        }
        write()
    }

    /// Nobody has a quota here.
    package var isUnused: Bool { isEmpty.load(ordering: .acquiring) }

    /// What each limit of a subject looks like now.
    package func standings(of subject: QuotaSubject) -> [QuotaStanding] {
        state.withLock { $0.ledger.standings(of: subject, now: SystemClock.now) }
    }

    /// The models that each of `subjects` may name, of those that may not name all.
    package func allowedModels(_ subjects: [QuotaSubject]) -> [[String]] {
        guard !isUnused else { return [] }
        return state.withLock { state in
            subjects.compactMap { state.ledger.quota(of: $0)?.models }.filter { !$0.isEmpty }
        }
    }

    // MARK: Requests

    /// Why a request of `subjects` is refused whatever it would use; nil where no rule stands against it.
    package func forbids(
        _ subjects: [QuotaSubject], _ request: @autoclosure () -> QuotaRequest
    ) -> QuotaRefusal? {
        guard !isUnused else { return nil }
        let request = request()
        let refusal = state.withLock { $0.ledger.forbids(request, for: subjects, now: SystemClock.now) }
        if let refusal { refusals[refusal.limit]?.increment() }
        return refusal
    }

    /// Which estimates a request of `subjects` needs; nil where none of them has a quota.
    package func needs(_ subjects: [QuotaSubject]) -> (tokens: Bool, money: Bool)? {
        guard !isUnused else { return nil }
        return state.withLock { $0.ledger.needs(subjects) }
    }

    /// What `subjects` may still spend, by the tightest of their limits.
    package func moneyLeft(_ subjects: [QuotaSubject]) -> Money? {
        state.withLock { $0.ledger.moneyLeft(subjects, now: SystemClock.now) }
    }

    /// Lets a request in; nil where no quota is about it.
    package func admit(
        _ request: QuotaRequest, _ estimate: QuotaEstimate, for subjects: [QuotaSubject]
    ) -> Result<Admission?, QuotaRefusal> {
        guard !isUnused else { return .success(nil) }
        let now = SystemClock.now
        let (result, isWanted, running) = state.withLock { state in
            let result = state.ledger.admit(request, estimate, for: subjects, now: now)
            if state.failed.map({ now.instant.milliseconds(since: $0) >= Limits.quotaSweepMs }) ?? true {
                state.want(state.ledger.wanted(of: subjects, now: now))
            }
            let isWanted = !state.waiting.isEmpty && !state.isWriting
            if isWanted { state.isWriting = true }
            return (result, isWanted, state.ledger.running)
        }
        if isWanted { NIOThreadPool.singleton.submit { [self] _ in writeAll() } }
        switch result {
        case .success(let hold):
            if hold != nil { holds.record(running) }
            return .success(hold.map { Admission($0, of: self) })
        case .failure(let refusal):
            refusals[refusal.limit]?.increment()
            return .failure(refusal)
        }
    }

    /// What the limits of `subjects` would say to a request. It is tried on a copy of the ledger.
    package func outlook(
        _ request: QuotaRequest, _ estimate: QuotaEstimate, for subjects: [QuotaSubject]
    ) -> QuotaOutlook {
        guard !isUnused else { return QuotaOutlook() }
        let now = SystemClock.now
        var ledger = state.withLock { $0.ledger }
        let standings = subjects.flatMap { subject in
            ledger.standings(of: subject, now: now).map { (subject, $0) }
        }
        var outlook = QuotaOutlook(standings: standings)
        if case .failure(let refusal) = ledger.admit(request, estimate, for: subjects, now: now) {
            outlook.refusal = refusal
        }
        return outlook
    }

    fileprivate func settle(_ hold: QuotaHold.ID, _ use: QuotaUse?) {
        let running = state.withLock { state in
            if let use {
                state.ledger.settle(hold, use, now: SystemClock.now)
            } else {
                state.ledger.release(hold, now: SystemClock.now)
            }
            return state.ledger.running
        }
        holds.record(running)
    }

    // MARK: Slices

    /// Takes what is wanted by now, for the period that comes next, too. Call it every second; it blocks.
    package func sweep() {
        guard !isUnused else { return }
        state.withLock { state in state.want(state.ledger.wanted(now: SystemClock.now)) }
        write()
    }

    /// Gives back what nobody has used: for a node that stops, after its last request. Blocks until it is written, and
    /// until what another thread is writing is, because that is given back, too.
    package func close() {
        turn.withLock { _ in
            // What was granted last is known here: who granted it has had its turn.
            state.withLock { state in
                state.want(state.ledger.close())
                state.isClosed = true
            }
            writeRest()
        }
    }

    private func write() {
        let isFree = state.withLock { state in
            guard !state.waiting.isEmpty, !state.isWriting else { return false }
            state.isWriting = true
            return true
        }
        if isFree { writeAll() }
    }

    /// One at a time: in the order in which they were asked for.
    private func writeAll() { turn.withLock { _ in writeRest() } }

    private func writeRest() {
        while true {
            let slices = state.withLock { state -> [QuotaSlice] in
                defer { state.waiting = [] }
                if state.waiting.isEmpty { state.isWriting = false }
                return state.waiting
            }
            guard !slices.isEmpty else { return }
            take(slices)
        }
    }

    private func take(_ slices: [QuotaSlice]) {
        guard let store else { return }
        do throws(StoreError) {
            let taken = try store.take(slices, now: SystemClock.wall)
            let wasFailed = state.withLock { state in
                for (slice, taken) in zip(slices, taken) where slice.amount > 0 {
                    state.ledger.granted(slice, taken: taken)
                }
                defer { state.failed = nil }
                return state.failed != nil
            }
            if wasFailed { logger.notice("limits of money are given out again") }
        } catch {
            let isNew = state.withLock { state in
                for slice in slices where slice.amount > 0 { state.ledger.refused(slice) }
                defer { state.failed = SystemClock.instant }
                return state.failed == nil
            }
            if isNew {
                logger.error(
                    "limits cannot be written down: requests that cost money are refused where money is limited, and others go on",
                    metadata: ["error": "\(error)"])
            }
        }
    }
}

/// A request that was let in. However it ends, what it holds comes back once.
package final class Admission: Sendable {
    package let hold: QuotaHold
    private let quotas: Quotas

    fileprivate init(_ hold: QuotaHold, of quotas: Quotas) {
        self.hold = hold
        self.quotas = quotas
    }

    /// - Parameter use: nil where nothing was served.
    package func end(_ use: QuotaUse?) { quotas.settle(hold.id, use) }

    /// Whoever lets go of it without a word was not served.
    deinit { quotas.settle(hold.id, nil) }
}
