import MeshModel
import MeshRouting
import Testing

/// Thousands of random events, and what holds after every one of them.
@Suite struct PoolPropertyTests {
    /// A pool, what a bystander knows of it, and everything that goes wrong.
    struct World {
        struct Waiting {
            var request: PoolRequest
            var ticket: PoolTicket
            var isWoken = false
        }

        var rig: PoolRig
        var random: SeededGenerator
        var underWay: [(attempt: PoolAttempt, request: PoolRequest)] = []
        var waiting: [Waiting] = []
        /// Until when each member rests by its own word, and by what was last seen.
        var told: [Instant]
        /// Until when each rests for its key, and when that was refused, or tried, last.
        var down: [Instant]
        var triedKey: [Instant]
        var seen: [Instant?]
        var probes: [(leaf: Int, since: Instant)] = []
        var asked = 0
        var answered = 0
        var broken: [String] = []
        let members: Int
        let cooldownMs: Int64

        init(seed: UInt64) {
            random = SeededGenerator(seed: seed)
            members = 1 + Int(random.next() % 6)
            var settings = Rotation.Settings()
            settings.stickiness = random.next() % 2 == 0 ? .off : .prefix
            settings.queueLength = Int(random.next() % 8)
            settings.attempts = 1 + Int(random.next() % 4)
            settings.cooldownMs = 1_000 + Int64(random.next() % 60_000)
            cooldownMs = settings.cooldownMs
            settings.queueMs = Int64(random.next() % 20_000)
            settings.spillMs = Int64(random.next() % 2_000)
            var weights: [(Int, Int)] = []
            for _ in 0..<members { weights.append((Int(random.next() % 5), Int(random.next() % 3))) }
            rig = PoolRig(weights, seed: seed, settings: settings)
            told = Array(repeating: Instant(nanoseconds: 0), count: members)
            down = told
            triedKey = told
            seen = Array(repeating: nil, count: members)
        }

        mutating func roll(_ sides: Int) -> Int { Int(random.next() % UInt64(sides)) }

        mutating func require(_ holds: Bool, _ what: String) {
            if !holds { broken.append("\(what) at \(rig.nowMs)") }
        }

        // MARK: Events

        mutating func step() {
            rig.nowMs += Int64(random.next() % 700)
            switch roll(20) {
            case 0..<8: ask()
            case 8..<14: if !underWay.isEmpty { end(roll(underWay.count)) }
            case 14: change()
            case 15: leave()
            case 16: rig.nowMs += Int64(random.next() % 90_000)
            case 17: if !underWay.isEmpty { answer(roll(underWay.count)) }
            case _: break
            }
            if let deadline = rig.pools.nextDeadline(now: rig.now), deadline <= rig.now {
                rig.pools.tick(now: rig.now)
                takeWoken()
            }
            react()
            check()
        }

        /// After every call.
        mutating func takeWoken() {
            for ticket in rig.pools.takeWoken() {
                guard let place = waiting.firstIndex(where: { $0.ticket == ticket }) else {
                    require(false, "\(ticket) was woken and does not wait")
                    continue
                }
                require(!waiting[place].isWoken, "\(ticket) was woken twice")
                waiting[place].isWoken = true
            }
        }

        /// Those who were woken ask, some of them a little later.
        mutating func react() {
            for ticket in waiting.filter(\.isWoken).map(\.ticket) where random.next() % 4 > 0 {
                guard let place = waiting.firstIndex(where: { $0.ticket == ticket }) else { continue }
                let waited = waiting.remove(at: place)
                send(waited.request.with(ticket))
            }
        }

        mutating func ask() {
            var request = PoolRequest(priority: roll(3), isShort: random.next() % 2 == 0)
            request.session = random.next() % 3 == 0 ? random.next() % 10 : nil
            asked += 1
            send(request)
        }

        mutating func send(_ request: PoolRequest) {
            switch rig.choose(request) {
            case .ask(let pick): sent(pick, request)
            case .wait(let ticket):
                require(request.ticket == nil || request.ticket == ticket, "another ticket")
                waiting.append(Waiting(request: request, ticket: ticket))
                takeWoken()
            case .exhausted(let told):
                takeWoken()
                answered += 1
                require(told.retryAfterSeconds.map { (1...30).contains($0) } ?? true, "\(told)")
                for (leaf, reason) in told.reasons.enumerated() where reason == nil {
                    require(
                        !request.tried.isEmpty, "member \(leaf) has no reason and was not asked")
                }
            }
        }

        mutating func sent(_ pick: PoolPick, _ request: PoolRequest) {
            takeWoken()
            let facts = rig.facts[pick.leaf]
            require(facts.exclusion == nil, "\(pick.leaf) was asked although \(String(describing: facts.exclusion))")
            require(facts.free > 0, "\(pick.leaf) was asked although it is full")
            require(told[pick.leaf] <= rig.now, "\(pick.leaf) was asked although it said no")
            if down[pick.leaf] > rig.now {
                let isTrial = rig.now.milliseconds(since: triedKey[pick.leaf]) >= Limits.refusedKeyTrialMs
                require(pick.reason == .leastBad && isTrial, "\(pick.leaf) was asked although its key was refused")
                triedKey[pick.leaf] = rig.now
            }
            guard random.next() % 20 > 0 else {
                // Its place has gone meanwhile.
                rig.pools.dropped(rig.id, pick, now: rig.now)
                takeWoken()
                answered += 1
                return
            }
            let attempt = rig.pools.began(rig.id, pick, at: PoolRig.node(pick.leaf * 10), now: rig.now)
            require(!request.tried.contains(attempt.tried(.server)), "\(pick.leaf) was asked twice")
            if pick.reason == .probe || pick.reason == .leastBad {
                probes.removeAll { rig.now.milliseconds(since: $0.since) >= Limits.poolProbeMs }
                require(!probes.contains { $0.leaf == pick.leaf }, "two probes at \(pick.leaf)")
                probes.append((pick.leaf, rig.now))
            }
            if rig.facts[pick.leaf].free != .max { rig.facts[pick.leaf].free -= 1 }
            underWay.append((attempt, request))
        }

        mutating func answer(_ place: Int) {
            let news = rig.pools.answered(rig.id, &underWay[place].attempt, now: rig.now)
            takeWoken()
            guard news == .returned else { return }
            let leaf = underWay[place].attempt.pick.leaf
            probes.removeAll { $0.leaf == leaf }
            // It was well when it was asked: whatever it rests for from now on is something new.
            seen[leaf] = nil
            down[leaf] = rig.now
        }

        mutating func end(_ place: Int) {
            let (attempt, request) = underWay.remove(at: place)
            end(attempt, of: request)
        }

        mutating func end(_ attempt: PoolAttempt, of request: PoolRequest) {
            let leaf = attempt.pick.leaf
            if attempt.pick.reason == .probe || attempt.pick.reason == .leastBad {
                if let place = probes.firstIndex(where: { $0.leaf == leaf }) { probes.remove(at: place) }
            }
            if rig.facts[leaf].free != .max { rig.facts[leaf].free += 1 }
            let faults: [Fault] = [
                .server, .timeout, .transport, .client, .context, .declined, .busy, .credentials, .billing, .buyer,
                .rateLimit(retryAfterSeconds: nil), .rateLimit(retryAfterSeconds: Int(random.next() % 100)),
            ]
            guard random.next() % 2 == 0 else {
                let news = rig.end(attempt, random.next() % 10 == 0 ? .cancelled : .served)
                takeWoken()
                if news == .returned { (seen[leaf], down[leaf]) = (nil, rig.now) }
                answered += 1
                return
            }
            let fault = faults[roll(faults.count)]
            let news = rig.end(attempt, .failed(fault))
            takeWoken()
            switch news {
            case .rests(let until):
                told[leaf] = max(told[leaf], rig.now.advanced(byMilliseconds: fault.restMs ?? cooldownMs))
                require(until >= told[leaf], "\(leaf) forgot a later time")
            case .down:
                down[leaf] = rig.now.advanced(byMilliseconds: Limits.refusedKeyRestMs)
                triedKey[leaf] = rig.now
            case .benched, .returned, nil: break
            }
            guard fault.consequence.goesOn else {
                answered += 1
                return
            }
            send(request.tried(attempt, fault: fault))
        }

        mutating func change() {
            let leaf = roll(members)
            let exclusions: [Exclusion?] = [nil, nil, .draining, .absent, .context, .unauthorised]
            rig.facts[leaf].exclusion = exclusions[roll(6)]
            let underWay = underWay.count { $0.attempt.pick.leaf == leaf }
            rig.facts[leaf].free = random.next() % 3 == 0 ? .max : max(roll(4) - underWay, 0)
        }

        mutating func leave() {
            guard !waiting.isEmpty else { return }
            let gone = waiting.remove(at: roll(waiting.count))
            rig.pools.leave(rig.id, gone.ticket, now: rig.now)
            takeWoken()
            answered += 1
        }

        mutating func check() {
            for leaf in 0..<members {
                guard let until = rig.candidate(leaf)?.until else {
                    seen[leaf] = nil
                    continue
                }
                if let before = seen[leaf], before > rig.now { require(until >= before, "\(leaf) is back earlier") }
                seen[leaf] = until
            }
            require(rig.pools.waiting(rig.id) >= waiting.count - waiting.count { $0.isWoken }, "somebody is forgotten")
        }

        /// Everything ends, and everybody was answered once.
        mutating func finish() {
            for _ in 0..<2_000 where !waiting.isEmpty || !underWay.isEmpty {
                rig.nowMs += 250
                if !underWay.isEmpty { end(0) }
                rig.pools.tick(now: rig.now)
                takeWoken()
                react()
            }
            require(waiting.isEmpty, "\(waiting.count) wait for ever")
            require(asked == answered, "\(asked) asked, \(answered) answered")
            require(rig.pools.waiting(rig.id) == 0, "a queue that nobody stands in")
        }
    }

    @Test func nothingEverBreaks() {
        for seed in 1...60 as ClosedRange<UInt64> {
            var world = World(seed: seed)
            for _ in 0..<300 { world.step() }
            world.finish()
            #expect(world.broken.isEmpty, "seed \(seed): \(world.broken.prefix(3))")
        }
    }

    /// One seed and one sequence of calls is one run.
    @Test func oneSeedIsOneRun() {
        func run(_ seed: UInt64) -> [Int] {
            var rig = PoolRig([(1, 0), (1, 0), (1, 0)], seed: seed)
            var random = SeededGenerator(seed: 5)
            return (0..<300).map { _ in
                rig.run(PoolRequest(), random.next() % 5 == 0 ? .failed(.server) : .served) ?? -1
            }
        }
        #expect(run(1) == run(1))
        #expect(run(1) != run(2))
    }
}
