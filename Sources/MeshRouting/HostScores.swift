package import MeshModel

/// How other nodes served this node's requests, to choose among the hosts of a provider by what was measured here and
/// not by what they say of themselves: what a node advertises must never draw requests to it.
///
/// The cost of a host is a peak-EWMA of the time to the first content, times the requests under way there and one
/// more: a slow answer counts at once and whole, quick ones make up for it over time, and what is not asked any more
/// becomes cheap by itself, so that it is tried again. A failure doubles the cost, and counts at least as long as it
/// took. Who was never measured counts like the middle of those that were.
///
/// Times are whole microseconds; the clock and the turn are arguments.
package struct HostScores: Sendable {
    /// One provider's workers at one node.
    package struct Host: Hashable, Sendable {
        package var node: PublicKey
        package var provider: RecordKey

        package init(node: PublicKey, provider: RecordKey) {
            self.node = node
            self.provider = provider
        }
    }

    private struct Score {
        var underWay: Int64 = 0
        /// Nil before the first measurement.
        var peakUs: Int64?
        var measured = Instant(nanoseconds: 0)
    }

    private let limit: Int
    private var scores = DenseTable<Host, Score>()

    /// In this time half of what was measured is forgotten.
    private static let halfLifeUs: Int64 = 20_000_000
    private static let longestUs: Int64 = 60_000_000

    package init(limit: Int = Limits.hostScores) { self.limit = limit }

    package var count: Int { scores.count }

    // MARK: What happened

    package mutating func began(_ host: Host) {
        if !scores.contains(host), scores.count >= limit { forgetIdle() }
        scores.update(host, from: Score()) { $0.underWay += 1 }
    }

    /// The first content came.
    package mutating func answered(_ host: Host, afterMs: Int64, now: Instant) {
        measure(host, now) { _ in Self.microseconds(afterMs) }
    }

    package mutating func failed(_ host: Host, afterMs: Int64, now: Instant) {
        measure(host, now) { known in
            let usual = known.map { 2 * $0 } ?? Self.microseconds(Limits.failedRequestCostMs)
            return max(Self.microseconds(afterMs), usual)
        }
    }

    /// Follows every `began` once, however it went.
    package mutating func ended(_ host: Host) { scores.update(host) { $0.underWay = max($0.underWay - 1, 0) } }

    private mutating func measure(_ host: Host, _ now: Instant, _ sample: (_ known: Int64?) -> Int64) {
        scores.update(host) { score in
            let known = score.peakUs.map { Self.decayed($0, since: score.measured, now: now) }
            let sample = min(sample(score.peakUs), Self.longestUs)
            // A better answer takes the place of as much as has been forgotten meanwhile.
            let kept = Self.decayed(sample, since: score.measured, now: now)
            score.peakUs = known.map { max(sample, $0 + sample - kept) } ?? sample
            score.measured = now
        }
    }

    /// A full table lets go of all that nothing is under way at: what is lost is learned again.
    private mutating func forgetIdle() {
        var kept = DenseTable<Host, Score>()
        for (host, score) in zip(scores.keys, scores.values) where score.underWay > 0 { kept.set(score, for: host) }
        scores = kept.count < limit ? kept : DenseTable()
    }

    // MARK: Choosing

    /// Places of up to `limit` of `hosts`, in the order in which to try them. Each time the better of two drawn ones:
    /// with many entry nodes choosing at once, the best one would be run over.
    /// - Parameter turn: another one for every request; it is all the randomness there is.
    package func order(_ hosts: [Host], limit: Int, turn: UInt64, now: Instant) -> [Int] {
        let costs = costs(hosts, now: now)
        var random = SeededGenerator(seed: turn)
        var rest = Array(hosts.indices)
        var chosen: [Int] = []
        while chosen.count < limit, !rest.isEmpty {
            var place = Int(random.next() % UInt64(rest.count))
            if rest.count > 1 {
                let other = (place + 1 + Int(random.next() % UInt64(rest.count - 1))) % rest.count
                if costs[rest[other]] < costs[rest[place]] { place = other }
            }
            chosen.append(rest.remove(at: place))
        }
        return chosen
    }

    private func costs(_ hosts: [Host], now: Instant) -> [Int64] {
        let known = hosts.map { host -> Int64? in
            guard let score = scores[host], let peak = score.peakUs else { return nil }
            return max(Self.decayed(peak, since: score.measured, now: now), 1_000)
        }
        let measured = known.compactMap(\.self).sorted()
        let middle = measured.isEmpty ? 1_000_000 : measured[(measured.count - 1) / 2]
        return zip(hosts, known).map { host, cost in
            (cost ?? middle).multipliedReportingOverflow(by: (scores[host]?.underWay ?? 0) + 1).partialValue
        }
    }

    /// `order` with the first host of each operator in front: whoever runs many nodes has one of the first attempts.
    /// - Parameter runs: the operator of a host, or what stands for one that told none.
    package static func spread(_ order: [Int], runs: (Int) -> PublicKey) -> [Int] {
        var seen: [PublicKey] = []
        var first: [Int] = []
        var rest: [Int] = []
        for place in order {
            let key = runs(place)
            if seen.contains(key) {
                rest.append(place)
            } else {
                seen.append(key)
                first.append(place)
            }
        }
        return first + rest
    }

    // MARK: Arithmetic

    private static func microseconds(_ milliseconds: Int64) -> Int64 {
        min(max(milliseconds, 0), longestUs / 1_000) * 1_000
    }

    /// `value` halved for every half-life that has passed, and in between on the straight line.
    private static func decayed(_ value: Int64, since: Instant, now: Instant) -> Int64 {
        let passedUs = max(now.nanoseconds &- since.nanoseconds, 0) / 1_000
        guard passedUs < 40 * halfLifeUs else { return 0 }
        let halved = value >> (passedUs / halfLifeUs)
        // At most 2^26 times 2^25.
        return halved - halved * (passedUs % halfLifeUs) / (2 * halfLifeUs)
    }
}
