package import MeshModel
package import MeshSessions
package import NIOCore
import Synchronization

/// A live worker as the rest of the node sees it: who it is, what it offers, how busy it is, and a way to give it
/// work. Safe from any thread; the work itself happens on the connection's event loop.
package final class WorkerSession: Sendable {
    package let identity: WorkerIdentity
    package let sessionID: String
    package let connectedAt: Timestamp
    package let attachKey: PublicKey
    package let eventLoop: any EventLoop
    private let handler: NIOLoopBound<WorkerConnection>
    private let details: Mutex<Details>
    private let sessions: SessionTable
    let outstanding = Atomic<Int>(0)

    package struct Details: Sendable {
        package var profile = WorkerProfile()
        package var models: [WorkerModel] = []
    }

    init(
        identity: WorkerIdentity, sessionID: String, attachKey: PublicKey, connectedAt: Timestamp,
        handler: WorkerConnection, eventLoop: any EventLoop, sessions: SessionTable
    ) {
        self.sessions = sessions
        self.identity = identity
        self.sessionID = sessionID
        self.attachKey = attachKey
        self.connectedAt = connectedAt
        self.eventLoop = eventLoop
        self.handler = NIOLoopBound(handler, eventLoop: eventLoop)
        details = Mutex(Details())
    }

    package var current: Details { details.withLock { $0 } }
    package var requestsInFlight: Int { outstanding.load(ordering: .relaxed) }

    package func offers(_ model: String) -> Bool { details.withLock { $0.models.contains { $0.id == model } } }

    func update(_ change: (inout Details) -> Void) { details.withLock { change(&$0) } }

    /// Gives the worker a request. The answer, success or failure, reaches `receiver` exactly once to its end.
    package func start(_ request: WorkRequest, receiver: any AnswerReceiver) -> any AttemptHandle {
        let attempt = WorkerAttempt(session: self)
        if let busy = sessions.takesRequest(self) {
            receiver.deliver([.fail(busy)])
            return attempt
        }
        onLoop { $0.start(request, receiver: receiver, attempt: attempt) }
        return attempt
    }

    package func close(_ reason: CloseReason) { onLoop { $0.close(reason) } }

    func onLoop(_ body: @escaping @Sendable (WorkerConnection) -> Void) {
        if eventLoop.inEventLoop {
            body(handler.value)
        } else {
            let handler = handler
            eventLoop.execute { body(handler.value) }
        }
    }
}

/// One request at one worker.
final class WorkerAttempt: AttemptHandle {
    private let session: WorkerSession
    /// Set on the session's loop before any frame is sent; 0 until then.
    let number = Atomic<UInt64>(0)

    init(session: WorkerSession) { self.session = session }

    func cancel() { steer { $0.cancel($1) } }
    func pause() { steer { $0.control("pause", $1) } }
    func resume() { steer { $0.control("resume", $1) } }

    private func steer(_ body: @escaping @Sendable (WorkerConnection, UInt64) -> Void) {
        session.onLoop { [self] connection in
            let number = number.load(ordering: .relaxed)
            if number > 0 { body(connection, number) }
        }
    }
}
