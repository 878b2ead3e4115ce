internal import NIOCore
internal import NIOHTTP2

/// Ends an HTTP/2 connection that nobody asks anything on: one that opens no stream in the beginning, that has had none
/// for a while, whatever it pings, or whose header block does not end. The streams themselves are their handlers' matter.
final class HTTP2Watch: Sendable {
    private struct State {
        var openStreams = 0
        var hadStream = false
        /// Since when no stream is open.
        var idleSince = NIODeadline.now()
        var headers = HTTP2HeaderBlocks()
        var isEnding = false
    }

    private let state: NIOLoopBoundBox<State>
    private let timing: HTTPListener.Timing

    init(_ eventLoop: any EventLoop, timing: HTTPListener.Timing) {
        state = NIOLoopBoundBox(State(), eventLoop: eventLoop)
        self.timing = timing
    }

    /// How often to look: often enough that no deadline is missed by much.
    fileprivate var patrol: TimeAmount { .nanoseconds(timing.head.nanoseconds / 4) }

    /// A client has opened this stream.
    func opened(_ stream: any Channel) {
        state.value.openStreams += 1
        state.value.hadStream = true
        stream.closeFuture.whenComplete { [self] _ in
            state.value.openStreams -= 1
            state.value.idleSince = .now()
        }
    }

    fileprivate func arrived(_ bytes: ByteBuffer) {
        bytes.withUnsafeReadableBytes { state.value.headers.read($0, now: .now()) }
    }

    fileprivate enum Verdict {
        case stays
        case goes
        /// Its client may be about to ask: it is told first.
        case toldToGo
    }

    fileprivate func judged() -> Verdict {
        let now = NIODeadline.now()
        if let since = state.value.headers.since, now - since >= timing.head { return .goes }
        guard state.value.openStreams == 0 else { return .stays }
        let quiet = now - state.value.idleSince
        if state.value.isEnding { return .goes }
        if !state.value.hadStream { return quiet >= timing.head ? .goes : .stays }
        return quiet >= timing.idle ? .toldToGo : .stays
    }

    /// From now on no stream is opened; true for the first call.
    fileprivate func end() -> Bool {
        defer { state.value.isEnding = true }
        return !state.value.isEnding
    }
}

/// Where header blocks begin and end in what a client sends.
struct HTTP2HeaderBlocks {
    private static let prefaceBytes = 24
    private static let headBytes = 9

    /// Since when a header block is on its way; nil between two.
    private(set) var since: NIODeadline?
    private var prefaceLeft = prefaceBytes
    private var head: [UInt8] = []
    private var payloadLeft = 0
    /// Whether the frame under way is the last of its header block.
    private var endsBlock = false

    mutating func read(_ bytes: UnsafeRawBufferPointer, now: NIODeadline) {
        var at = min(prefaceLeft, bytes.count)
        prefaceLeft -= at
        while at < bytes.count {
            if payloadLeft > 0 {
                let taken = min(payloadLeft, bytes.count - at)
                payloadLeft -= taken
                at += taken
            } else {
                head.append(bytes[at])
                at += 1
                if head.count == Self.headBytes { frameBegan(now) }
            }
            if payloadLeft == 0, head.isEmpty, endsBlock {
                endsBlock = false
                since = nil
            }
        }
    }

    /// HEADERS begins a block and CONTINUATION goes on with it; the flag END_HEADERS ends it.
    private mutating func frameBegan(_ now: NIODeadline) {
        payloadLeft = Int(head[0]) << 16 | Int(head[1]) << 8 | Int(head[2])
        if head[3] == 1 || head[3] == 9 {
            since = since ?? now
            endsBlock = head[4] & 4 != 0
        }
        head.removeAll(keepingCapacity: true)
    }
}

/// In front of the HTTP/2 decoder.
final class HTTP2WatchBytes: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private let watch: HTTP2Watch

    init(_ watch: HTTP2Watch) { self.watch = watch }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        watch.arrived(unwrapInboundIn(data))
        context.fireChannelRead(data)
    }
}

/// Behind the HTTP/2 decoder: looks every few seconds, and says goodbye.
final class HTTP2WatchFrames: ChannelInboundHandler {
    typealias InboundIn = HTTP2Frame
    typealias OutboundOut = HTTP2Frame

    /// For the client to read that it is over before the connection closes.
    private static let goodbye = TimeAmount.milliseconds(500)

    private let watch: HTTP2Watch
    private var timer: RepeatedTask?

    init(_ watch: HTTP2Watch) { self.watch = watch }

    func handlerAdded(context: ChannelHandlerContext) {
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        timer = context.eventLoop.scheduleRepeatedTask(
            initialDelay: watch.patrol, delay: watch.patrol
        ) { _ in
            let (handler, context) = bound.value
            switch handler.watch.judged() {
            case .stays: break
            case .goes: context.close(promise: nil)
            case .toldToGo: handler.sayGoodbye(context)
            }
        }
    }

    func handlerRemoved(context: ChannelHandlerContext) { timer?.cancel() }

    func channelInactive(context: ChannelHandlerContext) {
        timer?.cancel()
        context.fireChannelInactive()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is ChannelShouldQuiesceEvent { sayGoodbye(context) }
        context.fireUserInboundEventTriggered(event)
    }

    /// GOAWAY: streams that are open go on, and the patrol closes the connection behind the last of them.
    private func sayGoodbye(_ context: ChannelHandlerContext) {
        guard watch.end() else { return }
        let frame = HTTP2Frame(
            streamID: .rootStream, payload: .goAway(lastStreamID: .maxID, errorCode: .noError, opaqueData: nil))
        context.writeAndFlush(wrapOutboundOut(frame), promise: nil)
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        context.eventLoop.scheduleTask(in: Self.goodbye) {
            let (handler, context) = bound.value
            if case .goes = handler.watch.judged() { context.close(promise: nil) }
        }
    }
}
