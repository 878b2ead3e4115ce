import MeshModel

/// When to dial again. Jittered and doubling from 1 s to 60 s; the first retry comes within a second, and while nobody
/// listens at all (the node restarts) the wait stays at or below 5 s for the first five minutes, because such an
/// attempt costs nobody anything. A refusal starts slower. A broker that names a time is tried then, not all workers in
/// the same moment, and this counts as no failure.
package struct BackOff: Sendable {
    package enum Cause: Hashable, Sendable {
        case unreachable, lost, refused
        /// The broker is there and asks to be tried again after so many seconds.
        case busy(afterSeconds: Int64)
    }

    private static let restartMs: Int64 = 300_000
    private var failures = 0
    private var waitedMs: Int64 = 0
    private var generator: SeededGenerator

    package init(seed: UInt64) { generator = SeededGenerator(seed: seed) }

    /// - Returns: milliseconds to wait before the next attempt.
    package mutating func next(after cause: Cause, connectedMs: Int64 = 0) -> Int64 {
        if connectedMs >= Limits.workerStableMs { (failures, waitedMs) = (0, 0) }
        if case .busy(let seconds) = cause {
            let asked = min(max(seconds, 0), Limits.workerBackOffMs / 1_000) * 1_000
            return asked + Int64.random(in: 0...max(1_000, asked / 2), using: &generator)
        }
        let base: Int64 = cause == .refused ? 4_000 : 1_000
        var cap = min(base << Int64(min(failures, 6)), Limits.workerBackOffMs)
        if cause == .unreachable, waitedMs < Self.restartMs { cap = min(cap, Limits.workerRestartBackOffMs) }
        failures += 1
        let delay = cap / 2 + Int64.random(in: 0...(cap / 2), using: &generator)
        waitedMs += delay
        return delay
    }
}
