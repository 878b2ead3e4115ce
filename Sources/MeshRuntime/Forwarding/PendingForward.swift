import MeshExchange
import Synchronization

/// A forward whose link is being made, or that leaves with others: keeps what the asker wants meanwhile.
final class PendingForward: AttemptHandle {
    private enum Phase {
        case waiting(isPaused: Bool)
        case begun(any AttemptHandle)
        case cancelled
    }

    private let phase = Mutex(Phase.waiting(isPaused: false))

    /// Not begun and not given up.
    var isWanted: Bool { phase.withLock { if case .waiting = $0 { true } else { false } } }

    /// The link is there, or there is none: `body` begins the attempt or fails it. Not called for one that was given up.
    func begin(_ body: () -> any AttemptHandle) {
        guard isWanted else { return }
        let handle = body()
        let before = phase.withLock { phase in
            defer { if case .waiting = phase { phase = .begun(handle) } }
            return phase
        }
        switch before {
        case .waiting(isPaused: true): handle.pause()
        case .waiting(isPaused: false), .begun: break
        case .cancelled: handle.cancel()
        }
    }

    func cancel() { change { _ in .cancelled }?.cancel() }
    func pause() { change { _ in .waiting(isPaused: true) }?.pause() }
    func resume() { change { _ in .waiting(isPaused: false) }?.resume() }
    func consumed(_ count: Int) { begun?.consumed(count) }

    private var begun: (any AttemptHandle)? {
        phase.withLock { if case .begun(let handle) = $0 { handle } else { nil } }
    }

    /// - Returns: the attempt, when it has begun: then it is steered itself.
    private func change(_ next: (Bool) -> Phase) -> (any AttemptHandle)? {
        phase.withLock { phase in
            switch phase {
            case .begun(let handle): return handle
            case .waiting(let isPaused): phase = next(isPaused)
            case .cancelled: break
            }
            return nil
        }
    }
}
