import MeshDialects
import MeshExchange
import MeshModel
import MeshTransport
import MeshWire
import NIOCore

/// Writes a worker's answer to the forward stream of the node that asked. Lives on the link's event loop.
final class ForwardAnswer: AnswerWriter, Sendable {
    private struct State {
        /// It knows this object until all is told.
        var exchange: Exchange?
        var isOver = false
        var hasHead = false
        /// Whether the head says that events follow.
        var isStream = false
        /// The worker's own answer was an error.
        var failure: ErrorCode?
        var lastSign: Instant?
    }

    private let forward: IncomingForward
    /// Whether the entry node reads how the answer ended behind it.
    private let readsTrailers: Bool
    private let admission: SellerAdmission?
    /// Keeps the answer, where the buyer gave an idempotency key.
    private let once: IdempotentRequest?
    private let state: NIOLoopBoundBox<State>
    private let whenOver: @Sendable (ErrorCode?, AnswerTotals?) -> Void

    /// - Parameter admission: what is held for the node that asks.
    init(
        forward: IncomingForward, readsTrailers: Bool, admission: SellerAdmission?, once: IdempotentRequest?,
        whenOver: @escaping @Sendable (ErrorCode?, AnswerTotals?) -> Void
    ) {
        self.forward = forward
        self.admission = admission
        self.once = once
        self.whenOver = whenOver
        self.readsTrailers = readsTrailers
        state = NIOLoopBoundBox(State(), eventLoop: forward.eventLoop)
    }

    func begin(_ exchange: Exchange) {
        state.value.exchange = exchange
        forward.onCancelled { [self] in
            guard !state.value.isOver else { return }
            finish(.clientClosed)
            exchange.cancel()
        }
        forward.onWritabilityChanged { isWritable in if isWritable { exchange.writable() } }
        exchange.start()
    }

    /// The request turned out to be none.
    func refuse(_ error: MeshError) {
        let exchange = state.value.exchange
        exchange?.refuse(error)
    }

    // MARK: What comes of it

    var isWritable: Bool { forward.isWritable }

    /// The entry node keeps its own time, and gives a worker more that is at work.
    func answerIsPending() {
        let now = SystemClock.instant
        if let last = state.value.lastSign, now.milliseconds(since: last) < Limits.pendingSignMs { return }
        state.value.lastSign = now
        forward.respondLater()
    }

    func answerBegan(_ head: AnswerHead, from source: AnswerSource) {
        state.value.hasHead = true
        state.value.isStream = head.isEventStream && head.status < 400
        if head.status >= 400 { state.value.failure = .workerError }
        admission?.began(head)
        let answer = ForwardAnswerHead.answer(head, worker: source.place?.worker)
        once?.began(status: answer.status, fields: answer.fields)
        forward.respond(status: answer.status, headers: answer.fields)
    }

    func answerContinued(_ bytes: ByteBuffer) {
        admission?.delivered(bytes)
        once?.delivered(bytes)
        forward.write(bytes)
    }

    /// What is written goes out at the end of the event loop's turn.
    func flush() {}

    func answerEnded(_ totals: AnswerTotals) {
        end(.complete(totals))
        finish(totals: totals)
    }

    func answerFailed(_ error: MeshError, from source: AnswerSource) {
        if state.value.hasHead {
            end(.failed(code: error.code.rawValue, words: error.message))
        } else {
            Self.fail(forward, error)
        }
        finish(error.code)
    }

    func answerWasCut(closing: ByteBuffer?) {
        finish(.streamTooSlow)
        forward.reset()
    }

    /// What was answered before, again. Nothing was used for it.
    static func replay(_ kept: KeptAnswer, to forward: IncomingForward, readsTrailers: Bool) {
        forward.respond(status: kept.status, headers: kept.fields + [KeptAnswer.mark])
        forward.write(kept.body)
        let isStream =
            kept.status < 400
            && kept.fields.contains { $0.name == "content-type" && AnswerHead.isEventStream($0.value) }
        let ending = ForwardAnswerEnd.complete(kept.totals)
        switch ending.telling(readsTrailers: readsTrailers, isStream: isStream) {
        case .trailers: forward.end(trailers: ending.trailers)
        case .lastEvent:
            forward.write(ByteBuffer(bytes: OpenAIStream.end(ending, requestID: forward.requestID)))
            forward.end()
        case .plainEnd, .reset: forward.end()
        }
    }

    /// The end, in trailers where the entry node reads them. For one that does not, the end of a stream of events
    /// stands in the stream.
    private func end(_ ending: ForwardAnswerEnd) {
        switch ending.telling(readsTrailers: readsTrailers, isStream: state.value.isStream) {
        case .trailers: forward.end(trailers: ending.trailers)
        case .lastEvent:
            forward.write(ByteBuffer(bytes: OpenAIStream.end(ending, requestID: forward.requestID)))
            forward.end()
        case .plainEnd: forward.end()
        case .reset: forward.reset()
        }
    }

    private func finish(_ failure: ErrorCode? = nil, totals: AnswerTotals? = nil) {
        guard !state.value.isOver else { return }
        state.value.isOver = true
        state.value.exchange = nil
        if let failure { once?.failed(failure) } else { once?.ended(totals ?? AnswerTotals()) }
        whenOver(failure ?? state.value.failure, totals)
    }

    /// A failure of this node or its worker, told apart from a worker's own answer by `aisbf-error`.
    static func fail(_ forward: IncomingForward, _ error: MeshError) {
        let head = ForwardAnswerHead.failure(
            code: error.code.rawValue, status: error.status, retryAfterSeconds: error.retryAfterSeconds,
            cause: error.cause)
        forward.respond(status: head.status, headers: head.fields)
        forward.write(ByteBuffer(bytes: error.document(requestID: forward.requestID).bytes))
        forward.end()
    }
}
