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
    /// Events before the first content, see `deliver`.
    private var held: [UInt8] = []
    private var hasContent = false
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
            return [.body(WorkerAnswer.dataEvent(error.document(requestID: nil).bytes)), .end]
        }
    }

    /// Call when `deadline` has passed.
    package mutating func deadlinePassed() -> [Action] {
        let seconds = deadlines.firstContentMs / 1000
        switch state {
        case .finished: return []
        case .waiting:
            return failed(
                MeshError(
                    .workerTimeout,
                    "the worker did not answer within \(max(seconds, 1)) s; try again or choose another provider"))
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
            return failed(
                MeshError(.workerBadAnswer, "the worker sent an event longer than \(Limits.eventBytes) bytes"))
        }
        return deliver(events)
    }

    /// Events on their way to the buyer, joined into one body so that one write carries them. What comes before the
    /// first content (load status, comments) is held back until content follows: delivered at once, it would
    /// commit this worker, and neither a real status nor another candidate would be possible any more.
    private mutating func deliver(_ events: [[UInt8]]) -> [Action] {
        var body: [UInt8] = []
        for event in events {
            if AnswerEvent.isDoneMarker(event) { continue }
            if !hasContent {
                switch AnswerEvent.meaning(event) {
                case .failure(let error): return failed(error)
                case .preliminary:
                    hold(event)
                    continue
                case .content: hasContent = true
                }
            }
            body.append(contentsOf: event)
            body += [0x0A, 0x0A]
        }
        guard !body.isEmpty else { return [] }
        return begun() + [.body(body)]
    }

    /// The head, and what was held back, when nothing was delivered so far.
    private mutating func begun() -> [Action] {
        guard case .waiting = state else { return [] }
        state = .streaming
        let head = Action.head(status: 200, contentType: "text/event-stream")
        defer { held = [] }
        return held.isEmpty ? [head] : [head, .body(held)]
    }

    /// Old news goes first when there is too much of it.
    private mutating func hold(_ event: [UInt8]) {
        if held.count + event.count > Limits.streamBufferBytes { held = [] }
        guard event.count < Limits.streamBufferBytes else { return }
        held += event
        held += [0x0A, 0x0A]
    }

    private mutating func doneArrived() -> [Action] {
        guard wantsStream else {
            guard !collected.isEmpty else { return failed(Self.badAnswer) }
            state = .finished
            return [.head(status: 200, contentType: "application/json"), .body(collected), .end]
        }
        var actions = reframer.finish().map { deliver([$0]) } ?? []
        if isFinished { return actions }
        actions += begun()
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
        let actions = chunkArrived(isStream ? whole.body : WorkerAnswer.dataEvent(whole.body))
        return isFinished ? actions : actions + doneArrived()
    }

    /// A success that says it is JSON and is none is garbage, and no answer.
    private static func isReadable(_ whole: WorkerAnswer.Whole) -> Bool {
        guard whole.contentType.hasPrefix("application/json") else { return true }
        return whole.body.withUnsafeBytes { (try? JSONScanner.value(of: $0)) != nil }
    }

    private static let doneMarker = Array("data: [DONE]\n\n".utf8)
}
