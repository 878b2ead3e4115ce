package import MeshModel
internal import OrderedCollections

/// One provider's model at one node.
package struct CandidateKey: Hashable, Sendable {
    package var provider: RecordKey
    package var node: PublicKey
    package var model: String

    package init(provider: RecordKey, node: PublicKey, model: String) {
        self.provider = provider
        self.node = node
        self.model = model
    }
}

/// Who is passed over for a while, because it failed several times in a row or asked for it.
package struct CandidateTroubles: Sendable {
    private struct Trouble {
        var failures = 0
        /// Nil when it is not passed over.
        var until: Instant?
    }

    private let limit: Int
    private var troubles: OrderedDictionary<CandidateKey, Trouble> = [:]
    /// When the first one is back.
    private var soonest: Instant?

    package init(limit: Int = Limits.policyTroubles) { self.limit = limit }

    package var count: Int { troubles.count }

    /// - Returns: whether it is to be passed over from now on, until `returned` names it or it answers.
    package mutating func failed(_ key: CandidateKey, _ fault: Fault, now: Instant) -> Bool {
        var trouble = troubles[key] ?? Trouble()
        var restMs: Int64 = 0
        switch fault.consequence.penalty {
        case .none, .full: return false
        case .count:
            trouble.failures += 1
            if trouble.failures >= Limits.policyFailures {
                let doublings = Int64(min(trouble.failures - Limits.policyFailures, 4))
                restMs = min(Limits.policyRestMs << doublings, Limits.policyRestLongestMs)
            }
        case .rest(let seconds): restMs = min(Int64(seconds ?? 1) * 1_000, Limits.policyRestLongestMs)
        case .down: restMs = Limits.policyRestLongestMs
        }
        guard troubles[key] != nil || makeRoom() else { return false }
        if restMs > 0 {
            let until = now.advanced(byMilliseconds: restMs)
            trouble.until = max(trouble.until ?? until, until)
            soonest = min(soonest ?? until, until)
        }
        troubles[key] = trouble
        return restMs > 0
    }

    package mutating func answered(_ key: CandidateKey) { troubles.removeValue(forKey: key) }

    /// Those whose time is over. What they have failed before counts until they answer.
    package mutating func returned(now: Instant) -> [CandidateKey] {
        guard let due = soonest, due <= now else { return [] }
        let back = troubles.filter { $0.value.until.map { $0 <= now } ?? false }
        for (key, trouble) in back {
            if trouble.failures == 0 { troubles.removeValue(forKey: key) } else { troubles[key]?.until = nil }
        }
        soonest = troubles.values.compactMap(\.until).min()
        return Array(back.keys)
    }

    /// Who is passed over is not forgotten: nobody would call it back.
    private mutating func makeRoom() -> Bool {
        if troubles.count >= limit { troubles.removeAll { $0.value.until == nil } }
        return troubles.count < limit
    }
}
