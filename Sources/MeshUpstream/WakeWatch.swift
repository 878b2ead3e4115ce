import MeshExchange
import MeshModel
import Synchronization

/// The requests that wait for one sleeping upstream: one of them asks it again and again, the others see that it woke.
final class WakeWatch: Sendable {
    private struct State {
        var waiting: Set<UInt64> = []
        var scout: UInt64?
        var next: UInt64 = 0
        /// How often it woke.
        var wakes = 0
    }

    /// One request that waits.
    struct Ticket: Sendable {
        fileprivate var number: UInt64
        fileprivate var wakes: Int
        fileprivate var pauseMs = Limits.upstreamWakePauseMs
    }

    private let state = Mutex(State())

    var isAsleep: Bool { state.withLock { !$0.waiting.isEmpty } }

    /// - Returns: nil when as many wait as may.
    func enter() -> Ticket? {
        state.withLock { state in
            guard state.waiting.count < Limits.upstreamHeldRequests else { return nil }
            state.next += 1
            state.waiting.insert(state.next)
            return Ticket(number: state.next, wakes: state.wakes)
        }
    }

    func leave(_ ticket: Ticket) {
        state.withLock { state in
            state.waiting.remove(ticket.number)
            if state.scout == ticket.number { state.scout = nil }
        }
    }

    /// It answered.
    func woke() { state.withLock { if !$0.waiting.isEmpty { $0.wakes += 1 } } }

    /// Waits until it is time to ask again.
    /// - Returns: false when the time is up, or the task was cancelled.
    func turn(_ ticket: inout Ticket, until end: Instant) async -> Bool {
        let started = SystemClock.instant
        while !Task.isCancelled {
            let now = SystemClock.instant
            guard now < end else { return false }
            let (isScout, wakes) = state.withLock { state in
                if state.scout == nil { state.scout = ticket.number }
                return (state.scout == ticket.number, state.wakes)
            }
            if wakes != ticket.wakes {
                ticket.wakes = wakes
                return true
            }
            if isScout, now.milliseconds(since: started) >= ticket.pauseMs {
                ticket.pauseMs = min(2 * ticket.pauseMs, Limits.upstreamWakePauseLongestMs)
                return true
            }
            try? await Task.sleep(for: .milliseconds(Limits.upstreamWakeLookMs))
        }
        return false
    }
}
