import MeshSessions
import Metrics

/// Counters of the worker side. Labels come from closed lists only.
package struct WorkerMetrics: Sendable {
    private let live: Gauge
    private let bad: Counter
    private let unmatched: Counter
    private let closes: [CloseReason: Counter]
    private let refusals: Counter
    private let deferrals: Counter
    private let derivations: [Derivation: Counter]

    /// What became of the work on a token that was minted elsewhere.
    package enum Derivation: String, CaseIterable, Sendable {
        case right, wrong
        /// Not done: too much was waiting.
        case full
    }

    package init() {
        live = Gauge(label: "aisbf_worker_sessions")
        bad = Counter(label: "aisbf_worker_bad_frames_total")
        unmatched = Counter(label: "aisbf_worker_unmatched_replies_total")
        refusals = Counter(label: "aisbf_worker_refused_total")
        deferrals = Counter(label: "aisbf_worker_deferred_total")
        derivations = Dictionary(
            uniqueKeysWithValues: Derivation.allCases.map {
                ($0, Counter(label: "aisbf_token_derivations_total", dimensions: [("result", $0.rawValue)]))
            })
        closes = Dictionary(
            uniqueKeysWithValues: CloseReason.allCases.map {
                ($0, Counter(label: "aisbf_worker_closed_total", dimensions: [("reason", $0.label)]))
            })
    }

    func sessions(_ count: Int) { live.record(Int64(count)) }
    func badFrame() { bad.increment() }
    func unmatchedReply() { unmatched.increment() }
    func closed(_ reason: CloseReason) { closes[reason]?.increment() }
    package func refused() { refusals.increment() }
    func deferred() { deferrals.increment() }
    func derivation(_ result: Derivation) { derivations[result]?.increment() }
}
