package import MeshModel
package import MeshRouting
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
    /// - Parameter name: what the node is called, for the words of its failures.
    func forward(
        _ request: WorkRequest, to node: PublicKey, name: String, provider: RecordKey, principal: Principal,
        requestID: String, attempt: Int, receiver: any AnswerReceiver
    ) -> any AttemptHandle
}

/// Turns a route into places to go, and a place into a running attempt.
package final class Dispatcher: Sendable {
    private let node: PublicKey
    private let sessions: SessionTable
    private let remote: any RemoteDispatch
    private let turn = Atomic<UInt64>(0)
    private let measurements = HostMeasurements()
    private let tickers = LoopTickers<Pursuit>()

    private let operators: @Sendable (PublicKey) -> PublicKey?

    /// - Parameter operators: who runs a node, where that is known.
    package init(
        node: PublicKey, sessions: SessionTable, remote: any RemoteDispatch,
        operators: @escaping @Sendable (PublicKey) -> PublicKey? = { _ in nil }
    ) {
        self.operators = operators
        self.node = node
        self.sessions = sessions
        self.remote = remote
    }

    /// A request of this node's own buyer, on its way to whoever answers it.
    package func pursue(
        _ request: WorkRequest, on route: Route, principal: Principal, requestID: String, upload: UploadFlow?,
        receiver: any AnswerReceiver
    ) -> Pursuit {
        let places = Pursuit.Places(
            find: { [self] in candidates(route, request.need) },
            begin: { [self] place, request, attempt, receiver in
                start(
                    place, request, principal: principal, requestID: requestID, attempt: attempt, receiver: receiver)
            },
            none: { [self] in
                let names = route.providers.map(\.fullName).joined(separator: ", ")
                if let endpoint = request.need.endpoint, lacksEndpoint(route, request.need) {
                    return MeshError(
                        .endpointNotOffered,
                        "no worker of \(names) offers \(endpoint); its seller's worker would have to advertise it")
                }
                return MeshError(
                    .workerUnavailable, "no worker of \(names) is connected now; try again shortly",
                    retryAfterSeconds: 2)
            })
        return Pursuit(
            request, upload: upload, places: places, repeats: Limits.forwardAttempts, tickers: tickers,
            receiver: receiver)
    }

    /// Where `route` may be served now: a local worker of each provider first, then one sibling of such a worker, then
    /// reachable hosts by what this node measured of them (`HostScores`), then more siblings, and last the local
    /// workers that rest. At most `Limits.forwardAttempts`.
    package func candidates(_ route: Route, _ need: WorkerNeed) -> [Candidate] {
        var first: [Candidate] = []
        var siblings: [Candidate] = []
        var resting: [Candidate] = []
        let now = SystemClock.instant
        for provider in route.providers {
            var isFirst = true
            for session in sessions.best(of: provider.key, need) {
                let candidate = Candidate.local(session, provider)
                if session.isResting(now: now) {
                    resting.append(candidate)
                } else if isFirst {
                    first.append(candidate)
                    isFirst = false
                } else {
                    siblings.append(candidate)
                }
            }
        }
        let hosts = hosts(of: route, need, limit: Limits.forwardAttempts)
        let all = first + siblings.prefix(1) + hosts + siblings.dropFirst() + resting
        return Array(all.prefix(Limits.forwardAttempts))
    }

    private func hosts(of route: Route, _ need: WorkerNeed, limit: Int) -> [Candidate] {
        var candidates: [Candidate] = []
        var hosts: [HostScores.Host] = []
        for provider in route.providers {
            for worker in provider.remoteHosts where worker.meets(need) {
                let host = HostScores.Host(node: worker.node, provider: provider.key)
                if hosts.contains(host) || !remote.isReachable(worker.node) { continue }
                hosts.append(host)
                candidates.append(.remote(worker.node, provider))
            }
        }
        guard hosts.count > 1 else { return candidates }
        let turn = turn.wrappingAdd(1, ordering: .relaxed).oldValue
        // A few more than are tried, so that they need not all be of one operator.
        let order = measurements.order(hosts, limit: Limits.hostsCompared, turn: turn)
        let spread = HostScores.spread(order) { operators(hosts[$0].node) ?? hosts[$0].node }
        return spread.prefix(limit).map { candidates[$0] }
    }

    /// Whether a connected worker of `route` has the model but does not offer the endpoint: trying again later is no
    /// use then.
    private func lacksEndpoint(_ route: Route, _ need: WorkerNeed) -> Bool {
        guard need.endpoint != nil else { return false }
        return isMet(WorkerNeed(model: need.model), by: route)
            && !isMet(WorkerNeed(model: need.model, endpoint: need.endpoint), by: route)
    }

    private func isMet(_ need: WorkerNeed, by route: Route) -> Bool {
        route.providers.contains { provider in
            sessions.choose(provider.key, need) != nil || provider.remoteHosts.contains { $0.meets(need) }
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
                request, to: node, name: provider.nodeName(node), provider: provider.key, principal: principal,
                requestID: requestID, attempt: attempt, receiver: MeasuredReceiver(receiver, measurement))
            return MeasuredHandle(handle: handle, measurement: measurement)
        }
    }
}

extension CatalogProvider {
    /// What a node calls itself that hosts a worker of this provider.
    package func nodeName(_ node: PublicKey) -> String { hosts.first { $0.node == node }?.nodeName ?? "unknown" }
}
