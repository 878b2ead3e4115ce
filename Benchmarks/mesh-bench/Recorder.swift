import Histogram
import Synchronization

/// What the connections of one load saw. All of them write from one event loop, so the lock is never contended.
final class Recorder: Sendable {
    struct Totals {
        var latency = Histogram<UInt64>(highestTrackableValue: 60_000_000_000, numberOfSignificantValueDigits: .three)
        var firstChunk = Histogram<UInt64>(
            highestTrackableValue: 60_000_000_000, numberOfSignificantValueDigits: .three)
        /// From a chunk's writing at the source to its arrival here.
        var chunkDelay = Histogram<UInt64>(
            highestTrackableValue: 60_000_000_000, numberOfSignificantValueDigits: .three)
        var requests = 0
        var chunks = 0
        var lateChunks = 0
        var lostChunks = 0
        var worstDelay: UInt64 = 0
        var finished = 0
        var errors = 0
        var firstError: String?
    }

    private struct State {
        var totals = Totals()
        var measuring = false
        var stopped = false
    }

    private let state = Mutex(State())

    /// Starts counting afresh.
    func begin() {
        state.withLock {
            $0.totals = Totals()
            $0.measuring = true
        }
    }

    /// What was counted since `begin`.
    func end() -> Totals {
        state.withLock {
            $0.measuring = false
            return $0.totals
        }
    }

    func stop() { state.withLock { $0.stopped = true } }
    var stopped: Bool { state.withLock { $0.stopped } }
    var totals: Totals { state.withLock { $0.totals } }

    func completed(after nanoseconds: UInt64) {
        state.withLock {
            guard $0.measuring else { return }
            $0.totals.requests += 1
            $0.totals.latency.record(nanoseconds)
        }
    }

    func firstChunk(after nanoseconds: UInt64) {
        state.withLock { if $0.measuring { $0.totals.firstChunk.record(nanoseconds) } }
    }

    /// A chunk that was sent at `sent`; more than a second on its way is late.
    func chunk(sentAt sent: UInt64, now: UInt64) {
        state.withLock {
            guard $0.measuring else { return }
            let delay = now > sent ? now - sent : 0
            $0.totals.chunks += 1
            $0.totals.worstDelay = max($0.totals.worstDelay, delay)
            $0.totals.chunkDelay.record(delay)
            if delay > 1_000_000_000 { $0.totals.lateChunks += 1 }
        }
    }

    func streamEnded(lost: Int) {
        state.withLock {
            $0.totals.finished += 1
            $0.totals.lostChunks += max(lost, 0)
        }
    }

    func failed(_ reason: String) {
        state.withLock {
            $0.totals.errors += 1
            if $0.totals.firstError == nil { $0.totals.firstError = reason }
        }
    }
}
