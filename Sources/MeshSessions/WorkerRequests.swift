package import MeshModel
import MeshWire

/// The requests that one worker has in its hands, as a pure machine: their numbers, what each of the worker's frames
/// means for the one it is about, which of them take too long, and how each ends. It has no socket and no clock, and
/// knows nobody who waits for an answer: whoever runs it keeps them by number, and does what it says.
///
/// - A request is **outstanding** from `begin` to its end, and ends once: with its answer, with a failure, or because it
///   is not wanted any more. What comes for it afterwards, a second end too, is for nobody.
/// - The worker is told to stop (`cancel`) when it may still be at it: its answer is not wanted, broke a rule, or is late.
///   It is not told when it said itself that it is done.
/// - A worker that takes nothing of what is written to it for `Limits.streamBlockedMs` is as good as gone, whatever it
///   sends; one that takes too little gets no further request.
package struct WorkerRequests: Sendable {
    /// What comes of one event for the request that it is about. To be done in the order in which it stands here.
    package struct Outcome: Hashable, Sendable {
        /// For whoever asked.
        package var told: [AnswerExchange.Action] = []
        /// The bytes that came are part of the answer as they are.
        package var passes = false
        /// The worker is at it, and brought nothing of the answer.
        package var isPending = false
        /// Room that the worker is to be given for more of its answer.
        package var credit: Int?
        /// Room that the worker has for more of the upload.
        package var room: Int?
        /// The request is over.
        package var end: End?

        init(told: [AnswerExchange.Action] = []) { self.told = told }

        /// Whether the answer may mean that the worker has other models than it listed.
        package var doubtsModels: Bool {
            told.contains { action in
                switch action {
                case .head(let head): head.status == 404
                case .fail(let error): error.code == .modelNotFound
                case .bytes, .end: false
                }
            }
        }
    }

    package struct End: Hashable, Sendable {
        /// Whether the worker has to be told to stop.
        package var isCancelled: Bool
        /// What it says of the worker's speed.
        package var sample: RequestSample?
        /// Whether the worker let all its time pass without a word of the answer.
        package var ranOutOfTime = false
    }

    /// What has to be done by now.
    package struct Due: Hashable, Sendable {
        /// The worker does not read.
        package var isBlocked = false
        /// In the order in which they began.
        package var late: [Ended] = []
    }

    package struct Ended: Hashable, Sendable {
        package var number: UInt64
        package var outcome: Outcome
    }

    private struct Request: Sendable {
        var exchange: AnswerExchange
        /// Nil where the request came whole.
        var upload: UploadPace?

        var standing: Standing { Standing(held: exchange.heldBytes, isFinished: exchange.isFinished) }
    }

    private var requests = DenseTable<UInt64, Request>()
    private var held = HeldAnswers()
    /// The number of the next request.
    package private(set) var next = BrokerSession.firstRequestNumber
    private var lastUnsent: (bytes: Int, since: Instant)

    package init(now: Instant) { lastUnsent = (0, now) }

    package var count: Int { requests.count }
    package func isOutstanding(_ number: UInt64) -> Bool { requests.contains(number) }

    // MARK: Beginning

    /// Why the worker cannot be given one more request now.
    /// - Parameters:
    ///   - unsent: bytes that were written to the worker and not taken.
    ///   - frame: bytes of the request's frame, and how many the worker takes in one.
    package func refusal(unsent: Int, frame: (bytes: Int, limit: Int)) -> MeshError? {
        guard count < Limits.workerRequestsAtOnce else {
            return MeshError(.workerBusy, "the worker has its hands full", retryAfterSeconds: 1)
        }
        guard Self.mayWrite(unsent: unsent) else {
            return MeshError(.workerBusy, "the worker takes its requests too slowly", retryAfterSeconds: 2)
        }
        guard frame.bytes <= frame.limit else {
            return MeshError(
                .frameLimit,
                "the request is \(frame.bytes) bytes, but this worker takes at most \(frame.limit) in one message; shorten it or choose another provider"
            )
        }
        return nil
    }

    /// Whether something that can be left out may be written: who asks and does not read must not fill this node.
    package static func mayWrite(unsent: Int) -> Bool { unsent <= Limits.workerUnsentBytes }

    /// The request's frame goes out.
    /// - Returns: its number.
    package mutating func begin(_ exchange: AnswerExchange, hasUpload: Bool) -> UInt64 {
        let number = next
        next += 1
        requests.set(Request(exchange: exchange, upload: hasUpload ? UploadPace() : nil), for: number)
        return number
    }

    // MARK: What the worker says

    /// A reply frame of this request; nil when it is for nobody.
    package mutating func replied(
        _ number: UInt64, _ event: WorkerFrame.ReplyEvent, _ frame: WorkerFrame, in bytes: UnsafeRawBufferPointer,
        now: Instant
    ) -> Outcome? {
        if event == .credit { return room(number, frame, bytes).map { room in Outcome(room: room) } }
        // Changed in place: what a stream holds back must not be copied for every frame.
        let answered = requests.update(number) { request in
            let actions = request.exchange.replied(event, frame, in: bytes, now: now)
            return (outcome: Outcome(told: actions), standing: request.standing)
        }
        guard let answered else { return nil }
        var outcome = answered.outcome
        if outcome.told.isEmpty { outcome.isPending = event.isSignOfWork }
        settle(number, answered.standing, &outcome, isCancelled: !event.endsAnswer, now)
        return outcome
    }

    /// Bytes in a binary frame of this request's answer; nil when they are for nobody.
    package mutating func binaryArrived(
        _ number: UInt64, _ payload: UnsafeRawBufferPointer, now: Instant
    ) -> Outcome? {
        let arrived = requests.update(number) { request -> (outcome: Outcome, standing: Standing) in
            var outcome = Outcome()
            switch request.exchange.binaryArrived(payload, now: now) {
            case .pass: outcome.passes = true
            case .actions(let actions):
                outcome.told = actions
                // What went into events was taken in here; how slowly the buyer reads is told by `pause`.
                outcome.credit = request.exchange.consumed(payload.count)
            }
            return (outcome, request.standing)
        }
        guard let arrived else { return nil }
        var outcome = arrived.outcome
        // The worker broke a rule and may still be at it.
        settle(number, arrived.standing, &outcome, isCancelled: true, now)
        return outcome
    }

    /// Room for the request's upload, which it has to have.
    private func room(_ number: UInt64, _ frame: WorkerFrame, _ bytes: UnsafeRawBufferPointer) -> Int? {
        guard requests[number]?.upload != nil, let payload = frame.payload,
            let room = frame.fields(of: payload, in: bytes)?.integer("bytes", in: bytes), room > 0
        else { return nil }
        return Int(clamping: room)
    }

    /// How a request stands after something of its answer has come.
    private struct Standing {
        let held: Int
        let isFinished: Bool
    }

    /// Counts what the request's unfinished answer holds now. One that brings the worker over its share fails. One that
    /// is finished ends.
    private mutating func settle(
        _ number: UInt64, _ standing: Standing, _ outcome: inout Outcome, isCancelled: Bool, _ now: Instant
    ) {
        guard held.takes(standing.held, of: number) else {
            let failure = requests.update(number) {
                $0.exchange.failed(
                    MeshError(
                        .workerBadAnswer, "the worker has too many large answers under way that are not finished"))
            }
            outcome.told += failure ?? []
            outcome.isPending = false
            outcome.end = end(number, isCancelled: isCancelled, now)
            return
        }
        if standing.isFinished { outcome.end = end(number, isCancelled: isCancelled, now) }
    }

    private mutating func end(_ number: UInt64, isCancelled: Bool, _ now: Instant) -> End? {
        held.ended(number)
        return requests.remove(number).map {
            End(
                isCancelled: isCancelled, sample: $0.exchange.sample(now: now), ranOutOfTime: $0.exchange.ranOutOfTime)
        }
    }

    // MARK: What the buyer's side says

    /// Whoever asked does not want the answer any more; nil when it is over already.
    /// - Parameter isLate: because nothing came in the time that it had.
    package mutating func cancelled(_ number: UInt64, isLate: Bool = false, now: Instant) -> End? {
        held.ended(number)
        return requests.remove(number).map {
            End(
                isCancelled: true, sample: $0.exchange.abandoned(now: now),
                ranOutOfTime: isLate && $0.exchange.isToBlameForTime)
        }
    }

    /// `count` bytes of a binary answer went on.
    /// - Returns: the room to give the worker, when it is time to.
    package mutating func consumed(_ count: Int, of number: UInt64) -> Int? {
        requests.update(number) { $0.exchange.consumed(count) } ?? nil
    }

    /// `count` bytes of the upload were asked of the buyer's side.
    package mutating func uploadAsked(_ count: Int, of number: UInt64) {
        requests.update(number) { $0.upload?.asked(count) }
    }

    /// `count` bytes of the upload go to the worker.
    /// - Returns: whether anybody takes them.
    package mutating func uploadArrived(_ count: Int, of number: UInt64, now: Instant) -> Bool {
        requests.update(number) { request in
            guard request.upload != nil else { return false }
            request.upload?.arrived(count)
            // A buyer on a slow line is one who sends.
            request.exchange.uploadProgressed(now: now)
            return true
        } ?? false
    }

    /// The upload is whole.
    /// - Returns: whether the worker is to be told.
    package mutating func uploadEnded(_ number: UInt64, now: Instant) -> Bool {
        requests.update(number) { request in
            request.exchange.uploadEnded(now: now)
            request.upload?.ended()
            return request.upload != nil
        } ?? false
    }

    // MARK: Time and end

    /// Call twice a second.
    package mutating func tick(unsent: Int, now: Instant) -> Due {
        var due = Due(isBlocked: isBlocked(unsent: unsent, now: now))
        // All of them are lost with it.
        if due.isBlocked { return due }
        var late: [(number: UInt64, isStalled: Bool)] = []
        for number in requests.keys {
            let found = requests.update(number) { request -> Bool? in
                let isStalled = request.upload?.isStalled(now: now) ?? false
                if request.exchange.deadline <= now { return false }
                return isStalled ? true : nil
            }
            if let isStalled = found ?? nil { late.append((number, isStalled)) }
        }
        late.sort { $0.number < $1.number }
        for (number, isStalled) in late {
            let told = requests.update(number) { request in
                isStalled
                    ? request.exchange.uploadStalled()
                    : request.exchange.deadlinePassed(awaitsUpload: request.upload?.isAwaited ?? false)
            }
            var outcome = Outcome(told: told ?? [])
            outcome.end = end(number, isCancelled: true, now)
            due.late.append(Ended(number: number, outcome: outcome))
        }
        return due
    }

    /// Whether the worker has taken nothing for too long.
    private mutating func isBlocked(unsent: Int, now: Instant) -> Bool {
        if unsent == 0 || unsent < lastUnsent.bytes { lastUnsent = (unsent, now) }
        lastUnsent.bytes = unsent
        return unsent > 0 && now.milliseconds(since: lastUnsent.since) >= Limits.streamBlockedMs
    }

    /// The worker is gone: every request ends, in the order in which they began.
    package mutating func lost(now: Instant) -> [Ended] {
        let numbers = requests.keys.sorted()
        return numbers.map { number in
            let told = requests.update(number) {
                $0.exchange.failed(
                    MeshError(.workerLost, "the worker disconnected before it answered", retryAfterSeconds: 2))
            }
            var outcome = Outcome(told: told ?? [])
            outcome.end = end(number, isCancelled: false, now)
            return Ended(number: number, outcome: outcome)
        }
    }
}

extension WorkerRequests.Outcome {
    fileprivate init(room: Int) { self.room = room }
}

extension WorkerFrame.ReplyEvent {
    /// Whether it shows that the worker is at the request, where it brought no content.
    fileprivate var isSignOfWork: Bool {
        switch self {
        case .pending, .start, .progress, .chunk: true
        case .answer, .done, .error, .credit, .heartbeat, .ignored: false
        }
    }

    /// Whether the worker says with it that it is done with the request.
    fileprivate var endsAnswer: Bool {
        switch self {
        case .answer, .done, .error: true
        case .pending, .start, .credit, .chunk, .progress, .heartbeat, .ignored: false
        }
    }
}
