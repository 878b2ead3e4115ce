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
        /// Until when it is left alone, because it said so.
        var toldUntil: Instant?
        /// When its key was refused.
        var refusedAt: Instant?
        /// When it was asked all the same.
        var askedEarly: Instant?
        /// Whether it was out of reach in all of them.
        var wasOnlyLost = true
        /// Nil when it is not passed over.
        var until: Instant?

        /// From when on it may be asked although it is passed over, when nobody else is left.
        var early: Instant {
            let pause = refusedAt == nil ? Limits.poolEarlyAskMs : Limits.refusedKeyTrialMs
            let last = [askedEarly, refusedAt].compactMap(\.self).max()
            let due = last?.advanced(byMilliseconds: pause) ?? Instant(nanoseconds: .min)
            return toldUntil.map { max($0, due) } ?? due
        }
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
            trouble.wasOnlyLost = trouble.wasOnlyLost && fault == .transport
            if trouble.failures >= Limits.policyFailures {
                let doublings = Int64(min(trouble.failures - Limits.policyFailures, 4))
                restMs = min(Limits.policyRestMs << doublings, Limits.policyRestLongestMs)
            }
        case .rest, .down:
            restMs = fault.restMs ?? Limits.policyRestMs
            trouble.wasOnlyLost = false
        }
        guard troubles[key] != nil || makeRoom() else { return false }
        if restMs > 0 {
            let until = now.advanced(byMilliseconds: restMs)
            if fault.consequence.penalty == .down {
                trouble.refusedAt = now
            } else if fault.restMs != nil {
                trouble.toldUntil = max(trouble.toldUntil ?? until, until)
            }
            trouble.until = max(trouble.until ?? until, until)
            soonest = min(soonest ?? until, until)
        }
        troubles[key] = trouble
        return restMs > 0
    }

    package mutating func answered(_ key: CandidateKey) { troubles.removeValue(forKey: key) }

    /// Those that are passed over.
    package var passedOver: [CandidateKey] { troubles.filter { $0.value.until != nil }.map(\.key) }

    /// Those of whom it is held that they were out of reach, and nothing else.
    package var lost: [CandidateKey] { troubles.filter { $0.value.wasOnlyLost }.map(\.key) }

    /// Those that may be asked although they are passed over, when nobody else is left: not by their own word, not just
    /// after somebody else was, and for a refused key once in a longer while.
    package func mayBeAskedEarly(now: Instant) -> [CandidateKey] {
        troubles.filter { $0.value.until != nil && $0.value.early <= now }.map(\.key)
    }

    /// When the first of these may be asked, because its rest is over or because nobody else is left; nil where none of them
    /// rests.
    package func soonest(_ keys: [CandidateKey]) -> Instant? {
        keys.compactMap { key in
            guard let trouble = troubles[key], let until = trouble.until else { return nil }
            return min(until, trouble.early)
        }.min()
    }

    /// Of those the one that was not asked for the longest time, of several the first of `keys`, behind them one whose key
    /// was refused; nil where there is none.
    package mutating func askEarly(_ keys: [CandidateKey], now: Instant) -> CandidateKey? {
        let may = mayBeAskedEarly(now: now)
        let never = Instant(nanoseconds: .min)
        var best: (key: CandidateKey, isRefused: Bool, asked: Instant)?
        for key in keys where may.contains(key) {
            let (isRefused, asked) = (troubles[key]?.refusedAt != nil, troubles[key]?.askedEarly ?? never)
            let isBetter = best.map { isRefused == $0.isRefused ? asked < $0.asked : $0.isRefused }
            if isBetter ?? true { best = (key, isRefused, asked) }
        }
        if let best { troubles[best.key]?.askedEarly = now }
        return best?.key
    }

    /// It was gone and is back: chosen from again, and the next failure has it passed over again.
    package mutating func cameBack(_ key: CandidateKey) {
        guard let trouble = troubles[key], trouble.wasOnlyLost else { return }
        troubles[key]?.until = nil
        troubles[key]?.failures = min(trouble.failures, Limits.policyFailures - 1)
        soonest = troubles.values.compactMap(\.until).min()
    }

    /// Those whose time is over. What they have failed before counts until they answer.
    package mutating func returned(now: Instant) -> [CandidateKey] {
        guard let due = soonest, due <= now else { return [] }
        let back = troubles.filter { $0.value.until.map { $0 <= now } ?? false }
        for (key, trouble) in back {
            guard trouble.failures > 0 else {
                troubles.removeValue(forKey: key)
                continue
            }
            troubles[key]?.until = nil
            troubles[key]?.refusedAt = nil
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
