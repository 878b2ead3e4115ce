internal import MeshGossip
internal import MeshModel
internal import MeshWire
internal import NIOCore
internal import NIOHTTP2
internal import NIOTLS
internal import Synchronization

/// What one connection is for, and whether its outcome was told already.
final class LinkTarget: Sendable {
    let dialled: Bool
    /// As it was dialled, or the remote address of an accepted connection.
    let address: String
    let expected: PublicKey?
    /// The place among connections that are no link yet; a dial has none.
    private let place = Mutex<HandshakePlace?>(nil)
    private let concluded = Mutex(false)

    init(dialled: Bool, address: String, expected: PublicKey?) {
        self.dialled = dialled
        self.address = address
        self.expected = expected
    }

    func take(_ place: HandshakePlace) { self.place.withLock { $0 = place } }

    func reached(_ stage: HandshakePlaces.Stage) { place.withLock { $0 }?.reached(stage) }

    /// The connection is a link, or gone.
    func leavePlace() { place.withLock { $0 }?.release() }

    /// True once: connect, TLS and handshake can each be the one that ends the attempt.
    func conclude() -> Bool {
        concluded.withLock { concluded in
            defer { concluded = true }
            return !concluded
        }
    }
}

/// Waits for TLS, then puts what the two have agreed to speak, and the link's connection, in its own place. Until then every failure is its.
final class LinkGate: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer

    private let endpoint: LinkEndpoint
    private let target: LinkTarget
    private let certificate: PeerCertificate
    private var timer: Scheduled<Void>?
    private var isOver = false

    init(endpoint: LinkEndpoint, target: LinkTarget, certificate: PeerCertificate) {
        self.endpoint = endpoint
        self.target = target
        self.certificate = certificate
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        timer = context.eventLoop.scheduleTask(in: .milliseconds(endpoint.timing.tlsMs)) {
            bound.value.0.fail(.timeout, bound.value.1)
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard case .handshakeCompleted(let negotiated)? = event as? TLSUserEvent else {
            return context.fireUserInboundEventTriggered(event)
        }
        guard let chosen = negotiated.flatMap(LinkProtocol.init(rawValue:)), let spki = certificate.spkiHash else {
            return fail(.tls, context)
        }
        let connection = LinkConnection(
            endpoint: endpoint, target: target, peerSPKI: spki, eventLoop: context.eventLoop)
        do {
            over()
            switch chosen {
            case .frames:
                try context.pipeline.syncOperations.addHandler(
                    FrameCarrier(connection: connection), position: .after(self))
            case .http2: try addHTTP2(connection, context)
            }
            context.pipeline.syncOperations.removeHandler(self, promise: nil)
        } catch {
            isOver = false
            fail(.tls, context)
        }
    }

    private func addHTTP2(_ connection: LinkConnection, _ context: ChannelHandlerContext) throws {
        let bound = NIOLoopBound(connection, eventLoop: context.eventLoop)
        let http = NIOHTTP2Handler(
            mode: target.dialled ? .client : .server, eventLoop: context.eventLoop,
            connectionConfiguration: LinkSettings.connection, streamConfiguration: LinkSettings.stream
        ) { channel in
            channel.eventLoop.makeCompletedFuture {
                let stream = HTTP2Stream(RequestStream(connection: bound.value), role: .answerer)
                try channel.pipeline.syncOperations.addHandler(stream)
            }
        }
        let carrier = HTTP2Carrier(connection: connection)
        let pipeline = context.pipeline.syncOperations
        let coalescer = FlushCoalescer()
        try pipeline.addHandler(coalescer, position: .after(self))
        let splitter = ReadSplitter()
        try pipeline.addHandler(splitter, position: .after(coalescer))
        try pipeline.addHandler(http, position: .after(splitter))
        try pipeline.addHandler(carrier, position: .after(http))
        try carrier.start(multiplexer: http.syncMultiplexer())
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { fail(.tls, context) }

    func channelInactive(context: ChannelHandlerContext) {
        fail(.tls, context)
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) { over() }

    private func over() {
        isOver = true
        timer?.cancel()
    }

    private func fail(_ failure: LinkFailure, _ context: ChannelHandlerContext) {
        guard !isOver else { return }
        over()
        endpoint.attemptFailed(target, failure)
        context.close(promise: nil)
    }
}
