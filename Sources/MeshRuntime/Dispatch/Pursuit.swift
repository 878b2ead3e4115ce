package import MeshExchange
package import MeshModel
import MeshRouting
package import MeshSessions
import MeshWire
package import NIOCore

/// Has one request answered by one of the places it may go to: tries them in turn until the first content, and then
/// passes the answer on. The rules are those of the pure `Attempts`; here are the places, the clock and the bytes.
///
/// The receiver hears an answer as if there had been one place only: nothing reaches it before the first content, a
/// final answer, or the last failure, but `pending`. Lives on the receiver's event loop.
package final class Pursuit: Sendable, Ticking {
    /// Where a request may go, and how it gets there.
    package struct Places: Sendable {
        var find: @Sendable () -> [Candidate]
        var begin:
            @Sendable (_ place: Candidate, _ request: WorkRequest, _ attempt: Int, _ receiver: any AnswerReceiver) ->
                any AttemptHandle
        /// What is told when there is no place at all.
        var none: @Sendable () -> MeshError

        package init(
            find: @escaping @Sendable () -> [Candidate],
            begin:
                @escaping @Sendable (
                    _ place: Candidate, _ request: WorkRequest, _ attempt: Int, _ receiver: any AnswerReceiver
                ) -> any AttemptHandle,
            none: @escaping @Sendable () -> MeshError
        ) {
            self.find = find
            self.begin = begin
            self.none = none
        }
    }

    private struct State {
        var machine: Attempts
        var candidates: [Candidate] = []
        var hasLookedAgain = false
        /// Answers of an attempt that was given up are nobody's.
        var attempt: AttemptReceiver?
        var handle: (any AttemptHandle)?
        /// What came of the attempt under way and may still become another's turn.
        var uncommitted = UncommittedAnswer()
        /// The whole answer that says most of why there is no other.
        var kept: KeptAnswer?
        var isCommitted = false
        var place: Candidate?
        /// It knows this object. Nil when all is told.
        var receiver: (any AnswerReceiver)?
    }

    private let eventLoop: any EventLoop
    private let request: WorkRequest
    private let upload: UploadFlow?
    private let places: Places
    private let ticker: LoopTicker<Pursuit>
    private let state: NIOLoopBoundBox<State>

    init(
        _ request: WorkRequest, upload: UploadFlow?, places: Places, repeats: Int,
        tickers: LoopTickers<Pursuit>, receiver: any AnswerReceiver
    ) {
        self.request = request
        self.upload = upload
        self.places = places
        eventLoop = receiver.eventLoop
        ticker = tickers.ticker(of: receiver.eventLoop)
        let deadlines = request.deadlines
        let terms = Attempts.Terms(
            firstContentMs: deadlines.firstContentMs, idleMs: deadlines.idleMs, totalMs: deadlines.totalMs,
            isStream: request.form == .events, mayRepeat: request.mayRepeat, repeats: repeats)
        state = NIOLoopBoundBox(
            State(machine: Attempts(terms, now: SystemClock.instant), receiver: receiver),
            eventLoop: receiver.eventLoop)
    }

    /// How many places were asked.
    package var attempts: Int { state.value.machine.tried }
    /// The one that answers, or whose failure is told.
    package var place: Candidate? { state.value.place }

    // MARK: Places in turn

    package func start() {
        // Whoever asked may be gone by now.
        guard state.value.receiver != nil else { return }
        ticker.add(self)
        state.value.candidates = places.find()
        state.value.machine.found(state.value.candidates.count)
        next()
    }

    private func next() {
        if !state.value.machine.hasNext { lookAgain() }
        guard state.value.machine.hasNext else { return giveUp() }
        let now = SystemClock.instant
        let candidate = state.value.candidates[state.value.machine.tried]
        let left = state.value.machine.begin(now: now)
        var request = request
        // What an earlier attempt has used up is not this one's fault.
        request.deadlines.areShortened =
            request.deadlines.areShortened || left.firstContentMs < request.deadlines.firstContentMs
        request.deadlines.firstContentMs = left.firstContentMs
        request.deadlines.totalMs = left.totalMs
        request.upload = upload?.ticket()
        let attempt = AttemptReceiver(pursuit: self, eventLoop: eventLoop)
        state.value.attempt = attempt
        state.value.place = candidate
        state.value.uncommitted = UncommittedAnswer()
        let handle = places.begin(candidate, request, state.value.machine.tried, attempt)
        // An attempt may have failed before it returned, and another begun.
        if state.value.attempt === attempt { state.value.handle = handle } else { handle.cancel() }
    }

    /// A worker may have come back meanwhile: one that connected anew takes over from its own old socket.
    private func lookAgain() {
        guard state.value.machine.wantsMore, state.value.machine.tried > 0, !state.value.hasLookedAgain else { return }
        state.value.hasLookedAgain = true
        let tried = state.value.candidates
        state.value.candidates += places.find().filter { candidate in !tried.contains { $0.isSame(as: candidate) } }
        state.value.machine.found(state.value.candidates.count)
    }

    /// - Parameter answer: the whole refusal, kept while others are asked. An object, because the optimiser of Swift 6.3 does
    ///   not keep a struct of this size alive when the place it was read from is assigned.
    private func failed(_ failure: Attempts.Failure, answer: KeptAnswer? = nil) {
        state.value.attempt = nil
        state.value.handle = nil
        state.value.uncommitted = UncommittedAnswer()
        if Attempts.needsRest(failure), case .local(let session, _)? = state.value.place {
            session.rest(retryAfterSeconds: Attempts.retryAfter(failure), now: SystemClock.instant)
        }
        let isBest = state.value.machine.failed(failure, canSendAgain: !(upload?.hasBegun ?? false))
        if isBest { state.value.kept = answer }
        next()
    }

    private func giveUp() {
        guard let verdict = state.value.machine.verdict else { return finish([.fail(places.none())]) }
        if verdict.attempt > 0 { state.value.place = state.value.candidates[verdict.attempt - 1] }
        switch verdict.failure {
        case .error(let error): finish([.fail(error)])
        case .refusal(_, let seconds):
            guard let kept = state.value.kept else { return finish([.fail(places.none())]) }
            var answer = kept.answer
            answer.setRetryAfter(seconds)
            finish(answer.parts + [.end(kept.totals)])
        }
    }

    // MARK: What the attempt says

    fileprivate func receive(_ parts: [AnswerPart], from attempt: AttemptReceiver) {
        for index in parts.indices {
            guard state.value.attempt === attempt else { return }
            if state.value.isCommitted { return pass(Array(parts[index...])) }
            take(parts[index])
        }
    }

    private func take(_ part: AnswerPart) {
        switch part {
        case .pending:
            state.value.machine.signArrived()
            state.value.receiver?.receive([.pending])
        case .head(let head): state.value.uncommitted.begin(head, form: request.form, isForeign: isForeign)
        case .bytes(let bytes):
            switch state.value.uncommitted.append(bytes) {
            case .hold: break
            case .commit: commit()
            case .failed(let error): drop(.error(error))
            }
        case .end(let totals):
            switch state.value.uncommitted.finish(isChat: request.form != .bytes) {
            case .commit: commit(end: totals)
            case .refusal(let status, let seconds):
                failed(
                    .refusal(status: status, retryAfterSeconds: seconds), answer: KeptAnswer(state.value.uncommitted, totals))
            case .failed(let error): failed(.error(error))
            }
        case .fail(let error): failed(.error(error))
        }
    }

    /// Content is here: what was held back goes on, and whatever comes passes.
    private func commit(end totals: AnswerTotals? = nil) {
        if case .local(let session, _)? = state.value.place { session.restIsOver() }
        state.value.isCommitted = true
        var parts = state.value.uncommitted.parts
        state.value.uncommitted = UncommittedAnswer()
        if let totals { parts.append(.end(totals)) }
        pass(parts)
    }

    private func pass(_ parts: [AnswerPart]) {
        // Behind the first content only content counts.
        if case .pending? = parts.last { return }
        state.value.machine.contentArrived(now: SystemClock.instant)
        switch parts.last {
        case .end?, .fail?: finish(parts)
        case .pending?, .head?, .bytes?, nil: state.value.receiver?.receive(parts)
        }
    }

    /// The attempt is of no use any more, and does not know it.
    private func drop(_ failure: Attempts.Failure) {
        let handle = state.value.handle
        state.value.handle = nil
        state.value.attempt = nil
        handle?.cancel()
        failed(failure)
    }

    /// All is told with `parts`, if any.
    private func finish(_ parts: [AnswerPart]) {
        ticker.remove(self)
        state.value.machine.ended()
        let receiver = state.value.receiver
        state.value.receiver = nil
        state.value.attempt = nil
        state.value.handle = nil
        state.value.kept = nil
        receiver?.receive(parts)
    }

    /// Whether another node answers: what it says of its worker's answer was judged by nobody yet.
    private var isForeign: Bool {
        if case .remote? = state.value.place { return true }
        return false
    }

    // MARK: What the buyer does

    /// The answer is not wanted any more.
    package func cancel() {
        let handle = state.value.handle
        finish([])
        handle?.cancel()
    }

    package func pause() {
        state.value.machine.setPaused(true, now: SystemClock.instant)
        state.value.handle?.pause()
    }

    package func resume() {
        state.value.machine.setPaused(false, now: SystemClock.instant)
        state.value.handle?.resume()
    }

    package func consumed(_ count: Int) { state.value.handle?.consumed(count) }

    // MARK: Time

    package func tick() {
        let now = SystemClock.instant
        // As long as the buyer's bytes move, or are waited for, nobody waits for an answer.
        if let upload { state.value.machine.uploadMoved(at: upload.isStarving ? now : upload.lastTaken) }
        switch state.value.machine.lateness(now: now) {
        case nil: break
        case .firstContent?:
            let handle = state.value.handle
            let error = MeshError(.workerTimeout, "\(whoAnswers) did not begin to answer in time; try again")
            state.value.attempt = nil
            state.value.handle = nil
            handle?.expire()
            failed(.error(error))
        case .idle?: cut("the answer stopped in the middle")
        case .total?: cut("the request took longer than this node allows")
        }
    }

    private func cut(_ words: String) {
        let handle = state.value.handle
        let isCommitted = state.value.isCommitted
        finish([.fail(MeshError(isCommitted ? .streamInterrupted : .workerTimeout, words))])
        if isCommitted { handle?.cancel() } else { handle?.expire() }
    }

    private var whoAnswers: String {
        guard case .remote(let node, let provider)? = state.value.place else { return "the worker" }
        return "node \(provider.nodeName(node))"
    }
}

private final class KeptAnswer: Sendable {
    let answer: UncommittedAnswer
    let totals: AnswerTotals

    init(_ answer: UncommittedAnswer, _ totals: AnswerTotals) {
        self.answer = answer
        self.totals = totals
    }
}

/// The receiver of one attempt: tells late answers of an abandoned attempt from those of the current one.
private final class AttemptReceiver: AnswerReceiver {
    let eventLoop: any EventLoop
    private let pursuit: Pursuit

    init(pursuit: Pursuit, eventLoop: any EventLoop) {
        self.pursuit = pursuit
        self.eventLoop = eventLoop
    }

    func receive(_ parts: [AnswerPart]) { pursuit.receive(parts, from: self) }
}
