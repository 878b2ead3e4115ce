import Synchronization

/// Requests under way at all workers of one provider at this node.
final class ProviderLoad: Sendable {
    private let requests = Atomic<Int>(0)

    /// Counts one more, unless there are `limit`: two at once cannot both get the last place.
    func take(limit: Int) -> Bool {
        var known = requests.load(ordering: .relaxed)
        while known < limit {
            let (exchanged, original) = requests.weakCompareExchange(
                expected: known, desired: known + 1, ordering: .relaxed)
            if exchanged { return true }
            known = original
        }
        return false
    }

    func give() { requests.subtract(1, ordering: .relaxed) }
}
