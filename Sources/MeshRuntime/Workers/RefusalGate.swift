package import MeshModel
import Synchronization

/// Counts refused attach attempts per caller, so that whoever guesses or retries without pause is turned away
/// before any key is derived. Admitted workers never get here.
package final class RefusalGate: Sendable {
    private struct Window {
        var since: Instant
        var refusals: Int
    }

    private let windows = Mutex<[String: Window]>([:])

    package init() {}

    /// Whether the caller has used up its refusals for this minute.
    package func isClosed(_ caller: String, limit: Int = Limits.workerRefusalsPerMinute, now: Instant) -> Bool {
        windows.withLock { windows in
            guard let window = windows[caller], now.milliseconds(since: window.since) < 60_000 else { return false }
            return window.refusals >= limit
        }
    }

    package func refused(_ caller: String, now: Instant) {
        windows.withLock { windows in
            if var window = windows[caller], now.milliseconds(since: window.since) < 60_000 {
                window.refusals += 1
                windows[caller] = window
                return
            }
            // A table full of guessers starts over: what it protects is work, not a secret.
            if windows.count >= Limits.workerRefusedCallers { windows = [:] }
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
