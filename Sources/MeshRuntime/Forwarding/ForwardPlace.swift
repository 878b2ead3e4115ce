package import MeshExchange
package import MeshModel
package import MeshRouting
import Synchronization

/// Carries requests to other nodes. `ForwardClient` does; a node without links has none.
package protocol RemoteDispatch: Sendable {
    /// Whether there is a link now. Without one a forward makes it first.
    func isLinked(_ node: PublicKey) -> Bool
    func forward(
        _ request: WorkRequest, to place: ForwardPlace, attempt: Int, receiver: any AnswerReceiver
    ) -> any AttemptHandle
}

/// For whom a request is asked of other nodes.
package struct Asker: Sendable {
    package var principal: Principal
    package var requestID: String
    /// What its buyer's idempotency key is known by; nil where there is none.
    package var once: Bytes16?

    package init(principal: Principal, requestID: String, once: Bytes16? = nil) {
        self.principal = principal
        self.requestID = requestID
        self.once = once
    }
}

/// Another node that hosts a worker of the provider, for one request.
package final class ForwardPlace: Place {
    package let host: PublicKey
    package let provider: CatalogProvider
    package let model: String?
    package let asker: Asker
    let places: ForwardPlaces

    init(host: PublicKey, provider: CatalogProvider, model: String?, asker: Asker, places: ForwardPlaces) {
        self.host = host
        self.provider = provider
        self.model = model
        self.asker = asker
        self.places = places
    }

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

    /// The hosts of the route that have what is needed: those that are linked first, by what this node measured of them
    /// (`HostScores`), then those to which a link would have to be made.
    /// - Parameter isRehearsal: whether the next call is to find the same order.
    package func places(
        _ route: Route, _ need: WorkerNeed, for asker: Asker, limit: Int, isRehearsal: Bool = false
    ) -> [ForwardPlace] {
        let turn =
            isRehearsal ? turn.load(ordering: .relaxed) : turn.wrappingAdd(1, ordering: .relaxed).oldValue
        var linked: [ForwardPlace] = []
        var others: [ForwardPlace] = []
        for provider in route.providers {
            for worker in provider.remoteHosts where worker.meets(need) {
                let isKnown = { (place: ForwardPlace) in
                    place.host == worker.node && place.provider.key == provider.key
                }
                if linked.contains(where: isKnown) || others.contains(where: isKnown) { continue }
                let place = ForwardPlace(
                    host: worker.node, provider: provider, model: need.model, asker: asker, places: self)
                if remote.isLinked(worker.node) { linked.append(place) } else { others.append(place) }
            }
        }
        let best = ordered(linked, limit: limit, turn: turn)
        return best.count < limit ? best + ordered(others, limit: limit - best.count, turn: turn) : best
    }

    /// The one at `node`, where it has what is needed.
    package func place(_ route: Route, _ need: WorkerNeed, at node: PublicKey, for asker: Asker) -> ForwardPlace? {
        let provider = route.providers.first { provider in
            provider.remoteHosts.contains { $0.node == node && $0.meets(need) }
        }
        return provider.map { ForwardPlace(host: node, provider: $0, model: need.model, asker: asker, places: self) }
    }

    private func ordered(_ places: [ForwardPlace], limit: Int, turn: UInt64) -> [ForwardPlace] {
        guard places.count > 1 else { return places }
        let hosts = places.map { HostScores.Host(node: $0.host, provider: $0.provider.key) }
        // A few more than are tried, so that they need not all be of one operator.
        let order = measurements.order(hosts, limit: max(Limits.hostsCompared, limit), turn: turn)
        let spread = HostScores.spread(order) { operators(hosts[$0].node) ?? hosts[$0].node }
        return spread.prefix(limit).map { places[$0] }
    }

    /// Whether any other node is known to have what is needed, linked or not.
    package func meets(_ need: WorkerNeed, of provider: CatalogProvider) -> Bool {
        provider.remoteHosts.contains { $0.meets(need) }
    }

    func measure(_ node: PublicKey, _ provider: RecordKey, isTimed: Bool) -> HostMeasurement {
        HostMeasurement(measurements, HostScores.Host(node: node, provider: provider), isTimed: isTimed)
    }
}
