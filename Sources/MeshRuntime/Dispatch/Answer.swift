package import MeshModel
package import MeshSessions
package import NIOCore

/// What becomes of one attempt to have a request answered, in order: `head`, any number of `body`, then `end`; or
/// `fail` at once when nothing was delivered.
package enum AnswerEvent: Sendable {
    case head(status: Int, contentType: String)
    case body(ByteBuffer)
    case end
    case fail(MeshError)
}

/// Takes the answer of one attempt, always on its own event loop.
package protocol AnswerReceiver: AnyObject, Sendable {
    var eventLoop: any EventLoop { get }
    func receive(_ events: [AnswerEvent])
}

extension AnswerReceiver {
    /// Delivers from any thread; order is kept.
    package func deliver(_ events: [AnswerEvent]) {
        if eventLoop.inEventLoop { receive(events) } else { eventLoop.execute { self.receive(events) } }
    }
}

/// A running attempt, as its receiver steers it. Callable from any thread, any number of times.
package protocol AttemptHandle: Sendable {
    /// The buyer is gone or the answer is not wanted any more.
    func cancel()
    /// The buyer reads too slowly: send no more of this answer for now, where the source can hold it back.
    func pause()
    func resume()
}

/// A request on its way to a worker.
package struct WorkRequest: Sendable {
    package var operation: String
    /// One validated JSON value, the buyer's body as the worker gets it.
    package var body: ByteBuffer
    package var wantsStream: Bool
    package var deadlines: AnswerExchange.Deadlines

    package init(operation: String, body: ByteBuffer, wantsStream: Bool, deadlines: AnswerExchange.Deadlines) {
        self.operation = operation
        self.body = body
        self.wantsStream = wantsStream
        self.deadlines = deadlines
    }
}
