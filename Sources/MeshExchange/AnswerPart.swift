package import MeshModel
package import MeshWire
package import NIOCore

/// What becomes of one attempt to have a request answered, in order: `head`, any number of `bytes`, then `end`. `fail`
/// may come in place of any of them and is the last: before the head nothing was delivered, after it the answer is cut.
/// `pending` may stand before and between them. Of a stream of events the bytes have no end marker: `end` is one.
package enum AnswerPart: Sendable {
    /// Whoever answers says that it is at work.
    case pending
    case head(AnswerHead)
    case bytes(ByteBuffer)
    case end(AnswerTotals)
    case fail(MeshError)
}

/// Takes the answer of one attempt, always on its own event loop.
package protocol AnswerReceiver: AnyObject, Sendable {
    var eventLoop: any EventLoop { get }
    func receive(_ parts: [AnswerPart])
}

extension AnswerReceiver {
    /// Delivers from any thread; order is kept.
    package func deliver(_ parts: [AnswerPart]) {
        if eventLoop.inEventLoop { receive(parts) } else { eventLoop.execute { self.receive(parts) } }
    }
}

/// A running attempt, as its receiver steers it. Callable from any thread, any number of times.
package protocol AttemptHandle: AnyObject, Sendable {
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
