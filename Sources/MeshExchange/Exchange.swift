package import MeshModel
package import MeshRouting
import MeshWire
package import NIOCore

/// Has one request answered: the shell of `ExchangeStateMachine`. Here are the places, the clock and the bytes; what is
/// done with them the machine says. Lives on its reader's event loop.
package final class Exchange: Sendable, Ticking {
    private struct State {
        var machine: ExchangeStateMachine
        var places: [any Place] = []
        var handle: (any AttemptHandle)?
        /// It knows this exchange. Nil when all is told.
        var writer: (any AnswerWriter)?
    }

    package let eventLoop: any EventLoop
    private let request: WorkRequest
    private let upload: UploadFlow?
    private let finder: PlaceFinder
    private let ticker: LoopTicker<Exchange>
    private let state: NIOLoopBoundBox<State>

    /// On the reader's event loop.
    /// - Parameters:
    ///   - repeats: how often work that may have been done is asked for again.
    ///   - boundsStream: whether the reader is a buyer, for whom a stream is of no use later.
    package init(
        _ request: WorkRequest, upload: UploadFlow?, finder: PlaceFinder, repeats: Int, boundsStream: Bool,
        tickers: LoopTickers<Exchange>, writer: any AnswerWriter, eventLoop: any EventLoop
    ) {
        self.request = request
        self.upload = upload
        self.finder = finder
        self.eventLoop = eventLoop
        ticker = tickers.ticker(of: eventLoop)
        let deadlines = request.deadlines
        let terms = Attempts.Terms(
            firstContentMs: deadlines.firstContentMs, idleMs: deadlines.idleMs, totalMs: deadlines.totalMs,
            isStream: request.form == .events, mayRepeat: request.mayRepeat, repeats: repeats)
        let machine = ExchangeStateMachine(
            terms, form: request.form, boundsStream: boundsStream, now: SystemClock.instant)
        state = NIOLoopBoundBox(State(machine: machine, writer: writer), eventLoop: eventLoop)
    }

    package func start() {
        guard state.value.writer != nil else { return }
        ticker.add(self)
        perform(state.value.machine.start())
    }

    // MARK: The reader

    /// Where the answer comes from, or whose failure is told.
    package var source: AnswerSource {
        AnswerSource(
            place: state.value.machine.place.map { state.value.places[$0] }, attempts: state.value.machine.tried)
    }

    /// Whether something may be written now between two events of a stream.
    package var isBetweenEvents: Bool { state.value.machine.isBetweenEvents }

    /// The reader's connection takes more again.
    package func writable() {
        while let writer = state.value.writer, writer.isWritable,
            let actions = state.value.machine.nextPiece(now: SystemClock.instant)
        {
            perform(actions)
        }
        perform(state.value.machine.drained(now: SystemClock.instant))
    }

    /// The answer is not wanted any more. Nothing more is written.
    package func cancel() {
        let actions = state.value.machine.cancelled()
        state.value.writer = nil
        perform(actions)
        over()
    }

    /// The request turned out to be none while it arrived.
    package func refuse(_ error: MeshError) { perform(state.value.machine.refused(error)) }

    // MARK: The places

    fileprivate func receive(_ parts: [AnswerPart], of attempt: Int) {
        for part in parts {
            guard let writer = state.value.writer else { return }
            perform(
                state.value.machine.arrived(
                    part, of: attempt, canSendAgain: canSendAgain, isWritable: writer.isWritable,
                    now: SystemClock.instant))
        }
        // An answer may be whole before the request is: nobody wants the rest.
        if state.value.machine.isDraining { upload?.discard() }
    }

    private var canSendAgain: Bool { !(upload?.hasBegun ?? false) }

    private func perform(_ actions: [ExchangeStateMachine.Action]) {
        var hasWritten = false
        for action in actions {
            // Taken out of the box: what is called may end the exchange, and nobody else may hold them then.
            let (writer, handle) = (state.value.writer, state.value.handle)
            switch action {
            case .write(let bytes):
                hasWritten = true
                writer?.answerContinued(bytes)
            case .consumed(let count): handle?.consumed(count)
            case .head(let head):
                hasWritten = true
                writer?.answerBegan(head, from: source)
            case .pending: writer?.answerIsPending()
            case .end(let totals):
                if let writer = over() { writer.answerEnded(totals) }
            case .fail(let error):
                let source = source
                if let writer = over() { writer.answerFailed(error, from: source) }
            case .failWithoutPlace:
                let source = source
                if let writer = over() { writer.answerFailed(finder.none(), from: source) }
            case .cut(let closing):
                if let writer = over() { writer.answerWasCut(closing: closing) }
            case .drain: writable()
            case .find: find()
            case .begin(let place, let firstContentMs, let totalMs):
                begin(place, firstContentMs: firstContentMs, totalMs: totalMs)
            case .pause: handle?.pause()
            case .resume: handle?.resume()
            case .cancel:
                state.value.handle = nil
                handle?.cancel()
            case .expire:
                state.value.handle = nil
                handle?.expire()
            case .rest(let number, let seconds):
                let place = state.value.places[number]
                place.rest(retryAfterSeconds: seconds, now: SystemClock.instant)
            case .restIsOver(let number):
                let place = state.value.places[number]
                place.restIsOver()
            }
        }
        let writer = state.value.writer
        if hasWritten { writer?.flush() }
    }

    private func find() {
        let known = state.value.places
        let found = finder.find().filter { place in !known.contains { $0.isSame(as: place) } }
        state.value.places += found
        perform(state.value.machine.found(found.map(\.isForeign), now: SystemClock.instant))
    }

    private func begin(_ place: Int, firstContentMs: Int64, totalMs: Int64) {
        var request = request
        // What an earlier attempt has used up is not this one's fault.
        request.deadlines.areShortened =
            request.deadlines.areShortened || firstContentMs < request.deadlines.firstContentMs
        request.deadlines.firstContentMs = firstContentMs
        request.deadlines.totalMs = totalMs
        request.upload = upload?.ticket()
        let attempt = state.value.machine.tried
        state.value.handle = nil
        let target = state.value.places[place]
        let handle = target.begin(
            request, attempt: attempt, receiver: AttemptReceiver(self, attempt: attempt))
        // It may have failed before it returned, and another begun.
        if state.value.machine.tried == attempt, state.value.writer != nil {
            state.value.handle = handle
        } else {
            handle.cancel()
        }
    }

    /// All is told.
    @discardableResult
    private func over() -> (any AnswerWriter)? {
        ticker.remove(self)
        let writer = state.value.writer
        state.value.writer = nil
        state.value.handle = nil
        return writer
    }

    // MARK: Time

    package func tick() {
        let now = SystemClock.instant
        // As long as the buyer's bytes move, or are waited for, nobody waits for an answer.
        if let upload { state.value.machine.uploadMoved(at: upload.isStarving ? now : upload.lastTaken) }
        let whoAnswers = source.place?.whoAnswers ?? Answerer.worker.words
        perform(state.value.machine.tick(whoAnswers: whoAnswers, canSendAgain: canSendAgain, now: now))
    }
}

/// Where a request may go.
package struct PlaceFinder: Sendable {
    /// The places as they are now, best first.
    package var find: @Sendable () -> [any Place]
    /// What is told when there is none at all.
    package var none: @Sendable () -> MeshError

    package init(find: @escaping @Sendable () -> [any Place], none: @escaping @Sendable () -> MeshError) {
        self.find = find
        self.none = none
    }
}

/// The receiver of one attempt: tells late answers of an abandoned attempt from those of the current one.
private final class AttemptReceiver: AnswerReceiver {
    let eventLoop: any EventLoop
    private let exchange: Exchange
    private let attempt: Int

    init(_ exchange: Exchange, attempt: Int) {
        self.exchange = exchange
        self.attempt = attempt
        eventLoop = exchange.eventLoop
    }

    func receive(_ parts: [AnswerPart]) { exchange.receive(parts, of: attempt) }
}
