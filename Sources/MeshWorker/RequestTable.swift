import MeshModel
import MeshUpstream
import NIOCore
import Synchronization

/// The requests this session works on, so that `cancel` finds them and their number stays bounded.
final class RequestTable: Sendable {
    enum Admission: Sendable {
        /// Yields once when the broker cancels the request.
        case admitted(cancelled: AsyncStream<Void>, gate: FlowGate, credit: CreditGate)
        case busy
        case draining
        case duplicate
    }

    private struct Running {
        var cancellation: AsyncStream<Void>.Continuation
        var gate: FlowGate
        var credit: CreditGate
        var upload: UploadStream?
    }

    private struct State {
        var running: [String: Running] = [:]
        var draining = false
    }
    private let state = Mutex(State())

    /// - Parameter window: bytes of a binary answer that the broker takes before it gives credit.
    func begin(_ requestID: String, window: Int) -> Admission {
        state.withLock { state in
            guard !state.draining else { return .draining }
            guard state.running[requestID] == nil else { return .duplicate }
            guard state.running.count < Limits.workerAgentRequestsAtOnce else { return .busy }
            let (stream, continuation) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingOldest(1))
            let gate = FlowGate()
            let credit = CreditGate(window: window)
            state.running[requestID] = Running(cancellation: continuation, gate: gate, credit: credit)
            return .admitted(cancelled: stream, gate: gate, credit: credit)
        }
    }

    func cancel(_ requestID: String) {
        let running = state.withLock { $0.running[requestID] }
        running?.cancellation.yield()
    }

    /// The broker's `pause` and `resume` for one request.
    func setPaused(_ requestID: String, _ isPaused: Bool) {
        let gate = state.withLock { $0.running[requestID] }?.gate
        if isPaused { gate?.pause() } else { gate?.resume() }
    }

    /// The broker's `credit` for one request.
    func addCredit(_ requestID: String, _ bytes: Int) {
        state.withLock { $0.running[requestID] }?.credit.add(bytes)
    }

    /// From now on the request's upload is taken in.
    func open(_ upload: UploadStream, of requestID: String) {
        state.withLock { $0.running[requestID]?.upload = upload }
    }

    /// The next bytes of a request's upload; false when it has no room for them, and the request cannot go on.
    func uploadArrived(_ requestID: String, _ bytes: ByteBuffer) -> Bool {
        // What still comes for a request that has ended is nobody's.
        guard let upload = state.withLock({ $0.running[requestID] })?.upload else { return true }
        return upload.arrived(bytes)
    }

    func uploadEnded(_ requestID: String) { state.withLock { $0.running[requestID] }?.upload?.ended() }

    func end(_ requestID: String) {
        let running = state.withLock { $0.running.removeValue(forKey: requestID) }
        running?.upload?.abandon()
        running?.cancellation.finish()
    }

    func drain() { state.withLock { $0.draining = true } }
    var isEmpty: Bool { state.withLock { $0.running.isEmpty } }
}
