package import Logging
package import MeshModel
package import MeshRouting
package import MeshSessions
import Synchronization

/// What the control plane is told of workers.
package enum WorkerEvent: Sendable {
    case registered(WorkerSession)
    case changed(WorkerSession)
    case ended(WorkerSession)
}

/// The live worker sessions of this node. A session's key is (provider, client id), and the provider's record key
/// includes its owner: a worker of another tenant with the same names never displaces it.
package final class SessionTable: Sendable {
    private struct Key: Hashable {
        var provider: RecordKey
        /// Bytes and no text: texts that look the same are equal.
        var clientID: [UInt8]

        init(provider: RecordKey, clientID: String) {
            self.provider = provider
            self.clientID = Array(clientID.utf8)
        }
    }

    private struct State {
        var byKey: [Key: WorkerSession] = [:]
        var byProvider: [RecordKey: ProviderWorkers] = [:]
        var loads: [RecordKey: ProviderLoad] = [:]
        var turn = 0
        /// What was measured of workers that are away: their client id is who they are, not their socket.
        var remembered: [Key: PerformanceWindow] = [:]
        /// Whose each session is, and how many each owner has.
        var owners: [Key: PublicKey] = [:]
        /// Providers whose workers are not taken, and what they are told.
        var barred: Set<RecordKey> = []
        var barReason = CloseReason.accountDisabled
        var placesTaken: [PublicKey: Int] = [:]
        /// How many models the lists of all workers have, equal lists of a provider counted once.
        var modelsTogether = 0

        /// Changes the workers of a provider.
        mutating func index(_ provider: RecordKey, _ change: (inout ProviderWorkers) -> Void) {
            modelsTogether -= byProvider[provider]?.modelsListed ?? 0
            change(&byProvider[provider, default: ProviderWorkers()])
            modelsTogether += byProvider[provider]?.modelsListed ?? 0
            if byProvider[provider]?.all.isEmpty ?? false { byProvider.removeValue(forKey: provider) }
        }

        /// False when the owner's workers have as many places as one owner's may.
        mutating func takePlace(_ owner: PublicKey?) -> Bool {
            guard let owner else { return true }
            guard placesTaken[owner, default: 0] < Limits.workerSessionsPerOwner else { return false }
            placesTaken[owner, default: 0] += 1
            return true
        }

        mutating func givePlace(of key: Key) {
            guard let owner = owners.removeValue(forKey: key), let taken = placesTaken[owner] else { return }
            placesTaken[owner] = taken > 1 ? taken - 1 : nil
        }
    }

    private let state = Mutex(State())
    private let observer = Mutex<(@Sendable (WorkerEvent) -> Void)?>(nil)
    private let catalog: CatalogHolder
    private let ends = SessionEnds()
    let tickers = LoopTickers<WorkerConnection>()
    private let logger: Logger
    let metrics: WorkerMetrics

    /// - Parameter catalog: says how many requests a provider takes at once.
    package init(metrics: WorkerMetrics, catalog: CatalogHolder, logger: Logger) {
        self.logger = logger
        self.metrics = metrics
        self.catalog = catalog
    }

    /// Set once, before the listener opens. It must not block, nor ask this table anything.
    package func observe(_ observer: @escaping @Sendable (WorkerEvent) -> Void) {
        self.observer.withLock { $0 = observer }
    }

    package var all: [WorkerSession] {
        state.withLock { Array($0.byKey.values) }.sorted { $0.sessionID < $1.sessionID }
    }

    package var count: Int { state.withLock { $0.byKey.count } }

    package func sessions(of provider: RecordKey) -> [WorkerSession] {
        state.withLock { $0.byProvider[provider]?.all ?? [] }
    }

    /// The worker of `provider` that has what is needed and can be expected to be done first.
    package func choose(_ provider: RecordKey, _ need: WorkerNeed) -> WorkerSession? {
        best(of: provider, need).first
    }

    /// The workers of `provider` that have what is needed, those first that can be expected to be done first; then one
    /// that rests or is full. Of many, the next few in turn are compared and not all: the best of a few is nearly as
    /// good, and costs the same for ten workers and for a thousand.
    func best(of provider: RecordKey, _ need: WorkerNeed) -> [WorkerSession] {
        let (sessions, turn) = state.withLock { state in
            state.turn &+= 1
            return (state.byProvider[provider]?.offering(need.model) ?? [], state.turn)
        }
        if sessions.count <= 1 { return sessions.filter { $0.offers(need) } }
        var found: [(session: WorkerSession, cost: Int64)] = []
        var resting: [WorkerSession] = []
        var full: WorkerSession?
        let now = SystemClock.instant
        let start = Int(turn.magnitude % UInt(sessions.count))
        for offset in 0..<min(sessions.count, Limits.workersScanned) {
            let index = start + offset
            let session = sessions[index < sessions.count ? index : index - sessions.count]
            guard session.offers(need) else { continue }
            if session.isFull {
                full = session
            } else if session.isResting(now: now) {
                if resting.count < Limits.workersCompared { resting.append(session) }
            } else {
                found.append((session, session.cost))
                if found.count >= Limits.workersCompared { break }
            }
        }
        found.sort { $0.cost < $1.cost }
        let ready = found.map(\.session) + resting
        // It will say that it is busy, and not that there is none.
        return ready.isEmpty ? full.map { [$0] } ?? [] : ready
    }

    /// Counts the requests of all workers of `provider` here, however they come and go.
    func load(of provider: RecordKey) -> ProviderLoad {
        state.withLock { state in
            if let load = state.loads[provider] { return load }
            let load = ProviderLoad()
            state.loads[provider] = load
            return load
        }
    }

    /// Counts a request at `session`, unless it has as many as it takes, or all workers of its provider here together
    /// have as many as the provider takes.
    func takesRequest(_ session: WorkerSession) -> MeshError? {
        let limit = catalog.current.provider(session.identity.provider)?.maxConcurrency
        let words: String
        switch session.requestBegan(limit: limit ?? .max) {
        case .taken: return nil
        case .workerIsFull(let slots): words = "the worker takes \(slots)"
        case .providerIsFull: words = "this provider takes \(limit ?? 0)"
        }
        return MeshError(
            .workerBusy, "\(words) requests at once, and has them; try again shortly", retryAfterSeconds: 1)
    }

    func registered(_ session: WorkerSession) {
        let key = Key(provider: session.identity.provider, clientID: session.identity.clientID)
        let owner = catalog.current.provider(key.provider)?.owner
        let outcome = state.withLock { state -> (refusal: CloseReason?, replaced: WorkerSession?) in
            if state.barred.contains(key.provider) { return (state.barReason, nil) }
            // More may have been let in at once than are left to register.
            if state.byKey[key] == nil, state.byKey.count >= Limits.workerSessions || !state.takePlace(owner) {
                return (.tooManySessions, nil)
            }
            let old = state.byKey.updateValue(session, forKey: key)
            if let old { state.index(key.provider) { $0.remove(old) } }
            if let window = old?.current.performance ?? state.remembered.removeValue(forKey: key) {
                session.measure { $0 = window }
            }
            // The same client as before has the same models, until it lists them again: what waits at the old socket
            // can go on at the new one at once.
            if let models = old?.current.models { session.update { if $0.models.isEmpty { $0.models = models } } }
            state.index(key.provider) { $0.put(session, models: session.current.models.map(\.id)) }
            if old == nil { state.owners[key] = owner }
            notify(.registered(session))
            // After its successor: what both stand for in the mesh must not vanish for a moment, and must not stay
            // for ever when the successor leaves.
            if let old { notify(.ended(old)) }
            return (nil, old)
        }
        if let refusal = outcome.refusal { return session.close(refusal) }
        outcome.replaced?.close(.replaced)
        metrics.sessions(count)
        logger.info("worker attached", metadata: names(of: session))
    }

    /// Who a session is, for the log.
    private func names(of session: WorkerSession) -> Logger.Metadata {
        let identity = session.identity
        let provider = catalog.current.provider(identity.provider)?.fullName
        return [
            "session.id": "\(session.sessionID)", "worker.client_id": "\(identity.clientID)",
            "provider": "\(provider ?? "\(identity.scope.username)/\(identity.providerID)")",
        ]
    }

    /// Closes the workers of these providers and takes no new ones, until the next call names others.
    package func bar(_ providers: Set<RecordKey>, _ reason: CloseReason) {
        let barred = state.withLock { state in
            state.barred = providers
            state.barReason = reason
            return providers.flatMap { state.byProvider[$0]?.all ?? [] }
        }
        for session in barred { session.close(reason) }
    }

    /// Closes the workers of a provider that are attached now.
    package func close(workersOf provider: RecordKey, _ reason: CloseReason) {
        for session in sessions(of: provider) { session.close(reason) }
    }

    /// What is kept of a worker's list: all of it, and in one copy for all workers that have the same; the beginning of
    /// it, when the lists of all workers here together are as long as they may be.
    func kept(_ models: [WorkerModel], of session: WorkerSession) -> [WorkerModel] {
        let (sibling, room) = state.withLock { state in
            (
                state.byProvider[session.identity.provider]?.first(listing: models.map(\.id)),
                Limits.workerModelsTogether - state.modelsTogether
            )
        }
        if let sibling {
            let known = sibling.current.models
            return known == models ? known : models
        }
        return models.count <= max(room, Limits.workerModelsShort)
            ? models : Array(models.prefix(Limits.workerModelsShort))
    }

    /// Tells the rest of the node that a session offers something else now, or is known better.
    package func changed(_ session: WorkerSession) {
        let key = Key(provider: session.identity.provider, clientID: session.identity.clientID)
        state.withLock { state in
            // One that was replaced, or has ended, is in no index any more.
            guard state.byKey[key] === session else { return }
            state.index(key.provider) { $0.put(session, models: session.current.models.map(\.id)) }
            notify(.changed(session))
        }
    }

    /// The last sessions of a provider that ended here, the newest last.
    package func recentEnds(of provider: RecordKey) -> [SessionEnd] { ends.of(provider) }

    func ended(_ session: WorkerSession, _ cause: SessionEnd.Cause) {
        let end = SessionEnd(clientID: session.identity.clientID, at: SystemClock.wall, cause: cause)
        ends.add(end, of: session.identity.provider)
        logger.info(
            "worker session ended",
            metadata: names(of: session).merging([
                "reason": "\(end.reason)", "code": "\(end.code.map { String($0) } ?? "none")",
            ]) { $1 })
        let key = Key(provider: session.identity.provider, clientID: session.identity.clientID)
        let removed = state.withLock { state -> Bool in
            // The late close of a replaced socket must not touch the session that replaced it.
            guard state.byKey[key] === session else { return false }
            // A full table starts over: what is lost is learned again.
            let window = session.current.performance
            if window.count > 0 {
                if state.remembered.count >= Limits.performanceWorkers { state.remembered = [:] }
                state.remembered[key] = window
            }
            state.byKey.removeValue(forKey: key)
            state.index(key.provider) { $0.remove(session) }
            state.givePlace(of: key)
            notify(.ended(session))
            return true
        }
        if removed { metrics.sessions(count) }
    }

    /// Closes the sessions whose token is not good here any more, wherever the owner lives: the owner's current advert
    /// does not list it, or lists it with an end that has come or for other nodes.
    package func revoke(by catalog: Catalog, wall: Timestamp) {
        let sessions = state.withLock { $0.byProvider }
        for (provider, workers) in sessions {
            let sessions = workers.all
            let known = catalog.provider(provider)
            let keys = known?.attachKeys.filter { $0.admits(host: catalog.node, at: wall) } ?? []
            // An upstream needs no token: its owner's own key says that it may be here.
            for session in sessions
            where session.attachKey != known?.owner && !keys.contains(where: { $0.key == session.attachKey }) {
                // What becomes private, or public, is another record: the token is good there as it was here.
                let identity = session.identity
                let isElsewhere =
                    catalog.provider(
                        attachKey: session.attachKey, scope: identity.scope, providerID: identity.providerID, wall: wall
                    )
                    != nil
                session.close(isElsewhere ? .providerChanged : .tokenRevoked)
            }
        }
    }

    package func closeAll(_ reason: CloseReason) {
        for session in all { session.close(reason) }
    }

    /// Called in the lock, so that everybody hears of sessions in the order in which they came, changed and went: one
    /// that changed a moment after it was replaced would otherwise stay for ever.
    private func notify(_ event: WorkerEvent) {
        let observer = observer.withLock { $0 }
        observer?(event)
    }
}
