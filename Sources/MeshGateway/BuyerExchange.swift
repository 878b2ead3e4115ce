import MeshModel
import MeshRouting
import MeshRuntime
import MeshSessions
import MeshWire
import NIOCore
import NIOHTTP1
import Synchronization

/// One inference request of a buyer: tries candidates until the first content, then passes the answer on with
/// back-pressure.
///
/// Nothing is written before the first content or final answer, so every failure before it is a real status code,
/// or no failure at all when another candidate answers.
final class BuyerExchange: Sendable {
    private struct State {
        var candidates: [Candidate] = []
        var attempts = 0
        var hasLookedAgain = false
        /// Answers of an attempt that was given up are not for the buyer.
        var attempt: AttemptReceiver?
        var handle: (any AttemptHandle)?
        /// The head of the answer, once it is on its way to the buyer.
        var head: AnswerHead?
        /// The end of what was delivered of a stream of events.
        var lastBytes: [UInt8] = []
        var isPaused = false
        var blockedSince: Instant?
        /// Since when more waits for the buyer than a stream may hold.
        var overSince: Instant?
        var lastAnswer = SystemClock.instant
        /// What a slow buyer has not taken yet.
        var held = ByteQueue()
        var isComplete = false
        var isOver = false
    }

    let requestID: String
    private let principal: Principal
    private let route: Route
    private let request: WorkRequest
    /// What of the request is still on its way from the buyer.
    private let upload: UploadFlow?
    private let eventLoop: any EventLoop
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
        let dispatcher = handler.value.shared.dispatcher
        state.value.candidates = dispatcher.candidates(route, request.need)
        if state.value.candidates.isEmpty, let endpoint = request.need.endpoint,
            dispatcher.lacksEndpoint(route, request.need)
        {
            return fail(
                MeshError(
                    .endpointNotOffered,
                    "no worker of \(providerNames) offers \(endpoint); its seller's worker would have to advertise it"))
        }
        next(after: nil)
    }

    /// Tries the next candidate, or answers with `error` when there is none.
    private func next(after error: MeshError?) {
        if state.value.attempts >= state.value.candidates.count, error != nil { lookAgain() }
        let attempts = state.value.attempts
        guard attempts < state.value.candidates.count else {
            return fail(
                error
                    ?? MeshError(
                        .workerUnavailable, "no worker of \(providerNames) is connected now; try again shortly",
                        retryAfterSeconds: 2))
        }
        state.value.attempts += 1
        let candidate = state.value.candidates[attempts]
        handler.value.trace.attempts(candidate, at: nodeName(candidate), number: attempts + 1)
        let receiver = AttemptReceiver(exchange: self, eventLoop: eventLoop)
        state.value.attempt = receiver
        var request = request
        request.upload = upload?.ticket()
        let handle = handler.value.shared.dispatcher.start(
            candidate, request, principal: principal, requestID: requestID,
            attempt: attempts + 1, receiver: receiver)
        // An attempt may have failed before it returned, and another begun.
        if state.value.attempt === receiver { state.value.handle = handle }
    }

    /// A worker may have come back meanwhile: one that connected anew takes over from its own old socket.
    private func lookAgain() {
        guard !state.value.hasLookedAgain else { return }
        state.value.hasLookedAgain = true
        let tried = state.value.candidates
        let found = handler.value.shared.dispatcher.candidates(route, request.need)
        let room = Limits.forwardAttempts - tried.count
        state.value.candidates += found.filter { candidate in !tried.contains { $0.isSame(as: candidate) } }.prefix(
            max(room, 0))
    }

    private var providerNames: String { route.providers.map(\.fullName).joined(separator: ", ") }

    // MARK: What the attempt says

    fileprivate func receive(_ events: [AnswerEvent], from receiver: AttemptReceiver) {
        state.value.lastAnswer = SystemClock.instant
        for event in events {
            guard state.value.attempt === receiver, !state.value.isOver else { return }
            switch event {
            case .head(let head): headArrived(head)
            case .body(let bytes): bodyArrived(bytes)
            case .end: answerEnded()
            case .fail(let error):
                state.value.handle = nil
                if state.value.head == nil, mayTryAnother(after: error) { next(after: error) } else { fail(error) }
            }
        }
    }

    private func mayTryAnother(after error: MeshError) -> Bool {
        // What has left of an upload is not here any more.
        if let upload, upload.hasBegun { return false }
        return error.code.retry == .elsewhere && (error.code != .workerLost || request.mayRepeat)
    }

    /// Whether the answer is one that this node framed: only between such events may it put in words of its own.
    private var isEventStream: Bool { state.value.head.map(isEventStream) ?? false }
    private func isEventStream(_ head: AnswerHead) -> Bool {
        request.form == .events && head.isEventStream && head.status < 400
    }

    private func headArrived(_ head: AnswerHead) {
        state.value.head = head
        if head.status >= 400 { handler.value.trace.code = .workerError }
        var headers = responseHeaders(head.contentType)
        for field in head.fields { headers.add(name: field.name, value: field.value) }
        if isEventStream(head) {
            headers.add(name: "cache-control", value: "no-store")
            headers.add(name: "x-accel-buffering", value: "no")
        } else if let length = head.length {
            headers.add(name: "content-length", value: String(length))
        }
        if head.status == 429 || head.status == 503, !head.fields.contains(where: { $0.name == "retry-after" }) {
            headers.add(name: "retry-after", value: "2")
        }
        handler.value.writeHead(status: head.status, headers: headers)
        handler.value.flushSoon()
    }

    private func bodyArrived(_ bytes: ByteBuffer) {
        handler.value.shared.metrics.delivered(bytes.readableBytes)
        if isEventStream { state.value.lastBytes = Array(bytes.readableBytesView.suffix(2)) }
        if handler.value.isWritable, state.value.held.isEmpty {
            handler.value.write(.body(.byteBuffer(bytes)))
            handler.value.flushSoon()
            state.value.handle?.consumed(bytes.readableBytes)
            return
        }
        state.value.held.append(bytes)
        if !state.value.isPaused {
            state.value.isPaused = true
            state.value.blockedSince = SystemClock.instant
            state.value.handle?.pause()
        }
        if isHoldingTooMuch() { tooSlow() }
    }

    /// Workers that cannot be told to pause send in bursts: who reads has a moment to take one. A whole answer may be
    /// large; a stream is cut that nobody reads.
    private func isHoldingTooMuch() -> Bool {
        let held = state.value.held.count
        guard held > Limits.streamBufferBytes, isEventStream else {
            state.value.overSince = nil
            return held > Limits.answerHeldBytes
        }
        let now = SystemClock.instant
        let since = state.value.overSince ?? now
        state.value.overSince = since
        return held > Limits.streamBurstBytes || now.milliseconds(since: since) >= Limits.streamBurstMs
    }

    private func answerEnded() {
        state.value.handle = nil
        state.value.isComplete = true
        upload?.discard()
        guard state.value.head != nil else {
            return fail(MeshError(.workerBadAnswer, "the worker ended its answer before it began"))
        }
        if state.value.held.isEmpty { finishStream() }
    }

    private func finishStream() {
        state.value.isOver = true
        upload?.revoke()
        // The receiver knows this exchange: let go of it, or neither is ever freed.
        state.value.attempt = nil
        state.value.handle = nil
        handler.value.exchangeEnded()
    }

    private func fail(_ error: MeshError) {
        handler.value.shared.metrics.failed(error.code)
        handler.value.trace.code = error.code
        if let head = state.value.head {
            guard isEventStream(head) else { return cutOff() }
            // Content is out: the failure is the stream's last event, never silence.
            // Another node's pieces need not end where an event does.
            let start = state.value.lastBytes.suffix(2).elementsEqual([0x0A, 0x0A]) ? "data: " : "\n\ndata: "
            let event = Array(start.utf8) + error.document(requestID: requestID).bytes + Array("\n\n".utf8)
            state.value.isComplete = true
            bodyArrived(ByteBuffer(bytes: event))
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

    private func cutOff() {
        upload?.revoke()
        state.value.isOver = true
        state.value.attempt = nil
        let handle = state.value.handle
        state.value.handle = nil
        handle?.cancel()
        state.value.held.removeAll()
        handler.value.cutOff()
    }

    private func responseHeaders(_ contentType: String) -> HTTPHeaders {
        var headers = HTTPHeaders()
        headers.reserveCapacity(8)
        headers.add(name: "content-type", value: contentType)
        headers.add(name: "x-request-id", value: requestID)
        let attempts = state.value.attempts
        if attempts > 0, attempts <= state.value.candidates.count {
            let candidate = state.value.candidates[attempts - 1]
            headers.add(name: "aisbf-provider", value: candidate.provider.fullName)
            headers.add(name: "aisbf-node", value: nodeName(candidate))
            if case .local(let session, _) = candidate { headers.add(name: "aisbf-worker", value: session.mark) }
        }
        headers.add(name: "aisbf-attempts", value: String(attempts))
        let elapsed = SystemClock.instant.milliseconds(since: started)
        headers.add(name: "server-timing", value: "first;dur=\(elapsed)")
        return headers
    }

    private func nodeName(_ candidate: Candidate) -> String {
        switch candidate {
        case .local: handler.value.shared.identity.name
        case .remote(let node, let provider):
            provider.hosts.first { $0.node == node }?.nodeName ?? "unknown"
        }
    }

    // MARK: What the buyer does

    func writabilityChanged(_ isWritable: Bool) {
        guard isWritable, state.value.head != nil, !state.value.held.isEmpty else { return }
        // In pieces, so that how fast the buyer takes them can be seen.
        while handler.value.isWritable, !state.value.held.isEmpty, !state.value.isOver {
            guard let piece = state.value.held.take(65_536) else { break }
            handler.value.write(.body(.byteBuffer(piece)))
            handler.value.flushNow()
            state.value.handle?.consumed(piece.readableBytes)
        }
        state.value.blockedSince = SystemClock.instant
        if state.value.held.count <= Limits.streamBufferBytes { state.value.overSince = nil }
        guard state.value.held.isEmpty else { return }
        state.value.blockedSince = nil
        if state.value.isPaused {
            state.value.isPaused = false
            state.value.handle?.resume()
        }
        if state.value.isComplete, !state.value.isOver { finishStream() }
    }

    /// The request turned out to be none while it arrived.
    func refuse(_ error: MeshError) {
        guard !state.value.isOver, !state.value.isComplete else { return }
        let handle = state.value.handle
        state.value.attempt = nil
        state.value.handle = nil
        handle?.cancel()
        fail(error)
    }

    func buyerLeft() {
        upload?.revoke()
        state.value.isOver = true
        state.value.attempt = nil
        state.value.handle?.cancel()
        state.value.handle = nil
    }

    /// Called every few seconds while the answer is under way.
    func patrol(quietMs: Int64) {
        if let since = state.value.blockedSince,
            SystemClock.instant.milliseconds(since: since) >= Limits.streamBlockedMs
        {
            return tooSlow()
        }
        if !state.value.held.isEmpty, isHoldingTooMuch() { return tooSlow() }
        if isOverdue() { return }
        guard isEventStream, !state.value.isOver, quietMs >= 10_000, handler.value.isWritable else { return }
        handler.value.write(.body(.byteBuffer(ByteBuffer(string: ": waiting\n\n"))))
        handler.value.flushNow()
    }

    /// The hosting node keeps the deadlines; this is the backstop for one that does not. It allows what a worker
    /// may announce with `pending`, which only the hosting node sees. For a worker attached here there is none but the
    /// whole time: its own deadlines are kept next door.
    private func isOverdue() -> Bool {
        guard !state.value.isOver, !state.value.isComplete else { return false }
        let now = SystemClock.instant
        let deadlines = request.deadlines
        let graceMs: Int64 = 5_000
        let silenceMs = max(deadlines.idleMs, Limits.workerPendingMs)
        let waitMs = max(deadlines.firstContentMs, Limits.workerPendingMs)
        let waiting = max(started, upload?.lastTaken ?? started)
        let isSilent =
            state.value.head == nil
            ? now.milliseconds(since: waiting) > waitMs + graceMs
            : now.milliseconds(since: state.value.lastAnswer) > silenceMs + graceMs
        let isLate = now.milliseconds(since: started) > deadlines.totalMs + graceMs || (isRemote && isSilent)
        guard isLate else { return false }
        let handle = state.value.handle
        state.value.attempt = nil
        state.value.handle = nil
        handle?.cancel()
        fail(
            state.value.head != nil
                ? MeshError(.streamInterrupted, "the answer stopped in the middle")
                : MeshError(.workerTimeout, "nothing came from the node that hosts this provider; try again"))
        return true
    }

    private var isRemote: Bool {
        let attempts = state.value.attempts
        guard attempts > 0, attempts <= state.value.candidates.count else { return false }
        if case .remote = state.value.candidates[attempts - 1] { return true }
        return false
    }

    /// The buyer does not read: its own stream ends, nobody else's waits for it.
    private func tooSlow() {
        upload?.revoke()
        state.value.isOver = true
        state.value.attempt = nil
        state.value.handle?.cancel()
        state.value.handle = nil
        state.value.held.removeAll()
        let error = MeshError(.streamTooSlow, "the stream was cut because it was not read for too long")
        handler.value.shared.metrics.failed(error.code)
        handler.value.trace.code = error.code
        guard isEventStream else { return handler.value.cutOff() }
        let event = Array("data: ".utf8) + error.document(requestID: requestID).bytes + Array("\n\n".utf8)
        handler.value.write(.body(.byteBuffer(ByteBuffer(bytes: event))))
        handler.value.closeAfterStream()
    }
}

/// The receiver of one attempt: tells late answers of an abandoned attempt from those of the current one.
private final class AttemptReceiver: AnswerReceiver {
    let eventLoop: any EventLoop
    private let exchange: BuyerExchange

    init(exchange: BuyerExchange, eventLoop: any EventLoop) {
        self.exchange = exchange
        self.eventLoop = eventLoop
    }

    func receive(_ events: [AnswerEvent]) { exchange.receive(events, from: self) }
}
