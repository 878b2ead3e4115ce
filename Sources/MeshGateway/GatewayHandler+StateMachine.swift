import MeshModel

extension GatewayHandler {
    /// One buyer's connection, or one stream of HTTP/2, as a pure machine: what is read of a request and how much of it
    /// is kept, when it is answered, and whether the connection stays for the next. It has no channel, no clock and no
    /// bytes: whoever runs it tells it what happened and does what it says.
    ///
    /// States: `idle` (between two requests) → `judging` (the head is here) → `collecting` (the body is kept) →
    /// `answering` → `idle` or, behind the last answer, `ending`. In between `collecting` may become `uploading` (the body
    /// goes on while it arrives), and any of them `refusing`: the request has failed, and is read to its end unkept, so
    /// that the client gets the answer instead of a reset connection. `gone` has no connection any more.
    ///
    /// - Requests are answered one after the other; what comes behind the last answer of a connection is dropped.
    /// - An answer that is given before its request is whole is the last one: the rest may never come.
    /// - The head's own deadline is `HeadWatch`'s: nobody knows of a request before its head.
    struct StateMachine: Sendable {
        /// What a request's head says of the connection.
        struct Request: Hashable, Sendable {
            var majorVersion: Int
            /// Whether another request may follow. An HTTP/2 stream ends by itself; closing it would cut what flow
            /// control still holds back.
            var keepsConnection: Bool
            /// Whether the body waits to be asked for.
            var expectsContinue: Bool
        }

        /// What is known of a request before its body.
        enum Judgement: Hashable, Sendable {
            /// Its body is kept, up to `limit` bytes, of which `declared` are announced.
            /// - Parameter mayStream: whether it may go on before it is whole.
            case take(limit: Int, declared: Int, mayStream: Bool)
            /// It has failed; up to `limit` bytes of it are read first.
            case refuse(limit: Int)
        }

        /// Why a request fails while its body arrives.
        enum Refusal: Hashable, Sendable {
            case tooLarge
            /// The node holds as many large bodies as it can.
            case noRoom
            /// It is larger than what is kept, and nobody takes it while it arrives.
            case needsUpload
        }

        enum Action: Hashable, Sendable {
            /// Look at the head; then `judged`.
            case judge
            case sendContinue
            /// Keep the bytes that came, and count them; then `kept`.
            case keep
            /// Enough is here to know whether the rest goes on while it arrives; then `uploadBegan`, `staysCollected`
            /// or `refused`.
            case decide
            /// Pass the bytes on.
            case pass
            /// The request fails for this; what was kept of it is not needed.
            case refuse(Refusal)
            /// Answer with the failure that is known.
            case answerRefusal
            /// The request is whole: have it answered.
            case answer
            /// The last byte of the upload has come.
            case endUpload
            /// The body did not come in time: answer that.
            case answerTimeout
            /// The buyer does not send what is waited for.
            case refuseUpload
            /// The answer under way has been quiet for so long that its buyer is told that it is still alive, where it is
            /// a stream.
            case keepAlive
            case read(Bool)
            case close
        }

        /// How an answer ends.
        struct Ending: Hashable, Sendable {
            /// The connection was not read from, and is now.
            var startsReading = false
            /// How long after the last byte has left the connection is closed; nil: it stays. Not before: closing throws
            /// away what still waits for a buyer who reads slowly.
            var closesAfterMs: Int64?
        }

        private enum State: Hashable, Sendable {
            case idle
            case judging
            case collecting(Body)
            case uploading
            case refusing(left: Int)
            case answering
            case ending
            case gone
        }

        private struct Body: Hashable, Sendable {
            let limit: Int
            let declared: Int
            var mayStream: Bool
            var held = 0
        }

        private var state = State.idle
        private var request = Request(majorVersion: 1, keepsConnection: true, expectsContinue: false)
        /// Whether the request was read to its end.
        private var isWhole = true
        /// Whether the answer under way is a worker's, which has its own bound for what its buyer does not read.
        private var hasExchange = false
        /// Whether the answer under way is the last because the node or its reader says so.
        private var isClosing = false
        /// Whether the upload under way has room for more.
        private var uploadReads = true
        private var lastProgress: Instant
        private var requestBegan: Instant
        /// What the other side had not taken at the last look.
        private var lastUnsent = 0

        init(now: Instant) {
            lastProgress = now
            requestBegan = now
        }
    }
}

// MARK: The request

extension GatewayHandler.StateMachine {
    mutating func headArrived(_ request: Request, now: Instant) -> Action? {
        lastProgress = now
        guard case .idle = state else { return nil }
        self.request = request
        isWhole = false
        requestBegan = now
        state = .judging
        return .judge
    }

    mutating func judged(_ judgement: Judgement) -> Action? {
        guard case .judging = state else { return nil }
        switch judgement {
        case .take(let limit, let declared, let mayStream):
            state = .collecting(Body(limit: limit, declared: declared, mayStream: mayStream))
            return request.expectsContinue ? .sendContinue : nil
        case .refuse(let limit):
            state = .refusing(left: limit)
            guard request.expectsContinue else { return nil }
            // The client waits for this answer with its body unsent, and may never send it.
            return answerEarly(.answerRefusal)
        }
    }

    /// The next bytes of the body.
    mutating func bodyArrived(_ count: Int, now: Instant) -> Action? {
        lastProgress = now
        switch state {
        case .collecting(var body):
            body.held += count
            guard body.held <= body.limit else { return refuse(.tooLarge, body) }
            state = .collecting(body)
            return .keep
        case .uploading: return .pass
        case .refusing(let left):
            guard count <= left else { return answerEarly(.answerRefusal) }
            state = .refusing(left: left - count)
            return nil
        case .idle, .judging, .answering, .ending, .gone: return nil
        }
    }

    /// The bytes were kept.
    /// - Parameter fits: whether the node has room for the body.
    mutating func kept(fits: Bool) -> Action? {
        guard case .collecting(var body) = state else { return nil }
        guard fits else { return refuse(.noRoom, body) }
        guard body.mayStream, body.held >= Limits.uploadHeldBytes else { return nil }
        // Asked once.
        body.mayStream = false
        state = .collecting(body)
        return .decide
    }

    /// The body goes on while it arrives.
    mutating func uploadBegan() {
        if case .collecting = state { state = .uploading }
    }

    /// The body has to be whole before anybody can be asked.
    mutating func staysCollected() -> Action? {
        guard case .collecting(let body) = state, max(body.declared, body.held) > body.limit else { return nil }
        return refuse(.needsUpload, body)
    }

    /// The request has failed while its body arrives.
    mutating func refused() {
        if case .collecting(let body) = state { state = .refusing(left: body.limit) }
    }

    /// What arrived of the upload is not what was announced: its answer is on the way.
    mutating func uploadBroke() {
        if case .uploading = state { state = .answering }
    }

    /// Whether the upload has room for more.
    mutating func uploadSteered(reads: Bool) { uploadReads = reads }

    mutating func requestEnded(now: Instant) -> Action? {
        lastProgress = now
        isWhole = true
        switch state {
        case .collecting:
            state = .answering
            return .answer
        case .uploading:
            state = .answering
            return .endUpload
        case .refusing:
            state = .answering
            return .answerRefusal
        case .idle, .judging, .answering, .ending, .gone: return nil
        }
    }

    private mutating func refuse(_ refusal: Refusal, _ body: Body) -> Action {
        state = .refusing(left: body.limit)
        return .refuse(refusal)
    }

    /// The rest of the request is not waited for: nothing else can follow on this connection.
    private mutating func answerEarly(_ action: Action) -> Action {
        request.keepsConnection = false
        state = .answering
        return action
    }
}

// MARK: The answer

extension GatewayHandler.StateMachine {
    /// The request is about to go to whoever answers it.
    /// - Returns: whether it may: a node that drains begins nothing.
    mutating func exchangeBegins(isDraining: Bool) -> Bool {
        guard !isDraining, state != .gone else { return false }
        hasExchange = true
        return true
    }

    /// The head of an answer is about to be written.
    /// - Returns: whether it says that the connection ends with it.
    mutating func answerBegins(isDraining: Bool) -> Bool {
        guard request.majorVersion == 1 else { return false }
        if !isWhole || isDraining { request.keepsConnection = false }
        return !request.keepsConnection || isClosing
    }

    mutating func wrote(now: Instant) { lastProgress = now }

    /// The answer under way is the last.
    mutating func closesBehindAnswer() { isClosing = true }

    mutating func answerEnded(now: Instant) -> Ending {
        lastProgress = now
        hasExchange = false
        guard state != .gone else { return Ending() }
        var ending = Ending(startsReading: !uploadReads)
        uploadReads = true
        guard !request.keepsConnection || isClosing || !isWhole else {
            state = .idle
            return ending
        }
        state = .ending
        // What a buyer still sends is read and dropped for a moment: closing at once could reset the connection under
        // the answer that it has not read.
        let lingers = !isWhole && request.majorVersion == 1
        ending.startsReading = ending.startsReading || lingers
        ending.closesAfterMs = lingers ? Limits.lingerMs : 0
        return ending
    }

    /// The answer broke off where no error can be written any more: the connection ends with it, without the mark of a
    /// complete answer, so that the buyer can tell.
    mutating func answerBroke() -> Action? {
        guard hasExchange else { return nil }
        hasExchange = false
        state = .ending
        return .close
    }

    /// A client that asks on without reading the answers is not read from either. A running stream has its own bound,
    /// and has to notice that its buyer left.
    mutating func writabilityChanged(_ isWritable: Bool) -> Action? {
        guard request.majorVersion == 1, isWritable || !hasExchange else { return nil }
        return .read(isWritable && uploadReads)
    }
}

// MARK: Time and end

extension GatewayHandler.StateMachine {
    /// Call every few seconds.
    /// - Parameters:
    ///   - unsent: bytes that were written and not taken by the other side.
    ///   - isStarving: whether somebody waits for bytes of the upload.
    mutating func patrol(unsent: Int, isStarving: Bool, now: Instant) -> Action? {
        // A buyer who takes a long answer slowly is not idle.
        if unsent < lastUnsent { lastProgress = now }
        lastUnsent = unsent
        let quiet = now.milliseconds(since: lastProgress)
        switch state {
        case .idle, .ending: return quiet >= Limits.connectionIdleMs ? .close : nil
        case .collecting, .refusing:
            let total = now.milliseconds(since: requestBegan)
            guard quiet >= Limits.requestHeadMs || total >= Limits.requestBodyMs else { return nil }
            return answerEarly(.answerTimeout)
        case .uploading where isStarving && quiet >= Limits.streamBlockedMs: return .refuseUpload
        case .uploading, .answering: return hasExchange && quiet >= Limits.keepAliveMs ? .keepAlive : nil
        case .judging, .gone: return nil
        }
    }

    /// The node stops: what is under way is the last.
    mutating func quiesced() -> Action? {
        isClosing = true
        return state == .idle ? .close : nil
    }

    /// The buyer sends nothing any more: as good as gone, for nothing can tell it from one who is.
    func inputClosed() -> Action? { .close }

    /// There is no connection any more.
    mutating func left() {
        state = .gone
        hasExchange = false
    }
}
