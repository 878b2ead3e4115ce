internal import MeshModel
internal import NIOCore
internal import NIOHTTP1

/// Ends an HTTP/1.1 connection whose next request head does not come: nothing at all in the beginning, or a head that
/// trickles in. Between two requests the request handler's own limit for idle connections holds.
///
/// Two handlers look from both sides of the decoder: what arrives as bytes, and what comes out of them.
final class HeadWatch {
    private enum Stage {
        /// Nothing of the next request is here.
        case idle
        case head
        /// From a whole head to the ends of request and answer.
        case exchange(isRequestWhole: Bool, isAnswered: Bool)
    }

    private var stage = Stage.head
    private var timer: Scheduled<Void>?
    private var hasBytes = false
    private var hasDecoded = false
    /// Bytes that came while a whole request was being answered.
    private var early = 0
    /// Of the handler in front of the decoder.
    private var front: ChannelHandlerContext?
    private let deadline: TimeAmount

    init(deadline: TimeAmount) { self.deadline = deadline }

    /// The connection is up, and its first request due.
    func began(_ context: ChannelHandlerContext) {
        front = context
        arm()
    }

    func bytesBegan(_ count: Int) {
        hasDecoded = false
        if isAnswering { early += count }
    }

    /// Whether the connection is to be read although nobody asks for more: while a request is answered the handler that
    /// keeps requests apart asks for nothing, and to stop watching the socket and to begin anew are two calls of the
    /// system for every request. What comes meanwhile is kept in front of that handler, up to a bound.
    var readsAhead: Bool { isAnswering && early < Limits.readAheadBytes }

    private var isAnswering: Bool {
        if case .exchange(isRequestWhole: true, isAnswered: false) = stage { true } else { false }
    }

    /// The decoder has seen what arrived.
    func bytesSeen() {
        hasBytes = true
        if !hasDecoded { headBegan() }
    }

    /// The beginning of a head is here, and no decoder has it yet.
    func headBegan() {
        hasBytes = true
        guard case .idle = stage else { return }
        stage = .head
        arm()
    }

    func headArrived() {
        hasDecoded = true
        disarm()
        stage = .exchange(isRequestWhole: false, isAnswered: false)
    }

    func requestArrived() {
        hasDecoded = true
        guard case .exchange(_, let isAnswered) = stage else { return }
        stage = isAnswered ? .idle : .exchange(isRequestWhole: true, isAnswered: false)
        hasBytes = false
    }

    func answered() {
        guard case .exchange(let isRequestWhole, _) = stage else { return }
        stage = isRequestWhole ? .idle : .exchange(isRequestWhole: false, isAnswered: true)
        // The beginning of the next request may be here already; if it is all of it, it comes out at once.
        guard isRequestWhole, early > 0 else { return }
        early = 0
        stage = .head
        hasBytes = true
        arm()
    }

    func ended() {
        disarm()
        front = nil
    }

    func disarm() {
        timer?.cancel()
        timer = nil
    }

    private func arm() {
        disarm()
        guard let context = front else { return }
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        timer = context.eventLoop.scheduleTask(in: deadline) {
            let (watch, context) = bound.value
            watch.expired(context)
        }
    }

    private func expired(_ context: ChannelHandlerContext) {
        guard case .head = stage else { return }
        // Whoever has begun to ask is told; there is nobody to tell otherwise.
        let told = "HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        if hasBytes { context.writeAndFlush(NIOAny(ByteBuffer(string: told)), promise: nil) }
        context.close(promise: nil)
    }
}

/// In front of the decoder: what it is spared goes past it.
final class HeadWatchBytes: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = IOData
    typealias OutboundOut = IOData

    private let watch: HeadWatch
    private let lane: PlainLane

    init(_ watch: HeadWatch, _ lane: PlainLane) {
        self.watch = watch
        self.lane = lane
    }

    func handlerAdded(context: ChannelHandlerContext) {
        lane.front = context
        watch.began(context)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        lane.front = nil
        watch.ended()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = unwrapInboundIn(data)
        if lane.isOpen { return lane.arrived(bytes) }
        watch.bytesBegan(bytes.readableBytes)
        context.fireChannelRead(data)
        watch.bytesSeen()
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        if lane.isOpen { return lane.back?.fireChannelReadComplete() ?? () }
        context.fireChannelReadComplete()
        if watch.readsAhead { context.read() }
    }

    func read(context: ChannelHandlerContext) { if lane.mayRead() { context.read() } }

    /// The library knows nothing of what is under way past it, and would end the connection under it.
    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard lane.isOpen, let back = lane.back, event is ChannelShouldQuiesceEvent || event is ChannelEvent else {
            return context.fireUserInboundEventTriggered(event)
        }
        back.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        watch.disarm()
        context.fireChannelInactive()
    }
}

/// Behind the decoder, in front of the request handler.
final class HeadWatchParts: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = HTTPServerResponsePart

    private let watch: HeadWatch
    private let lane: PlainLane

    init(_ watch: HeadWatch, _ lane: PlainLane) {
        self.watch = watch
        self.lane = lane
    }

    func handlerAdded(context: ChannelHandlerContext) { lane.back = context }
    func handlerRemoved(context: ChannelHandlerContext) { lane.back = nil }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head: watch.headArrived()
        case .end: watch.requestArrived()
        case .body: break
        }
        context.fireChannelRead(data)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        let part = unwrapOutboundIn(data)
        if lane.isOpen { return lane.write(part, promise: promise) }
        if case .end = part { watch.answered() }
        context.write(data, promise: promise)
    }

    func flush(context: ChannelHandlerContext) { if lane.isOpen { lane.flush() } else { context.flush() } }

    func read(context: ChannelHandlerContext) {
        guard lane.isOpen else { return context.read() }
        if lane.mayRead() { lane.front?.read() }
    }
}
