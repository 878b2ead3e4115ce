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
        var isComplete = false
        var isOver = false
        var hasHead = false
        var isWatched = false
        /// Counts the pieces the peer has taken.
        var progress = 0
        var lastSign: Instant?
    }

    let eventLoop: any EventLoop
    private let forward: IncomingForward
    private let state: NIOLoopBoundBox<State>
    private let ended: @Sendable () -> Void

    init(forward: IncomingForward, ended: @escaping @Sendable () -> Void) {
        self.forward = forward
        self.ended = ended
        eventLoop = forward.eventLoop
        state = NIOLoopBoundBox(State(), eventLoop: forward.eventLoop)
    }

    func begin(_ pursuit: Pursuit) {
        state.value.pursuit = pursuit
        forward.onCancelled { [self] in
            guard !state.value.isOver else { return }
            finish()
            pursuit.cancel()
        }
        forward.onWritabilityChanged { [self] isWritable in if isWritable { drain() } }
        pursuit.start()
    }

    func receive(_ events: [AnswerEvent]) {
        for event in events where !state.value.isOver {
            switch event {
            case .pending: tellOfWork()
            case .head(let head):
                state.value.hasHead = true
                var headers = [("content-type", head.contentType)]
                if case .local(let session, _)? = state.value.pursuit?.place {
                    headers.append(("aisbf-worker", session.mark))
                }
                headers += head.fields.map { ($0.name, $0.value) }
                if let length = head.length { headers.append(("content-length", String(length))) }
                forward.respond(status: head.status, headers: headers)
            case .body(let bytes): write(bytes)
            case .end:
                state.value.isComplete = true
                if state.value.held.isEmpty {
                    forward.end()
                    finish()
                }
            case .fail(let error):
                finish()
                if state.value.hasHead { forward.reset() } else { Self.fail(forward, error) }
            }
        }
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
        guard !state.value.isOver, !state.value.isComplete else { return }
        let pursuit = state.value.pursuit
        let hasHead = state.value.hasHead
        finish()
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
        finish()
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
        if state.value.isComplete {
            forward.end()
            finish()
        }
    }

    private func finish() {
        guard !state.value.isOver else { return }
        state.value.isOver = true
        state.value.pursuit = nil
        ended()
    }

    /// A failure of this node or its worker, told apart from a worker's own answer by `aisbf-error`.
    static func fail(_ forward: IncomingForward, _ error: MeshError) {
        let body = error.document(requestID: nil).bytes
        var headers = [("content-type", "application/json"), ("aisbf-error", error.code.rawValue)]
        if let seconds = error.retryAfterSeconds { headers.append(("retry-after", String(seconds))) }
        forward.respond(status: error.status, headers: headers)
        forward.write(ByteBuffer(bytes: body))
        forward.end()
    }
}
