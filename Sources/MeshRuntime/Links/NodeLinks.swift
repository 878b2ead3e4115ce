package import Logging
import MeshBroker
import MeshExchange
package import MeshGossip
package import MeshModel
package import MeshTransport
package import MeshWire
import Metrics
package import NIOCore
import Synchronization

/// Joins the links of `MeshTransport` with the control plane: frames and link events go in, frames and dials come
/// out, forwarded requests go to the server.
package final class NodeLinks: LinkDelegate, ControlPlane.Links {
    private struct State {
        var links: [LinkID: Link] = [:]
        var endpoint: LinkEndpoint?
        var forwardArrived: (@Sendable (IncomingForward) -> Void)?
        var descriptor: [UInt8] = []
        /// Dials wanted before this node had a descriptor to show; gossip asks for each address once.
        var waiting: [(address: String, expected: PublicKey?)] = []
    }

    private let state = Mutex(State())
    private let control: ControlPlane
    private let clock: ClockJudge
    private let logger: Logger
    /// What an operator elsewhere would have to admit.
    private let identity: MeshAdmission
    private let ownOperator: MeshAdmission
    package let journal = LinkJournal()
    private let waiters = LinkWaiters()
    private let live = Gauge(label: "aisbf_links")
    private let failures: [LinkFailure: Counter] = Dictionary(
        uniqueKeysWithValues: LinkFailure.allCases.map {
            ($0, Counter(label: "aisbf_link_failures_total", dimensions: [("reason", $0.rawValue)]))
        })

    package init(
        control: ControlPlane, clock: ClockJudge, node: PublicKey, operatorKey: PublicKey, logger: Logger
    ) {
        self.control = control
        identity = .node(node)
        ownOperator = .operatorKey(operatorKey)
        self.clock = clock
        self.logger = logger
    }

    /// Set once, before the endpoint listens.
    /// - Parameter forwards: takes requests that other nodes forward here.
    package func connect(endpoint: LinkEndpoint, forwards: @escaping @Sendable (IncomingForward) -> Void) {
        state.withLock {
            $0.endpoint = endpoint
            $0.forwardArrived = forwards
        }
    }

    /// This node's current descriptor record, for handshakes.
    package var descriptor: [UInt8] { state.withLock { $0.descriptor } }

    package func setDescriptor(_ record: VerifiedRecord) {
        let (endpoint, waiting) = state.withLock { state in
            state.descriptor = record.envelope.bytes
            defer { state.waiting = [] }
            return (state.endpoint, state.waiting)
        }
        endpoint?.accept()
        for dial in waiting { self.dial(dial.address, expected: dial.expected) }
    }

    package var all: [Link] { state.withLock { Array($0.links.values) }.sorted { $0.id < $1.id } }

    /// A link on which requests can be forwarded to `node`.
    package func link(to node: PublicKey, on eventLoop: (any EventLoop)? = nil) -> Link? {
        state.withLock { $0.endpoint }?.link(to: node, on: eventLoop)
    }

    /// The same, made now if it must be.
    /// - Parameter body: called once, on any thread: with nil when there is no link within `Limits.reachMs`.
    func reach(_ node: PublicKey, on eventLoop: any EventLoop, _ body: @escaping @Sendable (Link?) -> Void) {
        if let link = link(to: node) { return body(link) }
        guard let ticket = waiters.wait(for: node, body) else { return body(nil) }
        eventLoop.scheduleTask(in: .milliseconds(Limits.reachMs)) { [waiters] in waiters.expire(ticket) }
        // It may have come up before anybody waited for it.
        if let link = link(to: node) { return waiters.reached(node, link) }
        if ticket.isFirst { control.submit(.gossip(.reach(node))) }
    }

    /// Gossip knows no way to `node` now.
    package func unreachable(_ node: PublicKey) { waiters.reached(node, nil) }

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
        let now = SystemClock.now
        clock.observed(link.peer, operatorKey: Self.operatorKey(of: descriptor), offsetMs: clockOffsetMs, now: now)
        if clock.isSuspect(now: now) {
            logger.error(
                "this node's clock is off its peers'; it signs nothing until the clock is set right",
                metadata: ["clock.offset_ms": "\(clock.medianOffsetMs(now: now))"])
        }
        logger.info(
            "link established",
            metadata: [
                "link.peer": "\(link.peerID)", "link.dialled": "\(link.dialled)",
                "link.protocol": "\(link.way.rawValue)",
            ])
        live.record(Int64(state.withLock { $0.links.count }))
        if link.opensForwards { waiters.reached(link.peer, link) }
        if let address = link.address { journal.linked(address) }
        journal.forgetKnocks { $0.node == link.peer }
        if case .nodeDescriptor(let body) = descriptor.body {
            control.remember(
                peer: link.peer,
                address: body.linkAddresses.first.flatMap { $0.utf8.count <= Limits.recordTextBytes ? $0 : nil },
                seen: now.wall)
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
        logger.info("link closed", metadata: ["link.peer": "\(link.peerID)", "reason": "\(reason.rawValue)"])
        let isLost = reason != .closed && reason != .duplicate
        control.submit(.gossip(.linkDown(link.id, isLost: isLost)))
    }

    package func dialFailed(address: String, expected: PublicKey?, reason: LinkFailure, byPeer: Bool) {
        failures[reason]?.increment()
        let now = SystemClock.wall
        if journal.dialFailed(address, reason, byPeer: byPeer, at: now) {
            let attempt = LinkJournal.Attempt(reason: reason, byPeer: byPeer, at: now)
            logger.notice(
                "no link: \(words(attempt))", metadata: ["link.address": "\(address)", "reason": "\(reason.rawValue)"])
        }
        if let expected { waiters.reached(expected, nil) }
        control.submit(.gossip(.dialFailed(expected, address: address)))
    }

    package func acceptFailed(remote: String, reason: LinkFailure, knock: LinkKnock?) {
        failures[reason]?.increment()
        let now = SystemClock.wall
        if let knock, reason == .notAdmitted { return knocked(knock, remote: remote, at: now) }
        guard let silent = journal.mayLogRefusal(at: now) else { return }
        var metadata: Logger.Metadata = ["link.remote": "\(remote)", "reason": "\(reason.rawValue)"]
        if silent > 0 { metadata["refusals.not_logged"] = "\(silent)" }
        let words =
            reason == .tooManyLinks
            ? "its address has no place for another one that is no link yet" : reason.message
        logger.notice("connection to the link port refused: \(words)", metadata: metadata)
    }

    private func knocked(_ knock: LinkKnock, remote: String, at now: Timestamp) {
        guard journal.knocked(knock, remote: remote, at: now) else { return }
        let node = MeshAdmission.node(knock.node)
        let entry = knock.operatorKey.map { MeshAdmission.operatorKey($0) } ?? node
        var metadata: Logger.Metadata = ["link.remote": "\(remote)", "node.id": "\(node)"]
        if knock.operatorKey != nil { metadata["operator.id"] = "\(entry)" }
        logger.notice(
            "a node that is not admitted asked for a link; to admit it: aisbf mesh allow add \(entry)",
            metadata: metadata)
    }

    /// What became of a dial, and what to do about it.
    package func words(_ attempt: LinkJournal.Attempt) -> String {
        guard attempt.reason == .notAdmitted, attempt.byPeer else { return attempt.reason.message }
        return "refused: this node is not on their allow-list; over there: aisbf mesh allow add \(ownOperator) "
            + "(or, for this node alone, \(identity))"
    }

    package func forwardArrived(_ forward: IncomingForward) {
        guard let arrived = state.withLock({ $0.forwardArrived }) else { return forward.reset() }
        arrived(forward)
    }
}
