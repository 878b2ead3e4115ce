internal import MeshCrypto
internal import MeshGossip
internal import MeshModel
internal import MeshWire
internal import NIOCore
internal import NIOHPACK
internal import NIOHTTP2

/// One TLS + HTTP/2 connection of a link, behind `NIOHTTP2Handler` on its event loop: handshake, pings, the link
/// stream's frames, and the forwards opened here. Closes with one reason and reports it once.
final class LinkConnection: ChannelInboundHandler {
    typealias InboundIn = HTTP2Frame
    typealias OutboundOut = HTTP2Frame

    static let linkPath = "/mesh/v1/link"

    let endpoint: LinkEndpoint
    let target: LinkTarget
    private(set) var link: Link?
    /// No new forwards: the peer sent GOAWAY.
    private(set) var isGoingAway = false
    private var handshake: LinkHandshake
    private var multiplexer: NIOHTTP2Handler.StreamMultiplexer?
    private var stream: LinkStream?
    private var context: ChannelHandlerContext?
    private var reason: LinkFailure?
    private var hasReported = false
    private var isDraining = false
    private var handshakeTimer: Scheduled<Void>?
    private var pingTimer: Scheduled<Void>?
    private var pingDeadline: Scheduled<Void>?
    private var pings: UInt64 = 0
    private var openStreams = 0
    /// The peer has read this side's proof. Streams are read in any order: a forward that came together with the proof
    /// could be met before it, as a stranger's.
    private var isConfirmed = false
    /// Forwards that wait for it.
    private var unopened: [() -> Void] = []
    /// The peer gave the reason.
    private var isRefusedByPeer = false
    /// Who it is that was not admitted.
    private var knock: LinkKnock?

    var dialled: Bool { target.dialled }
    var dialledAddress: String? { target.dialled ? target.address : nil }

    init(endpoint: LinkEndpoint, target: LinkTarget, peerSPKI: [UInt8]) {
        self.endpoint = endpoint
        self.target = target
        handshake = LinkHandshake(
            configuration: endpoint.handshakeConfiguration(), isInitiator: target.dialled,
            nonce: Sodium.shared.randomBytes(LinkHandshake.nonceBytes), localSPKI: endpoint.spkiHash,
            peerSPKI: peerSPKI, expected: target.expected)
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        handshakeTimer = after(endpoint.timing.handshakeMs) { $0.handshakeTimedOut() }
        target.reached(.secured)
    }

    /// With the HTTP/2 handler in place: the dialler opens the link stream.
    func start(multiplexer: NIOHTTP2Handler.StreamMultiplexer) {
        self.multiplexer = multiplexer
        guard dialled, let loop = context?.eventLoop else { return }
        let bound = NIOLoopBound(self, eventLoop: loop)
        multiplexer.createStreamChannel(promise: nil) { channel in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHandler(LinkStream(connection: bound.value, isClient: true))
            }
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data).payload {
        case .ping(let data, true):
            if data.integer == pings {
                pingDeadline?.cancel()
                pingDeadline = nil
            }
            // The first ping left behind the proof.
            confirm()
        case .goAway:
            isGoingAway = true
            if let link { endpoint.unlist(link) }
        case .data, .headers, .ping, .priority, .rstStream, .settings, .pushPromise, .windowUpdate, .alternativeService,
            .origin:
            break
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if let error = error as? NIOHTTP2Errors.StreamError, error.streamID != .rootStream { return }
        if error is NIOHTTP2Errors.NoSuchStream || error is NIOHTTP2Errors.StreamClosed { return }
        if error is NIOHTTP2Errors.ExcessiveControlFrames || error is NIOHTTP2Errors.ExcessiveRSTFrames
            || error is NIOHTTP2Errors.ExcessiveEmptyDataFrames || error is NIOHTTP2Errors.ExcessiveNumberOfGlitches
        {
            return close(.flooding, sayGoodbye: false)
        }
        close(link == nil ? .malformed : .linkLost, sayGoodbye: false)
    }

    func channelInactive(context: ChannelHandlerContext) {
        finish(reason ?? (link == nil ? .closed : .linkLost))
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        finish(reason ?? .linkLost)
        self.context = nil
        multiplexer = nil
    }

    /// `body` on this connection after `milliseconds`, unless it is gone by then.
    private func after(_ milliseconds: Int64, _ body: @escaping @Sendable (LinkConnection) -> Void) -> Scheduled<Void>?
    {
        guard let loop = context?.eventLoop else { return nil }
        let bound = NIOLoopBound(self, eventLoop: loop)
        return loop.scheduleTask(in: .milliseconds(milliseconds)) { body(bound.value) }
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
        var wrote = false
        while stream.isWritable, let bytes = link.nextFrame() {
            stream.write(bytes)
            wrote = true
        }
        if wrote { stream.flush() }
    }

    private func perform(_ action: LinkHandshake.Action) {
        switch action {
        case .send(let frame): stream?.write(frame)
        case .knocked(let knock): self.knock = knock
        case .failed(let failure): closeAfterGoodbye(failure)
        case .established(let peer, let descriptor, let offset):
            guard let context else { return }
            guard endpoint.hasRoom(for: target) else { return close(.tooManyLinks, sayGoodbye: true) }
            handshakeTimer?.cancel()
            let link = Link(
                id: endpoint.nextLinkID(), peer: peer, connection: self, eventLoop: context.eventLoop)
            self.link = link
            endpoint.list(link, target, remote: context.remoteAddress)
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
        guard reason == nil, let context else { return }
        if pingDeadline == nil {
            pings += 1
            let frame = HTTP2Frame(
                streamID: .rootStream, payload: .ping(HTTP2PingData(withInteger: pings), ack: false))
            context.writeAndFlush(wrapOutboundOut(frame), promise: nil)
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
        context?.close(promise: nil)
    }

    private func closeAfterGoodbye(_ failure: LinkFailure) {
        guard reason == nil else { return }
        reason = failure
        if let link { endpoint.unlist(link) }
        _ = after(Limits.linkGoodbyeMs) { $0.context?.close(promise: nil) }
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

    /// GOAWAY: no new streams; the connection closes when the open ones are done.
    func drain() {
        guard reason == nil, !isDraining, let context else { return }
        isDraining = true
        if let link { endpoint.unlist(link) }
        let frame = HTTP2Frame(
            streamID: .rootStream, payload: .goAway(lastStreamID: .maxID, errorCode: .noError, opaqueData: nil))
        context.writeAndFlush(wrapOutboundOut(frame), promise: nil)
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
        _ call: ForwardCall, path: String, headers: [(name: String, value: String)], body: ByteBuffer,
        hasUpload: Bool, receiver: any ForwardReceiver
    ) {
        guard let multiplexer, let context, dialled, link != nil, reason == nil else {
            return receiver.forwardEnded(.notEstablished, trailers: [])
        }
        guard !isGoingAway, !isDraining else { return receiver.forwardEnded(.goaway, trailers: []) }
        // One stream is the link's; beyond the peer's bound SwiftNIO would queue without end.
        guard openStreams + unopened.count < Limits.linkStreams - 1 else {
            return receiver.forwardEnded(.refusedStream, trailers: [])
        }
        guard isConfirmed else {
            unopened.append { [unowned self] in
                openForward(call, path: path, headers: headers, body: body, hasUpload: hasUpload, receiver: receiver)
            }
            return
        }
        var fields = HPACKHeaders([
            (":method", "POST"), (":scheme", "https"), (":path", path), (":authority", "mesh"),
        ])
        for header in headers { fields.add(name: header.name, value: header.value, indexing: .nonIndexable) }
        openStreams += 1
        let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
        let head = fields
        let opened = context.eventLoop.makePromise(of: (any Channel).self)
        opened.futureResult.whenFailure { _ in call.failToOpen(receiver, connection: bound) }
        multiplexer.createStreamChannel(promise: opened) { channel in
            channel.eventLoop.makeCompletedFuture {
                let stream = ForwardStream(
                    connection: bound.value, call: call, receiver: receiver, headers: head, body: body,
                    hasUpload: hasUpload)
                try channel.pipeline.syncOperations.addHandler(stream)
            }
        }
    }
}
