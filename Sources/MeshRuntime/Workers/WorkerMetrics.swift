import MeshSessions
import Metrics

/// Counters of the worker side. Labels come from closed lists only.
package struct WorkerMetrics: Sendable {
    private let live: Gauge
    private let bad: Counter
    private let unmatched: Counter
    private let closes: [CloseReason: Counter]
    private let refusals: Counter

    package init() {
        live = Gauge(label: "aisbf_worker_sessions")
        bad = Counter(label: "aisbf_worker_bad_frames_total")
        unmatched = Counter(label: "aisbf_worker_unmatched_replies_total")
        refusals = Counter(label: "aisbf_worker_refused_total")
        closes = Dictionary(
            uniqueKeysWithValues: CloseReason.allCases.map {
                let label = String(describing: $0)
                return ($0, Counter(label: "aisbf_worker_closed_total", dimensions: [("reason", label)]))
            })
    }

    func sessions(_ count: Int) { live.record(Int64(count)) }
    func badFrame() { bad.increment() }
    func unmatchedReply() { unmatched.increment() }
    func closed(_ reason: CloseReason) { closes[reason]?.increment() }
    package func refused() { refusals.increment() }
}
