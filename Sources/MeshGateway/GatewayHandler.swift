package import MeshExchange
import MeshModel
import MeshRouting
import MeshRuntime
package import MeshTransport
import MeshWire
package import NIOCore
package import NIOHTTP1
import NIOWebSocket
import Synchronization

/// One buyer connection (or HTTP/2 stream): reads requests, sends inference requests straight to the dispatcher
/// and everything else to the cold routes, and writes answers as they come. Lives on its event loop.
///
/// A request whose key or size is refused is still read to its end, unkept, so that the client gets the answer
/// instead of a reset connection.
package final class GatewayHandler: ChannelInboundHandler, RemovableChannelHandler {
    package typealias InboundIn = HTTPServerRequestPart
    package typealias OutboundOut = HTTPServerResponsePart

    enum Reading {
        case idle
        case body(HTTPRequestHead, ByteBuffer, HotRequest?)
        /// Its body goes on while it arrives.
        case uploading(UploadFlow, UploadCheck)
        case refused(HTTPRequestHead, MeshError, left: Int)
        case answering
        /// The last answer of this connection is on its way out.
        case ending
    }

    let shared: GatewayContext
    private let carrier: Carrier
    private let isLocalOperator: Bool
    private var reading = Reading.idle
    private(set) var context: ChannelHandlerContext?
    private var running: BuyerAnswer?
    private var isFlushScheduled = false
    /// Seeded once a connection: the system's generator costs a call of the kernel for every request.
    private var dice = SeededGenerator(seed: .random(in: 0 ... .max))
    private var keepAlive = true
    private var version = HTTPVersion.http1_1
    private var closing = false
    private var lastProgress = SystemClock.instant
    private var requestStarted = SystemClock.instant
    private var timer: Scheduled<Void>?
    /// What the other side had not taken at the last look.
    private var lastUnsent = 0
    /// The same of a stream, whose channel cannot be asked.
    private var unsentOfStream = 0
    /// Whether the request was read to its end.
    private var isRequestWhole = true
    /// Whether the upload under way has room for more.
    private var uploadReads = true
    /// What of this connection's body stands in the node's count of those it holds: until the request is answered, for
    /// until then another candidate may need it.
    private var counted = 0
    /// Why the request that comes next did not become a WebSocket.
    private var upgradeRefusal: MeshError?
    var trace = RequestTrace()

    package init(shared: GatewayContext, carrier: Carrier, isLocalOperator: Bool = false) {
        self.shared = shared
        self.carrier = carrier
        self.isLocalOperator = isLocalOperator
    }

    package func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        schedulePatrol(context)
    }

    package func handlerRemoved(context: ChannelHandlerContext) { ended() }

    package func channelInactive(context: ChannelHandlerContext) {
        ended()
        context.fireChannelInactive()
    }

    package func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // A refused WebSocket is told of first and then arrives as a plain request, which has to be answered.
        if error is NIOWebSocketUpgradeError { return }
        context.close(promise: nil)
    }

    package func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case is ChannelShouldQuiesceEvent:
            closing = true
            if case .idle = reading { context.close(promise: nil) }
        case ChannelEvent.inputClosed: context.close(promise: nil)
        case let refused as UpgradeRefused: upgradeRefusal = refused.error
        default: context.fireUserInboundEventTriggered(event)
        }
    }

    package func channelWritabilityChanged(context: ChannelHandlerContext) {
        let isWritable = context.channel.isWritable
        if isWritable, let exchange = running?.exchange { exchange.writable() }
        // A client that asks on without reading the answers is not read from either. A running stream has its own
        // bound, and has to notice that its buyer left.
        if version.major == 1, isWritable || running == nil { setReading(isWritable && uploadReads) }
        context.fireChannelWritabilityChanged()
    }

    // MARK: Reading

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        lastProgress = SystemClock.instant
        switch unwrapInboundIn(data) {
        case .head(var head):
            head.uri = RequestTarget.originForm(head.uri)
            // What comes behind the last answer of a connection is not read any more.
            if case .ending = reading { return }
            headArrived(head)
        case .body(let bytes): bodyArrived(bytes)
        case .end:
            isRequestWhole = true
            requestEnded()
        }
    }

    private func headArrived(_ head: HTTPRequestHead) {
        version = head.version
        // An HTTP/2 stream ends by itself; closing it would cut what flow control still holds back.
        // Behind a request for another protocol the HTTP/1.1 decoder reads no more, whatever becomes of it.
        // HTTP/1.0 has no way to end a body of unknown length but the end of the connection.
        keepAlive =
            version.major >= 2
            || (version == .http1_1 && head.isKeepAlive && !head.headers.contains(name: "upgrade"))
        isRequestWhole = false
        requestStarted = lastProgress
        trace = RequestTrace(head, at: lastProgress)
        reading = judged(head)
        guard head.headers.first(name: "expect")?.lowercased() == "100-continue" else { return }
        if case .refused = reading {
            // The client waits for this answer with its body unsent, and may never send it.
            keepAlive = false
            requestEnded()
        } else {
            write(.head(HTTPResponseHead(version: version, status: .continue)))
            flushSoon()
        }
    }

    /// What is known of a request before its body.
    private func judged(_ head: HTTPRequestHead) -> Reading {
        if let error = upgradeRefusal {
            upgradeRefusal = nil
            return .refused(head, error, left: Limits.coldBodyBytes)
        }
        if let error = RequestBounds.problem(head) {
            // Read to its end, so that whoever sends a large one gets the answer.
            return .refused(head, error, left: Limits.requestBodyBytes)
        }
        let route = HotRoute(head)
        let declared = RequestBounds.declaredLength(head)
        let limit = RequestBounds.bodyLimit(route)
        let mayStream = route?.isProxied ?? false && ProxyCall.mayStream(head)
        if declared > limit, !mayStream { return .refused(head, RequestBounds.tooLarge(head, route), left: limit) }
        guard let route else { return .body(head, ByteBuffer(), nil) }
        return switch shared.inferenceCaller(head.headers, scope: route.username, from: carrier.place) {
        case .success(let caller):
            .body(head, ByteBuffer(), HotRequest(caller: caller, route: route, mayStream: mayStream))
        case .failure(let error): .refused(head, error, left: limit)
        }
    }

    private func bodyArrived(_ bytes: ByteBuffer) {
        switch reading {
        case .body(let head, var collected, let hot):
            // Taken out first so that the buffer is unique and grows in place.
            reading = .idle
            if collected.readableBytes == 0 { collected = bytes } else { collected.writeImmutableBuffer(bytes) }
            let limit = RequestBounds.bodyLimit(hot?.route)
            if collected.readableBytes > limit {
                reading = .refused(head, RequestBounds.tooLarge(head, hot?.route), left: limit)
            } else if !count(collected.readableBytes) {
                let error = MeshError(
                    .rateLimited, "this node takes in as many large requests as it can hold; try again shortly",
                    retryAfterSeconds: 1)
                reading = .refused(head, error, left: limit)
            } else if var hot, hot.mayStream, collected.readableBytes >= Limits.uploadHeldBytes {
                hot.mayStream = false
                reading = streamed(hot, head, collected)
            } else {
                reading = .body(head, collected, hot)
            }
            if case .refused = reading { _ = count(0) }
        case .uploading(let flow, var check):
            reading = .answering
            do throws(MeshError) { try check.pass(bytes) } catch { return running?.refuse(error) ?? () }
            reading = .uploading(flow, check)
            flow.arrived(bytes)
            _ = count(flow.heldBytes)
        case .refused(let head, let error, let left):
            reading = .refused(head, error, left: left - bytes.readableBytes)
            if left < bytes.readableBytes {
                keepAlive = false
                requestEnded()
            }
        case .idle, .answering, .ending: break
        }
    }

    private func requestEnded() {
        switch reading {
        case .body(let head, let bytes, let hot):
            reading = .answering
            if let hot { startInference(hot, head, bytes) } else { startCold(head, bytes) }
        case .uploading(let flow, var check):
            reading = .answering
            do throws(MeshError) { try check.end() } catch { return running?.refuse(error) ?? () }
            flow.ended()
        case .refused(let head, let error, _):
            reading = .answering
            let requestID = RequestID.make(&dice)
            // A WebSocket that was refused reaches this handler as a plain request.
            answer(
                .error(error, requestID: requestID), requestID: requestID, isHead: head.method == .HEAD,
                code: error.code)
        case .idle, .answering, .ending: break
        }
    }

    /// Counts a body of `bytes` that is held here; false when the node has no room for it. Small ones are bounded
    /// by the number of connections.
    private func count(_ bytes: Int) -> Bool {
        let now = bytes > Limits.coldBodyBytes ? bytes : 0
        guard now != counted else { return true }
        let total = shared.heldBodyBytes.add(now - counted, ordering: .relaxed).newValue
        counted = now
        return now == 0 || total <= Limits.heldBodiesBytes
    }

    // MARK: Uploads

    /// A body of which enough has come to decide: it goes on to a worker from now on, or is collected to its end.
    private func streamed(_ hot: HotRequest, _ head: HTTPRequestHead, _ collected: ByteBuffer) -> Reading {
        let limit = RequestBounds.bodyLimit(hot.route)
        let principal = shared.principal(hot.caller)
        do throws(MeshError) {
            if let work = try shared.upload(hot.route, head, beginning: collected, principal) {
                return startUpload(work, principal)
            }
        } catch { return .refused(head, error, left: limit) }
        guard RequestBounds.declaredLength(head) > limit || collected.readableBytes > limit else {
            return .body(head, collected, hot)
        }
        let error = MeshError(
            .bodyTooLarge,
            "the request body is larger than \(limit >> 10) KiB: a larger one needs a connected worker that takes uploads, and its model named before its files or in the query"
        )
        return .refused(head, error, left: limit)
    }

    private func startUpload(_ work: UploadWork, _ principal: Principal) -> Reading {
        guard let context else { return .ending }
        let flow = UploadFlow(
            eventLoop: context.eventLoop, held: work.beginning,
            setReading: { [weak self] isReading in
                self?.uploadReads = isReading
                self?.setReading(isReading)
            })
        // Told apart from a request that is whole: its answer may come before its end.
        reading = .uploading(flow, work.check)
        start(work.request, work.route, principal, upload: flow)
        // It may be over by now.
        return running == nil ? reading : .uploading(flow, work.check)
    }

    private func setReading(_ isReading: Bool) {
        guard let context else { return }
        context.channel.setOption(.autoRead, value: isReading).whenFailure { _ in }
        // A socket begins to read when it is allowed to; a stream has to be told.
        if isReading, carrier.kind == .stream { context.channel.read() }
    }

    // MARK: Inference

    private func startInference(_ hot: HotRequest, _ head: HTTPRequestHead, _ bytes: ByteBuffer) {
        do throws(MeshError) {
            let principal = shared.principal(hot.caller)
            let (request, route) = try shared.work(hot.route, head, bytes, principal)
            start(request, route, principal)
        } catch {
            let requestID = RequestID.make(&dice)
            answer(.error(error, requestID: requestID), requestID: requestID, isHead: false, code: error.code)
        }
    }

    private func start(_ request: WorkRequest, _ route: Route, _ principal: Principal, upload: UploadFlow? = nil) {
        let requestID = RequestID.make(&dice)
        guard let context else { return }
        guard !shared.isDraining else {
            let error = MeshError(.draining, "this node is shutting down; use another node", retryAfterSeconds: 5)
            return answer(.error(error, requestID: requestID), requestID: requestID, isHead: false, code: error.code)
        }
        let answer = BuyerAnswer(handler: self, requestID: requestID, form: request.form, upload: upload)
        running = answer
        trace.begins(requestID, request, buyer: principal.username, model: route.model)
        shared.inFlight.add(1, ordering: .relaxed)
        answer.begin(
            shared.dispatcher.exchange(
                request, on: route, for: Asker(principal: principal, requestID: requestID), upload: upload,
                writer: answer, eventLoop: context.eventLoop))
    }

    /// The answer is written; the connection takes the next request.
    func answerIsOver() {
        guard running != nil else { return }
        running = nil
        shared.inFlight.subtract(1, ordering: .relaxed)
        responseEnded()
    }

    /// The answer broke off where no error can be written any more: the connection ends with it, without the mark of
    /// a complete answer, so that the buyer can tell.
    func cutOff() {
        _ = count(0)
        flushNow()
        keepAlive = false
        guard running != nil else { return }
        running = nil
        shared.inFlight.subtract(1, ordering: .relaxed)
        trace.end(shared)
        context?.close(promise: nil)
    }

    /// The buyer does not read its stream: the connection ends with it.
    func closeAfterStream() {
        closing = true
        answerIsOver()
    }

    // MARK: Everything else

    private func startCold(_ head: HTTPRequestHead, _ bytes: ByteBuffer) {
        let requestID = RequestID.make(&dice)
        // The answer to a HEAD has no body, or the next answer would begin inside it.
        let isHead = head.method == .HEAD
        guard let context, let (segments, query) = RequestPath.parse(head.uri) else {
            let error = MeshError(.notFound, "there is nothing at this path")
            return answer(.error(error, requestID: requestID), requestID: requestID, isHead: isHead, code: error.code)
        }
        guard shared.coldInFlight.load(ordering: .relaxed) < Limits.coldRoutesAtOnce else {
            let error = MeshError(.rateLimited, "too many requests at once; try again shortly", retryAfterSeconds: 1)
            return answer(.error(error, requestID: requestID), requestID: requestID, isHead: isHead, code: error.code)
        }
        let request = Request(
            method: isHead ? .GET : head.method, segments: segments, target: head.uri, query: query,
            headers: head.headers,
            body: Array(bytes.readableBytesView), isLocalOperator: isLocalOperator, requestID: requestID,
            place: carrier.place)
        let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
        let shared = shared
        let eventLoop = context.eventLoop
        shared.coldInFlight.add(1, ordering: .relaxed)
        // The one unstructured task of the gateway: its life is bounded by the routes' own deadlines.
        Task {
            let response = await shared.coldRoutes.respond(request, context: shared)
            shared.coldInFlight.subtract(1, ordering: .relaxed)
            eventLoop.execute { bound.value.answer(response, requestID: requestID, isHead: isHead, code: nil) }
        }
    }

    // MARK: Writing

    func answer(_ response: Response, requestID: String, isHead: Bool, code: ErrorCode?) {
        trace.answers(requestID, code, response.code, shared.metrics)
        var headers = HTTPHeaders(response.headers.map { ($0.name, $0.value) })
        headers.add(name: "x-request-id", value: requestID)
        if response.status != 204 { headers.add(name: "content-length", value: String(response.body.count)) }
        writeHead(status: response.status, headers: headers)
        if !isHead, !response.body.isEmpty { write(.body(.byteBuffer(ByteBuffer(bytes: response.body)))) }
        responseEnded()
    }

    func writeHead(status: Int, headers: HTTPHeaders) {
        shared.metrics.answered(status)
        trace.wrote(status: status)
        var headers = headers
        // Whoever is answered in the middle of a request may never send the rest of it.
        if !isRequestWhole || shared.isDraining, version.major == 1 { keepAlive = false }
        if version.major == 1, !keepAlive || closing { headers.add(name: "connection", value: "close") }
        // What there is depends on who asks: no cache that others use may keep it.
        if !headers.contains(name: "cache-control") { headers.add(name: "cache-control", value: "private") }
        write(.head(HTTPResponseHead(version: version, status: .init(statusCode: status), headers: headers)))
    }

    func write(_ part: HTTPServerResponsePart) {
        lastProgress = SystemClock.instant
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

    /// Ends the answer. A connection that is not kept is closed when the last byte has left, and not before: closing
    /// throws away what still waits for a buyer who reads slowly.
    private func responseEnded() {
        lastProgress = SystemClock.instant
        trace.end(shared)
        guard let context else { return }
        _ = count(0)
        if !uploadReads {
            uploadReads = true
            setReading(true)
        }
        guard !keepAlive || closing || !isRequestWhole else {
            context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
            reading = .idle
            return
        }
        reading = .ending
        let sent = context.eventLoop.makePromise(of: Void.self)
        let channel = context.channel
        // What a buyer still sends is read and dropped for a moment: closing at once could reset the connection under
        // the answer that it has not read.
        let linger = isRequestWhole || version.major >= 2 ? 0 : Limits.lingerMs
        if linger > 0 { setReading(true) }
        sent.futureResult.whenComplete { _ in
            channel.eventLoop.scheduleTask(in: .milliseconds(linger)) { channel.close(promise: nil) }
        }
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: sent)
    }

    func flushNow() { context?.flush() }

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

    // MARK: Time and end

    /// Looks every five seconds for what takes too long: an idle connection, a request that trickles in, a buyer
    /// who does not read; and tells a waiting stream that it is still alive.
    private func schedulePatrol(_ context: ChannelHandlerContext) {
        timer = context.eventLoop.assumeIsolated().scheduleTask(in: .seconds(5)) { [weak self] in
            guard let self, let context = self.context else { return }
            self.patrol(context)
            if context.channel.isActive { self.schedulePatrol(context) }
        }
    }

    private func patrol(_ context: ChannelHandlerContext) {
        // A buyer who takes a long answer slowly is not idle.
        let unsent = carrier.kind == .stream ? unsentOfStream : context.channel.unsentSocketBytes
        if unsent < lastUnsent { lastProgress = SystemClock.instant }
        lastUnsent = unsent
        let quiet = SystemClock.instant.milliseconds(since: lastProgress)
        switch reading {
        case .idle, .ending: if quiet >= Limits.connectionIdleMs { context.close(promise: nil) }
        case .body, .refused:
            let total = SystemClock.instant.milliseconds(since: requestStarted)
            guard quiet >= Limits.requestHeadMs || total >= Limits.requestBodyMs else { return }
            keepAlive = false
            reading = .answering
            _ = count(0)
            let requestID = RequestID.make(&dice)
            let error = MeshError(.requestTimeout, "the request body did not arrive in time")
            answer(.error(error, requestID: requestID), requestID: requestID, isHead: false, code: error.code)
        case .uploading(let flow, _) where flow.isStarving && quiet >= Limits.streamBlockedMs:
            running?.refuse(MeshError(.requestTimeout, "the rest of the request body did not arrive in time"))
        case .answering, .uploading: running?.patrol(quietMs: quiet)
        }
    }

    private func ended() {
        _ = count(0)
        timer?.cancel()
        timer = nil
        context = nil
        let answer = running
        running = nil
        if let answer {
            shared.inFlight.subtract(1, ordering: .relaxed)
            answer.buyerLeft()
        }
        trace.end(shared, hasLeft: answer != nil)
    }
}
