package import Logging
import MeshExchange
import MeshModel
import Metrics
import Synchronization

/// What the operator is told of one upstream's failures: lines with everything that helps, which no buyer sees, and
/// counters.
package final class UpstreamReport: Sendable {
    private struct State {
        var minute: Instant?
        var lines = 0
        var alarmed: Instant?
    }

    private let logger: Logger
    private let metrics: UpstreamMetrics
    private let state = Mutex(State())

    /// - Parameter logger: with the provider's name and the upstream's address in its metadata.
    package init(logger: Logger, metrics: UpstreamMetrics) {
        self.logger = logger
        self.metrics = metrics
    }

    /// No answer came, or none that a buyer may have.
    func failed(_ failure: BackendFailure, path: String?) {
        let reason = UpstreamMetrics.Failure(failure)
        metrics.failed(reason)
        let metadata: Logger.Metadata = [
            "error.code": "\(failure.code)", "reason": "\(failure.detail)",
            "request.path": "\(path ?? "/v1/chat/completions")",
        ]
        guard reason == .refused else {
            if hasLine() { logger.warning("request failed at the upstream", metadata: metadata) }
            return
        }
        // Nothing mends it but the operator.
        guard isAlarmDue() else { return }
        logger.error(
            "the upstream refuses this provider's key or account: its requests fail until that is mended",
            metadata: metadata)
    }

    /// An error status that the buyer gets.
    func answered(status: Int, words: String) {
        metrics.failed(.status)
        guard hasLine() else { return }
        logger.warning(
            "the upstream answered with an error",
            metadata: ["response.status": "\(status)", "reason": "\(words)"])
    }

    private func hasLine() -> Bool {
        let now = SystemClock.instant
        return state.withLock { state in
            if state.minute.map({ now.milliseconds(since: $0) >= 60_000 }) ?? true {
                state.minute = now
                state.lines = 0
            }
            state.lines += 1
            return state.lines <= Limits.upstreamFailureLinesPerMinute
        }
    }

    private func isAlarmDue() -> Bool {
        let now = SystemClock.instant
        return state.withLock { state in
            if let last = state.alarmed, now.milliseconds(since: last) < Limits.upstreamAlarmMs { return false }
            state.alarmed = now
            return true
        }
    }
}

/// Counters of the upstreams. Labels come from a closed list only.
package struct UpstreamMetrics: Sendable {
    enum Failure: String, CaseIterable, Sendable {
        case unreachable, closed, timeout, redirect
        /// It refuses the key or the account it is asked with.
        case refused
        /// What came is no answer.
        case unreadable
        /// An error status.
        case status

        init(_ failure: BackendFailure) {
            switch failure.code {
            case "backend_unreachable": self = .unreachable
            case "backend_closed": self = .closed
            case "backend_timeout": self = .timeout
            case "backend_redirect": self = .redirect
            case "backend_refused": self = .refused
            default: self = .unreadable
            }
        }
    }

    private let failures: [Failure: Counter]

    package init() {
        failures = Dictionary(
            uniqueKeysWithValues: Failure.allCases.map {
                ($0, Counter(label: "aisbf_upstream_failures_total", dimensions: [("reason", $0.rawValue)]))
            })
    }

    func failed(_ reason: Failure) { failures[reason]?.increment() }
}
