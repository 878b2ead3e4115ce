import MeshDialects
import MeshExchange
import MeshModel
import MeshSessions
import MeshWire
import NIOCore
import Synchronization

/// One request at an upstream: reads the answer no faster than its buyer takes it, and holds it to the rules and the
/// deadlines of a worker's.
final class UpstreamAttempt: AttemptHandle {
    private struct State {
        var exchange: AnswerExchange
        var reading: AnswerReading
        var pace = UploadPace()
        /// What an error status says, for the operator.
        var words = ""
        /// Where the model is sold under a name of its own.
        var renaming: ModelRenaming?
        var isRenaming = false
        /// Nobody hears of anything any more.
        var isOver = false
    }

    private let request: WorkRequest
    /// What the upstream calls it.
    private let model: String?
    /// The same where it is sold under another name: another node has put that name into the document already.
    private let otherName: String?
    private let place: UpstreamPlace
    private let receiver: any AnswerReceiver
    private let ended: @Sendable (UpstreamAttempt, RequestSample?) -> Void
    private let state: Mutex<State>
    private let gate = FlowGate()
    private let credit = CreditGate(window: Limits.answerWindowBytes)
    private let stops: (stream: AsyncStream<Void>, continuation: AsyncStream<Void>.Continuation)

    /// - Parameter ended: called once, with what the attempt says of the upstream's speed.
    init(
        _ request: WorkRequest, model sold: String?, at place: UpstreamPlace, receiver: any AnswerReceiver,
        ended: @escaping @Sendable (UpstreamAttempt, RequestSample?) -> Void
    ) {
        self.request = request
        let model = sold.map(place.terms.names.upstream)
        self.model = model
        otherName = model == sold ? nil : model
        self.place = place
        self.receiver = receiver
        self.ended = ended
        stops = AsyncStream.makeStream(bufferingPolicy: .bufferingOldest(1))
        state = Mutex(
            State(
                exchange: AnswerExchange(
                    form: request.form, subject: .init(request.need.endpoint), by: .provider,
                    deadlines: request.deadlines,
                    isUploading: request.upload != nil, now: SystemClock.instant),
                reading: AnswerReading(
                    streams: request.form == .events, passesBytes: request.content.operation == .proxy, takesParts: true
                ), renaming: model.flatMap { model in sold.flatMap { ModelRenaming(from: model, to: $0) } }))
    }

    // MARK: Who takes the answer

    func cancel() {
        let sample = state.withLock { state -> RequestSample?? in
            guard !state.isOver else { return nil }
            state.isOver = true
            return .some(state.exchange.abandoned(now: SystemClock.instant))
        }
        if let sample { ended(self, sample) }
        stops.continuation.yield()
    }

    func pause() { gate.pause() }
    func resume() { gate.resume() }

    func consumed(_ count: Int) {
        if let room = state.withLock({ $0.exchange.consumed(count) }) { credit.add(room) }
    }

    /// The upstream is not this node's any more.
    func lost() {
        tell {
            $0.exchange.failed(
                MeshError(.workerLost, "the provider was closed before it answered", retryAfterSeconds: 2))
        }
        stops.continuation.yield()
    }

    // MARK: Running

    /// Returns when the request is answered, given up, or late.
    func run() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.answer() }
            group.addTask { await self.watch() }
            group.addTask { for await _ in self.stops.stream { return } }
            await group.next()
            group.cancelAll()
        }
        // Its task was cancelled from above.
        lost()
    }

    private func answer() async {
        do {
            try await answerAwake()
        } catch let failure as BackendFailure {
            guard !Task.isCancelled else { return }
            // Behind the end of a complete answer nothing is anybody's loss.
            guard !state.withLock({ $0.reading.isOver }) else { return }
            place.report.failed(failure, path: request.need.endpoint?.text)
            place.models.suspect()
            tell {
                $0.exchange.broke(AnswerFailure(text: failure.message, code: failure.code, cause: failure.cause))
            }
        } catch let refused as ProxyRequest.Refused {
            tell { $0.exchange.broke(AnswerFailure(text: refused.message, code: refused.code)) }
        } catch {
            // Cancelled: whoever did it has told the receiver.
        }
    }

    private func ask() async throws {
        let outbound = try outbound()
        tellOfWork()
        try await place.backend.perform(outbound) { part in try await self.take(part) }
        try await finish()
    }

    /// Asks, and where the upstream may sleep, asks again until it is awake.
    private func answerAwake() async throws {
        do { return try await ask() } catch let failure as BackendFailure {
            guard place.terms.coldStartMs > 0, request.upload == nil, Self.isAsleep(failure) else { throw failure }
            let end = SystemClock.instant.advanced(byMilliseconds: place.terms.coldStartMs)
            guard var ticket = place.wake.enter() else { throw Self.crowded }
            defer { place.wake.leave(ticket) }
            place.report.sleeps()
            var last = failure
            while await place.wake.turn(&ticket, until: end) {
                do { return try await ask() } catch let failure as BackendFailure {
                    guard Self.isAsleep(failure) else { throw failure }
                    last = failure
                }
            }
            try Task.checkCancellation()
            throw Self.overslept(place.terms.coldStartMs / 1_000, last)
        }
    }

    private static func isAsleep(_ failure: BackendFailure) -> Bool {
        ["backend_asleep", "backend_unreachable"].contains(failure.code)
    }

    private static let crowded = BackendFailure(
        code: "busy", message: "it is asleep, and as many requests wait for it as may; try again in a moment",
        detail: "\(Limits.upstreamHeldRequests) requests wait for it to wake")

    private static func overslept(_ seconds: Int64, _ last: BackendFailure) -> BackendFailure {
        BackendFailure(
            code: "backend_asleep",
            message: "it was asleep and did not wake within \(seconds) s; try again in a moment, it may be awake then",
            detail: "it did not wake within \(seconds) s; at last: \(last.detail)")
    }

    /// The request as the upstream gets it.
    private func outbound() throws -> BackendRequest {
        let document = request.content.document(model: model).joined
        guard request.content.operation == .proxy else {
            let body = otherName.map { ModelNames.body(document, naming: $0) } ?? document
            return BackendRequest(method: "POST", path: "/chat/completions", body: body)
        }
        let proxied = try ProxyRequest(payload: Array(document.readableBytesView), model: otherName)
        var outbound = proxied.request
        if let announced = proxied.upload, let source = request.upload {
            let sink = UpstreamUpload(self)
            let upload = UploadStream(length: announced.length) { bytes in
                self.state.withLock { $0.pace.asked(bytes) }
                source.grant(bytes, to: sink)
            }
            sink.open(upload)
            outbound.upload = upload
        }
        return outbound
    }

    private func take(_ part: BackendPart) async throws {
        var part = part
        switch part {
        case .words(let words): state.withLock { $0.words = words }
        case .head(let status, let headers, let type, _):
            place.wake.woke()
            if status >= 400 {
                place.report.answered(status: status, words: state.withLock { $0.words })
            } else {
                place.report.served()
            }
            // The model may be gone.
            if status == 404 { place.models.suspect() }
            let isRenaming = state.withLock { state in
                state.isRenaming = state.renaming != nil && Self.isText(type)
                return state.isRenaming
            }
            // Another name has another length.
            if isRenaming { part = .head(status: status, headers: headers, contentType: type, length: nil) }
        case .body(let bytes):
            guard
                let renamed = state.withLock({ state -> [UInt8]? in
                    state.isRenaming ? state.renaming?.take(bytes.readableBytesView) : nil
                })
            else { break }
            guard !renamed.isEmpty else { return }
            part = .body(ByteBuffer(bytes: renamed))
        }
        let told = part
        try await pass(state.withLock { state throws in try state.reading.take(told) })
    }

    private static func isText(_ type: String) -> Bool {
        let type = type.lowercased()
        return type.hasPrefix("application/json") || type.hasPrefix("text/")
    }

    private func finish() async throws {
        let rest = state.withLock { state in state.isRenaming ? state.renaming?.finish() ?? [] : [] }
        if !rest.isEmpty {
            try await pass(state.withLock { state throws in try state.reading.take(.body(ByteBuffer(bytes: rest))) })
        }
        try await pass(state.withLock { $0.reading.finish() })
    }

    private func pass(_ parts: [AnswerReading.Part]) async throws {
        for part in parts {
            let now = SystemClock.instant
            switch part {
            case .whole(let head, let body):
                let type = Self.type(head)
                let fields = AnswerFieldRule.passing(head.headers.lazy.map { HeaderField($0.name, $0.value) })
                let whole = WholeAnswer(status: head.status, contentType: type, fields: fields, body: body)
                try await told {
                    guard let whole else { return $0.exchange.failed(AnswerFailure.unreadable(by: .provider)) }
                    return $0.exchange.answered(whole, now: now)
                }
            case .start(let head):
                let fields = AnswerFieldRule.passing(head.headers.lazy.map { HeaderField($0.name, $0.value) })
                let begun = AnswerHead(
                    status: head.status, contentType: Self.type(head), length: head.length, fields: fields)
                try await told { $0.exchange.began(begun, now: now) }
            case .bytes(let bytes): try await pass(bytes)
            case .events(let text): try await told { $0.exchange.eventsArrived(text, now: now) }
            case .end: try await told { $0.exchange.ended(now: now) }
            }
        }
    }

    private static func type(_ head: AnswerReading.Head) -> String {
        HeaderRule.isValue(head.contentType) ? head.contentType : "application/octet-stream"
    }

    /// As many bytes as there is room for on the way to the buyer.
    private func pass(_ bytes: ByteBuffer) async throws {
        var rest = bytes
        while rest.readableBytes > 0 {
            let room = try await credit.take(upTo: min(rest.readableBytes, Limits.answerFrameBytes))
            guard let slice = rest.readSlice(length: room) else { return }
            var isTakenIn = false
            try await told(slice) { state in
                let arrived = slice.withUnsafeReadableBytes { bytes in
                    state.exchange.binaryArrived(bytes, now: SystemClock.instant)
                }
                switch arrived {
                case .pass: return nil
                case .actions(let actions):
                    isTakenIn = true
                    return actions
                }
            }
            // What went into a document or into events was taken in here.
            if isTakenIn { consumed(slice.readableBytes) }
        }
    }

    // MARK: Telling

    /// Tells the receiver what comes of `change`, and returns when it has heard and has room for more.
    private func told(_ change: (inout State) -> [AnswerExchange.Action]) async throws {
        try await told(ByteBuffer()) { .some(change(&$0)) }
    }

    /// - Parameter change: nil when `bytes` pass as they are.
    private func told(_ bytes: ByteBuffer, _ change: (inout State) -> [AnswerExchange.Action]?) async throws {
        try Task.checkCancellation()
        guard let heard = tell(bytes, change) else { throw CancellationError() }
        try await heard.get()
        try await gate.pass()
    }

    private func tell(_ change: (inout State) -> [AnswerExchange.Action]) { tell(ByteBuffer()) { .some(change(&$0)) } }

    /// - Returns: when the receiver has heard; nil when nobody listens any more.
    @discardableResult
    private func tell(
        _ bytes: ByteBuffer, _ change: (inout State) -> [AnswerExchange.Action]?
    ) -> EventLoopFuture<Void>? {
        let loop = receiver.eventLoop
        let receiver = receiver
        let outcome = state.withLock { state -> (heard: EventLoopFuture<Void>, end: RequestSample??)? in
            guard !state.isOver else { return nil }
            let parts: [AnswerPart]
            if let actions = change(&state) { parts = actions.map(Self.part) } else { parts = [.bytes(bytes)] }
            // Handed over within the lock: what is told first is heard first.
            let heard =
                parts.isEmpty
                ? loop.makeSucceededVoidFuture() : loop.submit { receiver.receive(parts) }
            guard state.exchange.isFinished else { return (heard, nil) }
            state.isOver = true
            // What still comes behind a failure is nobody's. Behind the end of a stream its connection has a moment.
            if !state.reading.isOver { stops.continuation.yield() }
            return (heard, .some(state.exchange.sample(now: SystemClock.instant)))
        }
        guard let outcome else { return nil }
        if let sample = outcome.end { ended(self, sample) }
        return outcome.heard
    }

    private static func part(_ action: AnswerExchange.Action) -> AnswerPart {
        switch action {
        case .head(let head): .head(head)
        case .bytes(let bytes): .bytes(ByteBuffer(bytes: bytes))
        case .end(let totals): .end(totals)
        case .fail(let error): .fail(error)
        }
    }

    // MARK: Time

    /// The upstream was asked, and may be as long at it as a worker that says so.
    private func tellOfWork() {
        let receiver = receiver
        state.withLock { state in
            guard !state.isOver else { return }
            state.exchange.workGoesOn(now: SystemClock.instant)
            receiver.eventLoop.execute { receiver.receive([.pending]) }
        }
    }

    /// Returns when the request has taken too long, or a moment after its answer was complete: within that moment its
    /// connection may end by itself, and then serves the next.
    private func watch() async {
        var lastSign = SystemClock.instant
        while !Task.isCancelled {
            let due = state.withLock { state in
                state.isOver ? nil : state.exchange.deadline.milliseconds(since: SystemClock.instant)
            }
            guard let due else { break }
            try? await Task.sleep(for: .milliseconds(min(max(due, 10), 500)))
            let now = SystemClock.instant
            if now.milliseconds(since: lastSign) >= Limits.workerAgentPendingMs {
                lastSign = now
                tellOfWork()
            }
            tell { state in
                if state.pace.isStalled(now: now) { return state.exchange.uploadStalled() }
                guard state.exchange.deadline <= now else { return [] }
                return state.exchange.deadlinePassed(awaitsUpload: state.pace.isAwaited)
            }
        }
        let isComplete = state.withLock { $0.reading.isOver }
        if isComplete { try? await Task.sleep(for: .milliseconds(Limits.streamTailMs)) }
    }

    // MARK: Uploads

    fileprivate func uploadArrived(_ count: Int) {
        state.withLock { state in
            state.pace.arrived(count)
            // A buyer on a slow line is one who sends.
            state.exchange.uploadProgressed(now: SystemClock.instant)
        }
    }

    fileprivate func uploadEnded() {
        state.withLock { state in
            state.pace.ended()
            state.exchange.uploadEnded(now: SystemClock.instant)
        }
    }
}

/// Takes one request's upload for the upstream.
private final class UpstreamUpload: UploadSink {
    private let attempt: UpstreamAttempt
    private let stream = Mutex<UploadStream?>(nil)

    init(_ attempt: UpstreamAttempt) { self.attempt = attempt }

    func open(_ upload: UploadStream) { stream.withLock { $0 = upload } }

    func uploadArrived(_ bytes: ByteBuffer) {
        attempt.uploadArrived(bytes.readableBytes)
        // Never more than was asked for, by the source's own rule.
        _ = stream.withLock { $0 }?.arrived(bytes)
    }

    func uploadEnded() {
        attempt.uploadEnded()
        stream.withLock { $0 }?.ended()
    }
}
