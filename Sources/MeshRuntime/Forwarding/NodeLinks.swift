package import Logging
import MeshBroker
package import MeshGossip
package import MeshModel
package import MeshTransport
package import MeshWire
import Metrics
import NIOCore
import Synchronization

/// Joins the links of `MeshTransport` with the control plane: frames and link events go in, frames and dials come
/// out, forwarded requests go to the server.
package final class NodeLinks: LinkDelegate, ControlPlane.Links {
    private struct State {
        var links: [LinkID: Link] = [:]
        var endpoint: LinkEndpoint?
        var forwards: ForwardServer?
        var descriptor: [UInt8] = []
        /// Dials wanted before this node had a descriptor to show; gossip asks for each address once.
        var waiting: [(address: String, expected: PublicKey?)] = []
    }

    private let state = Mutex(State())
    private let control: ControlPlane
    private let clock: ClockJudge
    private let logger: Logger
    private let live = Gauge(label: "aisbf_links")
    private let failures: [LinkFailure: Counter] = Dictionary(
        uniqueKeysWithValues: LinkFailure.allCases.map {
            ($0, Counter(label: "aisbf_link_failures_total", dimensions: [("reason", $0.rawValue)]))
        })

    package init(control: ControlPlane, clock: ClockJudge, logger: Logger) {
        self.control = control
        self.clock = clock
        self.logger = logger
    }

    /// Set once, before the endpoint listens.
    package func connect(endpoint: LinkEndpoint, forwards: ForwardServer) {
        state.withLock {
            $0.endpoint = endpoint
            $0.forwards = forwards
        }
    }

    /// This node's current descriptor record, for handshakes.
    package var descriptor: [UInt8] { state.withLock { $0.descriptor } }

    package func setDescriptor(_ record: VerifiedRecord) {
        let waiting = state.withLock { state in
            state.descriptor = record.envelope.bytes
            defer { state.waiting = [] }
            return state.waiting
        }
        for dial in waiting { self.dial(dial.address, expected: dial.expected) }
    }

    /// A link on which requests can be forwarded to `node`.
    package func link(to node: PublicKey) -> Link? { state.withLock { $0.endpoint }?.link(to: node) }

    // MARK: What gossip wants

    package func send(_ frame: Aisbf_Mesh_V1_LinkFrame, over link: LinkID) {
        state.withLock { $0.links[link] }?.send(frame)
    }

    package func close(_ link: LinkID, code: String) {
        state.withLock { $0.links[link] }?.close(code: LinkFailure(goodbye: code))
    }

    package func dial(_ address: String, expected: PublicKey?) {
        let endpoint = state.withLock { state -> LinkEndpoint? in
            guard state.descriptor.isEmpty else { return state.endpoint }
            if state.waiting.count < Limits.linkDials { state.waiting.append((address, expected)) }
            return nil
        }
        guard let endpoint else { return }
        endpoint.dial(address: address, expected: expected)
    }

    // MARK: What links report

    package func linkEstablished(_ link: Link, descriptor: VerifiedRecord, clockOffsetMs: Int64) {
        state.withLock { $0.links[link.id] = link }
        clock.observed(link.peer, operatorKey: Self.operatorKey(of: descriptor), offsetMs: clockOffsetMs)
        if clock.isSuspect {
            logger.error(
                "this node's clock is off its peers'; it signs nothing until the clock is set right",
                metadata: ["clock.offset_ms": "\(clock.medianOffsetMs)"])
        }
        logger.info(
            "link established", metadata: ["link.peer": "\(link.peer)", "link.dialled": "\(link.dialled)"])
        live.record(Int64(state.withLock { $0.links.count }))
        if case .nodeDescriptor(let body) = descriptor.body {
            control.remember(
                peer: link.peer,
                address: body.linkAddresses.first.flatMap { $0.utf8.count <= Limits.recordTextBytes ? $0 : nil })
        }
        control.submit(
            .gossip(
                .linkUp(link.id, peer: link.peer, dialled: link.dialled, address: link.address, descriptor: descriptor))
        )
    }

    /// The handshake has verified the certificate.
    private static func operatorKey(of descriptor: VerifiedRecord) -> PublicKey? {
        guard case .nodeDescriptor(let body) = descriptor.body, body.hasOperator else { return nil }
        return PublicKey(body.operator.operatorKey)
    }

    package func linkFrame(_ link: Link, _ frame: Aisbf_Mesh_V1_LinkFrame, _ ticket: FrameTicket) {
        control.submit(frame: frame, of: link.id, ticket: ticket)
    }

    package func linkClosed(_ link: Link, reason: LinkFailure) {
        state.withLock { _ = $0.links.removeValue(forKey: link.id) }
        clock.forget(link.peer)
        failures[reason]?.increment()
        live.record(Int64(state.withLock { $0.links.count }))
        logger.info("link closed", metadata: ["link.peer": "\(link.peer)", "reason": "\(reason.rawValue)"])
        control.submit(.gossip(.linkDown(link.id)))
    }

    package func dialFailed(address: String, expected: PublicKey?, reason: LinkFailure, byPeer: Bool) {
        failures[reason]?.increment()
        logger.info(
            "dial failed: \(reason.message)", metadata: ["link.address": "\(address)", "reason": "\(reason.rawValue)"])
        control.submit(.gossip(.dialFailed(expected, address: address)))
    }

    package func acceptFailed(remote: String, reason: LinkFailure, knock: LinkKnock?) {
        failures[reason]?.increment()
        logger.notice(
            "link refused: \(reason.message)", metadata: ["link.remote": "\(remote)", "reason": "\(reason.rawValue)"])
    }

    package func forwardArrived(_ forward: IncomingForward) {
        guard let server = state.withLock({ $0.forwards }) else { return forward.reset() }
        server.arrived(forward)
    }
}
