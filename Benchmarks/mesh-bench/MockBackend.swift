import MeshWire
import NIOCore
import NIOPosix

/// The HTTP server behind nginx: the same answers and pace as the mock worker, at once.
final class MockBackend: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private var buffer = ByteBuffer()
    private var stream: (pace: Pace, sent: Int, next: NIODeadline)?

    static func start(_ group: any EventLoopGroup) async throws -> any Channel {
        try await ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 2_048)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.socketOption(.tcp_nodelay), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(MockBackend()) }
            }
            .bind(host: "127.0.0.1", port: 0).get()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = unwrapInboundIn(data)
        if buffer.readableBytes == 0 { buffer = bytes } else { buffer.writeImmutableBuffer(bytes) }
        while let body = nextBody() { answer(context, body) }
        if buffer.readableBytes == 0 { buffer.clear() }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    private func nextBody() -> ByteBuffer? {
        guard let length = ResponseParser.headLength(buffer),
            let head = buffer.getString(at: buffer.readerIndex, length: length)
        else { return nil }
        let bodyLength = ResponseParser.contentLength(head.lowercased())
        guard buffer.readableBytes >= length + bodyLength else { return nil }
        buffer.moveReaderIndex(forwardBy: length)
        return buffer.readSlice(length: bodyLength)
    }

    private static let wholeAnswer = ByteBuffer(
        bytes: Array(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: \(Answers.whole.count)\r\n\r\n".utf8)
            + Answers.whole)
    private static let streamHead = ByteBuffer(
        string: "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    private static let eventBytes =
        Answers.eventFront.utf8.count + 1 + Stamp.digits + Answers.eventBack.utf8.count
    private static let eventFront = ByteBuffer(string: String(eventBytes, radix: 16) + "\r\n" + Answers.eventFront)
    private static let eventBack = ByteBuffer(string: Answers.eventBack + "\r\n")
    private static let streamEnd = ByteBuffer(
        string: String(Answers.done.utf8.count, radix: 16) + "\r\n" + Answers.done + "\r\n0\r\n\r\n")

    private func answer(_ context: ChannelHandlerContext, _ body: ByteBuffer) {
        let pace: Pace? = body.withUnsafeReadableBytes { raw in
            guard let fields = try? JSONScanner.fields(of: raw) else { return nil }
            return Pace.asked(fields, raw)
        }
        guard let pace else {
            context.writeAndFlush(wrapOutboundOut(Self.wholeAnswer), promise: nil)
            return
        }
        context.write(wrapOutboundOut(Self.streamHead), promise: nil)
        stream = (pace, 0, .now())
        sendChunk(context)
    }

    private func sendChunk(_ context: ChannelHandlerContext) {
        guard var current = stream, context.channel.isActive else { return }
        guard current.sent < current.pace.chunks else {
            stream = nil
            context.writeAndFlush(wrapOutboundOut(Self.streamEnd), promise: nil)
            return
        }
        var out = context.channel.allocator.buffer(capacity: Self.eventBytes + 16)
        out.writeImmutableBuffer(Self.eventFront)
        Stamp.append(Stamp.now, to: &out)
        out.writeImmutableBuffer(Self.eventBack)
        context.writeAndFlush(wrapOutboundOut(out), promise: nil)
        current.sent += 1
        current.next = current.next + .microseconds(Int64(current.pace.microseconds))
        stream = current
        context.eventLoop.assumeIsolated().scheduleTask(deadline: current.next) { self.sendChunk(context) }
    }
}
