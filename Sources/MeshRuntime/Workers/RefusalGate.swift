import MeshModel
import Synchronization

/// Counts refused attach attempts per caller, so that whoever guesses or retries without pause is turned away
/// before any key is derived. Admitted workers never get here.
final class RefusalGate: Sendable {
    private struct Window {
        var since: Instant
        var refusals: Int
    }

    private let windows = Mutex<[String: Window]>([:])

    /// Whether the caller has used up its refusals for this minute.
    func isClosed(_ caller: String, now: Instant) -> Bool {
        windows.withLock { windows in
            guard let window = windows[caller], now.milliseconds(since: window.since) < 60_000 else { return false }
            return window.refusals >= Limits.workerRefusalsPerMinute
        }
    }

    func refused(_ caller: String, now: Instant) {
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
}
