package import MeshModel
package import NIOCore
internal import Synchronization

/// One forward that a peer opened. Usable from any thread; calls after its end do nothing.
package final class IncomingForward: Sendable {
    package let link: Link
    package let eventLoop: any EventLoop
    package let method = "POST"
    package let path: String
    /// Regular fields, in the order they came, without pseudo-headers.
    package let headers: [HeaderField]
    private let writable = Atomic(true)
    private let stream: NIOLoopBound<RequestStream>

    init(link: Link, stream: RequestStream, path: String, headers: [HeaderField]) {
        self.link = link
        eventLoop = link.eventLoop
        self.path = path
        self.headers = headers
        self.stream = NIOLoopBound(stream, eventLoop: link.eventLoop)
    }

    func setWritable(_ isWritable: Bool) { writable.store(isWritable, ordering: .relaxed) }

    /// False: the peer reads slower than this side writes; write on when `onWritabilityChanged` says true.
    package var isWritable: Bool { writable.load(ordering: .relaxed) }

    /// Reads the whole request body, once. `then` runs on the event loop, with a failure when the body has more than
    /// `limit` bytes, is not whole after `deadlineMs`, or the peer gave up.
    /// - Parameter prefix: only so many bytes; the peer holds the rest back until `continueBody`.
    package func collectBody(
        limit: Int, prefix: Int? = nil, deadlineMs: Int64,
        then: @escaping @Sendable (Result<ByteBuffer, ForwardFailure>) -> Void
    ) {
        onLoop { $0.collectBody(limit: limit, prefix: prefix, deadlineMs: deadlineMs, then: then) }
    }

    /// Asks the peer for the rest of a body whose prefix was collected (status 100).
    package func continueBody(_ receiver: any ForwardBodyReceiver) { onLoop { $0.continueBody(receiver) } }

    /// Stops and starts reading the body; what is not read waits in the peer's window.
    package func setReading(_ isReading: Bool) { onLoop { $0.setReading(isReading) } }

    /// Tells the peer that the work is under way (status 102). Behind the head it says nothing.
    package func respondLater() { onLoop { $0.respondLater() } }

    package func respond(status: Int, headers: [HeaderField]) {
        onLoop { $0.respond(status: status, headers: headers) }
    }

    /// Writes go out together at the end of the event loop's turn.
    package func write(_ bytes: ByteBuffer) { onLoop { $0.write(bytes) } }

    package func end(trailers: [HeaderField] = []) { onLoop { $0.end(trailers: trailers) } }

    /// Ends the stream: the answer is cut, and the peer can tell.
    package func reset() { onLoop { $0.reset() } }

    /// `body` runs on the event loop once when the peer cancels or the link breaks before the end of the answer; at
    /// once if that has happened.
    package func onCancelled(_ body: @escaping @Sendable () -> Void) { onLoop { $0.onCancelled(body) } }

    package func onWritabilityChanged(_ body: @escaping @Sendable (Bool) -> Void) {
        onLoop { $0.writabilityCallback = body }
    }

    private func onLoop(_ body: @escaping @Sendable (RequestStream) -> Void) {
        if eventLoop.inEventLoop { return body(stream.value) }
        eventLoop.execute { body(self.stream.value) }
    }
}
