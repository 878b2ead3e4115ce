package import MeshModel

/// Who may use how much, and what is used of it: one machine for all subjects of a node.
///
/// A request is let in once for all of its subjects, or for none: `admit` takes what it may use at the most (a *hold*) of
/// every limit in one step, so whatever runs at once never passes a limit together. Then exactly one of `settle` and
/// `release` counts; a second one does nothing. What was held and not used comes back.
///
/// - A limit of a minute counts over any 60 seconds (`MinuteWindow`).
/// - One of a day or a month is given out in *slices* that the store has taken before (`PeriodBudget`): `wanted` says what to
///   take, `granted` and `refused` what became of it. After a crash everything that was taken counts as used.
/// - An answer may become longer than was held for it. All of it is counted; what is left is 0 then, and what runs goes on.
/// - Without a store, what costs money is refused and what is free goes on.
package struct Ledger: Sendable {
    private var accounts: [QuotaSubject: QuotaAccount] = [:]
    /// Those that have a quota, in order.
    private var order: [QuotaSubject] = []
    private var holds: [QuotaHold.ID: [QuotaAccount.Taken]] = [:]
    private var lastID: UInt64 = 0

    package init() {}

    package var isEmpty: Bool { order.isEmpty }
    package var subjects: [QuotaSubject] { order }
    package func quota(of subject: QuotaSubject) -> Quota? { accounts[subject]?.quota }
    package var running: Int { holds.count }

    /// Replaces all quotas. What was used of those that stay counts on.
    /// - Returns: what is given back of slices that nobody can use any more.
    package mutating func define(_ quotas: [(subject: QuotaSubject, quota: Quota)], now: Now) -> [QuotaSlice] {
        var left = accounts
        var given: [QuotaSlice] = []
        accounts = [:]
        for (subject, quota) in quotas where !quota.isEmpty && accounts[subject] == nil {
            if var known = left.removeValue(forKey: subject) {
                known.advance(to: now)
                given += known.set(quota, now: now)
                accounts[subject] = known
            } else {
                accounts[subject] = QuotaAccount(subject, quota, now: now)
            }
        }
        for subject in order { given += left[subject]?.set(Quota(), now: now) ?? [] }
        order = quotas.map(\.subject).filter { accounts[$0] != nil }.sorted()
        return given
    }

    /// Whether a rule stands against it, whatever it would use.
    package func forbids(
        _ request: QuotaRequest, for subjects: [QuotaSubject], now: Now
    ) -> QuotaRefusal? {
        for subject in subjects {
            if let refusal = accounts[subject]?.forbids(request, now: now) { return refusal }
        }
        return nil
    }

    /// Whether an estimate of tokens, and one of money, is needed for a request of `subjects`; nil where none of them has a
    /// quota.
    package func needs(_ subjects: [QuotaSubject]) -> (tokens: Bool, money: Bool)? {
        var needs: (tokens: Bool, money: Bool)?
        for subject in subjects {
            guard let quota = accounts[subject]?.quota else { continue }
            needs = (
                needs?.tokens ?? false || quota.countsTokens || quota.countsMoney,
                needs?.money ?? false || quota.countsMoney
            )
        }
        return needs
    }

    /// Of the subjects' limits of money, the least that is left; nil where there is none, or they are in several currencies.
    package mutating func moneyLeft(_ subjects: [QuotaSubject], now: Now) -> Money? {
        var least: Money?
        for subject in subjects {
            guard let currency = accounts[subject]?.quota.currency else { continue }
            for standing in standings(of: subject, now: now) where standing.limit.isMoney {
                if let known = least, known.currency != currency { return nil }
                least = Money(
                    microUnits: min(least?.microUnits ?? .max, standing.remaining), currency: currency)
            }
        }
        return least
    }

    /// Lets a request in.
    /// - Returns: nil as hold where none of the subjects has a quota.
    package mutating func admit(
        _ request: QuotaRequest, _ estimate: QuotaEstimate, for subjects: [QuotaSubject], now: Now
    ) -> Result<QuotaHold?, QuotaRefusal> {
        if let refusal = forbids(request, for: subjects, now: now) { return .failure(refusal) }
        var taken: [QuotaAccount.Taken] = []
        var worst: QuotaRefusal?
        for subject in subjects {
            // In its place, so that nothing is copied.
            accounts[subject]?.advance(to: now)
            switch accounts[subject]?.offer(estimate, now: now) {
            case .success(let offered)?: taken.append(offered)
            case .failure(let refusal)?: if worst.map(refusal.isToldBefore) ?? true { worst = refusal }
            case nil: break
            }
        }
        if let worst { return .failure(worst) }
        guard !taken.isEmpty else { return .success(nil) }
        for part in taken { accounts[part.subject]?.take(part) }
        lastID += 1
        let id = QuotaHold.ID(number: lastID)
        holds[id] = taken
        return .success(
            QuotaHold(
                id: id, requests: tightest([.requestsPerMinute], subjects, now),
                tokens: tightest([.tokensPerMinute], subjects, now)
                    ?? tightest([.tokensPerDay, .tokensPerMonth], subjects, now)))
    }

    /// What the request has used, once it is over.
    package mutating func settle(_ hold: QuotaHold.ID, _ use: QuotaUse, now: Now) { end(hold, use, now) }

    /// Nothing of the request was served.
    package mutating func release(_ hold: QuotaHold.ID, now: Now) { end(hold, nil, now) }

    private mutating func end(_ hold: QuotaHold.ID, _ use: QuotaUse?, _ now: Now) {
        guard let taken = holds.removeValue(forKey: hold) else { return }
        for part in taken {
            accounts[part.subject]?.advance(to: now)
            accounts[part.subject]?.settle(part, use)
        }
    }

    // MARK: Slices

    /// What is to be taken of the store now. Each is asked for once, until it is granted or refused.
    /// - Parameter subjects: nil: of all.
    package mutating func wanted(of subjects: [QuotaSubject]? = nil, now: Now) -> [QuotaSlice] {
        var wanted: [QuotaSlice] = []
        for subject in subjects ?? order {
            accounts[subject]?.advance(to: now)
            wanted += accounts[subject]?.wanted(at: now.wall) ?? []
        }
        return wanted
    }

    /// - Parameter taken: what the store has of the period with this slice.
    package mutating func granted(_ slice: QuotaSlice, taken: Int64) {
        accounts[slice.subject]?.granted(slice, taken: taken)
    }

    /// The store could not write it.
    package mutating func refused(_ slice: QuotaSlice) { accounts[slice.subject]?.refused(slice) }

    /// What is left of all slices, given up: for a node that stops, after its last request.
    package mutating func close() -> [QuotaSlice] {
        var given: [QuotaSlice] = []
        for subject in order { given += accounts[subject]?.givenUp() ?? [] }
        return given
    }

    // MARK: What can be seen

    package mutating func standings(of subject: QuotaSubject, now: Now) -> [QuotaStanding] {
        accounts[subject]?.advance(to: now)
        return accounts[subject]?.standings(now: now) ?? []
    }

    /// Of the subjects' limits the one of which the least is left.
    private func tightest(_ limits: [QuotaLimit], _ subjects: [QuotaSubject], _ now: Now) -> QuotaStanding? {
        subjects.flatMap { subject in limits.compactMap { accounts[subject]?.standing($0, now: now) } }
            .min { ($0.remaining, $0.resetMs) < ($1.remaining, $1.resetMs) }
    }
}
