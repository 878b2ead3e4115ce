import MeshModel

/// The rhythm of a worker's `pending` frames. Workers send them at once and then at an interval of their own; one whose
/// handler has crashed sends nothing more at all, whatever it had estimated.
struct PendingBeats: Sendable {
    private var last: Instant?
    /// The longest wait between two of them so far.
    private var intervalMs: Int64 = 0

    /// Notes one.
    /// - Returns: when the request is lost if nothing at all has come by then: after twice the interval, once two have
    ///   shown it; nil after the first.
    mutating func nextExpected(now: Instant) -> Instant? {
        defer { last = now }
        guard let last else { return nil }
        intervalMs = max(intervalMs, now.milliseconds(since: last), Limits.pendingIntervalFloorMs)
        return now.advanced(byMilliseconds: 2 * intervalMs)
    }
}
