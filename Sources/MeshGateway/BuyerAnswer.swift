import MeshDialects
import MeshExchange
import MeshModel
import MeshRouting
import MeshRuntime
import MeshWire
import NIOCore
import NIOHTTP1

/// Writes the answer to one inference request of a buyer, as HTTP and in the words of OpenAI's API.
///
/// Nothing is written before the first content or final answer, so every failure before it is a real status code,
/// or no failure at all when another place answers (`Exchange`). Lives on the connection's event loop.
final class BuyerAnswer: AnswerWriter {
    let requestID: String
    /// What of the request is still on its way from the buyer.
    private let upload: UploadFlow?
    private let form: AnswerForm
    private let handler: GatewayHandler
    private let started = SystemClock.instant
    /// It knows this answer until all is told.
    private(set) var exchange: Exchange?
    /// Whether the head that was written is one of a stream of events: only there this node may put in words.
    private var isEventStream = false
    private var hasHead = false
    private var meter: RequestMeter
    /// Keeps the answer, where the buyer gave an idempotency key.
    private let once: IdempotentRequest?
    /// What is told in the answer of its way, where the buyer asked for that.
    private var metadata: RouterMetadata?
    private var tail: ObjectTail?
    /// The buyer has left, and may come again for the answer: it goes on without a connection.
    private var isDetached = false

    init(
        handler: GatewayHandler, requestID: String, form: AnswerForm, upload: UploadFlow?, once: IdempotentRequest?,
        metadata: RouterMetadata?, meter: RequestMeter
    ) {
        self.metadata = metadata
        self.once = once
        self.meter = meter
        self.handler = handler
        self.requestID = requestID
        self.form = form
        self.upload = upload
    }

    func begin(_ exchange: Exchange) {
        self.exchange = exchange
        exchange.start()
    }

    // MARK: What comes of it

    var isWritable: Bool { isDetached || handler.isWritable }

    func answerIsPending() {}

    func answerBegan(_ head: AnswerHead, from source: AnswerSource) {
        hasHead = true
        meter.began(head)
        isEventStream = form == .events && head.isEventStream && head.status < 400
        trace(source)
        if head.status >= 400 { handler.trace.code = .workerError }
        var headers = responseHeaders(head.contentType, source)
        for field in head.fields {
            guard let value = RetryAfter.bounded(field) else { continue }
            headers.add(name: field.name, value: value)
        }
        if isEventStream {
            headers.add(name: "cache-control", value: "no-store")
            headers.add(name: "x-accel-buffering", value: "no")
        } else if metadata != nil, head.status < 400, head.contentType.hasPrefix("application/json") {
            // Its end is put off, and its length with it.
            tail = ObjectTail()
        } else if let length = head.length {
            headers.add(name: "content-length", value: String(length))
        }
        if head.status == 429 || head.status == 503, !headers.contains(name: "retry-after") {
            headers.add(name: "retry-after", value: "2")
        }
        once?.began(status: head.status, fields: headers.map { ($0.name, $0.value) })
        if !isDetached { handler.writeHead(status: head.status, headers: headers) }
    }

    func answerContinued(_ bytes: ByteBuffer) {
        meter.delivered(bytes)
        guard tail != nil else { return deliver(bytes) }
        if let passed = tail?.pass(bytes.readableBytesView), !passed.isEmpty { deliver(ByteBuffer(bytes: passed)) }
    }

    private func deliver(_ bytes: ByteBuffer) {
        once?.delivered(bytes)
        guard !isDetached else { return }
        handler.shared.metrics.delivered(bytes.readableBytes)
        handler.write(.body(.byteBuffer(bytes)))
    }

    func markOfResumption(from source: AnswerSource) -> ByteBuffer {
        guard let place = source.place else { return ByteBuffer() }
        trace(source)
        return ByteBuffer(
            bytes: OpenAIStream.resumed(
                provider: place.provider.fullName, node: nodeName(place), worker: place.worker,
                attempt: source.attempts))
    }

    func flush() { handler.flushSoon() }

    func answerEnded(_ totals: AnswerTotals) {
        upload?.discard()
        counted(totals, handler.trace.code, exchange?.source)
        tellMetadata(isInBody: totals.isInBody)
        if isEventStream, !totals.isInBody { answerContinued(ByteBuffer(bytes: OpenAIStream.done)) }
        once?.ended(totals)
        finish()
    }

    func answerFailed(_ error: MeshError, from source: AnswerSource) {
        trace(source)
        failed(error)
        counted(nil, error.code, source)
        once?.failed(error.code)
        guard !isDetached else { return finish() }
        guard hasHead else { return refuse(error, source) }
        guard isEventStream else { return cutOff() }
        // Content is out: the failure is the stream's last event, never silence.
        answerContinued(ByteBuffer(bytes: OpenAIStream.failure(error, requestID: requestID)))
        finish()
    }

    func answerWasCut(closing: ByteBuffer?) {
        let error = MeshError(.streamTooSlow, "the stream was cut because it was not read for too long")
        failed(error)
        counted(nil, error.code, exchange?.source)
        once?.failed(error.code)
        guard isEventStream, let closing else { return cutOff() }
        upload?.revoke()
        exchange = nil
        handler.write(.body(.byteBuffer(closing)))
        handler.write(.body(.byteBuffer(ByteBuffer(bytes: OpenAIStream.failure(error, requestID: requestID)))))
        handler.closeAfterStream()
    }

    /// Of streams only those that end with `[DONE]` have a place for it.
    private func tellMetadata(isInBody: Bool) {
        guard let metadata, hasHead, let source = exchange?.source else { return }
        let served = source.place.map {
            RouterMetadata.Endpoint(model: $0.model ?? metadata.requested, provider: $0.provider.fullName)
        }
        let document = metadata.document(
            served: served, status: 200, attempt: source.attempts,
            region: handler.shared.catalog.current.node(handler.shared.identity.key)?.region ?? "",
            milliseconds: SystemClock.instant.milliseconds(since: started))
        if isEventStream {
            if !isInBody { deliver(ByteBuffer(bytes: RouterMetadata.chunk(document))) }
        } else if let end = tail?.end(adding: RouterMetadata.name, document), !end.isEmpty {
            deliver(ByteBuffer(bytes: end))
        }
    }

    private func counted(_ totals: AnswerTotals?, _ code: ErrorCode?, _ source: AnswerSource?) {
        meter.ended(
            .init(totals: totals, code: code, source: source, node: source?.place.map(nodeName) ?? ""))
    }

    private func failed(_ error: MeshError) {
        handler.shared.metrics.failed(error.code)
        handler.trace.code = error.code
    }

    private func refuse(_ error: MeshError, _ source: AnswerSource) {
        let response = Response.error(error, requestID: requestID)
        var headers = responseHeaders("application/json", source)
        for (name, value) in response.headers where name != "content-type" { headers.add(name: name, value: value) }
        headers.add(name: "content-length", value: String(response.body.count))
        handler.writeHead(status: response.status, headers: headers)
        handler.write(.body(.byteBuffer(ByteBuffer(bytes: response.body))))
        finish()
    }

    private func finish() {
        upload?.revoke()
        exchange = nil
        handler.answerIsOver()
    }

    private func cutOff() {
        upload?.revoke()
        exchange = nil
        handler.cutOff()
    }

    private func responseHeaders(_ contentType: String, _ source: AnswerSource) -> HTTPHeaders {
        var headers = HTTPHeaders()
        headers.reserveCapacity(8)
        headers.add(name: "content-type", value: contentType)
        headers.add(name: "x-request-id", value: requestID)
        if let place = source.place {
            headers.add(name: "aisbf-provider", value: place.provider.fullName)
            headers.add(name: "aisbf-node", value: nodeName(place))
            if let worker = place.worker { headers.add(name: "aisbf-worker", value: worker) }
        }
        if let hold = meter.hold {
            for field in RateLimitFields.of(hold) { headers.add(name: field.name, value: field.value) }
        }
        headers.add(name: "aisbf-attempts", value: String(source.attempts))
        let elapsed = SystemClock.instant.milliseconds(since: started)
        headers.add(name: "server-timing", value: "first;dur=\(elapsed)")
        return headers
    }

    /// Tells the log and the metrics who answers, or whose failure it is.
    private func trace(_ source: AnswerSource) {
        guard let place = source.place else { return }
        handler.trace.attempts(place, at: nodeName(place), number: source.attempts)
    }

    private func nodeName(_ place: any Place) -> String {
        place.node.map { place.provider.nodeName($0) } ?? handler.shared.identity.name
    }

    // MARK: What the buyer does

    /// The request turned out to be none while it arrived.
    func refuse(_ error: MeshError) {
        let exchange = exchange
        exchange?.refuse(error)
    }

    func buyerLeft() {
        guard let exchange else { return }
        trace(exchange.source)
        guard once == nil || upload != nil else {
            // Whoever comes again with the key gets the answer. What holds this object until then is the exchange.
            isDetached = true
            return exchange.writable()
        }
        counted(nil, .clientClosed, exchange.source)
        upload?.revoke()
        self.exchange = nil
        exchange.cancel()
    }

    /// Nothing was written for a while.
    func keepAlive() {
        guard isEventStream, !isDetached, handler.isWritable, exchange?.isBetweenEvents ?? false else { return }
        // One line end: a blank line behind it would be an event without data, which some programs take for one. Only
        // whole events and lines go out here, so that it stands between them.
        handler.write(.body(.byteBuffer(ByteBuffer(string: ": waiting\n"))))
        handler.flushNow()
    }
}
