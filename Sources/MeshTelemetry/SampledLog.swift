package import Logging
package import MeshModel
import Synchronization

/// A log that a flood of events cannot flood: so many lines a second and no more, and then one that says how many were
/// left out, by kind. Takes the time as an argument.
package final class SampledLog: Sendable {
    private struct State {
        /// In thousandths of a line.
        var tokens: Int64
        var filledAt: Instant
        var leftOut: [String: Int] = [:]
    }

    private let logger: Logger
    private let what: String
    private let perSecond: Int64
    private let burst: Int64
    private let state: Mutex<State>

    /// - Parameter what: what the lines are about, for the line about those left out.
    package init(_ logger: Logger, what: String, perSecond: Int, burst: Int, now: Instant) {
        self.logger = logger
        self.what = what
        self.perSecond = Int64(perSecond)
        self.burst = Int64(burst) * 1_000
        state = Mutex(State(tokens: Int64(burst) * 1_000, filledAt: now))
    }

    /// Writes a line, or counts it as left out.
    /// - Parameter kind: one of a closed list, such as an error code.
    package func write(
        _ level: Logger.Level, _ message: @autoclosure () -> Logger.Message, kind: String, now: Instant,
        metadata: @autoclosure () -> Logger.Metadata
    ) {
        guard level >= logger.logLevel else { return }
        let isTaken = state.withLock { state in
            let passed = max(0, now.milliseconds(since: state.filledAt))
            if passed > 0 {
                // A pause of any length fills the bucket, and no sum overflows.
                state.tokens = passed >= 3_600_000 ? burst : min(burst, state.tokens + passed * perSecond)
                state.filledAt = now
            }
            guard state.tokens >= 1_000 else {
                state.leftOut[kind, default: 0] += 1
                return false
            }
            state.tokens -= 1_000
            return true
        }
        if isTaken { logger.log(level: level, message(), metadata: metadata()) }
    }

    /// Says what was left out since the last call, if anything was. Call it about every second.
    package func flush() {
        let leftOut = state.withLock { state in
            defer { state.leftOut = [:] }
            return state.leftOut
        }
        guard !leftOut.isEmpty else { return }
        let kinds = leftOut.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: " ")
        logger.notice(
            "\(what): more than the log takes",
            metadata: ["log.left_out": "\(leftOut.values.reduce(0, +))", "log.kinds": "\(kinds)"])
    }
}
