package import Logging
import MeshExchange
package import MeshModel
package import MeshRouting
package import MeshSessions
import Synchronization

package typealias WorkerEvent = SessionEvent<WorkerSession>

/// The live worker sessions of this node: the shell around `SessionTable.StateMachine`, which decides.
package final class SessionTable: Sendable {
    private let state = Mutex(StateMachine<WorkerSession>())
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

    /// Set once, before the listener opens. It must not block: whoever changes something here may have to call it.
    package func observe(_ observer: @escaping @Sendable (WorkerEvent) -> Void) {
        self.observer.withLock { $0 = observer }
    }

    package var all: [WorkerSession] { state.withLock { $0.all }.sorted { $0.sessionID < $1.sessionID } }

    package var count: Int { state.withLock { $0.count } }

    package func sessions(of provider: RecordKey) -> [WorkerSession] { state.withLock { $0.sessions(of: provider) } }

    /// The worker of `provider` that has what is needed and can be expected to be done first.
    package func choose(_ provider: RecordKey, _ need: WorkerNeed) -> WorkerSession? {
        best(of: provider, need).first
    }

    /// The workers of `provider` that have what is needed, in the order in which they are to be asked.
    func best(of provider: RecordKey, _ need: WorkerNeed) -> [WorkerSession] {
        let (sessions, turn) = state.withLock { $0.candidates(provider, need) }
        return StateMachine.order(sessions, turn: turn, need, now: SystemClock.instant)
    }

    /// A socket that may become a worker of `provider`; it has to end, once.
    /// - Returns: where the requests of all workers of `provider` here are counted, however they come and go.
    func opened(_ provider: RecordKey) -> ProviderLoad { state.withLock { $0.opened(provider) } }

    /// Counts a request at `session`, unless it has as many as it takes, or all workers of its provider here together
    /// have as many as the provider takes.
    func takesRequest(_ session: WorkerSession) -> MeshError? {
        let limit = catalog.current.provider(session.identity.provider)?.maxConcurrency
        let words: String
        switch session.requestBegan(limit: limit ?? .max) {
        case .taken: return nil
        case .workerIsFull(let slots): words = "\(session.answerer.words) takes \(slots)"
        case .providerIsFull: words = "this provider takes \(limit ?? 0)"
        }
        return MeshError(
            .workerBusy, "\(words) requests at once, and has them; try again shortly", retryAfterSeconds: 1)
    }

    func registered(_ session: WorkerSession) {
        switch state.withLock({ $0.inheritance(of: session) }) {
        case .nothing: break
        case .measured(let window): session.measure { $0 = window }
        case .from(let old):
            let known = old.current
            session.measure { $0 = known.performance }
            // The same client as before has the same models, until it lists them again: what waits at the old socket
            // can go on at the new one at once.
            session.update { if $0.offer.models.isEmpty { $0.offer.models = known.offer.models } }
        }
        let owner = catalog.current.provider(session.identity.provider)?.owner
        let models = session.current.offer.models.map(\.id)
        switch state.withLock({ $0.registered(session, owner: owner, models: models) }) {
        case .refused(let reason): session.close(reason)
        case .attached(let old):
            tell()
            old?.close(.replaced)
            metrics.sessions(count)
            logger.info("worker attached", metadata: names(of: session))
        }
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

    /// Closes the workers of these providers and admits no new ones, until the next call names others.
    package func bar(_ providers: Set<RecordKey>, _ reason: CloseReason) {
        for session in state.withLock({ $0.bar(providers, reason) }) { session.close(reason) }
    }

    /// Closes the workers of a provider that are attached now.
    package func close(workersOf provider: RecordKey, _ reason: CloseReason) {
        for session in sessions(of: provider) { session.close(reason) }
    }

    /// What is kept of a worker's list: all of it, and in one copy for all workers that have the same; the beginning of
    /// it, when the lists of all workers here together are as long as they may be.
    func kept(_ models: [WorkerModel], of session: WorkerSession) -> ModelList {
        let (sibling, room) = state.withLock { $0.lists(of: session.identity.provider, like: models.map(\.id)) }
        if let sibling {
            let known = sibling.current.offer.models
            return known.elementsEqual(models) ? known : ModelList(models)
        }
        let isLong = models.count > max(room, Limits.workerModelsShort)
        return ModelList(isLong ? Array(models.prefix(Limits.workerModelsShort)) : models)
    }

    /// Tells the rest of the node that a session offers something else now, or is known better.
    package func changed(_ session: WorkerSession) {
        let models = session.current.offer.models.map(\.id)
        state.withLock { $0.changed(session, models: models) }
        tell()
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
        let window = session.current.performance
        guard state.withLock({ $0.ended(session, window: window) }) else { return }
        tell()
        metrics.sessions(count)
    }

    /// Closes the sessions whose token is not good here any more, wherever the owner lives: the owner's current advert
    /// does not list it, or lists it with an end that has come or for other nodes.
    package func revoke(by catalog: Catalog, wall: Timestamp) {
        for provider in state.withLock({ $0.providers }) {
            let known = catalog.provider(provider)
            let keys = known?.attachKeys.filter { $0.admits(host: catalog.node, at: wall) } ?? []
            // An upstream needs no token: its owner's own key says that it may be here.
            for session in sessions(of: provider)
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

    /// Tells what happened in the order in which it did, outside the lock; leaves it to whoever is at it already.
    private func tell() {
        var next = state.withLock { $0.beginTelling() }
        guard next != nil else { return }
        let observer = observer.withLock { $0 }
        while let event = next {
            observer?(event)
            next = state.withLock { $0.nextToTell() }
        }
    }
}
