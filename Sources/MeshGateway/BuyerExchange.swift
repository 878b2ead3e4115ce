import MeshDialects
import MeshExchange
import MeshModel
import MeshRouting
import MeshRuntime
import MeshSessions
import MeshWire
import NIOCore
import NIOHTTP1
import Synchronization

/// One inference request of a buyer: passes the answer on with back-pressure.
///
/// Nothing is written before the first content or final answer, so every failure before it is a real status code,
/// or no failure at all when another candidate answers (`Pursuit`).
final class BuyerExchange: AnswerReceiver {
    private struct State {
        /// Who sees to it that somebody answers. It knows this exchange until all is told.
        var pursuit: Pursuit?
        /// The head of the answer, once it is on its way to the buyer.
        var head: AnswerHead?
        /// What came of a stream of events from another node.
        var events = WholeEvents()
        /// Whether what the buyer's connection was given ends where an event does.
        var endsEvent = true
        var isPaused = false
        var blockedSince: Instant?
        /// Since when more waits for the buyer than a stream may hold.
        var overSince: Instant?
        /// What a slow buyer has not taken yet, and how much of it came in one piece.
        var held = ByteQueue()
        var largest = 0
        var isComplete = false
        var isOver = false
    }

    let requestID: String
    private let principal: Principal
    private let route: Route
    private let request: WorkRequest
    /// What of the request is still on its way from the buyer.
    private let upload: UploadFlow?
    let eventLoop: any EventLoop
    private let handler: NIOLoopBound<GatewayHandler>
    private let state: NIOLoopBoundBox<State>
    private let started = SystemClock.instant

    init(
        handler: GatewayHandler, eventLoop: any EventLoop, requestID: String, principal: Principal, route: Route,
        request: WorkRequest, upload: UploadFlow? = nil
    ) {
        self.upload = upload
        self.handler = NIOLoopBound(handler, eventLoop: eventLoop)
        self.eventLoop = eventLoop
        self.requestID = requestID
        self.principal = principal
        self.route = route
        self.request = request
        state = NIOLoopBoundBox(State(), eventLoop: eventLoop)
    }

    func start() {
        let pursuit = handler.value.shared.dispatcher.pursue(
            request, on: route, principal: principal, requestID: requestID, upload: upload, receiver: self)
        state.value.pursuit = pursuit
        pursuit.start()
    }

    // MARK: What comes of it

    func receive(_ parts: [AnswerPart]) {
        for part in parts where !state.value.isOver {
            switch part {
            case .pending: break
            case .head(let head): headArrived(head)
            case .bytes(let bytes): bodyArrived(bytes)
            case .end(let totals): answerEnded(totals)
            case .fail(let error): fail(error)
            }
        }
    }

    /// Whether the answer is one that this node framed: only between such events may it put in words of its own.
    private var isEventStream: Bool { state.value.head.map(isEventStream) ?? false }
    private func isEventStream(_ head: AnswerHead) -> Bool {
        request.form == .events && head.isEventStream && head.status < 400
    }

    private func headArrived(_ head: AnswerHead) {
        state.value.head = head
        tracePlace()
        if head.status >= 400 { handler.value.trace.code = .workerError }
        var headers = responseHeaders(head.contentType)
        for field in head.fields {
            guard let value = RetryAfter.bounded(field) else { continue }
            headers.add(name: field.name, value: value)
        }
        if isEventStream(head) {
            headers.add(name: "cache-control", value: "no-store")
            headers.add(name: "x-accel-buffering", value: "no")
        } else if let length = head.length {
            headers.add(name: "content-length", value: String(length))
        }
        if head.status == 429 || head.status == 503, !headers.contains(name: "retry-after") {
            headers.add(name: "retry-after", value: "2")
        }
        handler.value.writeHead(status: head.status, headers: headers)
        handler.value.flushSoon()
    }

    private func bodyArrived(_ bytes: ByteBuffer) {
        guard isEventStream else { return pass(bytes) }
        if let whole = state.value.events.take(bytes) { pass(whole) }
    }

    private func pass(_ bytes: ByteBuffer) {
        handler.value.shared.metrics.delivered(bytes.readableBytes)
        if handler.value.isWritable, state.value.held.isEmpty {
            write(bytes)
            handler.value.flushSoon()
            state.value.pursuit?.consumed(bytes.readableBytes)
            return
        }
        state.value.held.append(bytes)
        state.value.largest = max(state.value.largest, bytes.readableBytes)
        if !state.value.isPaused {
            state.value.isPaused = true
            state.value.blockedSince = SystemClock.instant
            state.value.pursuit?.pause()
        }
        if isHoldingTooMuch() { tooSlow() }
    }

    private func write(_ bytes: ByteBuffer) {
        state.value.endsEvent = bytes.readableBytesView.suffix(2).elementsEqual([0x0A, 0x0A])
        handler.value.write(.body(.byteBuffer(bytes)))
    }

    /// What a stream may hold: one event may be large, and is no reason to cut the one who takes it.
    private var usuallyHeld: Int { Limits.streamBufferBytes + state.value.largest }

    /// Workers that cannot be told to pause send in bursts: who reads has a moment to take one. A whole answer may be
    /// large; a stream is cut that nobody reads.
    private func isHoldingTooMuch() -> Bool {
        let held = state.value.held.count
        guard held > usuallyHeld, isEventStream else {
            state.value.overSince = nil
            return held > Limits.answerHeldBytes
        }
        let now = SystemClock.instant
        let since = state.value.overSince ?? now
        state.value.overSince = since
        return held > max(Limits.streamBurstBytes, usuallyHeld)
            || now.milliseconds(since: since) >= Limits.streamBurstMs
    }

    private func answerEnded(_ totals: AnswerTotals) {
        state.value.isComplete = true
        upload?.discard()
        guard !state.value.events.hasRest else {
            return fail(MeshError(.streamInterrupted, "the answer broke off in the middle of an event"))
        }
        if isEventStream, !totals.isInBody { pass(ByteBuffer(bytes: OpenAIStream.done)) }
        guard !state.value.isOver else { return }
        if state.value.held.isEmpty { finishStream() }
    }

    private func finishStream() {
        state.value.isOver = true
        upload?.revoke()
        handler.value.exchangeEnded()
    }

    private func fail(_ error: MeshError) {
        tracePlace()
        handler.value.shared.metrics.failed(error.code)
        handler.value.trace.code = error.code
        if let head = state.value.head {
            guard isEventStream(head) else { return cutOff() }
            // Content is out: the failure is the stream's last event, never silence.
            state.value.isComplete = true
            state.value.events = WholeEvents()
            pass(event(error))
            if state.value.held.isEmpty, !state.value.isOver { finishStream() }
            return
        }
        let response = Response.error(error, requestID: requestID)
        var headers = responseHeaders("application/json")
        for (name, value) in response.headers where name != "content-type" { headers.add(name: name, value: value) }
        headers.add(name: "content-length", value: String(response.body.count))
        handler.value.writeHead(status: response.status, headers: headers)
        handler.value.write(.body(.byteBuffer(ByteBuffer(bytes: response.body))))
        finishStream()
    }

    /// Brings the event to its end that the buyer has the beginning of: behind half of one nothing can be said.
    private func endEvent() -> Bool {
        if state.value.endsEvent { return true }
        guard var rest = state.value.held.take(65_536), let end = WholeEvents.firstEnd(rest),
            let last = rest.readSlice(length: end)
        else { return false }
        write(last)
        return true
    }

    private func event(_ error: MeshError) -> ByteBuffer {
        ByteBuffer(bytes: OpenAIStream.failure(error, requestID: requestID))
    }

    private func cutOff() {
        upload?.revoke()
        state.value.isOver = true
        state.value.pursuit?.cancel()
        state.value.held.removeAll()
        handler.value.cutOff()
    }

    private func responseHeaders(_ contentType: String) -> HTTPHeaders {
        var headers = HTTPHeaders()
        headers.reserveCapacity(8)
        headers.add(name: "content-type", value: contentType)
        headers.add(name: "x-request-id", value: requestID)
        if let place = state.value.pursuit?.place {
            headers.add(name: "aisbf-provider", value: place.provider.fullName)
            headers.add(name: "aisbf-node", value: nodeName(place))
            if case .local(let session, _) = place { headers.add(name: "aisbf-worker", value: session.mark) }
        }
        headers.add(name: "aisbf-attempts", value: String(state.value.pursuit?.attempts ?? 0))
        let elapsed = SystemClock.instant.milliseconds(since: started)
        headers.add(name: "server-timing", value: "first;dur=\(elapsed)")
        return headers
    }

    /// Tells the log and the metrics who answers, or whose failure it is.
    private func tracePlace() {
        guard let pursuit = state.value.pursuit, let place = pursuit.place else { return }
        handler.value.trace.attempts(place, at: nodeName(place), number: pursuit.attempts)
    }

    private func nodeName(_ candidate: Candidate) -> String {
        switch candidate {
        case .local: handler.value.shared.identity.name
        case .remote(let node, let provider): provider.nodeName(node)
        }
    }

    // MARK: What the buyer does

    func writabilityChanged(_ isWritable: Bool) {
        guard isWritable, state.value.head != nil, !state.value.held.isEmpty else { return }
        // In pieces, so that how fast the buyer takes them can be seen.
        while handler.value.isWritable, !state.value.held.isEmpty, !state.value.isOver {
            guard let piece = state.value.held.take(65_536) else { break }
            write(piece)
            handler.value.flushNow()
            state.value.pursuit?.consumed(piece.readableBytes)
        }
        state.value.blockedSince = SystemClock.instant
        if state.value.held.count <= usuallyHeld { state.value.overSince = nil }
        guard state.value.held.isEmpty else { return }
        state.value.largest = 0
        state.value.blockedSince = nil
        if state.value.isPaused {
            state.value.isPaused = false
            state.value.pursuit?.resume()
        }
        if state.value.isComplete, !state.value.isOver { finishStream() }
    }

    /// The request turned out to be none while it arrived.
    func refuse(_ error: MeshError) {
        guard !state.value.isOver, !state.value.isComplete else { return }
        state.value.pursuit?.cancel()
        fail(error)
    }

    func buyerLeft() {
        tracePlace()
        upload?.revoke()
        state.value.isOver = true
        state.value.pursuit?.cancel()
    }

    /// Called every few seconds while the answer is under way.
    func patrol(quietMs: Int64) {
        if let since = state.value.blockedSince,
            SystemClock.instant.milliseconds(since: since) >= Limits.streamBlockedMs
        {
            return tooSlow()
        }
        if !state.value.held.isEmpty, isHoldingTooMuch() { return tooSlow() }
        guard isEventStream, !state.value.isOver, quietMs >= 10_000, handler.value.isWritable,
            state.value.held.isEmpty
        else { return }
        // One line end: a blank line behind it would be an event without data, which some programs take for one. Only
        // whole events and lines go out here, so that it stands between them.
        handler.value.write(.body(.byteBuffer(ByteBuffer(string: ": waiting\n"))))
        handler.value.flushNow()
    }

    /// The buyer does not read: its own stream ends, nobody else's waits for it.
    private func tooSlow() {
        upload?.revoke()
        state.value.isOver = true
        state.value.pursuit?.cancel()
        defer { state.value.held.removeAll() }
        let error = MeshError(.streamTooSlow, "the stream was cut because it was not read for too long")
        handler.value.shared.metrics.failed(error.code)
        handler.value.trace.code = error.code
        guard isEventStream, endEvent() else { return handler.value.cutOff() }
        write(event(error))
        handler.value.closeAfterStream()
    }
}
