import NIOCore
import NIOPosix

/// An HTTP/1.1 backend that answers at once, or streams paced events: the reference path and nginx's upstream.
final class MockBackend: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private static let plain = ByteBuffer(
        bytes: Array(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: \(Payloads.answer.count)\r\n\r\n".utf8
        )
            + Payloads.answer)
    private let pacer: Pacer
    private let chunks: Int
    private var pending = ByteBuffer()

    init(pacer: Pacer, chunks: Int) {
        self.pacer = pacer
        self.chunks = chunks
    }

    static func listen(on loop: any EventLoop, pacer: NIOLoopBound<Pacer>, chunks: Int) async throws -> any Channel {
        try await ServerBootstrap(group: loop)
            .serverChannelOption(.backlog, value: 2_048)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(MockBackend(pacer: pacer.value, chunks: chunks))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        pending.writeBuffer(&bytes)
        while let streams = takeRequest() {
            if streams {
                stream(context)
            } else {
                context.write(wrapOutboundOut(Self.plain), promise: nil)
            }
        }
        if pending.readableBytes == 0 { pending.clear() }
        context.flush()
    }

    /// Removes one complete request; says whether it wants a stream.
    private func takeRequest() -> Bool? {
        let request: (length: Int, streams: Bool)? = pending.withUnsafeReadableBytes { bytes in
            guard let end = bytes.offset(of: Payloads.headEnd) else { return nil }
            let length = end + 4 + (bytes.headerNumber("content-length: ", end: end) ?? 0)
            guard bytes.count >= length else { return nil }
            return (length, bytes.offset(of: Payloads.streamMarker, from: end).map { $0 < length } ?? false)
        }
        guard let request else { return nil }
        pending.moveReaderIndex(forwardBy: request.length)
        return request.streams
    }

    private func stream(_ context: ChannelHandlerContext) {
        context.write(
            wrapOutboundOut(
                ByteBuffer(
                    string: "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")),
            promise: nil)
        let channel = context.channel
        let stream = PacedStream(chunks: chunks) {
            let event = Payloads.eventHead + String(Clock.now()) + Payloads.eventTail
            channel.writeAndFlush(
                ByteBuffer(string: String(event.utf8.count, radix: 16) + "\r\n" + event + "\r\n"), promise: nil)
        } finish: {
            let end = "data: [DONE]\n\n"
            channel.writeAndFlush(
                ByteBuffer(string: String(end.utf8.count, radix: 16) + "\r\n" + end + "\r\n0\r\n\r\n"), promise: nil)
        }
        pacer.add(stream)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
