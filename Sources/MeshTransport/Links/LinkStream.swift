internal import MeshWire
internal import NIOCore
internal import NIOHPACK
internal import NIOHTTP2

/// The stream `POST /mesh/v1/link`: length-prefixed frames both ways, for as long as the link lives.
final class LinkStream: ChannelInboundHandler {
    typealias InboundIn = HTTP2Frame.FramePayload
    typealias OutboundOut = HTTP2Frame.FramePayload

    private let connection: LinkConnection
    private let isClient: Bool
    private var decoder = LinkFrameCodec.Decoder()
    private var context: ChannelHandlerContext?
    private var isOver = false
    private var isPaused = false

    init(connection: LinkConnection, isClient: Bool) {
        self.connection = connection
        self.isClient = isClient
    }

    var isWritable: Bool { context?.channel.isWritable ?? false }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        // The accepted side is added when the request head was read: the stream is open.
        if !isClient { open(context, [(":status", "200")]) }
    }

    func channelActive(context: ChannelHandlerContext) {
        if isClient {
            open(
                context,
                [(":method", "POST"), (":scheme", "https"), (":path", LinkConnection.linkPath), (":authority", "mesh")])
        }
    }

    private func open(_ context: ChannelHandlerContext, _ fields: [(String, String)]) {
        context.write(wrapOutboundOut(.headers(.init(headers: HPACKHeaders(fields)))), promise: nil)
        connection.streamOpened(self)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .data(let payload):
            guard case .byteBuffer(let buffer) = payload.data else { return }
            read(buffer)
            if payload.endStream { over() }
        case .headers(let payload):
            if isClient, let status = payload.headers.first(name: ":status"), status != "200" { over() }
            if payload.endStream { over() }
        case .rstStream, .priority, .settings, .pushPromise, .ping, .goAway, .windowUpdate, .alternativeService,
            .origin:
            break
        }
    }

    private func read(_ buffer: ByteBuffer) {
        decoder.append(buffer.readableBytesView)
        readFrames()
    }

    /// After a pause: first what came before it.
    func readOn() {
        guard isPaused, let context else { return }
        isPaused = false
        readFrames()
        guard !isPaused else { return }
        // The option is one every stream channel has.
        try? context.channel.syncOptions?.setOption(.autoRead, value: true)
        context.read()
    }

    private func readFrames() {
        do {
            while !isPaused, let frame = try decoder.next() {
                guard !connection.streamRead(frame) else { continue }
                isPaused = true
                try? context?.channel.syncOptions?.setOption(.autoRead, value: false)
            }
        } catch {
            connection.streamBroken()
        }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable { connection.drainOutbox() }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { over() }

    func channelInactive(context: ChannelHandlerContext) { over() }

    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    private func over() {
        guard !isOver else { return }
        isOver = true
        connection.streamClosed()
    }

    /// A frame of the handshake or the last one, past the outbox.
    func write(_ frame: Aisbf_Mesh_V1_LinkFrame) {
        guard let bytes = LinkFrameCodec.bytes(of: frame) else { return }
        write(bytes)
        flush()
    }

    func write(_ bytes: [UInt8]) {
        guard let context else { return }
        let buffer = context.channel.allocator.buffer(bytes: bytes)
        context.write(wrapOutboundOut(.data(.init(data: .byteBuffer(buffer)))), promise: nil)
    }

    func flush() { context?.flush() }
}
