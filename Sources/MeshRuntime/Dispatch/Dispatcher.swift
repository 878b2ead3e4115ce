package import MeshModel
package import MeshRouting
import MeshSessions
import Synchronization

/// One place a request can go.
package enum Candidate: Sendable {
    /// A worker attached here.
    case local(WorkerSession, CatalogProvider)
    /// Another node that hosts a worker of the provider.
    case remote(PublicKey, CatalogProvider)

    package var provider: CatalogProvider {
        switch self {
        case .local(_, let provider), .remote(_, let provider): provider
        }
    }

    /// Whether both are the same session, or the same host of the same provider.
    package func isSame(as other: Candidate) -> Bool {
        switch (self, other) {
        case (.local(let mine, _), .local(let theirs, _)): mine === theirs
        case (.remote(let mine, _), .remote(let theirs, _)): mine == theirs && provider.key == other.provider.key
        case (.local, .remote), (.remote, .local): false
        }
    }
}

/// Carries requests to other nodes. `ForwardClient` does; a node without links has none.
package protocol RemoteDispatch: Sendable {
    func isReachable(_ node: PublicKey) -> Bool
    func forward(
        _ request: WorkRequest, to node: PublicKey, provider: RecordKey, principal: Principal, requestID: String,
        attempt: Int, receiver: any AnswerReceiver
    ) -> any AttemptHandle
}

/// Turns a route into places to go, and a place into a running attempt.
package final class Dispatcher: Sendable {
    private let node: PublicKey
    private let sessions: SessionTable
    private let remote: any RemoteDispatch
    private let turn = Atomic<UInt64>(0)
    private let measurements = HostMeasurements()

    package init(node: PublicKey, sessions: SessionTable, remote: any RemoteDispatch) {
        self.node = node
        self.sessions = sessions
        self.remote = remote
    }

    /// Where `route` may be served now: a local worker of each provider first, then one sibling of such a worker, then
    /// reachable hosts by what this node measured of them (`HostScores`). At most `Limits.forwardAttempts`.
    package func candidates(_ route: Route, _ need: WorkerNeed) -> [Candidate] {
        var found: [Candidate] = []
        var sibling: Candidate?
        for provider in route.providers {
            let workers = sessions.best(of: provider.key, need)
            if let session = workers.first { found.append(.local(session, provider)) }
            if sibling == nil, workers.count > 1 { sibling = .local(workers[1], provider) }
        }
        if let sibling { found.append(sibling) }
        return Array((found + hosts(of: route, need, limit: Limits.forwardAttempts)).prefix(Limits.forwardAttempts))
    }

    private func hosts(of route: Route, _ need: WorkerNeed, limit: Int) -> [Candidate] {
        var candidates: [Candidate] = []
        var hosts: [HostScores.Host] = []
        for provider in route.providers {
            for worker in provider.remoteHosts where worker.has(need) {
                let host = HostScores.Host(node: worker.node, provider: provider.key)
                if hosts.contains(host) || !remote.isReachable(worker.node) { continue }
                hosts.append(host)
                candidates.append(.remote(worker.node, provider))
            }
        }
        guard hosts.count > 1 else { return candidates }
        let turn = turn.wrappingAdd(1, ordering: .relaxed).oldValue
        return measurements.order(hosts, limit: limit, turn: turn).map { candidates[$0] }
    }

    /// Whether a connected worker of `route` has the model but does not offer the endpoint: trying again later is no
    /// use then.
    package func lacksEndpoint(_ route: Route, _ need: WorkerNeed) -> Bool {
        guard need.endpoint != nil else { return false }
        return isMet(WorkerNeed(model: need.model), by: route)
            && !isMet(WorkerNeed(model: need.model, endpoint: need.endpoint), by: route)
    }

    private func isMet(_ need: WorkerNeed, by route: Route) -> Bool {
        route.providers.contains { provider in
            sessions.choose(provider.key, need) != nil || provider.remoteHosts.contains { $0.has(need) }
        }
    }

    package func start(
        _ candidate: Candidate, _ request: WorkRequest, principal: Principal, requestID: String, attempt: Int,
        receiver: any AnswerReceiver
    ) -> any AttemptHandle {
        switch candidate {
        case .local(let session, _): return session.start(request, receiver: receiver)
        case .remote(let node, let provider):
            let measurement = HostMeasurement(
                measurements, HostScores.Host(node: node, provider: provider.key), isTimed: request.upload == nil)
            let handle = remote.forward(
                request, to: node, provider: provider.key, principal: principal, requestID: requestID,
                attempt: attempt, receiver: MeasuredReceiver(receiver, measurement))
            return MeasuredHandle(handle: handle, measurement: measurement)
        }
    }
}

extension CatalogHost {
    func has(_ need: WorkerNeed) -> Bool {
        if let worker = need.worker, worker != WorkerMark.text(clientHash: clientHash) { return false }
        if let model = need.model, !offers(model) { return false }
        if need.takesUploads, !takesUploads { return false }
        return need.endpoint.map { $0.isOffered(by: endpoints) } ?? true
    }
}
