import MeshDialects
package import MeshModel
package import MeshWire

/// One request at one worker, from the frame that carries it to its last answer: what each of the worker's frames
/// means for the buyer.
///
/// States: `waiting` (nothing but keep-alives came) → `streaming` (content was delivered) → `finished`. The answer is a
/// head, bytes, and `end` with its totals, or `fail` in the place of any of them. Of a stream of events the bytes are
/// whole events without an end marker: the marker and the words of a failure are the affair of whoever speaks with the
/// buyer. An answer is complete when it says so, not when it ends: behind `[DONE]` nothing can spoil it, and without any
/// such mark its end is a failure.
package struct AnswerExchange: Sendable {
    package enum Action: Hashable, Sendable {
        /// Before any bytes; only once.
        case head(AnswerHead)
        case bytes([UInt8])
        /// The answer is complete.
        case end(AnswerTotals)
        /// Before the head: the error may be answered or another worker be tried. After it: the answer is cut, and
        /// whoever reads it must be able to tell.
        case fail(MeshError)
    }

    /// What becomes of the bytes of a binary frame.
    package enum Bytes: Hashable, Sendable {
        /// They are part of the answer as they are.
        case pass
        case actions([Action])
    }

    enum State: Sendable {
        case waiting
        case streaming
        case finished
    }

    /// `events` becomes `bytes` when the worker says that its answer is no event stream.
    var form: AnswerForm
    /// Whether one document was asked for: nothing is none, and neither are events.
    let expectsDocument: Bool
    let subject: Subject
    /// Who answers, for the words of failures.
    let answerer: Answerer
    private let deadlines: AnswerDeadlines
    private let total: Instant
    private let started: Instant
    private var firstContent: Instant?
    /// When something last came.
    private var latest: Instant
    private var delivered: Int64 = 0
    var usage = UsageReading()
    var finishReason: String?
    var finalStatus = 0
    private var isOthersFault = false
    /// Whether the worker let all its time pass without a word of the answer.
    package private(set) var ranOutOfTime = false
    var state = State.waiting
    var events: AnswerEvents
    /// A plain request that is answered in chunks is collected here.
    private var collected: [UInt8] = []
    /// What a `start` said of an answer that is looked at before it is one.
    private var announced: AnswerHead?
    /// Whether part of the answer itself has come: not only news of the work.
    var hasResult = false
    /// When a stream that has said that it is complete is over, whatever its worker still waits for.
    private var tail: Instant?
    private var beats = PendingBeats()
    /// When the request is over by what was allowed and what the worker announced; `beats` may end it before.
    var patience: Instant
    /// Bytes still to come where the head told the length: it goes to the buyer as `content-length`, and one byte more
    /// would be read as the beginning of the next answer on that connection.
    private var owed: Int?
    /// Bytes of binary frames that the worker was not given back yet.
    private var taken = 0
    /// Bytes that were consumed but not told to the worker yet.
    private var creditDue = 0
    /// Whether the request is not whole at the worker yet.
    private var isUploading: Bool

    package var deadline: Instant { tail ?? min(total, patience, beats.due ?? total) }
    /// Bytes of an unfinished answer that wait here.
    package var heldBytes: Int { collected.count + events.heldBytes }
    /// Whether the deadline stands for a handler that was at work and says nothing more.
    private var isLost: Bool { beats.due.map { $0 < min(total, patience) } ?? false }

    package init(
        form: AnswerForm, subject: Subject = .chat, by answerer: Answerer = .worker,
        deadlines: AnswerDeadlines, isUploading: Bool = false, now: Instant
    ) {
        self.form = form
        expectsDocument = form == .document
        self.answerer = answerer
        events = AnswerEvents(by: answerer)
        self.subject = subject
        self.isUploading = isUploading
        self.deadlines = deadlines
        started = now
        latest = now
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
        latest = now
        let actions = meaning(of: event, frame, bytes, now)
        return noted(actions, now)
    }

    mutating func noted(_ actions: [Action], _ now: Instant) -> [Action] {
        if firstContent == nil, !actions.isEmpty { firstContent = now }
        if events.hasEnded, tail == nil { tail = now.advanced(byMilliseconds: Limits.streamTailMs) }
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
            guard let head = WorkerAnswer.start(frame, in: bytes) else { return failed(unreadable) }
            partArrived(now: now)
            return startArrived(head)
        case .progress: return progressArrived(frame, bytes, now)
        case .chunk:
            guard let pieces = WorkerAnswer.pieces(frame, in: bytes) else { return failed(unreadable) }
            partArrived(now: now)
            return chunkArrived(pieces, frame, bytes)
        case .done: return ended(frame, bytes)
        case .error:
            let failure = AnswerFailure(frame, in: bytes)
            if case .streaming = state { return failed(failure.lateError(by: answerer)) }
            return failed(failure.error(by: answerer))
        case .answer:
            let whole = WorkerAnswer.whole(frame, in: bytes, usage: &usage)
            // Behind the chunks of a stream it repeats them, or only says that they were all.
            if form == .events, hasResult, isRepeat(whole, frame, bytes) { return doneArrived() }
            guard let whole else { return failed(unreadable) }
            return wholeArrived(whole, frame, bytes)
        }
    }

    /// How the work goes: part of a stream of events, where it can be one, and a keep-alive elsewhere. Words for a log
    /// are no event, and glued to a chunk they would spoil it.
    private mutating func progressArrived(
        _ frame: WorkerFrame, _ bytes: UnsafeRawBufferPointer, _ now: Instant
    ) -> [Action] {
        let pieces = form == .events ? WorkerAnswer.pieces(frame, in: bytes) ?? [] : []
        let news = pieces.filter { piece in
            if case .json = piece { true } else { AnswerStart.judge(piece.content, isWhole: true) == .events }
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
        // What happens behind the end of a complete answer is nobody's loss.
        case .waiting where events.hasEnded, .streaming where events.hasEnded: return doneArrived()
        case .waiting:
            state = .finished
            finalStatus = error.status
            return [.fail(error)]
        case .streaming:
            state = .finished
            finalStatus = error.status
            var told = error
            if form == .events, error.code == .workerLost { told.code = .streamInterrupted }
            return [.fail(told)]
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

    /// Whether it is the worker's doing when there is no word of the answer by now: it had the time that this node gives,
    /// and waits for nothing of the buyer's.
    package var isToBlameForTime: Bool {
        firstContent == nil && !isFinished && !deadlines.areShortened && !isUploading && taken == 0
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
        latest = now
        partArrived(now: now)
        taken += payload.count
        guard taken <= Limits.answerWindowBytes else {
            return .actions(
                failed(MeshError(.workerBadAnswer, "\(answerer.words) sent more than it was given room for")))
        }
        switch form {
        case .bytes:
            guard case .streaming = state else { return .actions(failed(unreadable)) }
            guard pay(payload.count) else { return .actions(failed(wrongLength)) }
            guard !isOther(payload) else { return .actions(failed(unreadable)) }
            delivered += Int64(payload.count)
            return .pass
        case .events, .document:
            return .actions(noted(chunkArrived([.bytes(Array(payload))], nil, payload), now))
        }
    }

    /// Whether an answer that begins so is no document.
    private func isOther(_ beginning: some Collection<UInt8>) -> Bool {
        expectsDocument && delivered == 0 && finalStatus < 400
            && [.events, .page].contains(AnswerStart.judge(Array(beginning.prefix(64)), isWhole: true))
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

    mutating func startArrived(_ head: AnswerHead) -> [Action] {
        guard case .waiting = state else { return failed(unreadable) }
        guard head.status < 400 else { return bytesBegin(head) }
        if subject != .files, head.isPage { return failed(page) }
        switch form {
        case .events where head.isEventStream: return []
        case .events where !head.isMedia:
            // The type may be missing or wrong: what it is shows in its first bytes.
            announced = head
            events.expectAnything()
            return []
        case .document where head.isEventStream || head.isText:
            announced = head
            return []
        case .events, .document, .bytes: return bytesBegin(head)
        }
    }

    /// The answer is bytes that pass as they come.
    private mutating func bytesBegin(_ head: AnswerHead) -> [Action] {
        form = .bytes
        // What came before was news of a stream that this answer is not.
        _ = events.release()
        hasResult = true
        owed = head.length
        finalStatus = head.status
        return begun { head }
    }

    /// What should have been events is something else.
    private mutating func otherArrived(_ beginning: [UInt8]) -> [Action] {
        guard let head = announced, !subject.isOfModel else { return failed(unreadable) }
        let actions = bytesBegin(head)
        guard pay(beginning.count) else { return failed(wrongLength) }
        return actions + [part(beginning)]
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
        if events.hasEnded, !isFinished { return doneArrived() }
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
                    .workerLost, "\(answerer.words) was at work and says nothing more; try again", retryAfterSeconds: 2)
            )
        case .waiting:
            ranOutOfTime = !isOthersFault
            return failed(
                MeshError(
                    .workerTimeout,
                    "\(answerer.words) did not answer within \(max(seconds, 1)) s; try again or choose another provider"
                ))
        case .streaming:
            return failed(
                MeshError(.streamInterrupted, "\(answerer.words) stopped sending in the middle of the answer"))
        }
    }

    private var wrongLength: MeshError {
        MeshError(.workerBadAnswer, "\(answerer.words)'s answer has another length than it said")
    }

    var unreadable: MeshError { AnswerFailure.unreadable(by: answerer) }
    var page: MeshError { AnswerFailure.page(by: answerer) }

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
    mutating func partArrived(now: Instant) {
        patience = now.advanced(byMilliseconds: deadlines.idleMs)
        beats.seen(now: now)
    }

    private mutating func workContinues(now: Instant) {
        patience = max(patience, now.advanced(byMilliseconds: deadlines.idleMs))
        beats.seen(now: now)
    }

    // MARK: Parts

    mutating func chunkArrived(
        _ pieces: [AnswerPiece], _ frame: WorkerFrame?, _ bytes: UnsafeRawBufferPointer
    ) -> [Action] {
        switch form {
        case .events:
            let actions = deliver(events.append(pieces, usage: &usage))
            hasResult = hasResult || !actions.isEmpty || events.hasPartial
            return actions
        case .document: return collect(pieces)
        case .bytes:
            guard pay(pieces.reduce(0) { $0 + $1.content.count }) else { return failed(wrongLength) }
            hasResult = true
            if case .waiting = state, subject != .files, let first = pieces.first, first.isPage {
                return failed(page)
            }
            if let first = pieces.first, isOther(first.content) { return failed(unreadable) }
            let head = begun {
                AnswerHead(status: 200, contentType: WorkerAnswer.chunkType(frame, pieces, in: bytes))
            }
            return head + pieces.map(\.content).filter { !$0.isEmpty }.map { part($0) }
        }
    }

    private mutating func collect(_ pieces: [AnswerPiece]) -> [Action] {
        for piece in pieces {
            if case .json(let document) = piece {
                switch StreamEvent.meaning(ofDocument: document) {
                case .preliminary where StreamEvent.isLoadStatus(document): continue
                case .preliminary: break
                case .failure(let failure): return failed(failure.error(by: answerer))
                case .content, .nothing: break
                }
            }
            guard collected.count + piece.content.count <= Limits.workerFrameBytes else {
                return failed(MeshError(.workerBadAnswer, "\(answerer.words)'s answer is longer than this node holds"))
            }
            collected += piece.content
        }
        hasResult = hasResult || !collected.isEmpty
        return []
    }

    mutating func deliver(_ delivery: AnswerEvents.Delivery) -> [Action] {
        if let other = delivery.other { return otherArrived(other) }
        let actions = delivery.body.isEmpty ? [] : eventsBegun() + [part(delivery.body)]
        guard let failure = delivery.failure else { return actions }
        let ended = actions + failed(failure)
        // Behind content a status of the buyer's own fault is none.
        if !actions.isEmpty || firstContent != nil { finalStatus = max(finalStatus, ErrorCode.workerError.status) }
        return ended
    }

    /// Bytes of the answer, counted.
    mutating func part(_ bytes: [UInt8]) -> Action {
        delivered += Int64(bytes.count)
        return .bytes(bytes)
    }

    /// The answer is complete.
    mutating func complete() -> Action {
        state = .finished
        var totals = AnswerTotals()
        totals.promptTokens = usage.promptTokens
        totals.cachedTokens = usage.cachedTokens
        totals.completionTokens = usage.completionTokens
        totals.totalTokens = usage.totalTokens
        totals.finishReason = events.finishReason ?? finishReason
        totals.bytes = delivered
        totals.firstContentMs = (firstContent ?? latest).milliseconds(since: started)
        totals.durationMs = latest.milliseconds(since: started)
        return .end(totals)
    }

    mutating func eventsBegun() -> [Action] {
        begun { AnswerHead(status: 200, contentType: "text/event-stream") }
    }

    /// The head, and what was held back, when nothing was delivered so far.
    private mutating func begun(_ head: () -> AnswerHead) -> [Action] {
        guard case .waiting = state else { return [] }
        state = .streaming
        let held = events.release()
        return held.isEmpty ? [.head(head())] : [.head(head()), part(held)]
    }

    // MARK: The end

    mutating func doneArrived() -> [Action] {
        switch form {
        case .document:
            guard !collected.isEmpty else { return failed(unreadable) }
            var head = announced ?? AnswerHead(status: 200, contentType: "application/json")
            head.length = collected.count
            return documentArrived(.init(head: head, body: collected, source: .text))
        case .bytes:
            guard case .streaming = state else { return failed(unreadable) }
            guard owed ?? 0 == 0 else { return failed(wrongLength) }
            guard !expectsDocument || delivered > 0 || finalStatus >= 400 else { return failed(unreadable) }
            return [complete()]
        case .events: break
        }
        var actions = deliver(events.finish(usage: &usage))
        if isFinished { return actions }
        actions += eventsBegun()
        return actions + [complete()]
    }
}
