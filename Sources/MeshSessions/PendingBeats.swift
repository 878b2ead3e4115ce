import MeshModel

/// The rhythm of a worker's `pending` frames. Workers send them at once and then at an interval of their own; one whose
/// handler has crashed sends nothing more at all, whatever it had estimated. Workers that never send one are not
/// measured by this.
struct PendingBeats: Sendable {
    private var last: Instant?
    /// The longest wait between two of them so far; until two have shown it, that of released clients.
    private var intervalMs = Limits.pendingIntervalFloorMs
    /// When the request is lost if nothing at all has come by then; nil before the first `pending`.
    private(set) var due: Instant?

    /// Notes a `pending`.
    mutating func beat(now: Instant) {
        if let last { intervalMs = max(intervalMs, now.milliseconds(since: last)) }
        last = now
        seen(now: now)
    }

    /// Notes any other sign of the worker's handler: part of an answer shows as well that it lives.
    mutating func seen(now: Instant) {
        if last != nil { due = now.advanced(byMilliseconds: 2 * intervalMs) }
    }
}
