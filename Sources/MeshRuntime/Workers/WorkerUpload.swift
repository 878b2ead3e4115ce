import MeshExchange
import MeshModel
import NIOCore

/// One request's upload on its way to its worker. What the worker gives credit for is asked of the source in steps, so
/// that a worker with more credit than line speed fills its own memory and not this node's. Lives on the session's
/// event loop.
final class WorkerUpload: UploadSink {
    private struct State {
        /// What the worker has room for and the source was not asked for.
        var credit = 0
        /// Asked of the source, and not taken by the socket yet.
        var underWay = 0
    }

    private let source: any UploadSource
    private let number: UInt64
    private let connection: NIOLoopBound<WorkerConnection>
    private let eventLoop: any EventLoop
    private let state: NIOLoopBoundBox<State>

    init(_ source: any UploadSource, number: UInt64, connection: WorkerConnection, eventLoop: any EventLoop) {
        self.source = source
        self.number = number
        self.eventLoop = eventLoop
        self.connection = NIOLoopBound(connection, eventLoop: eventLoop)
        state = NIOLoopBoundBox(State(), eventLoop: eventLoop)
    }

    /// The worker's `credit`.
    func credited(_ bytes: Int) {
        state.value.credit = min(
            state.value.credit + min(max(bytes, 0), Limits.uploadCreditBytes), Limits.uploadCreditBytes)
        ask()
    }

    /// `bytes` have left for the worker.
    func sent(_ bytes: Int) {
        state.value.underWay = max(state.value.underWay - bytes, 0)
        ask()
    }

    private func ask() {
        let count = min(state.value.credit, Limits.uploadWindowBytes - state.value.underWay)
        // Not for crumbs: each step is a turn of the source's event loop.
        guard count > 0, count >= Limits.uploadPieceBytes || count == state.value.credit else { return }
        state.value.credit -= count
        state.value.underWay += count
        connection.value.asked(count, ofUpload: number)
        source.grant(count, to: self)
    }

    func uploadArrived(_ bytes: ByteBuffer) {
        onLoop { $0.connection.value.pass(bytes, ofUpload: $0.number) }
    }

    func uploadEnded() { onLoop { $0.connection.value.endUpload($0.number) } }

    private func onLoop(_ body: @escaping @Sendable (WorkerUpload) -> Void) {
        if eventLoop.inEventLoop { body(self) } else { eventLoop.execute { body(self) } }
    }
}
