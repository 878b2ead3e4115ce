package import MeshModel
package import MeshWire

/// One request at one worker, from the frame that carries it to its last answer: what each of the worker's frames
/// means for the buyer.
///
/// States: `waiting` (nothing but keep-alives came) → `streaming` (content was delivered) → `finished`. A failure
/// in `waiting` is `fail`, so that a real status or another candidate is still possible; in `streaming` it is an
/// in-band error event and the end. `[DONE]` is delivered exactly once, whether the worker sent it or not.
package struct AnswerExchange: Sendable {
    package enum Action: Hashable, Sendable {
        /// Status and type, before any body; only once.
        case head(status: Int, contentType: String)
        case body([UInt8])
        /// The answer is complete.
        case end
        /// Nothing was delivered; the error may be answered or another worker be tried.
        case fail(MeshError)
    }

    private enum State: Sendable {
        case waiting
        case streaming
        case finished
    }

    package struct Deadlines: Hashable, Sendable {
        package var firstContentMs: Int64
        package var idleMs: Int64
        package var totalMs: Int64

        package init(
            firstContentMs: Int64 = Limits.firstContentMs, idleMs: Int64 = Limits.streamIdleMs,
            totalMs: Int64 = Limits.requestTotalMs
        ) {
            self.firstContentMs = firstContentMs
            self.idleMs = idleMs
            self.totalMs = totalMs
        }
    }

    /// Whether the buyer asked for a stream of events.
    private let wantsStream: Bool
    private let deadlines: Deadlines
    private let total: Instant
    private var state = State.waiting
    private var reframer = EventStreamReframer()
    /// A plain request that is answered in chunks is collected here.
    private var collected: [UInt8] = []
    package private(set) var deadline: Instant

    package init(wantsStream: Bool, deadlines: Deadlines, now: Instant) {
        self.wantsStream = wantsStream
        self.deadlines = deadlines
        total = now.advanced(byMilliseconds: deadlines.totalMs)
        deadline = min(total, now.advanced(byMilliseconds: deadlines.firstContentMs))
    }

    package var isFinished: Bool {
        if case .finished = state { return true }
        return false
    }

    /// A reply frame of this request.
    package mutating func replied(
        _ event: WorkerFrame.ReplyEvent, _ frame: WorkerFrame, in bytes: UnsafeRawBufferPointer, now: Instant
    ) -> [Action] {
        if isFinished { return [] }
        switch event {
        case .ignored, .heartbeat: return []
        case .pending:
            extend(frame, bytes, now: now)
            return []
        case .chunk:
            guard let chunk = WorkerAnswer.chunk(frame, in: bytes) else { return failed(Self.badAnswer) }
            deadline = min(total, now.advanced(byMilliseconds: deadlines.idleMs))
            return chunkArrived(chunk)
        case .done: return doneArrived()
        case .error: return failed(WorkerAnswer.error(frame, in: bytes))
        case .answer:
            guard let whole = WorkerAnswer.whole(frame, in: bytes) else { return failed(Self.badAnswer) }
            return wholeArrived(whole)
        }
    }

    /// The request cannot be answered any more: worker lost, deadline passed, frame garbled.
    package mutating func failed(_ error: MeshError) -> [Action] {
        switch state {
        case .finished: return []
        case .waiting:
            state = .finished
            return [.fail(error)]
        case .streaming:
            state = .finished
            return [.body(Self.event(error.document(requestID: nil).bytes)), .end]
        }
    }

    /// Call when `deadline` has passed.
    package mutating func deadlinePassed() -> [Action] {
        let seconds = deadlines.firstContentMs / 1000
        switch state {
        case .finished: return []
        case .waiting:
            return failed(
                MeshError(.workerTimeout, "the worker did not answer within \(max(seconds, 1)) s; try again or choose another provider"))
        case .streaming:
            return failed(MeshError(.streamInterrupted, "the worker stopped sending in the middle of the answer"))
        }
    }

    package static let badAnswer = MeshError(
        .workerBadAnswer, "the worker sent an answer this node cannot read; its owner should update it")

    private mutating func extend(_ frame: WorkerFrame, _ bytes: UnsafeRawBufferPointer, now: Instant) {
        var seconds: Int64 = 300
        if let payload = frame.payload, payload.kind == .object,
            let fields = try? JSONScanner.fields(of: bytes, in: payload.range),
            let estimate = fields.integer("estimated_timeout", in: bytes), estimate > 0
        {
            seconds = min(estimate, Limits.workerPendingMs / 1000)
        }
        deadline = min(total, max(deadline, now.advanced(byMilliseconds: seconds * 1000)))
    }

    private mutating func chunkArrived(_ chunk: [UInt8]) -> [Action] {
        guard wantsStream else {
            guard collected.count + chunk.count <= Limits.workerFrameBytes else {
                return failed(MeshError(.workerBadAnswer, "the worker's answer is longer than this node holds"))
            }
            collected += chunk
            return []
        }
        let events: [[UInt8]]
        do throws(EventStreamReframer.Overflow) { events = try reframer.append(chunk) } catch {
            return failed(MeshError(.workerBadAnswer, "the worker sent an event longer than \(Limits.eventBytes) bytes"))
        }
        return deliver(events)
    }

    /// Events on their way to the buyer, joined into one body so that one write carries them.
    private mutating func deliver(_ events: [[UInt8]]) -> [Action] {
        var body: [UInt8] = []
        for event in events {
            if Self.isDoneMarker(event) { continue }
            if case .waiting = state, let error = Self.streamError(event) { return failed(error) }
            body.append(contentsOf: event)
            body += [0x0A, 0x0A]
        }
        guard !body.isEmpty else { return [] }
        if case .waiting = state {
            state = .streaming
            return [.head(status: 200, contentType: "text/event-stream"), .body(body)]
        }
        return [.body(body)]
    }

    private mutating func doneArrived() -> [Action] {
        guard wantsStream else {
            guard !collected.isEmpty else { return failed(Self.badAnswer) }
            state = .finished
            return [.head(status: 200, contentType: "application/json"), .body(collected), .end]
        }
        var actions = reframer.finish().map { deliver([$0]) } ?? []
        if isFinished { return actions }
        if case .waiting = state { actions.append(.head(status: 200, contentType: "text/event-stream")) }
        state = .finished
        return actions + [.body(Self.doneMarker), .end]
    }

    private mutating func wholeArrived(_ whole: WorkerAnswer.Whole) -> [Action] {
        if whole.status >= 400 || !wantsStream {
            guard case .waiting = state else {
                return failed(MeshError(.streamInterrupted, "the worker ended the answer with status \(whole.status)"))
            }
            guard whole.status >= 400 || Self.isReadable(whole) else { return failed(Self.badAnswer) }
            state = .finished
            return [.head(status: whole.status, contentType: whole.contentType), .body(whole.body), .end]
        }
        // Older clients answer a streamed request with the whole event stream, or the whole object, in one frame.
        let isStream = whole.contentType.hasPrefix("text/event-stream") || whole.body.starts(with: Array("data:".utf8))
        let actions = chunkArrived(isStream ? whole.body : Self.event(whole.body))
        return isFinished ? actions : actions + doneArrived()
    }

    /// A success that says it is JSON and is none is garbage, and no answer.
    private static func isReadable(_ whole: WorkerAnswer.Whole) -> Bool {
        guard whole.contentType.hasPrefix("application/json") else { return true }
        return whole.body.withUnsafeBytes { (try? JSONScanner.value(of: $0)) != nil }
    }

    private static func event(_ data: [UInt8]) -> [UInt8] { Array("data: ".utf8) + data + [0x0A, 0x0A] }

    private static let doneMarker = Array("data: [DONE]\n\n".utf8)
    private static let doneText = Array("data:[DONE]".utf8)
    private static let errorPrefix = Array("data:{\"error\"".utf8)

    private static func isDoneMarker(_ event: [UInt8]) -> Bool {
        event.count < 32 && event.filter { $0 != 0x20 && $0 != 0x0A && $0 != 0x0D } == doneText
    }

    /// An error that arrives as the first event is still a real failure, not content.
    private static func streamError(_ event: [UInt8]) -> MeshError? {
        guard event.prefix(24).filter({ $0 != 0x20 }).starts(with: errorPrefix),
            let start = event.firstIndex(of: UInt8(ascii: "{")),
            let value = try? JSONValue.parse(Array(event[start...])), let error = value["error"]
        else { return nil }
        let words = error.text ?? error["message"]?.text ?? "no message"
        return MeshError(.workerError, "the worker says: \(words.prefix(500))")
    }
}
