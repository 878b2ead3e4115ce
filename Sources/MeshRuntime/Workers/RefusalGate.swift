package import MeshModel
import Synchronization

/// Counts what was refused, per caller, so that whoever guesses without pause is told to wait and costs no more work
/// than that. It stands behind the proof, never in front of it: a good key or token passes whatever its neighbours did.
package final class RefusalGate: Sendable {
    private struct Window {
        var since: Instant
        var refusals: Int
    }

    private let windows = Mutex<[String: Window]>([:])

    package init() {}

    /// Nil while the caller has refusals left; else the whole seconds until it has some again.
    package func secondsClosed(_ caller: String, limit: Int, now: Instant) -> Int? {
        windows.withLock { windows in
            guard let window = windows[caller], window.refusals >= limit else { return nil }
            let left = Limits.refusalWindowMs - now.milliseconds(since: window.since)
            return left > 0 ? Int((left + 999) / 1_000) : nil
        }
    }

    package func isClosed(_ caller: String, limit: Int = Limits.workerRefusalsPerMinute, now: Instant) -> Bool {
        secondsClosed(caller, limit: limit, now: now) != nil
    }

    package func refused(_ caller: String, now: Instant) {
        windows.withLock { windows in
            if var window = windows[caller], now.milliseconds(since: window.since) < Limits.refusalWindowMs {
                window.refusals += 1
                windows[caller] = window
                return
            }
            // A table full of guessers starts over: what it protects is work, not a secret.
            if windows.count >= Limits.refusedCallers { windows = [:] }
            windows[caller] = Window(since: now, refusals: 1)
        }
    }

    /// Takes back one refusal that was counted in advance, because the attempt was admitted after all.
    package func forgive(_ caller: String) {
        windows.withLock { windows in
            guard let window = windows[caller] else { return }
            windows[caller] = window.refusals > 1 ? Window(since: window.since, refusals: window.refusals - 1) : nil
        }
    }
}
