import MeshDialects
import MeshExchange
import MeshModel
import MeshSessions
import MeshTransport
import MeshWire
import NIOCore

/// Writes a worker's answer to the forward stream, holding back what the entry node does not read.
final class ForwardAnswer: AnswerReceiver {
    private struct State {
        /// It knows this object until all is told.
        var pursuit: Pursuit?
        var held = ByteQueue()
        var isPaused = false
        /// How the answer ended, once all of it is here.
        var ending: ForwardAnswerEnd?
        /// Whether the head says that events follow.
        var isStream = false
        var isOver = false
        var hasHead = false
        var isWatched = false
        /// The worker's own answer was an error.
        var failure: ErrorCode?
        /// Counts the pieces the peer has taken.
        var progress = 0
        var lastSign: Instant?
    }

    let eventLoop: any EventLoop
    private let forward: IncomingForward
    private let state: NIOLoopBoundBox<State>
    /// Whether the entry node reads how the answer ended behind it.
    private let readsTrailers: Bool
    private let whenEnded: @Sendable (ErrorCode?) -> Void

    init(forward: IncomingForward, ended: @escaping @Sendable (ErrorCode?) -> Void) {
        self.forward = forward
        readsTrailers = ForwardAnswerEnd.isRequested(by: forward.headers)
        self.whenEnded = ended
        eventLoop = forward.eventLoop
        state = NIOLoopBoundBox(State(), eventLoop: forward.eventLoop)
    }

    func begin(_ pursuit: Pursuit) {
        state.value.pursuit = pursuit
        forward.onCancelled { [self] in
            guard !state.value.isOver else { return }
            finish(.clientClosed)
            pursuit.cancel()
        }
        forward.onWritabilityChanged { [self] isWritable in if isWritable { drain() } }
        pursuit.start()
    }

    func receive(_ parts: [AnswerPart]) {
        for part in parts where !state.value.isOver && state.value.ending == nil {
            switch part {
            case .pending: tellOfWork()
            case .head(let head):
                state.value.hasHead = true
                if head.status >= 400 { state.value.failure = .workerError }
                state.value.isStream = head.isEventStream && head.status < 400
                var mark: String?
                if case .local(let session, _)? = state.value.pursuit?.place { mark = session.mark }
                respond(.answer(head, worker: mark))
            case .bytes(let bytes): write(bytes)
            case .end(let totals): ended(.complete(totals))
            case .fail(let error): failed(error)
            }
        }
    }

    private func respond(_ head: ForwardAnswerHead) { forward.respond(status: head.status, headers: head.fields) }

    private func ended(_ ending: ForwardAnswerEnd) {
        state.value.ending = ending
        if state.value.held.isEmpty { finishAnswer() }
    }

    private func failed(_ error: MeshError) {
        guard state.value.hasHead else {
            finish(error.code)
            return Self.fail(forward, error)
        }
        state.value.failure = error.code
        // An answer that is told to end has to say that it is cut.
        guard readsTrailers || state.value.isStream else {
            finish()
            return forward.reset()
        }
        ended(.failed(code: error.code.rawValue, words: error.message))
    }

    /// All bytes are out: the end, in trailers where the entry node reads them. For one that does not, the end of a
    /// stream of events stands in the stream.
    private func finishAnswer() {
        guard let ending = state.value.ending else { return }
        if readsTrailers {
            forward.end(trailers: ending.trailers)
        } else {
            if state.value.isStream {
                forward.write(ByteBuffer(bytes: OpenAIStream.end(ending, requestID: forward.requestID)))
            }
            forward.end()
        }
        finish()
    }

    /// The entry node keeps its own time, and gives a worker more that is at work.
    private func tellOfWork() {
        let now = SystemClock.instant
        if let last = state.value.lastSign, now.milliseconds(since: last) < Limits.pendingSignMs { return }
        state.value.lastSign = now
        forward.respondLater()
    }

    /// The request turned out to be none.
    func fail(_ error: MeshError) {
        guard !state.value.isOver, state.value.ending == nil else { return }
        let pursuit = state.value.pursuit
        let hasHead = state.value.hasHead
        finish(error.code)
        pursuit?.cancel()
        if hasHead { forward.reset() } else { Self.fail(forward, error) }
    }

    private func write(_ bytes: ByteBuffer) {
        state.value.held.append(bytes)
        pass()
        guard !state.value.held.isEmpty else { return }
        if !state.value.isPaused {
            state.value.isPaused = true
            state.value.pursuit?.pause()
            watch()
        }
        // A whole answer may be large; a stream that nobody reads is cut.
        if state.value.held.count > Limits.answerHeldBytes { cut() }
    }

    /// Writes as long as the peer takes it, piece by piece: what it does not take stays here, where it is counted.
    private func pass() {
        while forward.isWritable, let piece = state.value.held.take(65_536) {
            forward.write(piece)
            state.value.progress &+= 1
            state.value.pursuit?.consumed(piece.readableBytes)
        }
    }

    /// A peer that takes nothing for too long loses the answer: it must not hold a worker's place and this node's memory.
    private func watch() {
        guard !state.value.isWatched else { return }
        state.value.isWatched = true
        let known = state.value.progress
        eventLoop.scheduleTask(in: .milliseconds(Limits.streamBlockedMs)) { [self] in
            state.value.isWatched = false
            guard !state.value.isOver, state.value.isPaused else { return }
            if state.value.progress == known { cut() } else { watch() }
        }
    }

    private func cut() {
        let pursuit = state.value.pursuit
        finish(.streamTooSlow)
        pursuit?.cancel()
        forward.reset()
    }

    private func drain() {
        guard !state.value.isOver else { return }
        pass()
        guard state.value.held.isEmpty else { return }
        if state.value.isPaused {
            state.value.isPaused = false
            state.value.pursuit?.resume()
        }
        finishAnswer()
    }

    private func finish(_ failure: ErrorCode? = nil) {
        guard !state.value.isOver else { return }
        state.value.isOver = true
        state.value.pursuit = nil
        whenEnded(failure ?? state.value.failure)
    }

    /// A failure of this node or its worker, told apart from a worker's own answer by `aisbf-error`.
    static func fail(_ forward: IncomingForward, _ error: MeshError) {
        let head = ForwardAnswerHead.failure(
            code: error.code.rawValue, status: error.status, retryAfterSeconds: error.retryAfterSeconds)
        forward.respond(status: head.status, headers: head.fields)
        forward.write(ByteBuffer(bytes: error.document(requestID: forward.requestID).bytes))
        forward.end()
    }
}
