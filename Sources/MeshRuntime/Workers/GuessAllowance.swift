package import MeshModel
import Synchronization

/// How many guesses that cost work each caller has: some at once, and one more every second. One that never runs out
/// for good, so that whoever guesses without pause delays a neighbour with a good token and does not keep it out.
package final class GuessAllowance: Sendable {
    private let callers = Mutex<[String: AdmissionRate]>([:])

    package init() {}

    /// Whether this guess may be looked at.
    package func take(_ caller: String, now: Instant) -> Bool {
        callers.withLock { callers in
            // Starts over when it is full: what it protects is work, and the work has bounds of its own.
            if callers[caller] == nil, callers.count >= Limits.refusedCallers { callers = [:] }
            let fresh = AdmissionRate(perSecond: 1, burst: Limits.importedTokenGuesses, now: now)
            return callers[caller, default: fresh].take(now: now) == nil
        }
    }

    /// The guess was right.
    package func giveBack(_ caller: String) { callers.withLock { $0[caller]?.giveBack() } }
}
