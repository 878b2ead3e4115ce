import MeshExchange
import MeshModel
import MeshRouting
import NIOCore
import Synchronization

/// The requests of this node's buyers that wait for somebody to come back: for workers that have just left, for whom a policy
/// may choose and who rests. The shell of `WaitingLine`.
package final class Holds: Sendable {
    private struct State {
        var line = WaitingLine()
        var wakes: [WaitingLine.Ticket: @Sendable () -> Void] = [:]
    }

    /// How long one request waits in all; 0: none does.
    let patienceMs: Int64
    private let state = Mutex(State())
    /// For a look without a lock, by every request.
    private let count = Atomic<Int>(0)

    package init(patienceMs: Int64) { self.patienceMs = patienceMs }

    /// Whether somebody waits for that name. Nearly always nobody waits at all.
    func isWaitedFor(_ name: () -> String) -> Bool {
        guard count.load(ordering: .relaxed) > 0 else { return false }
        let name = name()
        return state.withLock { $0.line.waiting(for: name) > 0 }
    }

    fileprivate func join(_ name: String) -> (ticket: WaitingLine.Ticket, position: Int)? {
        state.withLock { state in
            guard let ticket = state.line.join(name) else { return nil }
            count.store(state.line.count, ordering: .relaxed)
            return (ticket, state.line.position(ticket) ?? 1)
        }
    }

    fileprivate func wake(_ ticket: WaitingLine.Ticket, by wake: @escaping @Sendable () -> Void) {
        state.withLock { $0.wakes[ticket] = wake }
    }

    fileprivate func leave(_ ticket: WaitingLine.Ticket) {
        state.withLock { state in
            state.line.leave(ticket)
            state.wakes[ticket] = nil
            count.store(state.line.count, ordering: .relaxed)
        }
    }

    /// Has everybody look again, in their order, when it is time.
    fileprivate func round() {
        let wakes = state.withLock { state in
            state.line.round(now: SystemClock.instant).compactMap { state.wakes[$0] }
        }
        for wake in wakes { wake() }
    }
}

/// One request's waiting. Lives on its exchange's event loop.
final class Hold: Sendable {
    private struct State {
        var ticket: WaitingLine.Ticket?
        var since: Instant?
        var wait: QueueWait?
        var isOver = false
    }

    private let holds: Holds
    private let eventLoop: any EventLoop
    private let state: NIOLoopBoundBox<State>

    init(_ holds: Holds, eventLoop: any EventLoop) {
        self.holds = holds
        self.eventLoop = eventLoop
        state = NIOLoopBoundBox(State(), eventLoop: eventLoop)
    }

    /// Whether it waits now.
    var isWaiting: Bool { state.value.ticket != nil }

    /// Until when it waits, or would.
    var deadline: Instant {
        (state.value.since ?? SystemClock.instant).advanced(byMilliseconds: holds.patienceMs)
    }

    /// How it has waited so far; nil where it has not.
    var wait: QueueWait? {
        guard var wait = state.value.wait else { return nil }
        if isWaiting, let since = state.value.since {
            wait.milliseconds = SystemClock.instant.milliseconds(since: since)
        }
        return wait
    }

    /// Waits for a moment to look again.
    /// - Parameter look: called on the event loop, again and again until `leave`.
    /// - Returns: false when it has waited long enough, or as many wait as may.
    func wait(for name: String, look: @escaping @Sendable () -> Void) -> Bool {
        guard !state.value.isOver, SystemClock.instant < deadline else { return false }
        if isWaiting { return true }
        guard let joined = holds.join(name) else { return false }
        state.value.ticket = joined.ticket
        state.value.since = state.value.since ?? SystemClock.instant
        state.value.wait = QueueWait(position: joined.position, milliseconds: 0)
        let eventLoop = eventLoop
        holds.wake(joined.ticket) { eventLoop.execute(look) }
        tick()
        return true
    }

    private func tick() {
        eventLoop.scheduleTask(in: .milliseconds(Limits.poolLookMs)) { [weak self] in
            guard let self, isWaiting else { return }
            holds.round()
            tick()
        }
    }

    /// It has somebody, or nobody is there for it.
    func leave() {
        let wait = wait
        guard let ticket = state.value.ticket else { return }
        state.value.ticket = nil
        state.value.wait = wait
        holds.leave(ticket)
    }

    /// Its reader is gone.
    func end() {
        leave()
        state.value.isOver = true
    }
}
