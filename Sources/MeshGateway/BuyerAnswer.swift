import MeshDialects
import MeshExchange
import MeshModel
import MeshRouting
import MeshRuntime
import MeshWire
import NIOCore
import NIOHTTP1

/// Writes the answer to one inference request of a buyer, as HTTP and in the words of its dialect.
///
/// Nothing is written before the first content or final answer, so every failure before it is a real status code,
/// or no failure at all when another place answers (`Exchange`). Lives on the connection's event loop.
final class BuyerAnswer: AnswerWriter {
    let requestID: String
    /// What of the request is still on its way from the buyer.
    private let upload: UploadFlow?
    private var form: AnswerForm
    let dialect: Dialect
    private let mayRepeat: Bool
    let handler: GatewayHandler
    private let started = SystemClock.instant
    /// It knows this answer until all is told.
    private(set) var exchange: Exchange?
    /// Whether the head that was written is one of a stream of events: only there this node may put in words.
    private var isEventStream = false
    private var hasHead = false
    /// What becomes of bytes that are not passed on as they come.
    private var detour = AnswerDetour.none
    private var translation: Translation?
    /// Asks those who take the request in another form; nil where there are none, or they were asked.
    private var askOthers: ((BuyerAnswer) throws(MeshError) -> (BuyerWork, Exchange))?
    /// Candidates that were asked in the first form.
    private var earlierAttempts = 0
    private var meter: RequestMeter
    /// Keeps the answer, where the buyer gave an idempotency key.
    private let once: IdempotentRequest?
    /// What is told in the answer of its way, where the buyer asked for that.
    private var metadata: RouterMetadata?
    private var tail: ObjectTail?
    /// The buyer has left, and may come again for the answer: it goes on without a connection.
    private var isDetached = false

    init(
        handler: GatewayHandler, requestID: String, _ request: WorkRequest, in dialect: Dialect,
        _ translation: Translation?, upload: UploadFlow?, once: IdempotentRequest?,
        metadata: RouterMetadata?, meter: RequestMeter
    ) {
        self.translation = translation
        form = request.form
        mayRepeat = request.mayRepeat
        self.dialect = dialect
        self.metadata = metadata
        self.once = once
        self.meter = meter
        self.handler = handler
        self.requestID = requestID
        self.upload = upload
    }

    /// - Parameter others: asks those who take the request in another form, where nobody answers in the first.
    func begin(
        _ exchange: Exchange, others: ((BuyerAnswer) throws(MeshError) -> (BuyerWork, Exchange))? = nil
    ) {
        askOthers = others
        self.exchange = exchange
        exchange.start()
    }

    /// - Parameter answering: the exchange whose answer is not wanted; nil where there is none.
    /// - Returns: whether others are asked in place of those who failed.
    private func asksOthers(after code: ErrorCode, attempts: Int, leaving answering: Exchange? = nil) -> Bool {
        guard !hasHead, code.retry != .never, let askOthers else { return false }
        self.askOthers = nil
        do throws(MeshError) {
            let (work, exchange) = try askOthers(self)
            answering?.cancel()
            form = work.request.form
            translation = work.translation
            detour = .none
            earlierAttempts = attempts
            meter.asksAgain(work.request)
            self.exchange = exchange
            exchange.start()
            return true
        } catch { return false }
    }

    // MARK: What comes of it

    var isWritable: Bool { isDetached || handler.isWritable }

    func answerIsPending() {}

    func answerBegan(_ head: AnswerHead, from source: AnswerSource) {
        trace(source)
        // Whose server is broken or full has done nothing: those who take the request in another form may.
        if head.status >= 500 || head.status == 429,
            asksOthers(after: .workerUnavailable, attempts: source.attempts, leaving: exchange)
        {
            return
        }
        meter.began(head)
        if head.status >= 400 {
            handler.trace.code = .workerError
            if dialect.mayReword(status: head.status) {
                detour = .refusal(HeldRefusal(head))
                return
            }
        } else if let translation {
            guard form == .events, head.isEventStream else {
                detour = .document(head, ByteBuffer())
                return
            }
            detour = .events(translation.stream(requestID, served: source.place?.model))
        }
        writeHead(head, source)
    }

    private func writeHead(_ head: AnswerHead, _ source: AnswerSource) {
        hasHead = true
        isEventStream = form == .events && head.isEventStream && head.status < 400
        if isEventStream, translation == nil {
            if let passed = dialect.passed(requestID) { detour = .passed(passed) }
            if let form = meter.completion { detour = .letter(ChatLetter(form, choices: meter.choices)) }
        }
        let headers = responseHeaders(head.contentType, source)
        var passed: [HeaderField] = []
        for field in head.fields {
            guard let value = RetryAfter.bounded(field) else { continue }
            headers.add(name: field.name, value: value)
            if head.status >= 400 { passed.append(HeaderField(field.name, value)) }
        }
        if isEventStream {
            headers.add(name: "cache-control", value: "no-store")
            headers.add(name: "x-accel-buffering", value: "no")
        } else if metadata != nil, translation == nil, head.status < 400, head.contentType.hasPrefix("application/json")
        {
            // Its end is put off, and its length with it.
            tail = ObjectTail()
        } else if let length = head.length {
            headers.add(name: "content-length", value: String(length))
        }
        if head.status >= 400 {
            for field in RetryContract(status: head.status, passed).fields where !headers.contains(name: field.name) {
                headers.add(name: field.name, value: field.value)
            }
        }
        once?.began(status: head.status, fields: headers.fields)
        if !isDetached { handler.writeHead(status: head.status, headers: headers) }
    }

    func answerContinued(_ bytes: ByteBuffer) {
        meter.delivered(bytes)
        guard case .none = detour else { return take(bytes) }
        guard tail != nil else { return deliver(bytes) }
        if let passed = tail?.pass(bytes.readableBytesView), !passed.isEmpty { deliver(ByteBuffer(bytes: passed)) }
    }

    private func take(_ bytes: ByteBuffer) {
        switch detour {
        case .none: deliver(bytes)
        case .passed(var stream):
            detour = .none
            let mended = bytes.withUnsafeReadableBytes { stream.mended($0) }
            detour = .passed(stream)
            if mended?.isEmpty != true { deliver(mended.map { ByteBuffer(bytes: $0) } ?? bytes) }
            if let failure = stream.failure { breakOff(failure) }
        case .letter(var letter):
            detour = .none
            let mended = bytes.withUnsafeReadableBytes { letter.mended($0) }
            detour = .letter(letter)
            if mended?.isEmpty != true { deliver(mended.map { ByteBuffer(bytes: $0) } ?? bytes) }
            if let failure = letter.failure { breakOff(failure) }
        case .refusal(var refusal):
            // Taken out so that it grows in its place.
            detour = .none
            refusal.append(bytes)
            if refusal.isTooLong { pass(refusal) } else { detour = .refusal(refusal) }
        case .events(var stream):
            detour = .none
            do throws(MeshError) {
                let translated = try stream.append(Array(bytes.readableBytesView))
                detour = .events(stream)
                if !translated.isEmpty { deliver(ByteBuffer(bytes: translated)) }
            } catch {
                detour = .events(stream)
                breakOff(error)
            }
        case .document(let head, var body):
            detour = .none
            body.writeImmutableBuffer(bytes)
            detour = .document(head, body)
            if body.readableBytes > Limits.translatedAnswerBytes {
                breakOff(MeshError(.workerBadAnswer, "the worker's answer is longer than this node translates"))
            }
        }
    }

    /// What the worker sends cannot be told in the buyer's dialect.
    private func breakOff(_ error: MeshError) {
        guard let exchange else { return }
        let source = exchange.source
        exchange.cancel()
        answerFailed(error, from: source)
    }

    /// The end of an answer that was held, or is translated; what is counted of it is counted.
    /// - Returns: whether something else was answered in its place.
    private func endDetour(_ totals: AnswerTotals) -> Bool {
        guard let source = exchange?.source else { return false }
        let ended = detour
        detour = .none
        switch ended {
        case .none, .passed, .letter: break
        case .refusal(let refusal):
            let answer = refusal.answer(in: dialect, requestID: requestID)
            writeHead(answer.head, source)
            deliver(answer.body)
        case .events(var stream):
            deliver(ByteBuffer(bytes: stream.finish(totals, outputTokens: meter.countedTokens())))
        case .document(var head, let body):
            guard let translation else { return false }
            let answer = translation.document(
                of: Array(body.readableBytesView), requestID, served: source.place?.model,
                outputTokens: meter.countedTokens())
            switch answer {
            case .success(let message):
                head.contentType = "application/json"
                head.length = message.count
                writeHead(head, source)
                deliver(ByteBuffer(bytes: message))
            case .failure(let error):
                failed(error)
                refuse(error, source)
                return true
            }
        }
        return false
    }

    /// Nobody looks at more of it: it goes on as it comes.
    private func pass(_ refusal: HeldRefusal) {
        guard let source = exchange?.source else { return }
        writeHead(refusal.head, source)
        deliver(refusal.body)
    }

    private func deliver(_ bytes: ByteBuffer) {
        once?.delivered(bytes)
        guard !isDetached else {
            if once?.isTooLarge ?? false { abandon() }
            return
        }
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
        // Whoever ends an answer without having told its end has broken it off.
        if case .passed(let stream) = detour, let flaw = stream.flaw(), let source = exchange?.source {
            return answerFailed(flaw, from: source)
        }
        upload?.discard()
        counted(totals, handler.trace.code, exchange?.source)
        if detour.isTaken, endDetour(totals) {
            once?.failed(.workerBadAnswer)
            return
        }
        if case .letter(var letter) = detour {
            detour = .none
            // One that tells its end itself and did not is not made whole here.
            let rest = totals.isInBody ? letter.release() : letter.end()
            if !rest.isEmpty { deliver(ByteBuffer(bytes: rest)) }
        }
        let hasMark = isEventStream && !totals.isInBody && dialect == .chat
        if hasMark, let usage = meter.usageEvent(totals) { deliver(ByteBuffer(bytes: usage)) }
        tellMetadata(isInBody: totals.isInBody)
        if hasMark { deliver(ByteBuffer(bytes: dialect.end)) }
        once?.ended(totals)
        finish()
    }

    func answerFailed(_ error: MeshError, from source: AnswerSource) {
        trace(source)
        if asksOthers(after: error.code, attempts: source.attempts) { return }
        failed(error)
        // Of an answer that was held nobody has had anything.
        if !hasHead { meter.withdrawn() }
        counted(nil, error.code, source)
        once?.failed(error.code)
        guard !isDetached else { return finish() }
        guard hasHead else { return refuse(error, source) }
        guard isEventStream else { return cutOff() }
        // Content is out: the failure is the stream's last event, never silence.
        deliver(ByteBuffer(bytes: failureEvent(error)))
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
        // What is translated goes out in whole events only.
        if !detour.isTaken { handler.write(.body(.byteBuffer(closing))) }
        handler.write(.body(.byteBuffer(ByteBuffer(bytes: failureEvent(error)))))
        handler.closeAfterStream()
    }

    /// The last event of a stream that broke off.
    private func failureEvent(_ error: MeshError) -> [UInt8] {
        switch detour {
        case .events(var stream):
            detour = .none
            return stream.failure(error)
        case .passed(var stream):
            detour = .none
            return stream.failureEvent(error, requestID: requestID)
        case .letter(var letter): return letter.release() + dialect.failureEvent(error, requestID: requestID)
        case .none, .refusal, .document: return dialect.failureEvent(error, requestID: requestID)
        }
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
            if !isInBody, dialect == .chat { deliver(ByteBuffer(bytes: RouterMetadata.chunk(document))) }
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
        guard !isDetached else { return finish() }
        // Told in a frame of the worker protocol, or in the first event of a stream.
        let isOverflow =
            error.code == .workerError && ContextWords.tellOfLength(error.message, status: error.statusOverride ?? 400)
        let error = isOverflow ? MeshError(.contextOverflow, error.message) : error
        let response = Response.error(error, requestID: requestID, in: dialect, mayRepeat: mayRepeat)
        let headers = responseHeaders("application/json", source)
        for (name, value) in response.headers where name != "content-type" { headers.add(name: name, value: value) }
        headers.add(name: "content-length", value: String(response.body.count))
        handler.writeHead(status: response.status, headers: headers)
        handler.write(.body(.byteBuffer(ByteBuffer(bytes: response.body))))
        finish()
    }

    private func finish() {
        upload?.revoke()
        exchange = nil
        askOthers = nil
        handler.answerIsOver()
    }

    private func cutOff() {
        upload?.revoke()
        exchange = nil
        handler.cutOff()
    }

    private func responseHeaders(_ contentType: String, _ source: AnswerSource) -> AnswerHeaders {
        let headers = AnswerHeaders()
        headers.add(name: "content-type", value: contentType)
        headers.add(name: "x-request-id", value: requestID)
        // As Anthropic's programs look for it.
        if dialect == .messages { headers.add(name: "request-id", value: requestID) }
        if let place = source.place {
            headers.add(name: "aisbf-provider", value: place.provider.fullName)
            headers.add(name: "aisbf-node", value: nodeName(place))
            if let worker = place.worker { headers.add(name: "aisbf-worker", value: worker) }
        }
        if let hold = meter.hold {
            for field in RateLimitFields.of(hold) { headers.add(name: field.name, value: field.value) }
        }
        if let translation { translation.add(to: headers) }
        headers.add(name: "aisbf-attempts", value: String(earlierAttempts + source.attempts))
        if let wait = source.wait {
            headers.add(name: "aisbf-queue", value: "position=\(wait.position); waited_ms=\(wait.milliseconds)")
        }
        let elapsed = SystemClock.instant.milliseconds(since: started)
        headers.add(name: "server-timing", value: "first;dur=" + String(elapsed))
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
        guard once?.isTooLarge ?? true || upload != nil else {
            // Whoever comes again with the key gets the answer. What holds this object until then is the exchange.
            isDetached = true
            return exchange.writable()
        }
        counted(nil, .clientClosed, exchange.source)
        upload?.revoke()
        self.exchange = nil
        exchange.cancel()
    }

    /// The buyer has left, and the answer is too long to be kept for him: nobody would get it.
    private func abandon() {
        guard let exchange else { return }
        counted(nil, .clientClosed, exchange.source)
        once?.failed(.clientClosed)
        exchange.cancel()
        finish()
    }

    /// Nothing was written for a while.
    func keepAlive() {
        guard isEventStream, !isDetached, handler.isWritable, exchange?.isBetweenEvents ?? false else { return }
        // Only whole events and lines go out here, so that it stands between them.
        handler.write(.body(.byteBuffer(ByteBuffer(bytes: keepAliveEvent()))))
        handler.flushNow()
    }

    private func keepAliveEvent() -> [UInt8] {
        switch detour {
        case .events(var stream):
            detour = .none
            defer { detour = .events(stream) }
            return stream.keepAlive()
        case .passed(var stream):
            detour = .none
            defer { detour = .passed(stream) }
            return stream.keepAlive()
        case .none, .letter, .refusal, .document: return dialect.keepAlive(after: [])
        }
    }
}
