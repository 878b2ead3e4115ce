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
}

/// Carries requests to other nodes. `ForwardClient` does; a node without links has none.
package protocol RemoteDispatch: Sendable {
    func isReachable(_ node: PublicKey) -> Bool
    func forward(
        _ request: WorkRequest, to node: PublicKey, provider: RecordKey, model: String, principal: Principal,
        requestID: String, attempt: Int, receiver: any AnswerReceiver
    ) -> any AttemptHandle
}

/// Turns a route into places to go, and a place into a running attempt.
package final class Dispatcher: Sendable {
    private let node: PublicKey
    private let sessions: SessionTable
    private let remote: any RemoteDispatch
    private let turn = Atomic<Int>(0)

    package init(node: PublicKey, sessions: SessionTable, remote: any RemoteDispatch) {
        self.node = node
        self.sessions = sessions
        self.remote = remote
    }

    /// Where `route` may be served now: a local worker first, then reachable hosts in turns. At most
    /// `Limits.forwardAttempts`.
    package func candidates(_ route: Route) -> [Candidate] {
        var found: [Candidate] = []
        for provider in route.providers {
            if let session = sessions.choose(provider.key, model: route.model) {
                found.append(.local(session, provider))
            }
        }
        var hosts: [Candidate] = []
        for provider in route.providers {
            for host in provider.hosts where host.node != node && host.models.contains(where: { $0.id == route.model })
            {
                let isKnown = hosts.contains {
                    if case .remote(host.node, let other) = $0 { other.key == provider.key } else { false }
                }
                if !isKnown, remote.isReachable(host.node) { hosts.append(.remote(host.node, provider)) }
            }
        }
        if hosts.count > 1 {
            let start = turn.wrappingAdd(1, ordering: .relaxed).oldValue.magnitude % UInt(hosts.count)
            hosts = Array(hosts[Int(start)...] + hosts[..<Int(start)])
        }
        return Array((found + hosts).prefix(Limits.forwardAttempts))
    }

    package func start(
        _ candidate: Candidate, _ request: WorkRequest, route: Route, principal: Principal, requestID: String,
        attempt: Int, receiver: any AnswerReceiver
    ) -> any AttemptHandle {
        switch candidate {
        case .local(let session, _): session.start(request, receiver: receiver)
        case .remote(let node, let provider):
            remote.forward(
                request, to: node, provider: provider.key, model: route.model, principal: principal,
                requestID: requestID, attempt: attempt, receiver: receiver)
        }
    }

    /// A local worker for a request that another node forwarded to us; nothing is re-routed from here.
    package func localSession(_ provider: RecordKey, model: String) -> WorkerSession? {
        sessions.choose(provider, model: model)
    }
}
