package import MeshModel
import MeshWire

/// One request at one worker, from the frame that carries it to its last answer: what each of the worker's frames
/// means for the buyer.
///
/// States: `waiting` (nothing but keep-alives came) → `streaming` (content was delivered) → `finished`. A failure
/// in `waiting` is `fail`, so that a real status or another candidate is still possible; in `streaming` it is an
/// in-band error event and the end. `[DONE]` is delivered exactly once, whether the worker sent it or not, and never
/// after an error.
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
    private var events = AnswerEvents()
    /// A plain request that is answered in chunks is collected here.
    private var collected: [UInt8] = []
    /// Whether part of the answer itself has come: not only news of the work.
    private var hasResult = false
    private var beats = PendingBeats()
    /// When the request is over by what was allowed and what the worker announced; `beats` may end it before.
    private var patience: Instant
    /// Bytes still to come where the head told the length: it goes to the buyer as `content-length`, and one byte more
    /// would be read as the beginning of the next answer on that connection.
    private var owed: Int?
    /// Bytes of binary frames that the worker was not given back yet.
    private var taken = 0
    /// Bytes that were consumed but not told to the worker yet.
    private var creditDue = 0
    /// Whether the request is not whole at the worker yet.
    private var isUploading: Bool

    package var deadline: Instant { min(total, patience, beats.due ?? total) }
    /// Whether the deadline stands for a handler that was at work and says nothing more.
    private var isLost: Bool { beats.due.map { $0 < min(total, patience) } ?? false }

    package init(form: Form, deadlines: Deadlines, isUploading: Bool = false, now: Instant) {
        self.form = form
        self.isUploading = isUploading
        self.deadlines = deadlines
        started = now
        total = now.advanced(byMilliseconds: deadlines.totalMs)
        patience = now.advanced(byMilliseconds: deadlines.firstContentMs)
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
            partArrived(now: now)
            return startArrived(head)
        case .progress: return progressArrived(frame, bytes, now)
        case .chunk:
            guard let pieces = WorkerAnswer.pieces(frame, in: bytes) else { return failed(Self.badAnswer) }
            partArrived(now: now)
            return chunkArrived(pieces, frame, bytes)
        case .done: return ended(frame, bytes)
        case .error: return failed(WorkerFailure(frame, in: bytes).error())
        case .answer:
            let whole = WorkerAnswer.whole(frame, in: bytes, usage: &usage)
            // Behind the chunks of a stream it repeats them, or only says that they were all.
            if form == .events, hasResult, isRepeat(whole, frame, bytes) { return doneArrived() }
            guard let whole else { return failed(Self.badAnswer) }
            return wholeArrived(whole, frame, bytes)
        }
    }

    /// Whether an answer behind chunks can be what they came to. A picture, or what nobody can read, is none.
    private mutating func isRepeat(
        _ whole: WorkerAnswer.Whole?, _ frame: WorkerFrame, _ bytes: UnsafeRawBufferPointer
    ) -> Bool {
        guard let whole else {
            let content = WorkerAnswer.content(frame, in: bytes)?.kind
            return content == nil || content == .null || content == .object
        }
        guard whole.head.status < 400 else { return false }
        return whole.body.isEmpty || whole.isStream || flaw(of: whole, mustBeJSON: true) == nil
    }

    /// How the work goes: part of a stream of events, where it can be one, and a keep-alive elsewhere. Words for a log
    /// are no event, and glued to a chunk they would spoil it.
    private mutating func progressArrived(
        _ frame: WorkerFrame, _ bytes: UnsafeRawBufferPointer, _ now: Instant
    ) -> [Action] {
        let pieces = form == .events ? WorkerAnswer.pieces(frame, in: bytes) ?? [] : []
        let news = pieces.filter { piece in
            if case .json = piece { true } else { AnswerEvent.isStreamText(piece.content) }
        }
        guard !news.isEmpty else {
            workContinues(now: now)
            return []
        }
        partArrived(now: now)
        return deliver(events.append(wholes: news, usage: &usage))
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
        partArrived(now: now)
        taken += payload.count
        guard taken <= Limits.answerWindowBytes else {
            return .actions(failed(MeshError(.workerBadAnswer, "the worker sent more than it was given room for")))
        }
        switch form {
        case .bytes:
            guard case .streaming = state else { return .actions(failed(Self.badAnswer)) }
            guard pay(payload.count) else { return .actions(failed(Self.wrongLength)) }
            return .pass
        case .events, .document: return .actions(chunkArrived([.bytes(Array(payload))], nil, payload))
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

    /// Bytes of the request's upload go to the worker: as long as they do, nobody waits for an answer.
    package mutating func uploadProgressed(now: Instant) {
        guard case .waiting = state, isUploading else { return }
        patience = max(patience, now.advanced(byMilliseconds: deadlines.firstContentMs))
        beats.seen(now: now)
    }

    /// The buyer sends the upload too slowly for what it holds up: nobody's failure here.
    package mutating func uploadStalled() -> [Action] {
        isOthersFault = true
        return failed(MeshError(.requestTimeout, "the rest of the request body did not arrive in time"))
    }

    /// The request is whole at the worker.
    package mutating func uploadEnded(now: Instant) {
        uploadProgressed(now: now)
        isUploading = false
    }

    private mutating func startArrived(_ head: AnswerHead) -> [Action] {
        guard case .waiting = state else { return failed(Self.badAnswer) }
        if form == .events, head.isEventStream, head.status < 400 { return [] }
        form = .bytes
        // What came before was news of a stream that this answer is not.
        _ = events.release()
        hasResult = true
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
    /// - Parameter awaitsUpload: whether the worker has room for bytes of the upload that did not come.
    package mutating func deadlinePassed(awaitsUpload: Bool = false) -> [Action] {
        let seconds = deadlines.firstContentMs / 1000
        let isLost = isLost
        // A peer that shortened the time, a buyer who took nothing while the worker waited for credit, or one who did
        // not send what the worker waited for. A worker that gave no room for it has itself to blame.
        isOthersFault = (deadlines.areShortened && !isLost) || taken > 0 || awaitsUpload
        switch state {
        case .finished: return []
        case .waiting where isLost:
            return failed(
                MeshError(
                    .workerLost, "the worker was at work and says nothing more; try again", retryAfterSeconds: 2))
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
        patience = max(patience, now.advanced(byMilliseconds: seconds * 1000))
        beats.beat(now: now)
    }

    /// A part of the answer came: the next has its own time.
    private mutating func partArrived(now: Instant) {
        patience = now.advanced(byMilliseconds: deadlines.idleMs)
        beats.seen(now: now)
    }

    private mutating func workContinues(now: Instant) {
        patience = max(patience, now.advanced(byMilliseconds: deadlines.idleMs))
        beats.seen(now: now)
    }

    // MARK: Parts

    private mutating func chunkArrived(
        _ pieces: [AnswerPiece], _ frame: WorkerFrame?, _ bytes: UnsafeRawBufferPointer
    ) -> [Action] {
        switch form {
        case .events:
            let actions = deliver(events.append(pieces, usage: &usage))
            hasResult = hasResult || !actions.isEmpty || events.hasPartial
            return actions
        case .document: return collect(pieces)
        case .bytes:
            guard pay(pieces.reduce(0) { $0 + $1.content.count }) else { return failed(Self.wrongLength) }
            hasResult = true
            let head = begun {
                AnswerHead(status: 200, contentType: WorkerAnswer.chunkType(frame, pieces, in: bytes))
            }
            return head + pieces.map(\.content).filter { !$0.isEmpty }.map { .body($0) }
        }
    }

    private mutating func collect(_ pieces: [AnswerPiece]) -> [Action] {
        for piece in pieces {
            if case .json(let document) = piece {
                switch AnswerEvent.meaning(ofDocument: document) {
                case .preliminary: continue
                case .failure(let error): return failed(error)
                case .content: break
                }
            }
            guard collected.count + piece.content.count <= Limits.workerFrameBytes else {
                return failed(MeshError(.workerBadAnswer, "the worker's answer is longer than this node holds"))
            }
            collected += piece.content
        }
        hasResult = hasResult || !collected.isEmpty
        return []
    }

    private mutating func deliver(_ delivery: AnswerEvents.Delivery) -> [Action] {
        var actions = delivery.body.isEmpty ? [] : eventsBegun() + [.body(delivery.body)]
        guard let failure = delivery.failure else { return actions }
        guard delivery.isTold else { return actions + failed(failure) }
        // The buyer has read the worker's own words, and they are the end of the stream.
        state = .finished
        finalStatus = max(failure.status, ErrorCode.workerError.status)
        actions.append(.end)
        return actions
    }

    private mutating func eventsBegun() -> [Action] {
        begun { AnswerHead(status: 200, contentType: "text/event-stream") }
    }

    /// The head, and what was held back, when nothing was delivered so far.
    private mutating func begun(_ head: () -> AnswerHead) -> [Action] {
        guard case .waiting = state else { return [] }
        state = .streaming
        let held = events.release()
        return held.isEmpty ? [.head(head())] : [.head(head()), .body(held)]
    }

    // MARK: The end

    private mutating func ended(_ frame: WorkerFrame, _ bytes: UnsafeRawBufferPointer) -> [Action] {
        switch WorkerAnswer.ending(frame, in: bytes, usage: &usage) {
        case .nothing: return doneArrived()
        case .failure(let error): return failed(error)
        case .unreadable: return hasResult ? doneArrived() : failed(Self.badAnswer)
        case .pieces(let pieces):
            let actions = chunkArrived(pieces, frame, bytes)
            return isFinished ? actions : actions + doneArrived()
        case .whole(let whole):
            // After the answer's own parts it could only be the same once more, unless it says that all went wrong.
            if whole.head.status >= 400 { return wholeArrived(whole, frame, bytes) }
            if hasResult || (form == .events && whole.body.isEmpty) { return doneArrived() }
            return wholeArrived(whole, frame, bytes)
        }
    }

    private mutating func doneArrived() -> [Action] {
        switch form {
        case .document:
            guard !collected.isEmpty else { return failed(Self.badAnswer) }
            let head = AnswerHead(status: 200, contentType: "application/json", length: collected.count)
            return documentArrived(.init(head: head, body: collected, source: .text))
        case .bytes:
            guard case .streaming = state else { return failed(Self.badAnswer) }
            guard owed ?? 0 == 0 else { return failed(Self.wrongLength) }
            state = .finished
            return [.end]
        case .events: break
        }
        var actions = deliver(events.finish(usage: &usage))
        if isFinished { return actions }
        actions += eventsBegun()
        state = .finished
        return actions + [.body(Self.doneMarker), .end]
    }

    private mutating func wholeArrived(
        _ whole: WorkerAnswer.Whole, _ frame: WorkerFrame, _ bytes: UnsafeRawBufferPointer
    ) -> [Action] {
        if whole.head.status >= 400 { return refused(whole) }
        guard form == .events else { return documentArrived(whole) }
        // Older clients answer a streamed request with the whole event stream, or the whole object, in one frame.
        let piece: AnswerPiece
        let isDocument = whole.head.isText || whole.head.isJSON
        let flaw = whole.isStream ? nil : flaw(of: whole, mustBeJSON: whole.isTypeGuessed)
        if whole.isStream {
            piece = .text(whole.body)
        } else if isDocument, let flaw {
            return failed(flaw)
        } else if isDocument || (whole.isTypeGuessed && flaw == nil) {
            piece = .json(ChatCompletion.chunk(whole.body) ?? whole.body)
        } else if case .waiting = state {
            // A picture cannot be events, and is answered as what it is.
            return documentArrived(whole)
        } else if !hasResult, let payload = WorkerAnswer.content(frame, in: bytes) {
            // Too late for that: it goes as the worker wrapped it.
            piece = .json(Array(bytes[payload.range]))
        } else {
            return failed(MeshError(.streamInterrupted, "the worker ended its stream with something that is no event"))
        }
        let actions = deliver(events.append(wholes: [piece], usage: &usage))
        return isFinished ? actions : actions + doneArrived()
    }

    private mutating func documentArrived(_ whole: WorkerAnswer.Whole) -> [Action] {
        guard case .waiting = state else {
            return failed(MeshError(.streamInterrupted, "the worker answered a second time, in another form"))
        }
        if form == .document, whole.isStream {
            return failed(AnswerEvents.failure(in: whole.body) ?? Self.badAnswer)
        }
        if let flaw = flaw(of: whole, mustBeJSON: whole.isTypeGuessed && form == .document) { return failed(flaw) }
        state = .finished
        finalStatus = whole.head.status
        return [.head(whole.head), .body(whole.body), .end]
    }

    private mutating func refused(_ whole: WorkerAnswer.Whole) -> [Action] {
        guard case .waiting = state else { return failed(WorkerFailure.body(of: whole).failure.error()) }
        switch WorkerFailure.answer(for: whole, isChat: form != .bytes) {
        case .failure(let error): return failed(error)
        case .success(let whole):
            state = .finished
            finalStatus = whole.head.status
            return [.head(whole.head), .body(whole.body), .end]
        }
    }

    /// Why a success is none: it says that it is JSON and is garbage, or it only tells of a failure.
    private mutating func flaw(of whole: WorkerAnswer.Whole, mustBeJSON: Bool) -> MeshError? {
        guard whole.head.isJSON || mustBeJSON else { return nil }
        return whole.body.withUnsafeBytes { bytes in
            // The one scan of a plain answer also finds its usage.
            guard let fields = try? JSONScanner.fields(of: bytes) else {
                return (try? JSONScanner.value(of: bytes)) == nil ? Self.badAnswer : nil
            }
            usage.readInside(fields, in: bytes)
            guard form == .document, fields.value("choices", in: bytes) == nil else { return nil }
            return WorkerFailure(fields, in: bytes)?.error()
        }
    }

    private static let doneMarker = Array("data: [DONE]\n\n".utf8)
}
