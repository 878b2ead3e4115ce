package import MeshModel
import MeshRouting
import MeshWire
package import NIOCore

/// Has one request answered: the shell of `ExchangeStateMachine`. Here are the places, the clock and the bytes; what is
/// done with them the machine says. Lives on its reader's event loop.
package final class Exchange: Sendable, Ticking {
    private struct State {
        var machine: ExchangeStateMachine
        var places: [any Place] = []
        var handle: (any AttemptHandle)?
        /// Its place at the ticker.
        var tickerPlace: Int?
        /// It knows this exchange. Nil when all is told.
        var writer: (any AnswerWriter)?
    }

    package let eventLoop: any EventLoop
    private let request: WorkRequest
    private let upload: UploadFlow?
    private let finder: any PlaceFinder
    private let ticker: LoopTicker<Exchange>
    private let state: NIOLoopBoundBox<State>

    /// On the reader's event loop.
    /// - Parameters:
    ///   - repeats: how often work that may have been done is asked for again.
    ///   - boundsStream: whether the reader is a buyer, for whom a stream is of no use later.
    package init(
        _ request: WorkRequest, upload: UploadFlow?, finder: any PlaceFinder, repeats: Int, boundsStream: Bool,
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
            isStream: request.form == .events, mayRepeat: request.mayRepeat, places: finder.attempts, repeats: repeats,
            mayOutgrow: finder.mayOutgrow)
        let machine = ExchangeStateMachine(
            terms, form: request.form, boundsStream: boundsStream, looking: finder.looking,
            mayResume: request.mayResume && request.content.takesBeginning, now: SystemClock.instant)
        state = NIOLoopBoundBox(State(machine: machine, writer: writer), eventLoop: eventLoop)
    }

    // What is read of the state is read where it stands: a copy of all of it would count a dozen references.
    private var writer: (any AnswerWriter)? { state.withValue { $0.writer } }
    private var handle: (any AttemptHandle)? { state.withValue { $0.handle } }
    private func place(_ number: Int) -> any Place { state.withValue { $0.places[number] } }

    private func takeHandle() -> (any AttemptHandle)? {
        state.withValue { state in
            defer { state.handle = nil }
            return state.handle
        }
    }

    package func start() {
        guard writer != nil else { return }
        state.value.tickerPlace = ticker.add(self)
        perform(state.value.machine.start())
    }

    // MARK: The reader

    /// Where the answer comes from, or whose failure is told.
    package var source: AnswerSource {
        state.withValue { state in
            AnswerSource(
                place: state.machine.place.map { state.places[$0] }, attempts: state.machine.tried, wait: finder.waited)
        }
    }

    /// Whether something may be written now between two events of a stream.
    package var isBetweenEvents: Bool { state.withValue { $0.machine.isBetweenEvents } }

    /// The reader's connection takes more again.
    package func writable() {
        while let writer, writer.isWritable,
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
        let now = SystemClock.instant
        var hasWritten = false
        var isWritable: Bool?
        for part in parts {
            guard let writer else { return }
            let takesMore = isWritable ?? writer.isWritable
            let actions = state.value.machine.arrived(
                part, of: attempt, canSendAgain: canSendAgain, isWritable: takesMore, now: now)
            let wrote = carryOut(actions)
            isWritable = wrote ? nil : takesMore
            hasWritten = hasWritten || wrote
        }
        // Once for all that came at once; what ends an answer leaves by itself.
        if hasWritten { writer?.flush() }
        // An answer may be whole before the request is: nobody wants the rest.
        if state.withValue({ $0.machine.isDraining }) { upload?.discard() }
    }

    private var canSendAgain: Bool { !(upload?.hasBegun ?? false) }

    private func perform(_ actions: [ExchangeStateMachine.Action]) {
        if carryOut(actions) { writer?.flush() }
    }

    /// - Returns: whether something was written that is not flushed.
    private func carryOut(_ actions: [ExchangeStateMachine.Action]) -> Bool {
        var hasWritten = false
        for action in actions {
            switch action {
            // Taken out of the box: what is called may end the exchange, and nobody else may hold them then.
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
                // Behind a head it is one place's failure and nobody else's.
                let told = state.withValue { $0.machine.hasHead } ? error : finder.told(error)
                if let writer = over() { writer.answerFailed(told, from: source) }
            case .failWithoutPlace:
                let source = source
                if let writer = over() { writer.answerFailed(finder.none(), from: source) }
            case .cut(let closing):
                if let writer = over() { writer.answerWasCut(closing: closing) }
            case .drain: writable()
            case .find: find()
            case .begin(let place, let firstContentMs, let totalMs):
                if state.withValue({ $0.machine.repeatsWork }), !finder.mayRepeat() {
                    perform(state.value.machine.mayNotRepeat(now: SystemClock.instant))
                    continue
                }
                begin(place, firstContentMs: firstContentMs, totalMs: totalMs)
            case .pause: handle?.pause()
            case .resume: handle?.resume()
            case .cancel: takeHandle()?.cancel()
            case .expire: takeHandle()?.expire()
            case .failed(let number, let failure):
                place(number).failed(failure, now: SystemClock.instant)
            case .answers(let number):
                place(number).answers(now: SystemClock.instant)
            }
        }
        return hasWritten
    }

    private func find() {
        finder.find { [self] found in
            // The reader may have gone while somebody was waited for.
            guard writer != nil else { return }
            let known = state.withValue { $0.places }
            // A host of which one worker broke off may have another that goes on.
            let resumes = state.withValue { $0.machine.resumesBehind != nil }
            let new = found.filter { place in
                resumes && place.isForeign || !known.contains { $0.isSame(as: place) }
            }
            state.value.places += new
            perform(state.value.machine.found(new.map(\.isForeign), now: SystemClock.instant))
        }
    }

    private func begin(_ place: Int, firstContentMs: Int64, totalMs: Int64) {
        var deadlines = request.deadlines
        // What an earlier attempt has used up is not this one's fault.
        deadlines.areShortened = deadlines.areShortened || firstContentMs < deadlines.firstContentMs
        deadlines.firstContentMs = firstContentMs
        deadlines.totalMs = totalMs
        let begun = state.withValue { $0.machine.resumesBehind }
        if begun != nil {
            let mark = writer?.markOfResumption(from: source) ?? ByteBuffer()
            state.value.machine.marks(resumption: mark)
        }
        let (attempt, target) = state.withValue { state in
            state.handle = nil
            return (state.machine.tried, state.places[place])
        }
        let handle = target.begin(
            request.attempt(deadlines: deadlines, upload: upload?.ticket(), behind: begun), attempt: attempt,
            receiver: AttemptReceiver(self, attempt: attempt))
        // It may have failed before it returned, and another begun.
        if state.withValue({ $0.machine.tried == attempt && $0.writer != nil }) {
            state.value.handle = handle
        } else {
            handle.cancel()
        }
    }

    /// All is told.
    @discardableResult
    private func over() -> (any AnswerWriter)? {
        finder.leave()
        let (writer, place) = state.withValue { state in
            defer { (state.writer, state.handle, state.tickerPlace) = (nil, nil, nil) }
            return (state.writer, state.tickerPlace)
        }
        if let place { ticker.remove(place) }
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
