import Synchronization

/// How many requests of one kind are under way. Rings whenever the last has ended, for whoever waits until there are
/// none.
package final class RequestCount: Sendable {
    private let count = Atomic<Int>(0)
    private let idle: ChangeBell

    package init(idle: ChangeBell = ChangeBell()) { self.idle = idle }

    package var current: Int { count.load(ordering: .relaxed) }

    package func began() { count.add(1, ordering: .relaxed) }

    package func ended() {
        if count.subtract(1, ordering: .relaxed).newValue == 0 { idle.ring() }
    }
}
