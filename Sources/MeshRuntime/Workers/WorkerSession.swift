import MeshCrypto
package import MeshExchange
package import MeshModel
import MeshRouting
package import MeshSessions
import Synchronization

/// A live worker as the rest of the node sees it: who it is, what it offers, how busy it is, and a way to give it
/// work. An upstream of this node's own is one as well. Safe from any thread; its line does the work.
package final class WorkerSession: Sendable, IndexedSession {
    package let identity: WorkerIdentity
    package let sessionID: String
    package let connectedAt: Timestamp
    package let attachKey: PublicKey
    /// Tells this worker from its provider's others, here and at other nodes, without its client id.
    package let mark: String
    private let line: any SessionLine
    private let details: Mutex<Details>
    private let sessions: SessionTable
    private let outstanding = Atomic<Int>(0)
    /// How many requests it takes at once; 0 when it did not tell.
    private let slots = Atomic<Int>(0)
    private let load: ProviderLoad
    private let unitCost = Atomic<Int64>(1)
    private let seen: Atomic<Int64>
    private let coolDown = Mutex(CoolDown())
    /// Nanoseconds of the clock until which it rests; 0 when it does not.
    private let restsUntil = Atomic<Int64>(0)

    package struct Details: Sendable {
        /// As it registered.
        package var profile = WorkerProfile() { didSet { offer.renew(profile.offer) } }
        package var performance = PerformanceWindow() { didSet { offer.speed = performance.speed } }
        package var offer = WorkerOffer()
    }

    init(
        identity: WorkerIdentity, sessionID: String, attachKey: PublicKey, connectedAt: Timestamp,
        line: any SessionLine, sessions: SessionTable
    ) {
        self.sessions = sessions
        load = sessions.opened(identity.provider)
        self.identity = identity
        self.sessionID = sessionID
        self.attachKey = attachKey
        self.connectedAt = connectedAt
        seen = Atomic(connectedAt.milliseconds)
        mark = WorkerMark.text(
            clientHash: WorkerMark.clientHash(identity.clientID, provider: identity.provider, Sodium.shared))
        self.line = line
        details = Mutex(Details())
    }

    package var current: Details { details.withLock { $0 } }
    /// When its last sign of life came, to about half a second.
    package var lastSeen: Timestamp { Timestamp(milliseconds: seen.load(ordering: .relaxed)) }
    func sawLife(_ wall: Timestamp) { seen.store(wall.milliseconds, ordering: .relaxed) }

    /// How errors call it.
    var answerer: Answerer { line.answerer }

    package var requestsInFlight: Int { outstanding.load(ordering: .relaxed) }

    /// Whether it has as many requests as it said it takes at once.
    var isFull: Bool {
        let slots = slots.load(ordering: .relaxed)
        return slots > 0 && requestsInFlight >= slots
    }

    /// Whether it refused a request a moment ago and its siblings come first.
    func isResting(now: Instant) -> Bool {
        let until = restsUntil.load(ordering: .relaxed)
        return until != 0 && now.nanoseconds < until
    }

    /// It refused a request without doing anything.
    func rest(retryAfterSeconds: Int?, now: Instant) {
        let until = coolDown.withLock { coolDown in
            coolDown.refused(retryAfterSeconds: retryAfterSeconds, now: now)
            return coolDown.until
        }
        restsUntil.store(until?.nanoseconds ?? 0, ordering: .relaxed)
    }

    /// It answered a request.
    func restIsOver() {
        guard restsUntil.load(ordering: .relaxed) != 0 else { return }
        coolDown.withLock { $0.answered() }
        restsUntil.store(0, ordering: .relaxed)
    }

    package enum Taking: Hashable, Sendable {
        case taken
        /// The worker has as many as it said it takes.
        case workerIsFull(slots: Int)
        /// All workers of the provider here together have as many as it takes.
        case providerIsFull
    }

    /// Counts a request here and at the provider, if both have room for it.
    func requestBegan(limit: Int) -> Taking {
        guard load.take(limit: limit) else { return .providerIsFull }
        let slots = slots.load(ordering: .relaxed)
        guard outstanding.add(1, ordering: .relaxed).newValue <= slots || slots == 0 else {
            requestEnded()
            return .workerIsFull(slots: slots)
        }
        return .taken
    }

    func requestEnded() {
        outstanding.subtract(1, ordering: .relaxed)
        load.give()
    }

    package func meets(_ need: WorkerNeed) -> Bool { details.withLock { $0.offer.meets(need, mark: mark) } }

    /// What one more request would cost here, to compare it with its provider's other workers.
    var cost: Int64 { unitCost.load(ordering: .relaxed) * Int64(requestsInFlight + 1) }

    func standing(now: Instant) -> SessionStanding {
        if isFull { return .full }
        return isResting(now: now) ? .resting : .ready(cost: cost)
    }

    func record(_ sample: RequestSample) { measure { $0.add(sample) } }

    /// Changes what is known of the worker's speed, and what routing makes of it.
    func measure(_ change: (inout PerformanceWindow) -> Void) {
        let cost = details.withLock { details in
            change(&details.performance)
            return details.performance.unitCost
        }
        unitCost.store(cost, ordering: .relaxed)
    }

    func update(_ change: (inout Details) -> Void) {
        let told = details.withLock { details in
            change(&details)
            return Int(details.offer.slots)
        }
        slots.store(told, ordering: .relaxed)
    }

    /// Gives the worker a request. The answer, success or failure, reaches `receiver` exactly once to its end.
    /// - Parameter model: the worker's id for the model.
    package func start(
        _ request: WorkRequest, model: String?, receiver: any AnswerReceiver
    ) -> any AttemptHandle {
        if let busy = sessions.takesRequest(self) {
            receiver.deliver([.fail(busy)])
            return FinishedAttempt()
        }
        return line.begin(request, model: model, of: self, receiver: receiver)
    }

    package func close(_ reason: CloseReason) { line.close(reason) }
}

/// One request at one worker.
final class WorkerAttempt: AttemptHandle {
    let session: WorkerSession
    private let socket: WorkerSocket
    /// Set on the session's loop before any frame is sent; 0 until then.
    let number = Atomic<UInt64>(0)
    /// Whether this answer comes in binary frames, for which the worker waits for credit.
    let isCredited = Atomic<Bool>(false)

    init(session: WorkerSession, socket: WorkerSocket) {
        self.session = session
        self.socket = socket
    }

    func cancel() { steer { $0.cancel($1) } }
    func expire() { steer { $0.cancel($1, isLate: true) } }
    func pause() { steer { $0.control("pause", $1) } }
    func resume() { steer { $0.control("resume", $1) } }

    func consumed(_ count: Int) {
        guard isCredited.load(ordering: .relaxed) else { return }
        steer { $0.consumed(count, of: $1) }
    }

    private func steer(_ body: @escaping @Sendable (WorkerConnection, UInt64) -> Void) {
        socket.onLoop { [self] connection in
            let number = number.load(ordering: .relaxed)
            if number > 0 { body(connection, number) }
        }
    }
}
