internal import NIOCore
internal import NIOHPACK
internal import NIOHTTP2

/// A stream the peer opened: the link stream, a forward, or something that is refused.
final class RequestStream: ChannelInboundHandler {
    typealias InboundIn = HTTP2Frame.FramePayload
    typealias OutboundOut = HTTP2Frame.FramePayload

    private enum Kind {
        case unknown
        case link
        case forward
        case refused
    }

    private struct Collection {
        var limit: Int
        var prefix: Int?
        var deadline: Scheduled<Void>?
        var then: @Sendable (Result<ByteBuffer, ForwardFailure>) -> Void
    }

    private let connection: LinkConnection
    private var kind = Kind.unknown
    private var context: ChannelHandlerContext?
    private var body = ByteBuffer()
    private var hasWholeBody = false
    private var collection: Collection?
    private var rest: (any ForwardBodyReceiver)?
    private var hasResponded = false
    private var hasEnded = false
    private var isCancelled = false
    private var isFlushDue = false
    private var cancelCallback: (@Sendable () -> Void)?
    var writabilityCallback: (@Sendable (Bool) -> Void)?

    init(connection: LinkConnection) { self.connection = connection }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if case .link = kind { return context.fireChannelRead(data) }
        switch unwrapInboundIn(data) {
        case .headers(let payload):
            if payload.endStream { hasWholeBody = true }
            if case .unknown = kind {
                opened(payload.headers, context)
            } else if hasWholeBody {
                bodyEnded(trailers: payload.headers.map { ($0.name, $0.value) })
            }
        case .data(let payload):
            if payload.endStream { hasWholeBody = true }
            if case .byteBuffer(var buffer) = payload.data, case .forward = kind { read(&buffer) }
            if hasWholeBody { bodyEnded(trailers: []) }
        case .rstStream, .priority, .settings, .pushPromise, .ping, .goAway, .windowUpdate, .alternativeService,
            .origin:
            break
        }
    }

    private func opened(_ head: HPACKHeaders, _ context: ChannelHandlerContext) {
        let path = head.first(name: ":path") ?? ""
        let method = head.first(name: ":method") ?? ""
        switch path {
        case LinkConnection.linkPath where method == "POST" && connection.mayOpenLinkStream:
            kind = .link
            let stream = LinkStream(connection: connection, isClient: false)
            do {
                try context.pipeline.syncOperations.addHandler(stream)
            } catch {
                context.close(promise: nil)
            }
        case let path where method == "POST" && LinkPath.isForward(path):
            guard let link = connection.link else { return connection.strangerStreamOpened() }
            kind = .forward
            connection.forwardOpened()
            // The body waits, in the peer's window, until somebody asks for it.
            if !hasWholeBody { try? context.channel.syncOptions?.setOption(.autoRead, value: false) }
            let fields = head.compactMap { $0.name.hasPrefix(":") ? nil : ($0.name, $0.value) }
            connection.endpoint.delegate.forwardArrived(
                IncomingForward(
                    link: link, channel: context.channel, stream: self, method: method, path: path, headers: fields))
        default:
            guard connection.link != nil else { return connection.strangerStreamOpened() }
            refuse(path == LinkConnection.linkPath ? 403 : 404)
        }
    }

    private func refuse(_ status: Int) {
        kind = .refused
        respond(status: status, headers: [])
        end(trailers: [])
    }

    private func read(_ buffer: inout ByteBuffer) {
        if let rest { return rest.requestBody(buffer) }
        if body.readableBytes == 0 { body = buffer } else { body.writeBuffer(&buffer) }
        finishCollection()
    }

    private func bodyEnded(trailers: [(String, String)]) {
        let rest = rest
        self.rest = nil
        if let rest { rest.bodyEnded(trailers: trailers) } else { finishCollection() }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if case .link = kind { return context.fireChannelWritabilityChanged() }
        writabilityCallback?(context.channel.isWritable)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if case .link = kind { return context.fireErrorCaught(error) }
        cancelled(ForwardFailure(error))
    }

    func channelInactive(context: ChannelHandlerContext) {
        cancelled(.linkLost)
        if case .forward = kind { connection.forwardClosed() }
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        cancelCallback = nil
        writabilityCallback = nil
        rest = nil
    }
}

// What `IncomingForward` does, on the loop.
extension RequestStream {
    func collectBody(
        limit: Int, prefix: Int?, deadlineMs: Int64,
        then: @escaping @Sendable (Result<ByteBuffer, ForwardFailure>) -> Void
    ) {
        guard let context, !isCancelled else { return then(.failure(.linkLost)) }
        var pending = Collection(limit: limit, prefix: prefix, then: then)
        if !hasWholeBody {
            let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
            pending.deadline = context.eventLoop.scheduleTask(in: .milliseconds(deadlineMs)) {
                bound.value.failCollection(.timeout)
            }
        }
        collection = pending
        finishCollection()
        if collection != nil {
            try? context.channel.syncOptions?.setOption(.autoRead, value: true)
            context.read()
        }
    }

    private func finishCollection() {
        guard let collection else { return }
        if body.readableBytes > collection.limit { return failCollection(.bodyTooLarge) }
        if let prefix = collection.prefix {
            // Nothing may come behind it before this side has asked for it.
            if body.readableBytes > prefix || hasWholeBody { return failCollection(.malformed) }
            guard body.readableBytes == prefix else { return }
            setReading(false)
        } else if !hasWholeBody {
            return
        }
        self.collection = nil
        collection.deadline?.cancel()
        let whole = body
        body = ByteBuffer()
        collection.then(.success(whole))
    }

    func continueBody(_ receiver: any ForwardBodyReceiver) {
        guard let context, !hasResponded, !isCancelled, !hasWholeBody else { return }
        // A peer that did not wait to be asked.
        guard body.readableBytes == 0 else { return reset() }
        rest = receiver
        context.writeAndFlush(
            wrapOutboundOut(.headers(.init(headers: HPACKHeaders([(":status", "100")])))), promise: nil)
        setReading(true)
    }

    func setReading(_ isReading: Bool) {
        guard let context, !isCancelled else { return }
        try? context.channel.syncOptions?.setOption(.autoRead, value: isReading)
        if isReading { context.read() }
    }

    private func failCollection(_ failure: ForwardFailure) {
        guard let collection else { return }
        self.collection = nil
        collection.deadline?.cancel()
        body = ByteBuffer()
        // Nobody will look at the rest: let the window hold it back.
        try? context?.channel.syncOptions?.setOption(.autoRead, value: false)
        collection.then(.failure(failure))
    }

    func respondLater() {
        guard let context, !hasResponded, !isCancelled else { return }
        context.write(wrapOutboundOut(.headers(.init(headers: HPACKHeaders([(":status", "102")])))), promise: nil)
        scheduleFlush(context)
    }

    func respond(status: Int, headers: [(String, String)]) {
        guard let context, !hasResponded, !isCancelled else { return }
        hasResponded = true
        var fields = HPACKHeaders([(":status", String(status))])
        for (name, value) in headers { fields.add(name: name, value: value, indexing: .nonIndexable) }
        context.write(wrapOutboundOut(.headers(.init(headers: fields))), promise: nil)
        scheduleFlush(context)
    }

    func write(_ bytes: ByteBuffer) {
        guard let context, hasResponded, !hasEnded, !isCancelled, bytes.readableBytes > 0 else { return }
        context.write(wrapOutboundOut(.data(.init(data: .byteBuffer(bytes)))), promise: nil)
        scheduleFlush(context)
    }

    func end(trailers: [(String, String)]) {
        guard let context, hasResponded, !hasEnded, !isCancelled else { return }
        hasEnded = true
        cancelCallback = nil
        let last: HTTP2Frame.FramePayload =
            trailers.isEmpty
            ? .data(.init(data: .byteBuffer(ByteBuffer()), endStream: true))
            : .headers(.init(headers: HPACKHeaders(trailers), endStream: true))
        guard !hasWholeBody else {
            context.write(wrapOutboundOut(last), promise: nil)
            return scheduleFlush(context)
        }
        // An answer before the end of the request: the rest of the request is not wanted. The stream closes when the
        // answer has left, for closing drops what the peer's window still holds back.
        let sent = context.eventLoop.makePromise(of: Void.self)
        let channel = context.channel
        sent.futureResult.whenComplete { _ in channel.close(promise: nil) }
        context.write(wrapOutboundOut(last), promise: sent)
        scheduleFlush(context)
    }

    func reset() {
        guard let context, !isCancelled else { return }
        isCancelled = true
        cancelCallback = nil
        context.close(promise: nil)
    }

    func onCancelled(_ body: @escaping @Sendable () -> Void) {
        if isCancelled { body() } else if !hasEnded { cancelCallback = body }
    }

    private func cancelled(_ failure: ForwardFailure) {
        guard !isCancelled, !hasEnded else { return }
        isCancelled = true
        failCollection(failure)
        let callback = cancelCallback
        cancelCallback = nil
        callback?()
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
}
