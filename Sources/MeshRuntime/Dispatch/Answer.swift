package import MeshModel
package import MeshSessions
package import NIOCore

/// What becomes of one attempt to have a request answered, in order: `head`, any number of `body`, then `end`. `fail`
/// may come in place of any of them and is the last: before the head nothing was delivered, after it the answer is cut.
/// `pending` may stand before and between them.
package enum AnswerEvent: Sendable {
    /// Whoever answers says that it is at work.
    case pending
    case head(AnswerHead)
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
    /// `count` bytes of the answer went on towards the buyer: a source that sends by credit may send as many more.
    func consumed(_ count: Int)
    /// Nothing came in time: as `cancel`, and a failure of whoever was asked.
    func expire()
}

extension AttemptHandle {
    package func consumed(_ count: Int) {}
    package func expire() { cancel() }
}

/// The operations of the worker protocol that carry buyers' requests.
package enum WorkerOperation: String, Hashable, Sendable, CaseIterable {
    case chatCompletions = "chat.completions"
    case proxy
}

/// A request on its way to a worker.
package struct WorkRequest: Sendable {
    package var operation: WorkerOperation
    /// One validated JSON value: the buyer's body, or the payload of `proxy` around it.
    package var body: ByteBuffer
    package var form: AnswerExchange.Form
    /// What a worker has to have for it.
    package var need: WorkerNeed
    /// Whether another worker may be tried when one was lost with the request in its hands: not where the request may
    /// have had an effect that a second one would repeat.
    package var mayRepeat: Bool
    package var deadlines: AnswerExchange.Deadlines
    /// What follows the body, passed on while it arrives.
    package var upload: (any UploadSource)?

    package init(
        operation: WorkerOperation, body: ByteBuffer, form: AnswerExchange.Form, need: WorkerNeed,
        mayRepeat: Bool = true, deadlines: AnswerExchange.Deadlines, upload: (any UploadSource)? = nil
    ) {
        self.upload = upload
        self.operation = operation
        self.body = body
        self.form = form
        self.need = need
        self.mayRepeat = mayRepeat
        self.deadlines = deadlines
    }
}
