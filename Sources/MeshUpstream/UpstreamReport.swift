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
        /// Of the last request, and of the last look at the models, where they failed.
        var failure: String?
        var listing: String?
    }

    private let logger: Logger
    private let metrics: UpstreamMetrics
    private let state = Mutex(State())

    /// - Parameter logger: with the provider's name and the upstream's address in its metadata.
    package init(logger: Logger, metrics: UpstreamMetrics) {
        self.logger = logger
        self.metrics = metrics
    }

    /// What is wrong; nil while nothing is.
    var problem: String? { state.withLock { $0.failure ?? $0.listing } }

    /// A request was answered.
    func served() { state.withLock { $0.failure = nil } }

    /// The models were looked at.
    func listed(problem: String?) { state.withLock { $0.listing = problem } }

    /// A request waits for it to wake.
    func sleeps() { metrics.held() }

    /// One of the keys was refused, or has had enough for now. Whether another one was good, others tell.
    package func keyRefused(_ refusal: SellerRefusal, _ number: Int, of count: Int, _ failure: BackendFailure) {
        let metadata: Logger.Metadata = [
            "key.number": "\(number + 1)", "key.count": "\(count)", "reason": "\(failure.detail)",
        ]
        switch refusal {
        case .credentials, .billing:
            metrics.rested(.refused)
            guard count > 1, hasLine() else { return }
            logger.warning("a key of the upstream is refused and rests", metadata: metadata)
        case .limited:
            metrics.rested(.limited)
            guard count > 1, hasLine() else { return }
            logger.info("a key of the upstream has had enough for now and rests", metadata: metadata)
        case .denied: break
        }
    }

    /// No answer came, or none that a buyer may have.
    func failed(_ failure: BackendFailure, path: String?) {
        let reason = UpstreamMetrics.Failure(failure)
        metrics.failed(reason)
        state.withLock { $0.failure = failure.detail }
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
        /// It refuses what was asked for, whoever asks.
        case denied
        /// Its name, or its address, leads where this node does not connect.
        case forbidden
        /// It did not wake in time.
        case asleep
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
            case "backend_denied": self = .denied
            case "backend_forbidden": self = .forbidden
            case "backend_asleep": self = .asleep
            default: self = .unreadable
            }
        }
    }

    enum Rest: String, CaseIterable, Sendable {
        case refused, limited
    }

    private let failures: [Failure: Counter]
    private let rests: [Rest: Counter]
    private let holds = Counter(label: "aisbf_upstream_held_total")

    package init() {
        rests = Dictionary(
            uniqueKeysWithValues: Rest.allCases.map {
                ($0, Counter(label: "aisbf_upstream_key_rests_total", dimensions: [("reason", $0.rawValue)]))
            })
        failures = Dictionary(
            uniqueKeysWithValues: Failure.allCases.map {
                ($0, Counter(label: "aisbf_upstream_failures_total", dimensions: [("reason", $0.rawValue)]))
            })
    }

    func failed(_ reason: Failure) { failures[reason]?.increment() }
    func rested(_ reason: Rest) { rests[reason]?.increment() }
    func held() { holds.increment() }
}
