import MeshAccounting
import MeshDialects
import MeshExchange
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
/// and everything else to the cold routes, and writes answers as they come. What is done when, its `StateMachine` says;
/// here are the channel, the clock and the bytes. Lives on its event loop.
package final class GatewayHandler: ChannelInboundHandler, RemovableChannelHandler, RequestPartReceiver {
    package typealias InboundIn = HTTPServerRequestPart
    package typealias OutboundOut = HTTPServerResponsePart

    /// The request whose body is on its way.
    private final class Arriving {
        let head: HTTPRequestHead
        /// Where it goes to a worker.
        let hot: HotRequest?
        /// Why it fails, and what is told beside it.
        var refusal: MeshError?
        var refusalFields: [(name: String, value: String)] = []
        var bytes = ByteBuffer()

        init(head: HTTPRequestHead, hot: HotRequest?, refusal: MeshError?) {
            self.head = head
            self.hot = hot
            self.refusal = refusal
        }
    }

    /// The same of a body that goes on while it arrives.
    private struct Uploading {
        let flow: UploadFlow
        var check: UploadCheck
    }

    let shared: GatewayContext
    let carrier: Carrier
    private let isLocalOperator: Bool
    var machine = StateMachine(now: SystemClock.instant)
    private(set) var context: ChannelHandlerContext?
    private var arriving: Arriving?
    private var uploading: Uploading?
    private var running: BuyerAnswer?
    var isFlushScheduled = false
    /// Seeded once a connection: the system's generator costs a call of the kernel for every request.
    private var dice = SeededGenerator(seed: .random(in: 0 ... .max))
    private let memory = CallerMemory()
    var version = HTTPVersion.http1_1
    private var timer: Scheduled<Void>?
    /// What the other side has not taken of a stream, whose channel cannot be asked.
    var unsentOfStream = 0
    /// What of this connection's body stands in the node's count of those it holds: until the request is answered, for
    /// until then another candidate may need it.
    private var counted = 0
    /// Why the request that comes next did not become a WebSocket.
    private var upgradeRefusal: MeshError?
    /// The page of another origin that reads the answer under way.
    var readingOrigin: String?
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
        case is ChannelShouldQuiesceEvent: perform(machine.quiesced())
        case ChannelEvent.inputClosed: perform(machine.inputClosed())
        case let refused as UpgradeRefused: upgradeRefusal = refused.error
        default: context.fireUserInboundEventTriggered(event)
        }
    }

    package func channelWritabilityChanged(context: ChannelHandlerContext) {
        let isWritable = context.channel.isWritable
        if isWritable, let exchange = running?.exchange { exchange.writable() }
        perform(machine.writabilityChanged(isWritable))
        context.fireChannelWritabilityChanged()
    }

    // MARK: Reading

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) { received(unwrapInboundIn(data)) }

    package func received(_ part: HTTPServerRequestPart) {
        let now = SystemClock.instant
        switch part {
        case .head(var head):
            guard machine.headArrived(.init(head), now: now) == .judge else { return }
            // To set it copies the head.
            let target = RequestTarget.originForm(head.uri)
            if target != head.uri { head.uri = target }
            version = head.version
            trace = RequestTrace(head, at: now)
            readingOrigin = shared.crossOrigin.reader(of: head)
            let judgement = RequestJudgement.of(
                head, upgradeRefusal: upgradeRefusal, from: carrier.place, memory, shared)
            upgradeRefusal = nil
            arriving = Arriving(head: head, hot: judgement.hot, refusal: judgement.refusal)
            perform(machine.judged(judgement.verdict))
        case .body(let bytes): bodyArrived(bytes, machine.bodyArrived(bytes.readableBytes, now: now))
        case .end: perform(machine.requestEnded(now: now))
        }
    }

    private func bodyArrived(_ bytes: ByteBuffer, _ action: StateMachine.Action?) {
        if action == .keep {
            if arriving?.bytes.readableBytes == 0 {
                arriving?.bytes = bytes
            } else {
                arriving?.bytes.writeImmutableBuffer(bytes)
            }
            perform(machine.kept(fits: count(arriving?.bytes.readableBytes ?? 0)))
        } else if action == .pass {
            guard let flow = uploading?.flow else { return }
            do throws(MeshError) { try uploading?.check.pass(bytes) } catch { return uploadBroke(error) }
            flow.arrived(bytes)
            _ = count(flow.heldBytes)
        } else {
            perform(action)
        }
    }

    private func perform(_ action: StateMachine.Action?) {
        switch action {
        case .sendContinue:
            write(.head(HTTPResponseHead(version: version, status: .continue)))
            flushSoon()
        case .decide: decide()
        case .refuse(let refusal): refuse(refusal)
        case .answerRefusal: if let error = arriving?.refusal { answer(error, arriving?.refusalFields ?? []) }
        case .answer: startAnswer()
        case .endUpload:
            do throws(MeshError) { try uploading?.check.end() } catch { return uploadBroke(error) }
            uploading?.flow.ended()
        case .answerTimeout: answer(MeshError(.requestTimeout, "the request body did not arrive in time"))
        case .refuseUpload:
            running?.refuse(MeshError(.requestTimeout, "the rest of the request body did not arrive in time"))
        case .keepAlive: running?.keepAlive()
        case .read(let isReading): setReading(isReading)
        case .close: context?.close(promise: nil)
        // Done where the head and the bytes are.
        case .judge, .keep, .pass, nil: break
        }
    }

    private func refuse(_ refusal: StateMachine.Refusal) {
        guard let request = arriving else { return }
        let route = request.hot?.route
        switch refusal {
        case .tooLarge: fails(RequestBounds.tooLarge(request.head, route))
        case .noRoom: fails(RequestBounds.noRoom)
        case .needsUpload: fails(RequestBounds.needsUpload(route))
        }
    }

    /// The request is read to its end, unkept.
    private func fails(_ error: MeshError) {
        arriving?.refusal = error
        arriving?.bytes = ByteBuffer()
        _ = count(0)
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
    private func decide() {
        guard let request = arriving, let hot = request.hot else { return }
        let principal = shared.principal(hot.caller)
        do throws(MeshError) {
            // What is to be known again has to be whole.
            guard try IdempotencyKey.of(request.head) == nil,
                var work = try shared.upload(hot.route, request.head, beginning: request.bytes, principal)
            else {
                return perform(machine.staysCollected())
            }
            let admission: Admission?
            do throws(QuotaRefused) {
                var destination = Destination.route(work.route)
                admission = try shared.admit(work.request, &destination, hot, from: carrier.place)
                if case .route(let route) = destination { work.route = route }
            } catch {
                arriving?.refusalFields = error.fields
                throw error.error
            }
            machine.uploadBegan()
            arriving?.bytes = ByteBuffer()
            startUpload(work, hot.caller, admission)
        } catch {
            machine.refused()
            fails(error)
        }
    }

    private func startUpload(_ work: UploadWork, _ caller: Caller, _ admission: Admission?) {
        guard let context else { return }
        let flow = UploadFlow(
            eventLoop: context.eventLoop, held: work.beginning,
            setReading: { [weak self] isReading in
                self?.machine.uploadSteered(reads: isReading)
                self?.setReading(isReading)
            })
        uploading = Uploading(flow: flow, check: work.check)
        start(work.request, .route(work.route), caller, admission, upload: flow)
    }

    private func uploadBroke(_ error: MeshError) {
        machine.uploadBroke()
        running?.refuse(error)
    }

    private func setReading(_ isReading: Bool) {
        guard let context else { return }
        context.channel.setOption(.autoRead, value: isReading).whenFailure { _ in }
        // A socket begins to read when it is allowed to; a stream has to be told.
        if isReading, carrier.kind == .stream { context.channel.read() }
    }

    /// A body that came compressed is kept as it was before.
    private func unpack() throws(MeshError) {
        guard let request = arriving, let bytes = try BodyEncoding.unpacked(request.bytes, request.head, request.hot)
        else { return }
        arriving?.bytes = bytes
        guard count(bytes.readableBytes) else { throw RequestBounds.noRoom }
    }

    // MARK: Inference

    private func startAnswer() {
        do throws(MeshError) { try unpack() } catch { return answer(error) }
        guard let request = arriving else { return }
        guard let hot = request.hot else { return startCold(request.head, request.bytes) }
        do throws(MeshError) {
            let principal = shared.principal(hot.caller)
            if case .countTokens(let dialect) = hot.route.call {
                let bytes = try shared.named(request.bytes, hot)
                return answer(try shared.counted(bytes, in: dialect, principal))
            }
            var once: IdempotentRequest?
            switch try shared.idempotency(hot, request.head, request.bytes) {
            case .first(let first)?: once = first
            case .replay(let kept)?:
                return answer(Response(kept), requestID: RequestID.make(&dice), isHead: false, code: nil)
            case .refused(let error)?: throw error
            case nil: break
            }
            var work = try shared.work(hot, request.head, request.bytes, principal)
            do throws(QuotaRefused) {
                let admission = try shared.admit(work.request, &work.destination, hot, from: carrier.place)
                start(
                    work.request, work.destination, hot.caller, admission, translation: work.translation,
                    otherForm: work.otherForm, once: once)
            } catch { answer(error.error, error.fields) }
        } catch { answer(error) }
    }

    private func start(
        _ request: WorkRequest, _ destination: Destination, _ caller: Caller, _ admission: Admission?,
        upload: UploadFlow? = nil, translation: Translation? = nil,
        otherForm: (@Sendable () throws(MeshError) -> BuyerWork)? = nil, once: IdempotentRequest? = nil
    ) {
        guard let context else { return }
        guard machine.exchangeBegins(isDraining: shared.isDraining) else {
            return answer(MeshError(.draining, "this node is shutting down; use another node", retryAfterSeconds: 5))
        }
        // The exchange has what it needs of it.
        let head = arriving?.head
        let dialect = arriving?.hot?.route.dialect ?? .chat
        arriving = nil
        let requestID = RequestID.make(&dice)
        let asker = Asker(principal: shared.principal(caller), requestID: requestID, once: once?.mark.key)
        let answer = BuyerAnswer(
            handler: self, requestID: requestID, request, in: dialect, translation, upload: upload, once: once,
            metadata: head.flatMap { shared.metadata($0, request, destination, for: asker) },
            meter: RequestMeter(
                request, requestID: requestID, model: destination.model, for: caller, admission, shared.usage,
                shared.market.policies))
        running = answer
        trace.begins(requestID, request, buyer: caller.username, model: destination.model)
        shared.requests.began()
        let (gateway, eventLoop) = (shared, context.eventLoop)
        let first = gateway.exchange(
            request, to: destination, for: asker, upload: upload, writer: answer, eventLoop: eventLoop)
        guard let otherForm else { return answer.begin(first) }
        answer.begin(first) { answer throws(MeshError) in
            let work = try otherForm()
            let second = gateway.exchange(
                work.request, to: destination, for: asker, upload: nil, writer: answer, eventLoop: eventLoop)
            return (work, second)
        }
    }

    /// The answer is written; the connection takes the next request.
    func answerIsOver() {
        guard running != nil else { return }
        running = nil
        shared.requests.ended()
        responseEnded()
    }

    /// The answer broke off where no error can be written any more.
    func cutOff() {
        _ = count(0)
        flushNow()
        guard running != nil else { return }
        running = nil
        shared.requests.ended()
        trace.end(shared)
        perform(machine.answerBroke())
    }

    /// The buyer does not read its stream: the connection ends with it.
    func closeAfterStream() {
        machine.closesBehindAnswer()
        answerIsOver()
    }

    // MARK: Everything else

    private func startCold(_ head: HTTPRequestHead, _ bytes: ByteBuffer) {
        guard let context, let (segments, query) = RequestPath.parse(head.uri) else {
            return answer(MeshError(.notFound, "there is nothing at this path"))
        }
        guard shared.coldInFlight.load(ordering: .relaxed) < Limits.coldRoutesAtOnce else {
            return answer(
                MeshError(.rateLimited, "too many requests at once; try again shortly", retryAfterSeconds: 1))
        }
        let requestID = RequestID.make(&dice)
        let isHead = head.method == .HEAD
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

    /// The request fails where nobody was asked.
    private func answer(_ error: MeshError, _ fields: [(name: String, value: String)] = []) {
        let requestID = RequestID.make(&dice)
        let dialect = arriving.map { Dialect(uri: $0.head.uri, $0.head.headers) } ?? .chat
        var response = Response.error(error, requestID: requestID, in: dialect)
        response.headers += fields
        // The answer to a HEAD has no body, or the next answer would begin inside it.
        answer(
            response, requestID: requestID, isHead: arriving?.head.method == .HEAD,
            code: error.code)
    }

    private func answer(_ response: Response) {
        answer(response, requestID: RequestID.make(&dice), isHead: false, code: nil)
    }

    // MARK: Writing

    private func answer(_ response: Response, requestID: String, isHead: Bool, code: ErrorCode?) {
        trace.answers(requestID, code, response.code, shared.metrics)
        let headers = AnswerHeaders(response.headers)
        headers.add(name: "x-request-id", value: requestID)
        if let head = arriving?.head, Dialect(uri: head.uri, head.headers) == .messages {
            headers.add(name: "request-id", value: requestID)
        }
        if response.status != 204 { headers.add(name: "content-length", value: String(response.body.count)) }
        writeHead(status: response.status, headers: headers)
        if !isHead, !response.body.isEmpty { write(.body(.byteBuffer(ByteBuffer(bytes: response.body)))) }
        responseEnded()
    }

    private func responseEnded() {
        let ending = machine.answerEnded(now: SystemClock.instant)
        arriving = nil
        uploading = nil
        trace.end(shared)
        guard let context else { return }
        _ = count(0)
        if ending.startsReading { setReading(true) }
        guard let lingerMs = ending.closesAfterMs else { return end(context, nil) }
        let sent = context.eventLoop.makePromise(of: Void.self)
        let channel = context.channel
        sent.futureResult.whenComplete { _ in
            channel.eventLoop.scheduleTask(in: .milliseconds(lingerMs)) { channel.close(promise: nil) }
        }
        end(context, sent)
    }

    // MARK: Time and end

    /// Looks every few seconds for what takes too long: an idle connection, a request that trickles in, a buyer
    /// who does not read; and tells a waiting stream that it is still alive.
    private func schedulePatrol(_ context: ChannelHandlerContext) {
        let interval = TimeAmount.milliseconds(Limits.connectionPatrolMs)
        timer = context.eventLoop.assumeIsolated().scheduleTask(in: interval) { [weak self] in
            guard let self, let context = self.context else { return }
            let unsent = self.carrier.kind == .stream ? self.unsentOfStream : context.channel.unsentSocketBytes
            self.perform(
                self.machine.patrol(
                    unsent: unsent, isStarving: self.uploading?.flow.isStarving ?? false, now: SystemClock.instant))
            if context.channel.isActive { self.schedulePatrol(context) }
        }
    }

    private func ended() {
        _ = count(0)
        timer?.cancel()
        timer = nil
        context = nil
        arriving = nil
        uploading = nil
        machine.left()
        let answer = running
        running = nil
        if let answer {
            shared.requests.ended()
            answer.buyerLeft()
        }
        trace.end(shared, hasLeft: answer != nil)
    }
}
