package import MeshExchange
package import MeshModel
package import MeshRouting
import Synchronization

/// Carries requests to other nodes. `ForwardClient` does; a node without links has none.
package protocol RemoteDispatch: Sendable {
    func isReachable(_ node: PublicKey) -> Bool
    func forward(
        _ request: WorkRequest, to place: ForwardPlace, attempt: Int, receiver: any AnswerReceiver
    ) -> any AttemptHandle
}

/// For whom a request is asked of other nodes.
package struct Asker: Sendable {
    package var principal: Principal
    package var requestID: String

    package init(principal: Principal, requestID: String) {
        self.principal = principal
        self.requestID = requestID
    }
}

/// Another node that hosts a worker of the provider, for one request.
package struct ForwardPlace: Place {
    package let host: PublicKey
    package let provider: CatalogProvider
    package let model: String?
    package let asker: Asker
    let places: ForwardPlaces

    package var node: PublicKey? { host }

    package func isSame(as other: any Place) -> Bool {
        guard let other = other as? ForwardPlace else { return false }
        return other.host == host && other.provider.key == provider.key
    }

    package func begin(_ request: WorkRequest, attempt: Int, receiver: any AnswerReceiver) -> any AttemptHandle {
        let measurement = places.measure(host, provider.key, isTimed: request.upload == nil)
        let handle = places.remote.forward(
            request, to: self, attempt: attempt, receiver: MeasuredReceiver(receiver, measurement))
        return MeasuredHandle(handle: handle, measurement: measurement)
    }
}

/// Knows the other nodes at which a request can be answered, and in which order they are best asked.
package final class ForwardPlaces: Sendable {
    let remote: any RemoteDispatch
    private let measurements = HostMeasurements()
    private let turn = Atomic<UInt64>(0)
    private let operators: @Sendable (PublicKey) -> PublicKey?

    /// - Parameter operators: who runs a node, where that is known.
    package init(
        remote: any RemoteDispatch, operators: @escaping @Sendable (PublicKey) -> PublicKey? = { _ in nil }
    ) {
        self.remote = remote
        self.operators = operators
    }

    /// The reachable hosts of the route that have what is needed, by what this node measured of them (`HostScores`).
    package func places(_ route: Route, _ need: WorkerNeed, for asker: Asker, limit: Int) -> [ForwardPlace] {
        var places: [ForwardPlace] = []
        var hosts: [HostScores.Host] = []
        for provider in route.providers {
            for worker in provider.remoteHosts where worker.meets(need) {
                let host = HostScores.Host(node: worker.node, provider: provider.key)
                if hosts.contains(host) || !remote.isReachable(worker.node) { continue }
                hosts.append(host)
                places.append(
                    ForwardPlace(
                        host: worker.node, provider: provider, model: need.model, asker: asker, places: self))
            }
        }
        guard hosts.count > 1 else { return places }
        let turn = turn.wrappingAdd(1, ordering: .relaxed).oldValue
        // A few more than are tried, so that they need not all be of one operator.
        let order = measurements.order(hosts, limit: Limits.hostsCompared, turn: turn)
        let spread = HostScores.spread(order) { operators(hosts[$0].node) ?? hosts[$0].node }
        return spread.prefix(limit).map { places[$0] }
    }

    /// Whether any other node is known to have what is needed, reachable or not.
    package func meets(_ need: WorkerNeed, of provider: CatalogProvider) -> Bool {
        provider.remoteHosts.contains { $0.meets(need) }
    }

    /// Whether such a node is linked now.
    package func isReachable(_ route: Route, _ need: WorkerNeed) -> Bool {
        route.providers.contains { provider in
            provider.remoteHosts.contains { $0.meets(need) && remote.isReachable($0.node) }
        }
    }

    func measure(_ node: PublicKey, _ provider: RecordKey, isTimed: Bool) -> HostMeasurement {
        HostMeasurement(measurements, HostScores.Host(node: node, provider: provider), isTimed: isTimed)
    }
}
