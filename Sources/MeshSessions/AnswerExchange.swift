package import MeshModel
import MeshWire

/// One request at one worker, from the frame that carries it to its last answer: what each of the worker's frames
/// means for the buyer.
///
/// States: `waiting` (nothing but keep-alives came) → `streaming` (content was delivered) → `finished`. A failure
/// in `waiting` is `fail`, so that a real status or another candidate is still possible; in `streaming` it is an
/// in-band error event and the end. `[DONE]` is delivered exactly once, whether the worker sent it or not.
package struct AnswerExchange: Sendable {
    package enum Action: Hashable, Sendable {
        /// Before any body; only once.
        case head(AnswerHead)
        case body([UInt8])
        /// The answer is complete.
        case end
        /// Before the head: the error may be answered or another worker be tried. After it: an answer that is no
        /// stream of events is cut, and whoever reads it must be able to tell.
        case fail(MeshError)
    }

    /// What the buyer asked for.
    package enum Form: Hashable, Sendable {
        /// One JSON document; a worker that sends it in chunks has them collected.
        case document
        /// A stream of events.
        case events
        /// Whatever the endpoint gives: the worker's bytes as they come.
        case bytes
    }

    /// What becomes of the bytes of a binary frame.
    package enum Bytes: Hashable, Sendable {
        /// They are part of the answer as they are.
        case pass
        case actions([Action])
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
        /// Whether somebody else asked for less time than this node allows.
        package var areShortened: Bool

        package init(
            firstContentMs: Int64 = Limits.firstContentMs, idleMs: Int64 = Limits.streamIdleMs,
            totalMs: Int64 = Limits.requestTotalMs, areShortened: Bool = false
        ) {
            self.areShortened = areShortened
            self.firstContentMs = firstContentMs
            self.idleMs = idleMs
            self.totalMs = totalMs
        }
    }

    /// `events` becomes `bytes` when the worker says that its answer is no event stream.
    private var form: Form
    private let deadlines: Deadlines
    private let total: Instant
    private let started: Instant
    private var firstContent: Instant?
    private var usage = UsageReading()
    private var finalStatus = 0
    private var isOthersFault = false
    private var state = State.waiting
    private var reframer = EventStreamReframer()
    /// A plain request that is answered in chunks is collected here.
    private var collected: [UInt8] = []
    private var beats = PendingBeats()
    /// Events before the first content, see `deliver`.
    private var held: [UInt8] = []
    private var hasContent = false
    /// Bytes still to come where the head told the length: it goes to the buyer as `content-length`, and one byte more
    /// would be read as the beginning of the next answer on that connection.
    private var owed: Int?
    /// Bytes of binary frames that the worker was not given back yet.
    private var taken = 0
    /// Bytes that were consumed but not told to the worker yet.
    private var creditDue = 0
    /// Whether the request is not whole at the worker yet.
    private var isUploading: Bool
    package private(set) var deadline: Instant

    package init(form: Form, deadlines: Deadlines, isUploading: Bool = false, now: Instant) {
        self.form = form
        self.isUploading = isUploading
        self.deadlines = deadlines
        started = now
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
        let actions = meaning(of: event, frame, bytes, now)
        if firstContent == nil, !actions.isEmpty { firstContent = now }
        return actions
    }

    private mutating func meaning(
        of event: WorkerFrame.ReplyEvent, _ frame: WorkerFrame, _ bytes: UnsafeRawBufferPointer, _ now: Instant
    ) -> [Action] {
        if event == .answer || event == .done, let metrics = frame.fields.value("metrics", in: bytes) {
            usage.read(metrics, in: bytes)
        }
        switch event {
        case .ignored, .heartbeat, .credit: return []
        case .pending:
            extend(frame, bytes, now: now)
            return []
        case .start:
            guard let head = WorkerAnswer.start(frame, in: bytes) else { return failed(Self.badAnswer) }
            deadline = min(total, now.advanced(byMilliseconds: deadlines.idleMs))
            return startArrived(head)
        case .progress where form != .events:
            deadline = max(deadline, min(total, now.advanced(byMilliseconds: deadlines.idleMs)))
            return []
        case .chunk, .progress:
            guard let chunk = WorkerAnswer.chunk(frame, in: bytes) else { return failed(Self.badAnswer) }
            deadline = min(total, now.advanced(byMilliseconds: deadlines.idleMs))
            guard form == .bytes else { return chunkArrived(chunk) }
            guard pay(chunk.count) else { return failed(Self.wrongLength) }
            let head = begun { AnswerHead(status: 200, contentType: WorkerAnswer.chunkType(frame, in: bytes)) }
            return chunk.isEmpty ? head : head + [.body(chunk)]
        case .done:
            if let payload = frame.payload { usage.read(payload, in: bytes) }
            // Some workers put the whole answer into the event that ends the work.
            if case .waiting = state, collected.isEmpty,
                let whole = WorkerAnswer.whole(frame, in: bytes), WorkerAnswer.isWrapped(frame, in: bytes)
            {
                return wholeArrived(whole)
            }
            return doneArrived()
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
            finalStatus = error.status
            return [.fail(error)]
        case .streaming:
            state = .finished
            finalStatus = error.status
            guard form == .events else { return [.fail(error)] }
            return [.body(WorkerAnswer.dataEvent(error.document(requestID: nil).bytes)), .end]
        }
    }

    /// How it went, for the worker's performance window; nil when it says nothing about the worker: not finished, a
    /// buyer's own mistake (4xx), or a deadline that passed through no fault of the worker's.
    package func sample(now: Instant) -> RequestSample? {
        guard isFinished, !isOthersFault, !(400..<500).contains(finalStatus) else { return nil }
        return measured(now, isSuccess: finalStatus < 500)
    }

    /// The request was given up by its buyer. One that had to wait longer than a first content may take tells that the
    /// worker hangs; anything else tells nothing.
    package func abandoned(now: Instant) -> RequestSample? {
        guard firstContent == nil, now.milliseconds(since: started) >= Limits.hungRequestMs else { return nil }
        return measured(now, isSuccess: false)
    }

    private func measured(_ now: Instant, isSuccess: Bool) -> RequestSample {
        usage.sample(
            latencyMs: max(now.milliseconds(since: started), 0),
            firstContentMs: firstContent.map { max($0.milliseconds(since: started), 0) }, isSuccess: isSuccess)
    }

    // MARK: Binary frames

    /// The payload of a binary frame of this request. The worker may have `Limits.answerWindowBytes` on the way that
    /// nobody has consumed; more is a violation that costs the request, or a fast worker could fill this node.
    package mutating func binaryArrived(_ payload: UnsafeRawBufferPointer, now: Instant) -> Bytes {
        guard !isFinished else { return .actions([]) }
        deadline = min(total, now.advanced(byMilliseconds: deadlines.idleMs))
        taken += payload.count
        guard taken <= Limits.answerWindowBytes else {
            return .actions(failed(MeshError(.workerBadAnswer, "the worker sent more than it was given room for")))
        }
        switch form {
        case .bytes:
            guard case .streaming = state else { return .actions(failed(Self.badAnswer)) }
            guard pay(payload.count) else { return .actions(failed(Self.wrongLength)) }
            return .pass
        case .events, .document: return .actions(chunkArrived(Array(payload)))
        }
    }

    /// `count` bytes of binary frames went on towards the buyer.
    /// - Returns: the credit to give the worker, when it is time to.
    package mutating func consumed(_ count: Int) -> Int? {
        let count = min(count, taken)
        taken -= count
        creditDue += count
        guard creditDue >= Limits.answerWindowBytes / 4, !isFinished else { return nil }
        defer { creditDue = 0 }
        return creditDue
    }

    /// The worker takes the request's upload: as long as it does, nobody waits for an answer.
    package mutating func uploadProgressed(now: Instant) {
        guard case .waiting = state else { return }
        deadline = max(deadline, min(total, now.advanced(byMilliseconds: deadlines.firstContentMs)))
    }

    /// The request is whole at the worker.
    package mutating func uploadEnded(now: Instant) {
        isUploading = false
        uploadProgressed(now: now)
    }

    private mutating func startArrived(_ head: AnswerHead) -> [Action] {
        guard case .waiting = state else { return failed(Self.badAnswer) }
        if form == .events, head.isEventStream, head.status < 400 { return [] }
        form = .bytes
        // What came before was news of a stream that this answer is not.
        held = []
        owed = head.length
        finalStatus = head.status
        return begun { head }
    }

    /// Whether `count` more bytes fit into the length that was told.
    private mutating func pay(_ count: Int) -> Bool {
        guard let left = owed else { return true }
        owed = max(left - count, 0)
        return count <= left
    }

    /// Call when `deadline` has passed.
    package mutating func deadlinePassed() -> [Action] {
        let seconds = deadlines.firstContentMs / 1000
        // A peer that shortened the time, a buyer who took nothing while the worker waited for credit, or one who did
        // not send what the worker waited for.
        isOthersFault = deadlines.areShortened || taken > 0 || isUploading
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

    private static let wrongLength = MeshError(
        .workerBadAnswer, "the worker's answer has another length than it said")

    private mutating func extend(_ frame: WorkerFrame, _ bytes: UnsafeRawBufferPointer, now: Instant) {
        var seconds: Int64 = 300
        if let payload = frame.payload, payload.kind == .object,
            let fields = try? JSONScanner.fields(of: bytes, in: payload.range),
            let estimate = fields.integer("estimated_timeout", in: bytes), estimate > 0
        {
            seconds = min(estimate, Limits.workerPendingMs / 1000)
        }
        let estimated = max(deadline, now.advanced(byMilliseconds: seconds * 1000))
        deadline = min(total, estimated, beats.nextExpected(now: now) ?? estimated)
    }

    private mutating func chunkArrived(_ chunk: [UInt8]) -> [Action] {
        guard form == .events else {
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
        for event in events where !AnswerEvent.isDoneMarker(event) {
            let event = AnswerEvent.withoutDoneLines(event)
            if event.isEmpty { continue }
            if !hasContent {
                switch AnswerEvent.meaning(event) {
                case .failure(let error): return failed(error)
                case .preliminary:
                    hold(event)
                    continue
                case .content: hasContent = true
                }
            }
            if let range = AnswerEvent.usage(in: event) { readUsage(event, range) }
            body.append(contentsOf: event)
            body += [0x0A, 0x0A]
        }
        guard !body.isEmpty else { return [] }
        return eventsBegun() + [.body(body)]
    }

    /// Reads the usage object that starts at `start`: the last event of a stream may have one.
    private mutating func readUsage(_ event: [UInt8], _ start: Int) {
        event.withUnsafeBytes { bytes in
            let rest = UnsafeRawBufferPointer(rebasing: bytes[start...])
            guard let end = AnswerEvent.objectEnd(rest),
                let fields = try? JSONScanner.fields(of: rest, in: 0..<end)
            else { return }
            usage.read(fields, in: rest)
        }
    }

    private mutating func eventsBegun() -> [Action] {
        begun { AnswerHead(status: 200, contentType: "text/event-stream") }
    }

    /// The head, and what was held back, when nothing was delivered so far.
    private mutating func begun(_ head: () -> AnswerHead) -> [Action] {
        guard case .waiting = state else { return [] }
        state = .streaming
        defer { held = [] }
        return held.isEmpty ? [.head(head())] : [.head(head()), .body(held)]
    }

    /// Old news goes first when there is too much of it.
    private mutating func hold(_ event: [UInt8]) {
        if held.count + event.count > Limits.streamBufferBytes { held = [] }
        guard event.count < Limits.streamBufferBytes else { return }
        held += event
        held += [0x0A, 0x0A]
    }

    private mutating func doneArrived() -> [Action] {
        switch form {
        case .document:
            guard !collected.isEmpty else { return failed(Self.badAnswer) }
            state = .finished
            let head = AnswerHead(status: 200, contentType: "application/json", length: collected.count)
            return [.head(head), .body(collected), .end]
        case .bytes:
            guard case .streaming = state else { return failed(Self.badAnswer) }
            guard owed ?? 0 == 0 else { return failed(Self.wrongLength) }
            state = .finished
            return [.end]
        case .events: break
        }
        var actions = reframer.finish().map { deliver([$0]) } ?? []
        if isFinished { return actions }
        actions += eventsBegun()
        state = .finished
        return actions + [.body(Self.doneMarker), .end]
    }

    private mutating func wholeArrived(_ whole: WorkerAnswer.Whole) -> [Action] {
        let status = whole.head.status
        if status >= 400 || form != .events || !Self.becomesEvents(whole) {
            guard case .waiting = state else {
                return failed(MeshError(.streamInterrupted, "the worker ended the answer with status \(status)"))
            }
            guard status >= 400 || isReadable(whole) else { return failed(Self.badAnswer) }
            state = .finished
            finalStatus = status
            return [.head(whole.head), .body(whole.body), .end]
        }
        // Older clients answer a streamed request with the whole event stream, or the whole object, in one frame.
        let isStream = whole.head.isEventStream || whole.body.starts(with: Array("data:".utf8))
        let actions = chunkArrived(isStream ? whole.body : WorkerAnswer.dataEvent(whole.body))
        return isFinished ? actions : actions + doneArrived()
    }

    /// Text and JSON can be events; a picture cannot, and is answered as what it is.
    private static func becomesEvents(_ whole: WorkerAnswer.Whole) -> Bool {
        let type = whole.head.contentType.lowercased()
        return type.hasPrefix("text/") || type.hasPrefix("application/json")
    }

    /// A success that says it is JSON and is none is garbage, and no answer.
    private mutating func isReadable(_ whole: WorkerAnswer.Whole) -> Bool {
        guard whole.head.contentType.hasPrefix("application/json") else { return true }
        return whole.body.withUnsafeBytes { bytes in
            // The one scan of a plain answer also finds its usage.
            guard let fields = try? JSONScanner.fields(of: bytes) else {
                return (try? JSONScanner.value(of: bytes)) != nil
            }
            for name: StaticString in ["usage", "metrics"] {
                if let slice = fields.value(name, in: bytes) { usage.read(slice, in: bytes) }
            }
            return true
        }
    }

    private static let doneMarker = Array("data: [DONE]\n\n".utf8)
}
