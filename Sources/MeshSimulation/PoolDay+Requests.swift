import MeshGossip
import MeshModel
import MeshRouting

/// Buyers, and what becomes of their requests.
extension PoolDay {
    // MARK: Buyers

    /// More by day than by night, and now and then many at once.
    mutating func burst() {
        guard left > 0 else { return }
        let isMany = market.random.next() % 12 == 0
        let count = min(left, isMany ? Int(market.draw(5...20)) : 1)
        left -= count
        for _ in 0..<count { arrive() }
        let hour = clock.nanoseconds / 3_600_000_000_000 % 24
        let pace: Int64 = (8..<20).contains(hour) ? 1 : 3
        queue.insert(.burst, at: after(market.draw(100...35_000) * pace))
    }

    private mutating func arrive() {
        let isLong = random.next() % 20 == 0
        let tokens = isLong ? 10_000 + Int(random.next() % 100_000) : 100 + Int(random.next() % 6_000)
        var asked = PoolRequest(priority: Int(random.next() % 3), isShort: tokens < 1_000)
        let pool = Int(random.next() % UInt64(ids.count + market.policies.count))
        let seller = random.next() % 10 == 0 ? Int(random.next() % UInt64(market.sellers.count)) : nil
        let isByPolicy = pool >= ids.count || seller != nil
        if !isByPolicy, market.rotations[pool].settings.stickiness != .off, random.next() % 10 < 7 {
            asked.session = random.next() % 200
        }
        var request = Request(
            entry: Int(random.next() % UInt64(entries.count)), pool: pool, tokens: tokens,
            estimate: tokens * (70 + Int(random.next() % 60)) / 100, asked: asked, arrived: clock)
        request.isByPolicy = isByPolicy
        request.seller = seller
        requests.append(request)
        let number = requests.count - 1
        queue.insert(.arrive(number), at: after(Int64(random.next() % 3_000)))
        // Some close the window.
        if random.next() % 50 == 0 { queue.insert(.buyerGoes(number), at: after(Int64(random.next() % 30_000))) }
    }

    mutating func buyerGoes(_ number: Int) {
        guard requests[number].end == nil, requests[number].visits > 0 else { return }
        let entry = requests[number].entry
        if !requests[number].isByPolicy, let ticket = requests[number].waits {
            entries[entry].waiting[ticket] = nil
            entries[entry].pools.leave(ids[requests[number].pool], ticket, now: clock)
        }
        if let attempt = requests[number].attempt { over(attempt, .cancelled) }
        end(number, .cancelled)
        drain(entry)
    }

    mutating func end(_ number: Int, _ end: Request.End) {
        requests[number].end = end
        requests[number].ends += 1
        requests[number].attempt = nil
        requests[number].waits = nil
        requests[number].isHeld = false
        trace("end", number)
    }

    // MARK: Choosing

    /// A buyer's program asks, for the first time or again.
    mutating func ask(_ number: Int) {
        guard requests[number].end == nil else { return }
        guard isReachable(number) else { return }
        requests[number].visits += 1
        requests[number].asked.tried = []
        requests[number].asked.exceeded = nil
        requests[number].asked.ticket = nil
        requests[number].seats = []
        requests[number].costs = []
        requests[number].waitedSince = nil
        requests[number].queuedSince = nil
        requests[number].asked.waitedMs = 0
        tally.asked += 1
        choose(number)
    }

    mutating func asksAgain(_ number: Int) {
        guard let ticket = requests[number].waits else { return }
        requests[number].waits = nil
        requests[number].asked.ticket = ticket
        entries[requests[number].entry].waiting[ticket] = nil
        choose(number)
    }

    /// Whether the buyer's node is up, or another that he turns to; nobody hears of a request while all are dead.
    private mutating func isReachable(_ number: Int) -> Bool {
        guard !entries[requests[number].entry].isUp else { return true }
        if let other = entries.firstIndex(where: \.isUp) {
            requests[number].entry = other
            return true
        }
        queue.insert(.arrive(number), at: after(1_000))
        return false
    }

    mutating func choose(_ number: Int) {
        if requests[number].seller != nil { return askSeller(number) }
        if requests[number].isByPolicy { return decide(number) }
        let request = requests[number]
        let id = ids[request.pool]
        let facts = entries[request.entry].leaves[request.pool].indices.map { self.facts($0, request) }
        let isWhole =
            request.asked.tried.isEmpty && tally.isWhole(entries[request.entry].pools, id, request, facts, clock)
        let choice = entries[request.entry].pools.choose(id, request.asked, now: clock) { facts[$0] }
        switch choice {
        case .ask(let pick)?: send(number, pick, facts, isWhole: isWhole)
        case .wait(let ticket)?:
            requests[number].waits = ticket
            requests[number].waitedSince = request.waitedSince ?? clock
            requests[number].queuedSince = request.queuedSince ?? clock
            entries[request.entry].waiting[ticket] = number
            tally.longestQueue = max(tally.longestQueue, entries[request.entry].pools.waiting(id))
        case .exhausted(let told)?: refuse(number, told)
        case nil: tally.broken("there is no pool \(id.name)")
        }
        drain(request.entry)
    }

    private mutating func send(_ number: Int, _ pick: PoolPick, _ facts: [MemberFacts], isWhole: Bool) {
        let request = requests[number]
        let id = ids[request.pool]
        let entry = entries[request.entry]
        if let since = request.queuedSince {
            requests[number].asked.waitedMs += clock.milliseconds(since: since)
            requests[number].queuedSince = nil
            let waitedMs = requests[number].asked.waitedMs
            tally.longestWaitMs = max(tally.longestWaitMs, waitedMs)
            if waitedMs > market.rotations[request.pool].settings.queueMs + 100 {
                tally.broken("a request waited for \(waitedMs) ms, longer than the owner of \(id.name) says")
            }
        }
        let seats = entry.leaves[request.pool][pick.leaf]
        let found = seats.indices.filter { place in
            entry.pools.mayAsk(id, pick, at: market.seats[seats[place]].node) && facts[pick.leaf].seats.contains(place)
        }
        let place = found.min { entry.underWay[seats[$0]] < entry.underWay[seats[$1]] }
        guard facts[pick.leaf].exclusion == nil, let place else {
            tally.broken("\(pick.reason) chose leaf \(pick.leaf) of \(id.name), where nobody can be asked")
            entries[request.entry].pools.dropped(id, pick, now: clock)
            end(number, .refused)
            return
        }
        let seat = seats[place]
        if facts[pick.leaf].full.contains(place) { tally.broken("a full place was picked") }
        look(request, pick, seat)
        tally.chosen(request, pick)
        if request.asked.tried.isEmpty { tally.asks(request, isWhole: isWhole) }
        let attempt = entries[request.entry].pools.began(id, pick, at: market.seats[seat].node, now: clock)
        let fate = market.fate(seat, tokens: request.tokens, now: clock)
        attempts.append(Attempt(request: number, seat: seat, attempt: attempt, began: clock, isWhole: isWhole))
        requests[number].seats.append(seat)
        entries[request.entry].underWay[seat] += 1
        market.seats[seat].underWay += 1
        requests[number].attempt = attempts.count - 1
        trace("ask", number, seat)
        queue.insert(.shows(attempts.count - 1, fate.fault), at: after(fate.afterMs))
    }

    /// The same for a place that a policy chose.
    mutating func sendByPolicy(_ number: Int, _ key: CandidateKey, _ seat: Int) {
        let request = requests[number]
        if request.seats.contains(seat) { tally.broken("a place was asked twice for one request") }
        let fate = market.fate(seat, tokens: request.tokens, now: clock)
        attempts.append(Attempt(request: number, seat: seat, attempt: nil, began: clock, isWhole: false))
        requests[number].seats.append(seat)
        entries[request.entry].underWay[seat] += 1
        entries[request.entry].desk?.began(key)
        market.seats[seat].underWay += 1
        requests[number].attempt = attempts.count - 1
        if request.seller == nil { tally.byPolicy += 1 } else { tally.byName += 1 }
        trace("decide", number, seat)
        queue.insert(.shows(attempts.count - 1, fate.fault), at: after(fate.afterMs))
    }

    /// What must never happen.
    private mutating func look(_ request: Request, _ pick: PoolPick, _ seat: Int) {
        let entry = entries[request.entry]
        if entry.told[seat] > clock { tally.broken("a seller was asked who had said: not before") }
        if pick.reason == .probe || pick.reason == .leastBad {
            if let probe = entry.probes[seat], clock.milliseconds(since: probe.since) < Limits.poolProbeMs {
                tally.broken("a seller was tried out by two requests at once")
            }
            entries[request.entry].probes[seat] = (attempts.count, clock)
            tally.probes += 1
        }
        if request.seats.contains(seat) { tally.broken("a place was asked twice for one request") }
    }

    private mutating func refuse(_ number: Int, _ told: PoolExhaustion) {
        refuse(number, retryAfterSeconds: told.retryAfterSeconds)
    }

    mutating func refuse(_ number: Int, retryAfterSeconds: Int?) {
        tally.refusals += 1
        let request = requests[number]
        // As buyers' programs do: two more tries, after the time that they were told.
        guard request.visits < 3, let seconds = retryAfterSeconds else {
            let could = market.seats.indices.filter { seat in
                let isAsked = request.seller.map { $0 == market.seats[seat].seller } ?? true
                return isAsked && market.serves(seat, tokens: request.tokens)
                    && (isRestless || !isExcused(seat, request))
            }
            tally.lost += could.isEmpty ? 0 : 1
            end(number, .refused)
            return
        }
        queue.insert(.arrive(number), at: after(Int64(seconds) * 1_000 + Int64(random.next() % 500)))
    }

    /// What excuses a node from not asking a seller is what it knows: whose key was just refused is left alone, mended or not;
    /// who failed it in this visit had his chance; and whoever is back has to be heard of first, for which it has waited as
    /// long as it does, or of whom it does not know that he has just left.
    private func isExcused(_ seat: Int, _ request: Request) -> Bool {
        let entry = entries[request.entry]
        // Nobody waits at a seller's own door: who found him at work comes again.
        let hadChance = request.seller == nil ? request.hadChance : request.seats
        if entry.refused[request.isByPolicy ? 1 : 0][seat] > clock || hadChance.contains(seat) { return true }
        guard !entry.isThere[seat] else { return false }
        let patienceMs = request.isByPolicy ? Limits.holdMs : market.rotations[request.pool].settings.queueMs
        let hasWaited = request.waitedSince.map { clock.milliseconds(since: $0) >= patienceMs } ?? false
        return hasWaited || !entry.departures.mayReturn(PoolMarket.key(market.seats[seat].seller), now: clock)
    }

    // MARK: What becomes of it

    mutating func shows(_ number: Int, _ fault: Fault?) {
        guard !attempts[number].isOver else { return }
        if let fault {
            fail(number, fault)
            return
        }
        let request = requests[attempts[number].request]
        attempts[number].hasContent = true
        if var attempt = attempts[number].attempt {
            let news = entries[request.entry].pools.answered(ids[request.pool], &attempt, now: clock)
            attempts[number].attempt = attempt
            if news == .returned { entries[request.entry].probes[attempts[number].seat] = nil }
            tally.heard(news)
            drain(request.entry)
        } else {
            let candidate = key(of: attempts[number].seat)
            entries[request.entry].desk?.answered(candidate, afterMs: clock.milliseconds(since: attempts[number].began))
        }
        queue.insert(.ends(number), at: after(300 + Int64(random.next() % 15_000)))
    }

    mutating func ends(_ number: Int) {
        guard !attempts[number].isOver else { return }
        let request = attempts[number].request
        if let leaf = attempts[number].attempt?.pick.leaf, attempts[number].isWhole {
            tally.served(requests[request].pool, leaf)
        }
        over(number, .served)
        end(request, .served)
        drain(requests[request].entry)
    }

    mutating func fail(_ number: Int, _ fault: Fault) {
        let (request, hasContent) = (attempts[number].request, attempts[number].hasContent)
        over(number, isRestless ? .cancelled : .failed(fault))
        // What a policy hears is not told to pools.
        if case .rateLimit(let seconds?) = fault, attempts[number].attempt != nil {
            let until = after(Int64(seconds) * 1_000)
            let entry = requests[request].entry
            entries[entry].told[attempts[number].seat] = max(entries[entry].told[attempts[number].seat], until)
        }
        if fault == .credentials {
            let way = requests[request].isByPolicy ? 1 : 0
            entries[requests[request].entry].refused[way][attempts[number].seat] = after(Limits.refusedKeyTrialMs)
        }
        requests[request].attempt = nil
        requests[request].costs.append(AttemptCost(fault))
        if hasContent {
            end(request, .interrupted)
        } else {
            if let attempt = attempts[number].attempt { requests[request].asked.tried.append(attempt.tried(fault)) }
            if fault == .context {
                let window = market.sellers[market.seats[attempts[number].seat].seller].window
                requests[request].asked.exceeded = max(requests[request].asked.exceeded ?? 0, window)
            }
            choose(request)
        }
        drain(requests[request].entry)
    }

    private mutating func over(_ number: Int, _ outcome: PoolOutcome) {
        let attempt = attempts[number]
        let request = requests[attempt.request]
        attempts[number].isOver = true
        market.seats[attempt.seat].underWay -= 1
        entries[request.entry].underWay[attempt.seat] -= 1
        if entries[request.entry].probes[attempt.seat]?.attempt == number {
            entries[request.entry].probes[attempt.seat] = nil
        }
        guard let turn = attempt.attempt else {
            let candidate = key(of: attempt.seat)
            entries[request.entry].desk?.ended(candidate)
            if case .failed(let fault) = outcome {
                entries[request.entry].desk?.failed(candidate, fault, now: clock)
            }
            return
        }
        tally.heard(entries[request.entry].pools.ended(ids[request.pool], turn, outcome, now: clock))
    }

    // MARK: Who waits

    /// After every call: those who were woken ask as soon as they hear of it.
    mutating func drain(_ number: Int) {
        for ticket in entries[number].pools.takeWoken() {
            guard let request = entries[number].waiting[ticket] else {
                tally.broken("somebody was woken who does not wait")
                continue
            }
            queue.insert(.asks(request), at: after(Int64(random.next() % 3)))
        }
        guard let deadline = entries[number].pools.nextDeadline(now: clock) else { return }
        let due = max(deadline, after(1))
        guard entries[number].scheduledTick.map({ due < $0 || $0 <= clock }) ?? true else { return }
        entries[number].scheduledTick = due
        queue.insert(.tick(number), at: due)
    }

    mutating func tick(_ number: Int) {
        entries[number].scheduledTick = nil
        guard entries[number].isUp else { return }
        entries[number].pools.tick(now: clock)
        drain(number)
    }
}
