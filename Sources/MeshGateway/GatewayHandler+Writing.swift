import MeshExchange
import MeshModel
import MeshTransport
import NIOCore
import NIOHTTP1

/// The bytes of answers: past the pipeline where there is a way, else through it.
extension GatewayHandler {
    func writeHead(status: Int, headers: AnswerHeaders) {
        shared.metrics.answered(status)
        trace.wrote(status: status)
        if machine.answerBegins(isDraining: shared.isDraining) { headers.add(name: "connection", value: "close") }
        if let readingOrigin { CrossOrigin.add(to: headers, for: readingOrigin) }
        // What there is depends on who asks: no cache that others use may keep it.
        if !headers.contains(name: "cache-control") { headers.add(name: "cache-control", value: "private") }
        machine.wrote(now: SystemClock.instant)
        let status = HTTPResponseStatus(statusCode: status)
        if let lane = openLane { return lane.writeHead(status: status, headers.fields) }
        let head = HTTPResponseHead(version: version, status: status, headers: headers.http)
        context?.write(wrapOutboundOut(.head(head)), promise: nil)
    }

    /// The way past the pipeline, while there is one.
    private var openLane: (any AnswerPartWriter)? {
        guard context != nil, let lane = carrier.lane, lane.isOpen else { return nil }
        return lane
    }

    func write(_ part: HTTPServerResponsePart) {
        machine.wrote(now: SystemClock.instant)
        if let lane = openLane { return lane.write(part, promise: nil) }
        guard let context else { return }
        guard carrier.kind == .stream, case .body(.byteBuffer(var bytes)) = part else {
            return context.write(wrapOutboundOut(part), promise: nil)
        }
        // In pieces, so that how fast the buyer takes them can be seen.
        while let piece = bytes.readSlice(length: min(bytes.readableBytes, Limits.answerPieceBytes)),
            piece.readableBytes > 0
        {
            let sent = context.eventLoop.makePromise(of: Void.self)
            let count = piece.readableBytes
            unsentOfStream += count
            sent.futureResult.assumeIsolated().whenComplete { [weak self] _ in self?.unsentOfStream -= count }
            context.write(wrapOutboundOut(.body(.byteBuffer(piece))), promise: sent)
        }
    }

    func end(_ context: ChannelHandlerContext, _ sent: EventLoopPromise<Void>?) {
        guard let lane = openLane else { return context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: sent) }
        lane.write(.end(nil), promise: sent)
        lane.flush()
    }

    func flushNow() { if let lane = openLane { lane.flush() } else { context?.flush() } }

    /// One flush for all that is written in this turn of the event loop.
    func flushSoon() {
        guard let context, !isFlushScheduled else { return }
        isFlushScheduled = true
        context.eventLoop.assumeIsolated().execute { [weak self] in
            self?.isFlushScheduled = false
            self?.flushNow()
        }
    }

    var isWritable: Bool { context?.channel.isWritable ?? false }
}
