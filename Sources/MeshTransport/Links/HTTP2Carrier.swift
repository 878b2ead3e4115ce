internal import MeshGossip
internal import MeshModel
internal import MeshWire
internal import NIOCore
internal import NIOHPACK
internal import NIOHTTP2

/// A link's streams as those of one HTTP/2 connection, behind `NIOHTTP2Handler` on its event loop: for peers that speak no
/// `aisbf-link/2`.
final class HTTP2Carrier: ChannelInboundHandler, LinkCarrier {
    typealias InboundIn = HTTP2Frame
    typealias OutboundOut = HTTP2Frame

    let way = LinkProtocol.http2
    private let connection: LinkConnection
    private var multiplexer: NIOHTTP2Handler.StreamMultiplexer?
    private var context: ChannelHandlerContext?

    init(connection: LinkConnection) { self.connection = connection }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        connection.begin(on: context.channel, self)
    }

    func start(multiplexer: NIOHTTP2Handler.StreamMultiplexer) {
        self.multiplexer = multiplexer
        // The dialler's link stream; whoever accepted gets it opened.
        if connection.dialled { open(LinkStream(connection: connection, path: LinkConnection.linkPath)) }
    }

    func open(_ reader: any StreamReader) {
        guard let context, let multiplexer else { return reader.closed(.linkLost) }
        let bound = NIOLoopBound(reader, eventLoop: context.eventLoop)
        let opened = context.eventLoop.makePromise(of: (any Channel).self)
        opened.futureResult.whenFailure { _ in bound.value.closed(.linkLost) }
        multiplexer.createStreamChannel(promise: opened) { channel in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHandler(HTTP2Stream(bound.value, role: .opener))
            }
        }
    }

    /// Behind what streams have written in this turn: its answer tells that the peer has read that.
    func ping(_ number: UInt64) {
        guard let eventLoop = context?.eventLoop else { return }
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        eventLoop.execute {
            let data = HTTP2PingData(withInteger: number)
            bound.value.send(HTTP2Frame(streamID: .rootStream, payload: .ping(data, ack: false)))
        }
    }

    func refuseStreams() {
        send(
            HTTP2Frame(
                streamID: .rootStream, payload: .goAway(lastStreamID: .maxID, errorCode: .noError, opaqueData: nil)))
    }

    private func send(_ frame: HTTP2Frame) { context?.writeAndFlush(wrapOutboundOut(frame), promise: nil) }

    func close() { context?.close(promise: nil) }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data).payload {
        case .ping(let data, true): connection.ponged(data.integer)
        case .goAway: connection.peerRefusesStreams()
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
            return connection.broken(.flooding)
        }
        connection.broken(connection.link == nil ? .malformed : .linkLost)
    }

    func channelInactive(context: ChannelHandlerContext) {
        connection.ended()
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        connection.ended()
        self.context = nil
        multiplexer = nil
    }
}

/// One stream of an HTTP/2 connection as streams of links are.
final class HTTP2Stream: ChannelInboundHandler, StreamPort {
    typealias InboundIn = HTTP2Frame.FramePayload
    typealias OutboundOut = HTTP2Frame.FramePayload

    private var reader: (any StreamReader)?
    private let role: StreamLedger.Role
    private var context: ChannelHandlerContext?
    private var failure: ForwardFailure?
    /// The peer has said everything.
    private var isRead = false
    private var isFlushDue = false

    init(_ reader: any StreamReader, role: StreamLedger.Role) {
        self.reader = reader
        self.role = role
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        if role == .answerer { reader?.opened(self) }
    }

    func channelActive(context: ChannelHandlerContext) {
        if role == .opener { reader?.opened(self) }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .headers(let payload):
            guard let fields = Self.fields(payload.headers) else {
                failure = .malformed
                return context.close(promise: nil)
            }
            if payload.endStream { isRead = true }
            reader?.read(fields, isLast: payload.endStream)
        case .data(let payload):
            guard case .byteBuffer(let bytes) = payload.data, bytes.readableBytes > 0 || payload.endStream else {
                return
            }
            if payload.endStream { isRead = true }
            reader?.read(bytes, isLast: payload.endStream)
        case .rstStream, .priority, .settings, .pushPromise, .ping, .goAway, .windowUpdate, .alternativeService,
            .origin:
            break
        }
    }

    private static func fields(_ headers: HPACKHeaders) -> StreamFields? {
        var fields = StreamFields()
        var isPost = true
        for header in headers {
            switch header.name {
            case ":status":
                guard let status = Int(header.value) else { return nil }
                fields.status = status
            case ":path": fields.path = header.value
            case ":method": isPost = header.value == "POST"
            default: if !header.name.hasPrefix(":") { fields.fields.append(HeaderField(header.name, header.value)) }
            }
        }
        // Nothing on a link is asked for otherwise: such a request is for nobody.
        if !isPost { fields.path = "" }
        return fields
    }

    private static func headers(_ fields: StreamFields) -> HPACKHeaders {
        var headers = HPACKHeaders()
        if !fields.path.isEmpty {
            headers = [":method": "POST", ":scheme": "https", ":path": fields.path, ":authority": "mesh"]
        } else if fields.status > 0 {
            headers = [":status": String(fields.status)]
        }
        for field in fields.fields { headers.add(name: field.name, value: field.value, indexing: .nonIndexable) }
        return headers
    }

    var isWritable: Bool { context?.channel.isWritable ?? false }

    func write(_ fields: StreamFields, isLast: Bool) {
        write(.headers(.init(headers: Self.headers(fields), endStream: isLast)), isLast: isLast, sent: nil)
    }

    func write(_ bytes: ByteBuffer, isLast: Bool, sent: (@Sendable () -> Void)?) {
        write(.data(.init(data: .byteBuffer(bytes), endStream: isLast)), isLast: isLast, sent: sent)
    }

    private func write(_ payload: HTTP2Frame.FramePayload, isLast: Bool, sent: (@Sendable () -> Void)?) {
        guard let context else { return }
        var promise: EventLoopPromise<Void>?
        if let sent {
            promise = context.eventLoop.makePromise()
            promise?.futureResult.whenSuccess(sent)
        }
        if role == .answerer, isLast, !isRead {
            // An answer before the end of the request: the rest of the request is not wanted. The stream closes when the
            // answer has left, for closing drops what the peer's window still holds back.
            let left = promise ?? context.eventLoop.makePromise()
            let channel = context.channel
            left.futureResult.whenComplete { _ in channel.close(promise: nil) }
            promise = left
        }
        context.write(wrapOutboundOut(payload), promise: promise)
        scheduleFlush(context)
    }

    /// One flush per turn of the event loop, however many writes it held.
    private func scheduleFlush(_ context: ChannelHandlerContext) {
        guard !isFlushDue else { return }
        isFlushDue = true
        let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
        context.eventLoop.execute {
            bound.value.isFlushDue = false
            bound.value.context?.flush()
        }
    }

    func setReading(_ isReading: Bool) {
        guard let context else { return }
        // The option is one every stream channel has; it cannot be refused.
        try? context.channel.syncOptions?.setOption(.autoRead, value: isReading)
        if isReading { context.read() }
    }

    func close() { context?.close(promise: nil) }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        reader?.writabilityChanged(context.channel.isWritable)
        context.fireChannelWritabilityChanged()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if failure == nil { failure = ForwardFailure(error) }
    }

    func channelInactive(context: ChannelHandlerContext) {
        closed()
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        closed()
        self.context = nil
    }

    private func closed() {
        let reader = reader
        self.reader = nil
        // A request is out: whether the peer has begun it, nobody knows.
        reader?.closed(failure ?? .linkLost)
    }
}

extension ForwardFailure {
    /// What an error on a stream channel means for its forward.
    init(_ error: any Error) {
        switch error {
        case let error as NIOHTTP2Errors.StreamClosed:
            self =
                error.errorCode == .refusedStream
                ? .refusedStream : .reset(UInt32(clamping: error.errorCode.networkCode))
        case is NIOHTTP2Errors.CreatedStreamAfterGoaway: self = .goaway
        default: self = .linkLost
        }
    }
}
