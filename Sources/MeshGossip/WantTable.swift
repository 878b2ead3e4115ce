internal import MeshModel
internal import MeshWire

/// Records that were announced and did not come yet. Who announced one is asked for it after a moment, the next
/// one when he does not answer.
struct WantTable: Sendable {
    private struct Want: Sendable {
        var version: RecordVersion
        let first: LinkID
        var sources: [LinkID]
        var due: Instant
    }

    private var wants: [RecordKey: Want] = [:]
    /// Wants by the link that announced them first: one peer may not fill the table with names of nothing.
    private var counts: [LinkID: Int] = [:]
    private var queue = DeadlineQueue<RecordKey>()

    var nextDeadline: Instant? { queue.nextDeadline }
    var count: Int { wants.count }

    mutating func announced(_ summary: RecordSummary, by link: LinkID, due: Instant) {
        if var want = wants[summary.key] {
            want.version = max(want.version, summary.version)
            if want.sources.count < Limits.gossipWantSources, !want.sources.contains(link) {
                want.sources.append(link)
            }
            wants[summary.key] = want
            return
        }
        // The queue keeps entries of wants that were satisfied meanwhile until they are due.
        guard wants.count < Limits.gossipWants, queue.count < 2 * Limits.gossipWants,
            counts[link, default: 0] < Limits.gossipWantsPerLink
        else { return }
        wants[summary.key] = Want(version: summary.version, first: link, sources: [link], due: due)
        counts[link, default: 0] += 1
        queue.insert(summary.key, at: due)
    }

    mutating func satisfied(_ key: RecordKey, version: RecordVersion) {
        if let want = wants[key], want.version <= version { forget(key) }
    }

    private mutating func forget(_ key: RecordKey) {
        guard let want = wants.removeValue(forKey: key) else { return }
        let left = counts[want.first, default: 0] - 1
        counts[want.first] = left > 0 ? left : nil
    }

    /// What has to be asked for now, and of whom.
    mutating func popDue(_ now: Instant, retry: Instant, isUp: (LinkID) -> Bool) -> [(link: LinkID, key: RecordKey)] {
        var questions: [(link: LinkID, key: RecordKey)] = []
        while let (key, deadline) = queue.popDue(now) {
            guard var want = wants[key], want.due == deadline else { continue }
            while let source = want.sources.first, !isUp(source) { want.sources.removeFirst() }
            guard let source = want.sources.first else {
                forget(key)
                continue
            }
            want.sources.removeFirst()
            want.due = retry
            wants[key] = want
            queue.insert(key, at: retry)
            questions.append((source, key))
        }
        return questions
    }
}
