import MeshModel

/// One subject's quota, and what is used of it.
struct QuotaAccount: Sendable {
    let subject: QuotaSubject
    private(set) var quota: Quota
    private var requests = MinuteWindow()
    private var tokens = MinuteWindow()
    private(set) var running: Int64 = 0
    private var budgets: [PeriodBudget] = []

    /// What a request has taken here.
    struct Taken: Sendable {
        var subject: QuotaSubject
        var second: Int64
        var tokens: Int64
        var amounts: [(period: QuotaPeriod, measure: QuotaMeasure, amount: Int64)]
    }

    init(_ subject: QuotaSubject, _ quota: Quota, now: Now) {
        self.subject = subject
        self.quota = quota
        set(quota, now: now)
    }

    /// Other limits; what was used counts against them.
    /// - Returns: what is given back of the slices of limits that are gone.
    @discardableResult
    mutating func set(_ quota: Quota, now: Now) -> [QuotaSlice] {
        self.quota = quota
        var gone: [QuotaSlice] = []
        for (limit, measure, kind) in QuotaLimit.ofPeriods {
            let known = budgets.firstIndex { $0.measure == measure && $0.period.kind == kind }
            switch (quota[limit], known) {
            case (let amount?, let known?): budgets[known].limit = amount
            case (let amount?, nil):
                budgets.append(PeriodBudget(measure, kind, limit: amount, now: now.wall))
            case (nil, let known?): gone += slices(budgets.remove(at: known).givenBack)
            case (nil, nil): break
            }
        }
        return gone
    }

    mutating func advance(to now: Now) {
        requests.advance(to: now.instant)
        tokens.advance(to: now.instant)
        for place in budgets.indices { budgets[place].advance(to: now.wall) }
    }

    // MARK: Rules

    func forbids(_ request: QuotaRequest, now: Now) -> QuotaRefusal? {
        if let expires = quota.expires, expires <= now.wall {
            return QuotaRefusal(subject, .expires, .forbidden, resets: expires)
        }
        if !quota.addresses.isEmpty {
            // The operator's own socket comes from nowhere.
            if let address = request.address, !quota.addresses.contains(where: { $0.contains(address) }) {
                return QuotaRefusal(subject, .addresses, .forbidden)
            }
        }
        if let route = request.route, !Quota.admits(route, quota.routes) {
            return QuotaRefusal(subject, .routes, .forbidden)
        }
        let models = quota.models
        if !models.isEmpty, !request.models.allSatisfy({ $0.contains { Quota.admits($0, models) } }) {
            return QuotaRefusal(subject, .models, .forbidden)
        }
        return nil
    }

    // MARK: Amounts

    /// What it would take, or the limit that is in the way and told.
    /// - Parameter wasShort: set where room is there that the disk does not know of.
    mutating func offer(_ estimate: QuotaEstimate, now: Now) -> Result<Taken, QuotaRefusal> {
        var worst: QuotaRefusal?
        func add(_ refusal: QuotaRefusal?) {
            if let refusal, worst.map(refusal.isToldBefore) ?? true { worst = refusal }
        }
        add(minuteRefusal(.requestsPerMinute, requests, 1, now))
        var tokensOfMinute: Int64 = 0
        if let limit = quota.tokensPerMinute {
            tokensOfMinute = Self.amount(estimate.leastTokens, estimate.mostTokens, limit)
            add(minuteRefusal(.tokensPerMinute, tokens, tokensOfMinute, now))
        }
        if let limit = quota.concurrent, running >= limit {
            add(
                QuotaRefusal(
                    subject, .concurrent, limit == 0 ? .tooLarge : .usedUp, amount: limit, remaining: 0, needed: 1,
                    fitsAfterMs: limit == 0 ? nil : Limits.quotaSlotMs))
        }
        var amounts: [(QuotaPeriod, QuotaMeasure, Int64)] = []
        for place in budgets.indices {
            let amount: Int64
            switch needed(budgets[place], estimate) {
            case .success(let needed): amount = needed
            case .failure(let refusal):
                add(refusal)
                continue
            }
            add(periodRefusal(place, amount, now))
            amounts.append((budgets[place].period, budgets[place].measure, amount))
        }
        if let worst { return .failure(worst) }
        return .success(Taken(subject: subject, second: requests.second, tokens: tokensOfMinute, amounts: amounts))
    }

    /// What is surely needed has to fit; of what is only assumed no more than the whole limit.
    private static func amount(_ least: Int64, _ most: Int64, _ limit: Int64) -> Int64 { min(most, max(least, limit)) }

    private func minuteRefusal(
        _ limit: QuotaLimit, _ window: MinuteWindow, _ needed: Int64, _ now: Now
    ) -> QuotaRefusal? {
        guard let amount = quota[limit], window.total + needed > amount else { return nil }
        let wait = window.untilFits(needed, limit: amount, now: now.instant)
        return QuotaRefusal(
            subject, limit, wait == nil ? .tooLarge : .usedUp, amount: amount, remaining: max(amount - window.total, 0),
            needed: needed, fitsAfterMs: wait,
            resets: now.wall.advanced(byMilliseconds: window.untilWhole(now: now.instant)))
    }

    private func needed(_ budget: PeriodBudget, _ estimate: QuotaEstimate) -> Result<Int64, QuotaRefusal> {
        if budget.measure == .tokens {
            return .success(Self.amount(estimate.leastTokens, estimate.mostTokens, budget.limit))
        }
        if let other = estimate.costs.first(where: { $0.currency != quota.currency }) {
            return .failure(
                QuotaRefusal(
                    subject, QuotaLimit(.money, budget.period.kind), .currency(other.currency), amount: budget.limit,
                    remaining: budget.remaining, needed: other.least, currency: quota.currency))
        }
        guard let cost = estimate.costs.first else { return .success(0) }
        return .success(Self.amount(cost.least, cost.most, budget.limit))
    }

    private mutating func periodRefusal(_ place: Int, _ needed: Int64, _ now: Now) -> QuotaRefusal? {
        let budget = budgets[place]
        var cause = QuotaRefusal.Cause.usedUp
        var wait: Int64? = budget.period.end.milliseconds - now.wall.milliseconds
        switch budget.room(for: needed) {
        case .fits: return nil
        case .isUsedUp:
            if needed > budget.limit { (cause, wait) = (.tooLarge, nil) }
        case .isNotGranted:
            budgets[place].wasShort(of: needed)
            (cause, wait) = (budget.isCut ? .storeFailed : .notGranted, Limits.quotaGrantMs)
        }
        return QuotaRefusal(
            subject, QuotaLimit(budget.measure, budget.period.kind), cause, amount: budget.limit,
            remaining: budget.remaining, needed: needed, currency: quota.currency, fitsAfterMs: wait,
            resets: budget.period.end)
    }

    mutating func take(_ taken: Taken) {
        requests.take(1)
        tokens.take(taken.tokens)
        running += 1
        for (period, measure, amount) in taken.amounts {
            change(measure, period.kind) { $0.take(amount) }
        }
    }

    /// - Parameter use: nil where nothing was served.
    mutating func settle(_ taken: Taken, _ use: QuotaUse?) {
        running = max(running - 1, 0)
        if use == nil { requests.giveBack(1, takenIn: taken.second) }
        let tokensUsed = max(use?.tokens ?? 0, 0)
        if tokensUsed > taken.tokens {
            // More than was held: counted now, when it is known.
            if quota.tokensPerMinute != nil { tokens.take(tokensUsed - taken.tokens) }
        } else {
            tokens.giveBack(taken.tokens - tokensUsed, takenIn: taken.second)
        }
        for (period, measure, amount) in taken.amounts {
            let used: Int64
            switch measure {
            case .tokens: used = tokensUsed
            // What cannot be counted in this currency costs what was held for it.
            case .money: used = use?.money.map { $0.currency == quota.currency ? $0.microUnits : amount } ?? 0
            }
            change(measure, period.kind) { $0.correct(by: used - amount, of: period) }
        }
    }

    private mutating func change(
        _ measure: QuotaMeasure, _ kind: QuotaPeriod.Kind, _ change: (inout PeriodBudget) -> Void
    ) {
        guard let place = budgets.firstIndex(where: { $0.measure == measure && $0.period.kind == kind }) else { return }
        change(&budgets[place])
    }

    // MARK: Slices

    mutating func wanted(at now: Timestamp) -> [QuotaSlice] {
        budgets.indices.flatMap { place in
            let measure = budgets[place].measure
            return budgets[place].wanted(at: now).map {
                QuotaSlice(subject: subject, measure: measure, period: $0.period, amount: $0.amount)
            }
        }
    }

    mutating func granted(_ slice: QuotaSlice, taken: Int64) {
        change(slice.measure, slice.period.kind) { $0.granted(slice.amount, of: slice.period, taken: taken) }
    }

    mutating func refused(_ slice: QuotaSlice) {
        change(slice.measure, slice.period.kind) { $0.refused(slice.period) }
    }

    mutating func givenUp() -> [QuotaSlice] {
        budgets.indices.flatMap { place in
            let measure = budgets[place].measure
            return budgets[place].givenUp().map {
                QuotaSlice(subject: subject, measure: measure, period: $0.period, amount: -$0.amount)
            }
        }
    }

    private func slices(_ given: (QuotaMeasure, [(period: QuotaPeriod, amount: Int64)])) -> [QuotaSlice] {
        given.1.map { QuotaSlice(subject: subject, measure: given.0, period: $0.period, amount: -$0.amount) }
    }

    // MARK: What can be seen

    func standings(now: Now) -> [QuotaStanding] {
        QuotaLimit.allCases.compactMap { standing($0, now: now) }
    }

    func standing(_ limit: QuotaLimit, now: Now) -> QuotaStanding? {
        guard let amount = quota[limit] else { return nil }
        func standing(_ used: Int64, _ reset: Int64) -> QuotaStanding {
            QuotaStanding(limit: limit, amount: amount, remaining: max(amount - used, 0), resetMs: reset)
        }
        switch limit {
        case .requestsPerMinute: return standing(requests.total, requests.untilWhole(now: now.instant))
        case .tokensPerMinute: return standing(tokens.total, tokens.untilWhole(now: now.instant))
        case .concurrent: return standing(running, 0)
        case .tokensPerDay, .tokensPerMonth, .moneyPerDay, .moneyPerMonth:
            guard let budget = budgets.first(where: { QuotaLimit($0.measure, $0.period.kind) == limit }) else {
                return nil
            }
            return QuotaStanding(
                limit: limit, amount: amount, remaining: budget.remaining,
                resetMs: max(budget.period.end.milliseconds - now.wall.milliseconds, 0))
        case .expires, .addresses, .models, .routes: return nil
        }
    }
}

extension PeriodBudget {
    /// Of a budget that is no more.
    fileprivate var givenBack: (QuotaMeasure, [(period: QuotaPeriod, amount: Int64)]) {
        var last = self
        return (measure, last.givenUp())
    }
}
