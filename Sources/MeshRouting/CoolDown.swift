package import MeshModel

/// When a worker that refused a request without doing anything is asked again: after a moment that doubles with every
/// refusal in a row. Until then its siblings come first; where there are none, it is asked all the same.
package struct CoolDown: Hashable, Sendable {
    private var refusals = 0
    /// Nil when it does not rest.
    package private(set) var until: Instant?

    package init() {}

    /// - Parameter retryAfterSeconds: when it said itself that it may be asked again.
    package mutating func refused(retryAfterSeconds: Int? = nil, now: Instant) {
        let doubled = Limits.workerRestMs << Int64(min(refusals, 16))
        let asked = Int64(clamping: retryAfterSeconds ?? 0).multipliedReportingOverflow(by: 1_000)
        let pause = max(doubled, asked.overflow ? .max : asked.partialValue)
        refusals += 1
        until = now.advanced(byMilliseconds: min(pause, Limits.workerRestLongestMs))
    }

    package mutating func answered() { self = CoolDown() }

    package func isResting(now: Instant) -> Bool { until.map { now < $0 } ?? false }
}
