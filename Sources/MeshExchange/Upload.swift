package import MeshModel
package import NIOCore
import Synchronization

/// A request's body that is passed on while it arrives: nobody holds more of it than the next one has room for.
package protocol UploadSource: Sendable {
    /// Room for `bytes` more; the first call starts the flow. From any thread.
    func grant(_ bytes: Int, to sink: any UploadSink)
}

/// Takes an upload, in order, never more than it granted. Called on the source's event loop.
package protocol UploadSink: AnyObject, Sendable {
    func uploadArrived(_ bytes: ByteBuffer)
    /// Once, behind the last byte. A source that fails instead has its request cancelled.
    func uploadEnded()
}

/// Between who sends an upload and who takes it: holds what came and was not granted, and stops the sender's socket
/// while that is enough. Lives on the sender's event loop.
package final class UploadFlow: Sendable {
    private struct State {
        var held = ByteQueue()
        var granted = 0
        var isWhole = false
        var isDiscarded = false
        var isReading = true
        var isWanted = false
        /// Whether anything has gone on: from then on no other attempt can have the upload.
        var hasBegun = false
        var hasEnded = false
        var lastTaken = SystemClock.instant
        var sink: (any UploadSink)?
        var ticket: Ticket?
    }

    package let eventLoop: any EventLoop
    private let state: NIOLoopBoundBox<State>
    private let begin: NIOLoopBound<() -> Void>
    private let setReading: NIOLoopBound<(Bool) -> Void>

    /// - Parameters:
    ///   - held: the beginning, if it is there already.
    ///   - begin: somebody has room for the first bytes.
    ///   - setReading: stops and starts the sender's socket. It reads at the beginning. Both are called on `eventLoop`.
    package init(
        eventLoop: any EventLoop, held: ByteBuffer = ByteBuffer(),
        begin: @escaping () -> Void = {}, setReading: @escaping (Bool) -> Void
    ) {
        self.eventLoop = eventLoop
        self.begin = NIOLoopBound(begin, eventLoop: eventLoop)
        self.setReading = NIOLoopBound(setReading, eventLoop: eventLoop)
        state = NIOLoopBoundBox(State(held: ByteQueue(held)), eventLoop: eventLoop)
        steer()
    }

    // MARK: Who sends

    package func arrived(_ bytes: ByteBuffer) {
        guard !state.value.isWhole, !state.value.isDiscarded else { return }
        state.value.held.append(bytes)
        pump()
    }

    /// The last byte has come.
    package func ended() {
        state.value.isWhole = true
        pump()
    }

    /// Nobody wants the rest: what still comes is read and dropped.
    package func discard() {
        revoke()
        state.value.isDiscarded = true
        state.value.held.removeAll()
        steer()
    }

    /// Bytes that came and were not passed on.
    package var heldBytes: Int { state.value.held.count }

    /// Whether somebody waits for bytes that the sender does not send.
    package var isStarving: Bool {
        !state.value.isWhole && state.value.granted > 0 && state.value.held.count == 0
    }
    /// When something last went on.
    package var lastTaken: Instant { state.value.lastTaken }

    // MARK: Who takes

    /// The upload as one attempt gets it; an earlier attempt has it no more.
    package func ticket() -> any UploadSource {
        revoke()
        let ticket = Ticket(flow: self)
        state.value.ticket = ticket
        return ticket
    }

    /// The attempt is over: what it still grants does not count.
    package func revoke() {
        state.value.ticket?.isRevoked.store(true, ordering: .relaxed)
        state.value.ticket = nil
        state.value.sink = nil
        state.value.granted = 0
    }

    package var hasBegun: Bool { state.value.hasBegun }

    private func granted(_ bytes: Int, _ sink: any UploadSink, _ ticket: Ticket) {
        guard !ticket.isRevoked.load(ordering: .relaxed) else { return }
        if !state.value.isWanted {
            state.value.isWanted = true
            begin.value()
        }
        state.value.sink = sink
        state.value.granted += min(max(bytes, 0), Limits.answerWindowBytes)
        pump()
    }

    private func pump() {
        while let sink = state.value.sink, state.value.granted > 0, state.value.held.count > 0 {
            let most = min(state.value.granted, Limits.uploadPieceBytes)
            guard let piece = state.value.held.take(most) else { break }
            state.value.granted -= piece.readableBytes
            state.value.hasBegun = true
            state.value.lastTaken = SystemClock.instant
            sink.uploadArrived(piece)
        }
        if state.value.held.count == 0 {
            if state.value.isWhole, !state.value.hasEnded, let sink = state.value.sink {
                state.value.hasEnded = true
                state.value.hasBegun = true
                // It knows this flow: letting go of it breaks the retain cycle.
                state.value.sink = nil
                sink.uploadEnded()
            }
        }
        steer()
    }

    /// Reads on while there is room here. Behind the last byte nothing of the upload comes any more, but the next
    /// request may, and so may the end of the connection.
    private func steer() {
        let wants =
            state.value.isWhole || state.value.isDiscarded || state.value.held.count < Limits.uploadWindowBytes
        guard wants != state.value.isReading else { return }
        state.value.isReading = wants
        setReading.value(wants)
    }

    private final class Ticket: UploadSource {
        let flow: UploadFlow
        let isRevoked = Atomic<Bool>(false)

        init(flow: UploadFlow) { self.flow = flow }

        func grant(_ bytes: Int, to sink: any UploadSink) {
            if flow.eventLoop.inEventLoop {
                flow.granted(bytes, sink, self)
            } else {
                flow.eventLoop.execute { self.flow.granted(bytes, sink, self) }
            }
        }
    }
}
