package import NIOCore
internal import NIOHPACK
internal import NIOHTTP2

/// One forward this node opened: what its caller can do to it, from any thread.
package final class ForwardCall: Sendable {
    package let eventLoop: any EventLoop
    private let state: NIOLoopBoundBox<State?>

    private struct State {
        var channel: (any Channel)?
        var isCancelled = false
        var isPaused = false
    }

    init(eventLoop: any EventLoop) {
        self.eventLoop = eventLoop
        state = .makeEmptyBox(valueType: State.self, eventLoop: eventLoop)
    }

    /// The next bytes of the request's body, after the peer asked for them.
    /// - Parameter sent: called on the event loop when they have left; never, when the stream ended before.
    package func write(_ bytes: ByteBuffer, sent: @escaping @Sendable () -> Void) {
        onLoop { call in
            guard let channel = call.state.value?.channel else { return }
            let promise = channel.eventLoop.makePromise(of: Void.self)
            promise.futureResult.whenSuccess(sent)
            channel.writeAndFlush(HTTP2Frame.FramePayload.data(.init(data: .byteBuffer(bytes))), promise: promise)
        }
    }

    /// Ends the request's body.
    package func end(trailers: [(name: String, value: String)]) {
        onLoop { call in
            guard let channel = call.state.value?.channel else { return }
            var fields = HPACKHeaders()
            for field in trailers { fields.add(name: field.name, value: field.value, indexing: .nonIndexable) }
            channel.writeAndFlush(
                HTTP2Frame.FramePayload.headers(.init(headers: fields, endStream: true)), promise: nil)
        }
    }

    /// RST_STREAM CANCEL; the receiver hears `cancelled` unless the answer was whole already.
    package func cancel() {
        onLoop { call in
            var state = call.state.value ?? State()
            state.isCancelled = true
            call.state.value = state
            state.channel?.close(promise: nil)
        }
    }

    /// Stops the flow of the answer: at most one stream window still arrives, then the peer must wait.
    package func pauseReading() { setPaused(true) }
    package func resumeReading() { setPaused(false) }

    private func setPaused(_ paused: Bool) {
        onLoop { call in
            var state = call.state.value ?? State()
            guard state.isPaused != paused else { return }
            state.isPaused = paused
            call.state.value = state
            guard let channel = state.channel else { return }
            call.apply(paused: paused, to: channel)
        }
    }

    private func apply(paused: Bool, to channel: any Channel) {
        // The option is one every stream channel has; it cannot be refused.
        try? channel.syncOptions?.setOption(.autoRead, value: !paused)
        if !paused { channel.read() }
    }

    private func onLoop(_ body: @escaping @Sendable (ForwardCall) -> Void) {
        if eventLoop.inEventLoop { return body(self) }
        eventLoop.execute { body(self) }
    }

    var isCancelled: Bool { state.value?.isCancelled ?? false }

    /// False when it was cancelled before it could open.
    func opened(_ channel: any Channel) -> Bool {
        var state = self.state.value ?? State()
        if state.isCancelled { return false }
        state.channel = channel
        self.state.value = state
        if state.isPaused { apply(paused: true, to: channel) }
        return true
    }

    func close() {
        // Copied: closing may come back here and empty the box.
        let channel = state.value?.channel
        channel?.close(promise: nil)
    }

    func ended() { state.value?.channel = nil }

    func failToOpen(_ receiver: any ForwardReceiver, connection: NIOLoopBound<LinkConnection>) {
        connection.value.forwardClosed()
        receiver.forwardEnded(isCancelled ? .cancelled : .linkLost, trailers: [])
    }
}

/// The stream of one forward this node opened: request out at once, answer to the receiver.
final class ForwardStream: ChannelInboundHandler {
    typealias InboundIn = HTTP2Frame.FramePayload
    typealias OutboundOut = HTTP2Frame.FramePayload

    private let connection: LinkConnection
    private let call: ForwardCall
    private let receiver: any ForwardReceiver
    private let headers: HPACKHeaders
    private let body: ByteBuffer
    private let hasUpload: Bool
    private var hasHead = false
    private var isOver = false
    private var failure: ForwardFailure?

    init(
        connection: LinkConnection, call: ForwardCall, receiver: any ForwardReceiver, headers: HPACKHeaders,
        body: ByteBuffer, hasUpload: Bool
    ) {
        self.hasUpload = hasUpload
        self.connection = connection
        self.call = call
        self.receiver = receiver
        self.headers = headers
        self.body = body
    }

    func channelActive(context: ChannelHandlerContext) {
        guard call.opened(context.channel) else { return context.close(promise: nil) }
        let isEmpty = body.readableBytes == 0 && !hasUpload
        context.write(wrapOutboundOut(.headers(.init(headers: headers, endStream: isEmpty))), promise: nil)
        if !isEmpty {
            context.write(wrapOutboundOut(.data(.init(data: .byteBuffer(body), endStream: !hasUpload))), promise: nil)
        }
        context.flush()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isOver else { return }
        switch unwrapInboundIn(data) {
        case .headers(let payload): read(payload, context)
        case .data(let payload):
            if case .byteBuffer(let buffer) = payload.data, buffer.readableBytes > 0 { receiver.forwardBody(buffer) }
            if payload.endStream { end(nil) }
        case .rstStream, .priority, .settings, .pushPromise, .ping, .goAway, .windowUpdate, .alternativeService,
            .origin:
            break
        }
    }

    private func read(_ payload: HTTP2Frame.FramePayload.Headers, _ context: ChannelHandlerContext) {
        let fields = payload.headers.compactMap { $0.name.hasPrefix(":") ? nil : ($0.name, $0.value) }
        if hasHead {
            if payload.endStream { end(nil, trailers: fields) }
            return
        }
        guard let status = payload.headers.first(name: ":status").flatMap({ Int($0) }) else {
            failure = .malformed
            return context.close(promise: nil)
        }
        if status < 200 {
            if status == 100, hasUpload { receiver.forwardContinues() }
            if status == 102 { receiver.forwardWaits() }
            return
        }
        hasHead = true
        receiver.forwardHead(status: status, headers: fields)
        if payload.endStream { end(nil) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if failure == nil { failure = ForwardFailure(error) }
    }

    func channelInactive(context: ChannelHandlerContext) {
        // The request is out: whether the peer has begun it, nobody knows.
        end(failure ?? .linkLost)
    }

    func handlerRemoved(context: ChannelHandlerContext) { end(failure ?? .linkLost) }

    private func end(_ failure: ForwardFailure?, trailers: [(String, String)] = []) {
        guard !isOver else { return }
        isOver = true
        let cancelled = call.isCancelled
        // An answer may be whole before the upload is: nobody wants the rest.
        if hasUpload { call.close() }
        call.ended()
        connection.forwardClosed()
        receiver.forwardEnded(failure != nil && cancelled ? .cancelled : failure, trailers: trailers)
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
