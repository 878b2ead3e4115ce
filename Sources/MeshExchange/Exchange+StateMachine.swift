import MeshDialects
package import MeshModel
package import MeshRouting
package import MeshWire
package import NIOCore

/// One request from the moment its places are looked for to the last byte of its answer, as a pure machine: which place
/// is asked, how long it may take, what is held back until something is content, what a slow reader is given, and what
/// is told in the end. It has no clock, no connection and no worker: whoever runs it tells it what happened and does
/// what it says, in order.
///
/// States: `idle` → `waiting` (a place is asked; nothing of an answer has been delivered) → `answering` (the request is
/// committed to one place) → `draining` (the answer has ended; some of it waits for its reader) → `over`.
package struct ExchangeStateMachine: Sendable {
    package enum Action: Sendable {
        /// Look for places, or for more of them; then `found`.
        case find
        /// Ask the place of this number. Always the last of its list.
        case begin(place: Int, firstContentMs: Int64, totalMs: Int64)
        /// The attempt under way is not wanted any more.
        case cancel
        /// It has failed its time.
        case expire
        /// The place has failed before content, and why.
        case failed(place: Int, Attempts.Failure)
        /// The place answers: content is here.
        case answers(place: Int)
        case pause
        case resume
        /// Bytes of the answer went on: a source that sends by credit may send as many more.
        case consumed(Int)

        // To the reader.
        /// Whoever answers says that it is at work.
        case pending
        case head(AnswerHead)
        case write(ByteBuffer)
        /// Write what waits, piece by piece, as far as the connection takes it (`nextPiece`, then `drained`).
        case drain
        /// The answer is complete, and so is what was written of it.
        case end(AnswerTotals)
        /// There is no answer, or, behind a head, no more of it.
        case fail(MeshError)
        /// No place was found at all.
        case failWithoutPlace
        /// The reader was too slow.
        /// - Parameter closing: what brings the event under way to its end; nil where nothing can.
        case cut(closing: ByteBuffer?)
    }

    private enum State: Sendable {
        case idle
        case waiting
        case answering
        case draining(Ending)
        case over
    }

    private enum Ending: Sendable {
        case complete(AnswerTotals)
        case failed(MeshError)
    }

    private var state = State.idle
    private var attempts: Attempts
    private let form: AnswerForm
    /// Whether each place is another node's.
    private var areForeign: [Bool] = []
    /// How often places are looked for.
    package enum Looking: Sendable {
        /// At first, and once more when all have failed: one that comes back takes over from its own old socket.
        case twice
        /// Whenever those that were found have failed: somebody chooses the next one by what became of the others.
        case always
    }

    private let looking: Looking
    private var hasLookedAgain = false
    /// The number of the place that answers, or whose failure is told.
    package private(set) var place: Int?
    private var uncommitted = UncommittedAnswer()
    /// The whole answer that says most of why there is no other.
    private var kept: (answer: UncommittedAnswer, totals: AnswerTotals)?
    private var head: AnswerHead?
    /// Whether the answer is a stream of events, which begins and ends as such.
    package private(set) var isEventStream = false
    private var events = WholeEvents()
    private var outlet = Outlet()
    /// Whether the bytes that were written end where an event does.
    private var endsEvent = true
    /// Whether a slow reader loses a stream sooner than a whole answer.
    private let boundsStream: Bool

    /// What has gone to the reader, where another place may go on with it.
    private var continuation: StreamContinuation?
    /// Why the stream broke off that another place is to go on with.
    private var interruption: MeshError?
    /// What is written before its words.
    private var mark = ByteBuffer()

    /// - Parameters:
    ///   - boundsStream: whether the reader is a buyer, for whom a stream is of no use later.
    ///   - mayResume: whether another place may go on with a stream that breaks off.
    package init(
        _ terms: Attempts.Terms, form: AnswerForm, boundsStream: Bool, looking: Looking = .twice,
        mayResume: Bool = false, now: Instant
    ) {
        attempts = Attempts(terms, now: now)
        continuation = mayResume && form == .events ? StreamContinuation() : nil
        self.looking = looking
        self.form = form
        self.boundsStream = boundsStream
    }

    /// How many places were asked.
    package var tried: Int { attempts.tried }
    package var isOver: Bool { if case .over = state { true } else { false } }
    /// Whether all is here, and only the reader is waited for.
    package var isDraining: Bool { if case .draining = state { true } else { false } }
    /// Whether the reader has the head of an answer.
    package var hasHead: Bool { head != nil }
    /// Whether between events something else may be written now: a stream under way, of which nothing waits.
    package var isBetweenEvents: Bool {
        switch state {
        case .answering, .waiting: isEventStream && outlet.isEmpty && endsEvent
        case .idle, .draining, .over: false
        }
    }
    /// The text behind which the place that is asked now is to go on, UTF-8; nil where it is to begin.
    package var resumesBehind: [UInt8]? { interruption == nil ? nil : continuation?.text }

    /// What stands in the stream before the words of the place that goes on with it.
    package mutating func marks(resumption mark: ByteBuffer) { self.mark = mark }

    // MARK: Places in turn

    package mutating func start() -> [Action] {
        guard case .idle = state, attempts.tried == 0, areForeign.isEmpty else { return [] }
        return [.find]
    }

    /// These places more were found, best first; none: there are no more.
    package mutating func found(_ areForeign: [Bool], now: Instant) -> [Action] {
        guard case .idle = state else { return [] }
        if areForeign.isEmpty { return giveUp(now) }
        self.areForeign += areForeign
        attempts.found(self.areForeign.count)
        return next(now)
    }

    private mutating func next(_ now: Instant) -> [Action] {
        state = .idle
        if !attempts.hasNext {
            let mayLook =
                switch looking {
                case .twice: !hasLookedAgain
                case .always: true
                }
            guard mayLook, attempts.wantsMore, attempts.tried > 0 else { return giveUp(now) }
            hasLookedAgain = true
            return [.find]
        }
        let number = attempts.tried
        let left = attempts.begin(now: now)
        place = number
        uncommitted = UncommittedAnswer()
        state = .waiting
        return [.begin(place: number, firstContentMs: left.firstContentMs, totalMs: left.totalMs)]
    }

    /// Whether the place that is to be asked would repeat what another has failed at.
    package var repeatsWork: Bool { attempts.repeatsWork }

    /// It must not be asked: too much is asked twice just now.
    package mutating func mayNotRepeat(now: Instant) -> [Action] {
        guard case .waiting = state else { return [] }
        state = .idle
        attempts.withdrawn()
        return giveUp(now)
    }

    private mutating func giveUp(_ now: Instant) -> [Action] {
        // Nobody went on: what is told is why it broke off.
        if let interruption { return finish(.failed(interruption)) }
        guard let verdict = attempts.verdict else { return ended([.failWithoutPlace]) }
        if verdict.attempt > 0 { place = verdict.attempt - 1 }
        switch verdict.failure {
        case .error(let error): return ended([.fail(error)])
        case .refusal, .overflow:
            guard var kept else { return ended([.failWithoutPlace]) }
            if case .refusal(_, let seconds) = verdict.failure { kept.answer.setRetryAfter(seconds) }
            state = .answering
            var actions: [Action] = []
            for part in kept.answer.takeParts() { pass(part, isWritable: true, now: now, into: &actions) }
            return actions + finish(.complete(kept.totals))
        }
    }

    private mutating func failed(
        _ failure: Attempts.Failure, by end: Action? = nil, answer: AnswerTotals? = nil, canSendAgain: Bool,
        now: Instant
    ) -> [Action] {
        // Whoever keeps account of the place learns why it is given up before it is.
        var actions: [Action] = place.map { [.failed(place: $0, failure)] } ?? []
        if let end { actions.append(end) }
        let isBest = attempts.failed(failure, canSendAgain: canSendAgain)
        if isBest { kept = answer.map { (uncommitted, $0) } }
        return actions + next(now)
    }

    // MARK: What a place says

    /// The attempt of this number said something.
    /// - Parameters:
    ///   - canSendAgain: false when part of an upload has left, which is not here any more.
    ///   - isWritable: whether the reader's connection takes more now.
    package mutating func arrived(
        _ part: AnswerPart, of attempt: Int, canSendAgain: Bool, isWritable: Bool, now: Instant
    ) -> [Action] {
        guard attempt == attempts.tried else { return [] }
        switch state {
        case .idle, .draining, .over: return []
        case .waiting: return take(part, canSendAgain: canSendAgain, isWritable: isWritable, now: now)
        case .answering:
            if case .pending = part { return [] }
            attempts.contentArrived(now: now)
            var actions: [Action] = []
            pass(part, isWritable: isWritable, now: now, into: &actions)
            return actions
        }
    }

    private mutating func take(
        _ part: AnswerPart, canSendAgain: Bool, isWritable: Bool, now: Instant
    ) -> [Action] {
        switch part {
        case .pending:
            attempts.signArrived()
            return [.pending]
        case .head(let head):
            uncommitted.begin(head, form: form, isForeign: isForeign)
            return []
        case .bytes(let bytes):
            switch uncommitted.append(bytes) {
            case .hold: return []
            case .commit: return commit(nil, isWritable: isWritable, now: now)
            case .failed(let error): return failed(.error(error), by: .cancel, canSendAgain: canSendAgain, now: now)
            }
        case .end(let totals):
            switch uncommitted.finish(isChat: form != .bytes) {
            case .commit: return commit(totals, isWritable: isWritable, now: now)
            case .refusal(let status, let seconds):
                return failed(
                    .refusal(status: status, retryAfterSeconds: seconds), answer: totals, canSendAgain: canSendAgain,
                    now: now)
            case .overflow(let status):
                return failed(.overflow(status: status), answer: totals, canSendAgain: canSendAgain, now: now)
            case .failed(let error): return failed(.error(error), canSendAgain: canSendAgain, now: now)
            }
        case .fail(let error): return failed(.error(error), canSendAgain: canSendAgain, now: now)
        }
    }

    /// Content is here: what was held back goes on, and whatever comes passes.
    private mutating func commit(_ totals: AnswerTotals?, isWritable: Bool, now: Instant) -> [Action] {
        if interruption != nil, !uncommitted.isEventStream {
            let error = MeshError(.workerBadAnswer, "what was to go on with a stream is none")
            return failed(.error(error), by: .cancel, canSendAgain: true, now: now)
        }
        state = .answering
        attempts.contentArrived(now: now)
        let parts = uncommitted.takeParts()
        uncommitted = UncommittedAnswer()
        kept = nil
        var actions: [Action] = []
        // Of a plain answer: who answers, its head, its bytes, their number and the end.
        actions.reserveCapacity(5)
        if let place { actions.append(.answers(place: place)) }
        if interruption != nil {
            interruption = nil
            if mark.readableBytes > 0 { write(mark, isWritable: isWritable, now: now, into: &actions) }
        }
        for part in parts {
            // The reader has one already.
            if case .head = part, head != nil { continue }
            pass(part, isWritable: isWritable, now: now, into: &actions)
        }
        if let totals { pass(.end(totals), isWritable: isWritable, now: now, into: &actions) }
        return actions
    }

    // MARK: The reader

    private mutating func pass(
        _ part: AnswerPart, isWritable: Bool, now: Instant, into actions: inout [Action]
    ) {
        switch part {
        case .pending: break
        case .head(let head):
            self.head = head
            isEventStream = form == .events && head.isEventStream && head.status < 400
            if isEventStream, boundsStream { outlet.expectStream() }
            actions.append(.head(head))
        case .bytes(let bytes):
            guard case .answering = state else { return }
            // The pieces of another node end anywhere, and what this node puts in stands between events.
            guard isForeign, isEventStream else {
                return write(bytes, isWritable: isWritable, now: now, into: &actions)
            }
            if let whole = events.take(bytes) { write(whole, isWritable: isWritable, now: now, into: &actions) }
        case .end(let totals):
            guard !events.hasRest else {
                let error = MeshError(.streamInterrupted, "the answer broke off in the middle of an event")
                return actions += interrupted(error, now: now)
            }
            finish(.complete(totals), into: &actions)
        case .fail(let error): actions += interrupted(error, now: now)
        }
    }

    /// The answer breaks off behind content: another place goes on with it, where the buyer wants that and where it can,
    /// or the buyer is told.
    private mutating func interrupted(_ error: MeshError, by end: Action? = nil, now: Instant) -> [Action] {
        let first = end.map { [$0] } ?? []
        guard isEventStream, let place, continuation?.isPossible ?? false, attempts.interrupted() else {
            return first + broke(error)
        }
        interruption = error
        events = WholeEvents()
        return [.failed(place: place, .error(error))] + first + next(now)
    }

    /// Half an event is no part of anything that could still be read.
    private mutating func broke(_ error: MeshError) -> [Action] {
        events = WholeEvents()
        return finish(.failed(error))
    }

    private mutating func write(
        _ bytes: ByteBuffer, isWritable: Bool, now: Instant, into actions: inout [Action]
    ) {
        if isEventStream, continuation != nil { continuation?.append(Array(bytes.readableBytesView)) }
        switch outlet.offer(bytes, isWritable: isWritable, now: now) {
        case .passes: written(bytes, into: &actions)
        case .drains: actions.append(.drain)
        case .waits: actions += steer(now)
        case .isTooSlow: actions += tooSlow()
        }
    }

    private mutating func written(_ bytes: ByteBuffer, into actions: inout [Action]) {
        endsEvent = Self.endsEvent(bytes)
        actions.append(.write(bytes))
        actions.append(.consumed(bytes.readableBytes))
    }

    private static func endsEvent(_ bytes: ByteBuffer) -> Bool {
        bytes.readableBytes >= 2 && bytes.getInteger(at: bytes.writerIndex - 2, as: UInt16.self) == 0x0A0A
    }

    /// The answer has ended, as far as whoever gives it is concerned.
    private mutating func finish(_ ending: Ending) -> [Action] {
        var actions: [Action] = []
        finish(ending, into: &actions)
        return actions
    }

    private mutating func finish(_ ending: Ending, into actions: inout [Action]) {
        if case .failed = ending, !isEventStream { outlet.drop() }
        if outlet.isEmpty { return conclude(ending, into: &actions) }
        state = .draining(ending)
        attempts.ended()
    }

    private mutating func conclude(_ ending: Ending, into actions: inout [Action]) {
        over()
        switch ending {
        case .complete(let totals): actions.append(.end(totals))
        case .failed(let error): actions.append(.fail(error))
        }
    }

    private mutating func over() {
        state = .over
        attempts.ended()
        kept = nil
    }

    private mutating func ended(_ actions: [Action]) -> [Action] {
        over()
        return actions
    }

    /// The reader's connection takes more: the next piece of what waits for it. Asked until there is none.
    package mutating func nextPiece(now: Instant) -> [Action]? {
        guard !isOver, let piece = outlet.next(now: now) else { return nil }
        var actions: [Action] = []
        written(piece, into: &actions)
        return actions
    }

    /// All that could go on has.
    package mutating func drained(now: Instant) -> [Action] {
        guard !isOver else { return [] }
        var actions = steer(now)
        if case .draining(let ending) = state, outlet.isEmpty { conclude(ending, into: &actions) }
        return actions
    }

    private mutating func steer(_ now: Instant) -> [Action] {
        guard let steering = outlet.settle(now: now) else { return [] }
        attempts.setPaused(steering == .pause, now: now)
        guard case .answering = state else { return [] }
        return [steering == .pause ? .pause : .resume]
    }

    /// The reader does not read: its own answer ends, nobody else's waits for it.
    private mutating func tooSlow() -> [Action] {
        let closing = isEventStream ? eventsEnd() : nil
        outlet.drop()
        let isRunning =
            switch state {
            case .waiting, .answering: true
            case .idle, .draining, .over: false
            }
        return (isRunning ? [.cancel] : []) + ended([.cut(closing: closing)])
    }

    /// What brings the event to its end that the reader has the beginning of: behind half of one nothing can be said.
    private mutating func eventsEnd() -> ByteBuffer? {
        if endsEvent { return ByteBuffer() }
        guard var rest = outlet.next(now: Instant(nanoseconds: 0)), let end = WholeEvents.firstEnd(rest) else {
            return nil
        }
        return rest.readSlice(length: end)
    }

    /// The reader is gone, or does not want the answer any more.
    package mutating func cancelled() -> [Action] {
        defer { over() }
        outlet.drop()
        switch state {
        case .waiting, .answering: return [.cancel]
        case .idle, .draining, .over: return []
        }
    }

    /// The request turned out to be none while it arrived.
    package mutating func refused(_ error: MeshError) -> [Action] {
        switch state {
        case .waiting, .answering:
            return [.cancel] + broke(error)
        case .idle: return ended([.fail(error)])
        case .draining, .over: return []
        }
    }

    // MARK: Time

    /// The buyer's upload moved, or waits for the buyer: that time is not the place's.
    package mutating func uploadMoved(at instant: Instant) { attempts.uploadMoved(at: instant) }

    /// Call some times a second.
    /// - Parameter whoAnswers: for the words.
    package mutating func tick(whoAnswers: String, canSendAgain: Bool, now: Instant) -> [Action] {
        if outlet.isTooSlow(now: now), !isOver { return tooSlow() }
        switch attempts.lateness(now: now) {
        case nil: return []
        case .firstContent?:
            let error = MeshError(.workerTimeout, "\(whoAnswers) did not begin to answer in time; try again")
            return failed(.error(error), by: .expire, canSendAgain: canSendAgain, now: now)
        case .idle?:
            let error = MeshError(.streamInterrupted, "the answer stopped in the middle")
            return interrupted(error, by: .cancel, now: now)
        case .total?: return broken("the request took longer than this node allows")
        }
    }

    private mutating func broken(_ words: String) -> [Action] {
        switch state {
        case .answering: return [.cancel] + finish(.failed(MeshError(.streamInterrupted, words)))
        case .waiting:
            if let interruption { return [.expire] + finish(.failed(interruption)) }
            return [.expire] + ended([.fail(MeshError(.workerTimeout, words))])
        case .idle, .draining, .over: return []
        }
    }

    /// Whether another node answers: what it says of its worker's answer was judged by nobody yet.
    private var isForeign: Bool { place.map { areForeign[$0] } ?? false }
}
