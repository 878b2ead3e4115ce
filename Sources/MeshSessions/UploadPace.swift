package import MeshModel

/// How fast an upload comes that somebody has room for.
package struct UploadPace: Sendable {
    package init() {}

    /// Asked of the source, and not arrived.
    private var awaited = 0
    private var arrived = 0
    /// What had arrived when the pace was last looked at.
    private var mark: (at: Instant, arrived: Int)?

    /// Whether there is room for bytes that do not come.
    package var isAwaited: Bool { awaited > 0 }

    package mutating func asked(_ bytes: Int) { awaited += bytes }

    package mutating func arrived(_ bytes: Int) {
        awaited = max(awaited - bytes, 0)
        arrived += bytes
    }

    /// The last byte has come.
    package mutating func ended() { awaited = 0 }

    /// Whether so little has come in the last minute that the request is not worth the place it holds. Asked twice a
    /// second; a source that was not asked for anything is not slow.
    package mutating func isStalled(now: Instant) -> Bool {
        guard let mark, isAwaited else {
            self.mark = (now, arrived)
            return false
        }
        guard now.milliseconds(since: mark.at) >= Limits.uploadPaceMs else { return false }
        self.mark = (now, arrived)
        return arrived - mark.arrived < Limits.uploadPaceBytes
    }
}
