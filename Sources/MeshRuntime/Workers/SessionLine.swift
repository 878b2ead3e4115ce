import MeshExchange
import MeshModel
import MeshSessions
import NIOCore

/// What carries a session's requests to whoever answers them: a worker's socket, or this node's client of an upstream.
/// From any thread.
protocol SessionLine: Sendable {
    var answerer: Answerer { get }
    /// The request is counted at the session; who ends it tells the session.
    /// - Parameter model: the id that whoever answers has for the model.
    func begin(
        _ request: WorkRequest, model: String?, of session: WorkerSession, receiver: any AnswerReceiver
    ) -> any AttemptHandle
    func close(_ reason: CloseReason)
}

/// A worker's WebSocket, reached from any thread.
struct WorkerSocket: SessionLine {
    let answerer = Answerer.worker
    private let handler: NIOLoopBound<WorkerConnection>
    private let eventLoop: any EventLoop

    init(_ handler: WorkerConnection, eventLoop: any EventLoop) {
        self.handler = NIOLoopBound(handler, eventLoop: eventLoop)
        self.eventLoop = eventLoop
    }

    func begin(
        _ request: WorkRequest, model: String?, of session: WorkerSession, receiver: any AnswerReceiver
    ) -> any AttemptHandle {
        let attempt = WorkerAttempt(session: session, socket: self)
        onLoop { $0.start(request, model: model, receiver: receiver, attempt: attempt) }
        return attempt
    }

    func close(_ reason: CloseReason) { onLoop { $0.close(reason) } }

    func onLoop(_ body: @escaping @Sendable (WorkerConnection) -> Void) {
        if eventLoop.inEventLoop {
            body(handler.value)
        } else {
            let handler = handler
            eventLoop.execute { body(handler.value) }
        }
    }
}
