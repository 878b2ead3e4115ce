import MeshModel
import NIOCore
import Synchronization

/// Wakes the control plane when its next deadline comes; never more than one timer.
final class DeadlineAlarm: Sendable {
    private let eventLoop: any EventLoop
    private let ring: @Sendable () -> Void
    private let state = Mutex<(deadline: Instant?, timer: Scheduled<Void>?)>((nil, nil))

    init(eventLoop: any EventLoop, ring: @escaping @Sendable () -> Void) {
        self.eventLoop = eventLoop
        self.ring = ring
    }

    func set(_ deadline: Instant?, now: Instant) {
        state.withLock { state in
            guard let deadline else {
                state.timer?.cancel()
                state = (nil, nil)
                return
            }
            // A timer that rings too early costs one look; moving it for every event costs a system call each.
            if let armed = state.deadline, state.timer != nil, armed <= deadline { return }
            state.timer?.cancel()
            state.deadline = deadline
            let wait = min(max(Limits.alarmShortestMs, deadline.milliseconds(since: now) + 1), Limits.alarmLongestMs)
            state.timer = eventLoop.scheduleTask(in: .milliseconds(wait)) { [weak self] in self?.rang() }
        }
    }

    private func rang() {
        state.withLock { $0 = (nil, nil) }
        ring()
    }
}
