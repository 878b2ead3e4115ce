package import MeshModel
internal import MeshWire
package import NIOCore

/// One forward this node opened: what its caller can do to it, from any thread.
package final class ForwardCall: Sendable {
    package let eventLoop: any EventLoop
    private let state: NIOLoopBoundBox<State?>

    private struct State {
        var port: (any StreamPort)?
        var isCancelled = false
        var isPaused = false
    }

    init(eventLoop: any EventLoop) {
        self.eventLoop = eventLoop
        state = .makeEmptyBox(valueType: State.self, eventLoop: eventLoop)
    }

    /// The next bytes of the request's body, after the peer asked for them.
    /// - Parameter sent: called on the event loop when they have left; never, when the stream ended before.
    package func write(_ bytes: ByteBuffer, sent: @escaping @Sendable () -> Void) {
        onLoop { $0.port?.write(bytes, isLast: false, sent: sent) }
    }

    /// Ends the request's body.
    package func end(trailers: [HeaderField]) {
        onLoop { $0.port?.write(StreamFields(trailers), isLast: true) }
    }

    private var port: (any StreamPort)? { state.value?.port }

    /// Ends the stream; the receiver hears `cancelled` unless the answer was whole already.
    package func cancel() {
        onLoop { call in
            var state = call.state.value ?? State()
            state.isCancelled = true
            call.state.value = state
            state.port?.close()
        }
    }

    /// Stops the flow of the answer: at most one stream window still arrives, then the peer must wait.
    package func pauseReading() { setPaused(true) }
    package func resumeReading() { setPaused(false) }

    private func setPaused(_ paused: Bool) {
        onLoop { call in
            var state = call.state.value ?? State()
            guard state.isPaused != paused else { return }
            state.isPaused = paused
            call.state.value = state
            state.port?.setReading(!paused)
        }
    }

    private func onLoop(_ body: @escaping @Sendable (ForwardCall) -> Void) {
        if eventLoop.inEventLoop { return body(self) }
        eventLoop.execute { body(self) }
    }

    var isCancelled: Bool { state.value?.isCancelled ?? false }

    /// False when it was cancelled before it could open.
    func opened(_ port: any StreamPort) -> Bool {
        var state = self.state.value ?? State()
        if state.isCancelled { return false }
        state.port = port
        self.state.value = state
        if state.isPaused { port.setReading(false) }
        return true
    }

    func close() {
        // Copied: closing may come back here and empty the box.
        let port = port
        port?.close()
    }

    func ended() { state.value?.port = nil }
}

/// The stream of one forward this node opened: request out at once, answer to the receiver.
final class ForwardStream: StreamReader {
    private let connection: LinkConnection
    private let call: ForwardCall
    private let receiver: any ForwardReceiver
    private let head: StreamFields
    private let body: ByteBuffer
    private let hasUpload: Bool
    private var hasHead = false
    private var isOver = false

    init(
        connection: LinkConnection, call: ForwardCall, receiver: any ForwardReceiver, head: StreamFields,
        body: ByteBuffer, hasUpload: Bool
    ) {
        self.hasUpload = hasUpload
        self.connection = connection
        self.call = call
        self.receiver = receiver
        self.head = head
        self.body = body
    }

    func opened(_ port: any StreamPort) {
        guard call.opened(port) else { return port.close() }
        let isEmpty = body.readableBytes == 0 && !hasUpload
        port.write(head, isLast: isEmpty)
        if !isEmpty { port.write(body, isLast: !hasUpload, sent: nil) }
    }

    func read(_ fields: StreamFields, isLast: Bool) {
        guard !isOver else { return }
        if hasHead {
            if isLast { end(nil, trailers: fields.fields) }
            return
        }
        guard fields.status >= 100 else { return end(.malformed) }
        if fields.status < 200 {
            if fields.status == 100, hasUpload { receiver.forwardContinues() }
            if fields.status == 102 { receiver.forwardWaits() }
            return
        }
        hasHead = true
        receiver.forwardHead(status: fields.status, headers: fields.fields)
        if isLast { end(nil) }
    }

    func read(_ bytes: ByteBuffer, isLast: Bool) {
        guard !isOver else { return }
        if bytes.readableBytes > 0 { receiver.forwardBody(bytes) }
        if isLast { end(nil) }
    }

    func writabilityChanged(_ isWritable: Bool) {}

    func closed(_ failure: ForwardFailure?) { end(failure ?? .linkLost) }

    private func end(_ failure: ForwardFailure?, trailers: [HeaderField] = []) {
        guard !isOver else { return }
        isOver = true
        let isCancelled = call.isCancelled
        // An answer may be whole before the upload is: nobody wants the rest. One that is none is not waited for.
        if hasUpload || failure == .malformed { call.close() }
        call.ended()
        connection.forwardClosed()
        receiver.forwardEnded(failure != nil && isCancelled ? .cancelled : failure, trailers: trailers)
    }
}
