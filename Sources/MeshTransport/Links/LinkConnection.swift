internal import MeshCrypto
internal import MeshGossip
internal import MeshModel
internal import MeshWire
internal import NIOCore

/// One connection of a link, whatever carries its streams, on its event loop: handshake, pings, the link stream's frames,
/// and the forwards opened here. Closes with one reason and reports it once.
final class LinkConnection {
    static let linkPath = "/mesh/v1/link"

    let endpoint: LinkEndpoint
    let target: LinkTarget
    let eventLoop: any EventLoop
    private(set) var link: Link?
    /// The peer takes no new forwards.
    private(set) var isGoingAway = false
    private var handshake: LinkHandshake
    private var carrier: (any LinkCarrier)?
    private var remote: SocketAddress?
    private var stream: LinkStream?
    private var reason: LinkFailure?
    private var hasReported = false
    private var isDraining = false
    private var handshakeTimer: Scheduled<Void>?
    private var pingTimer: Scheduled<Void>?
    private var pingDeadline: Scheduled<Void>?
    private var pings: UInt64 = 0
    private var openStreams = 0
    /// The peer has read this side's proof. Where streams are read in any order, a forward that came together with the proof
    /// could be met before it, as a stranger's.
    private var isConfirmed = false
    /// Forwards that wait for it.
    private var unopened: [() -> Void] = []
    /// The peer gave the reason.
    private var isRefusedByPeer = false
    /// Who it is that was not admitted.
    private var knock: LinkKnock?

    var dialled: Bool { target.dialled }
    var way: LinkProtocol { carrier?.way ?? .http2 }
    var dialledAddress: String? { target.dialled ? target.address : nil }

    init(endpoint: LinkEndpoint, target: LinkTarget, peerSPKI: [UInt8], eventLoop: any EventLoop) {
        self.endpoint = endpoint
        self.eventLoop = eventLoop
        self.target = target
        handshake = LinkHandshake(
            configuration: endpoint.handshakeConfiguration(), isInitiator: target.dialled,
            nonce: Sodium.shared.randomBytes(LinkHandshake.nonceBytes), localSPKI: endpoint.spkiHash,
            peerSPKI: peerSPKI, expected: target.expected)
    }

    func begin(on channel: any Channel, _ carrier: any LinkCarrier) {
        self.carrier = carrier
        remote = channel.remoteAddress
        isConfirmed = carrier.way == .frames
        handshakeTimer = after(endpoint.timing.handshakeMs) { $0.handshakeTimedOut() }
        target.reached(.secured)
    }

    // MARK: What the carrier reports

    func ponged(_ number: UInt64) {
        if number == pings {
            pingDeadline?.cancel()
            pingDeadline = nil
        }
        // The first ping left behind the proof.
        confirm()
    }

    func peerRefusesStreams() {
        isGoingAway = true
        if let link { endpoint.unlist(link) }
    }

    /// There is no way on with this connection.
    func broken(_ failure: LinkFailure) { close(failure, sayGoodbye: false) }

    /// The connection is gone.
    func ended() {
        finish(reason ?? (link == nil ? .closed : .linkLost))
        carrier = nil
        stream = nil
    }

    /// `body` on this connection after `milliseconds`, unless it is gone by then.
    private func after(_ milliseconds: Int64, _ body: @escaping @Sendable (LinkConnection) -> Void) -> Scheduled<Void> {
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        return eventLoop.scheduleTask(in: .milliseconds(milliseconds)) { body(bound.value) }
    }
}

// The link stream.
extension LinkConnection {
    func streamOpened(_ stream: LinkStream) {
        self.stream = stream
        for action in handshake.opened(now: endpoint.now()) { perform(action) }
    }

    /// Whether an arriving request for the link stream may become it: the first one, on an accepted connection.
    var mayOpenLinkStream: Bool { !dialled && stream == nil && reason == nil }

    /// False: no further frame may be read for now.
    func streamRead(_ frame: Aisbf_Mesh_V1_LinkFrame) -> Bool {
        guard reason == nil else { return true }
        if case .goodbye(let goodbye)? = frame.kind {
            isRefusedByPeer = true
            if link != nil { close(LinkFailure(goodbye: goodbye.code), sayGoodbye: false) }
        }
        guard let link else {
            for action in handshake.handle(frame, now: endpoint.now()) { perform(action) }
            return true
        }
        guard reason == nil else { return true }
        let (ticket, isFull) = link.charge(frame.heldBytes)
        endpoint.delegate.linkFrame(link, frame, ticket)
        return !isFull
    }

    func readOn() { if reason == nil { stream?.readOn() } }

    /// Before the link is up its stream is the only one that a peer has any business opening.
    func strangerStreamOpened() { close(.malformed, sayGoodbye: false) }

    func streamBroken() { close(.malformed, sayGoodbye: true) }

    /// The peer ended or reset the link stream.
    func streamClosed() { close(link == nil ? .closed : .linkLost, sayGoodbye: false) }

    func drainOutbox() {
        guard let link, let stream, reason == nil else { return }
        while stream.isWritable, let bytes = link.nextFrame() { stream.write(bytes) }
    }

    private func perform(_ action: LinkHandshake.Action) {
        switch action {
        case .send(let frame): stream?.write(frame)
        case .knocked(let knock): self.knock = knock
        case .failed(let failure): closeAfterGoodbye(failure)
        case .established(let peer, let descriptor, let offset):
            guard endpoint.hasRoom(for: target) else { return close(.tooManyLinks, sayGoodbye: true) }
            handshakeTimer?.cancel()
            let link = Link(id: endpoint.nextLinkID(), peer: peer, connection: self)
            self.link = link
            endpoint.list(link, target, remote: remote)
            ping()
            endpoint.delegate.linkEstablished(link, descriptor: descriptor, clockOffsetMs: offset)
        }
    }

    private func handshakeTimedOut() {
        for action in handshake.timedOut() { perform(action) }
    }
}

// Pings and the end.
extension LinkConnection {
    private func schedulePing() {
        pingTimer = after(endpoint.timing.pingIntervalMs) { $0.ping() }
    }

    private func ping() {
        guard reason == nil else { return }
        if pingDeadline == nil {
            pings += 1
            carrier?.ping(pings)
            pingDeadline = after(endpoint.timing.pingTimeoutMs) { $0.close(.pingTimeout, sayGoodbye: false) }
        }
        schedulePing()
    }

    /// Ends the link for `failure`. With `sayGoodbye` the peer is told why and given a moment to read it: closing at
    /// once could reset the socket under the unread frame.
    func close(_ failure: LinkFailure, sayGoodbye: Bool) {
        guard reason == nil else { return }
        if sayGoodbye, let stream {
            stream.write(.goodbye(failure))
            return closeAfterGoodbye(failure)
        }
        reason = failure
        if let link { endpoint.unlist(link) }
        carrier?.close()
    }

    private func closeAfterGoodbye(_ failure: LinkFailure) {
        guard reason == nil else { return }
        reason = failure
        if let link { endpoint.unlist(link) }
        _ = after(Limits.linkGoodbyeMs) { $0.carrier?.close() }
    }

    private func finish(_ failure: LinkFailure) {
        guard !hasReported else { return }
        hasReported = true
        reason = failure
        handshakeTimer?.cancel()
        pingTimer?.cancel()
        pingDeadline?.cancel()
        confirm()
        guard let link else {
            return endpoint.attemptFailed(target, failure, byPeer: isRefusedByPeer, knock: knock)
        }
        link.closeOutbox()
        endpoint.closed(link)
        endpoint.delegate.linkClosed(link, reason: failure)
    }

    /// No new streams; the connection closes when the open ones are done.
    func drain() {
        guard reason == nil, !isDraining else { return }
        isDraining = true
        if let link { endpoint.unlist(link) }
        carrier?.refuseStreams()
        closeWhenDrained()
    }

    private func confirm() {
        isConfirmed = true
        let waiting = unopened
        unopened = []
        for open in waiting { open() }
        closeWhenDrained()
    }

    private func closeWhenDrained() {
        if isDraining, openStreams == 0, unopened.isEmpty { close(.draining, sayGoodbye: true) }
    }
}

// Forwards.
extension LinkConnection {
    func forwardOpened() { openStreams += 1 }

    func forwardClosed() {
        openStreams -= 1
        closeWhenDrained()
    }

    func openForward(
        _ call: ForwardCall, path: String, headers: [HeaderField], body: ByteBuffer,
        hasUpload: Bool, receiver: any ForwardReceiver
    ) {
        guard let carrier, let link, link.opensForwards, reason == nil else {
            return receiver.forwardEnded(.notEstablished, trailers: [])
        }
        guard !isGoingAway, !isDraining else { return receiver.forwardEnded(.goaway, trailers: []) }
        // One stream is the link's; what is more than the peer's bound would only be refused over there.
        guard openStreams + unopened.count < Limits.linkStreams - 1 else {
            return receiver.forwardEnded(.refusedStream, trailers: [])
        }
        guard isConfirmed else {
            unopened.append { [unowned self] in
                openForward(call, path: path, headers: headers, body: body, hasUpload: hasUpload, receiver: receiver)
            }
            return
        }
        openStreams += 1
        carrier.open(
            ForwardStream(
                connection: self, call: call, receiver: receiver, head: StreamFields(path: path, headers), body: body,
                hasUpload: hasUpload))
    }
}
