import NIOCore
import NIOPosix

/// Where load goes: the bytes of one request and what a good answer holds.
struct LoadTarget: Sendable {
    var port: Int
    var request: ByteBuffer
    /// Chunks of one stream; nil for a plain answer.
    var chunks: Int?
}

/// One keep-alive connection that sends its next request when the answer to the last one is complete.
final class LoadConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let target: LoadTarget
    private let recorder: Recorder
    private let repeats: Bool
    private var reader = ResponseReader()
    private var events = ByteBuffer()
    private var sentAt: UInt64 = 0
    private var received = 0
    private var waits = false

    init(target: LoadTarget, recorder: Recorder, repeats: Bool) {
        self.target = target
        self.recorder = recorder
        self.repeats = repeats
    }

    func channelActive(context: ChannelHandlerContext) { send(context) }

    func channelInactive(context: ChannelHandlerContext) {
        if waits, !recorder.stopped { recorder.failed("connection closed in the middle of an answer") }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    private func send(_ context: ChannelHandlerContext) {
        guard !recorder.stopped else {
            context.close(promise: nil)
            return
        }
        received = 0
        events.clear()
        waits = true
        sentAt = Clock.now()
        context.writeAndFlush(wrapOutboundOut(target.request), promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        reader.feed(&bytes)
        while true {
            switch reader.next() {
            case .needsMore: return
            case .body(var part):
                if target.chunks != nil {
                    events.writeBuffer(&part)
                    readEvents()
                }
            case .end(let status):
                waits = false
                finished(status)
                if status == 200, repeats { send(context) } else { context.close(promise: nil) }
            case .failed(let reason):
                recorder.failed(reason)
                waits = false
                context.close(promise: nil)
                return
            }
        }
    }

    private func finished(_ status: Int) {
        guard status == 200 else {
            recorder.failed("status \(status)")
            return
        }
        recorder.completed(after: Clock.now() - sentAt)
        if let chunks = target.chunks { recorder.streamEnded(lost: chunks - received) }
    }

    private func readEvents() {
        let now = Clock.now()
        while let end = events.withUnsafeReadableBytes({ $0.offset(of: [10, 10]) }) {
            let sent: UInt64? = events.withUnsafeReadableBytes { bytes in
                guard let marker = bytes.offset(of: Payloads.contentMarker), marker < end else { return nil }
                return bytes.number(at: marker + Payloads.contentMarker.count)
            }
            events.moveReaderIndex(forwardBy: end + 2)
            guard let sent, sent > 0 else { continue }
            received += 1
            if received == 1 { recorder.firstChunk(after: now - sentAt) }
            recorder.chunk(sentAt: sent, now: now)
        }
        if events.readableBytes == 0 { events.clear() }
    }
}

enum LoadGenerator {
    /// Opens `connections` connections, evenly over `spread` milliseconds.
    static func open(
        _ connections: Int, to target: LoadTarget, recorder: Recorder, on loop: any EventLoop, spread: Int = 0,
        repeats: Bool = true
    ) async throws -> [any Channel] {
        let bootstrap = ClientBootstrap(group: loop)
            .connectTimeout(.seconds(10))
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        LoadConnection(target: target, recorder: recorder, repeats: repeats))
                }
            }
        let start = Clock.now()
        var channels: [any Channel] = []
        for index in 0..<connections {
            let due = start + UInt64(spread) * 1_000_000 * UInt64(index) / UInt64(connections)
            let now = Clock.now()
            if due > now { try await Task.sleep(for: .nanoseconds(due - now)) }
            channels.append(try await bootstrap.connect(host: "127.0.0.1", port: target.port).get())
        }
        return channels
    }

    static func close(_ channels: [any Channel], recorder: Recorder) async {
        recorder.stop()
        for channel in channels { try? await channel.close().get() }
    }
}
