package import MeshModel

/// All pools of one node, as one pure machine.
///
/// How a node drives it, from any event loop under one short lock that is never held across anything else:
///
/// 1. `set` when a rotation is made or changed, `remove` when it is gone. `tree` names its leaves; whenever the catalog
///    has changed, resolve their names in the pool's scope and `place` them.
/// 2. A request asks `choose`, with what is true of each leaf for it (`facts`, called under the lock: look up only).
///    - `ask`: send it to a place of the pick's provider and model, at one of its nodes (`mayAsk`). Call `began` when it is
///      sent, or `dropped` when there was no such place; then choose again, with `PoolRequest.tried` if it was sent, and
///      with `absent` for that leaf if it was not.
///    - `wait`: keep it. When its ticket is among the `takeWoken`, choose again with that ticket. When the buyer goes
///      first, `leave`.
///    - `exhausted`: tell the buyer (`PoolFailures`).
/// 3. `answered` at the first content, once. `ended` once for every `began`, also for attempts that were given up. If the
///    fault goes on (`Fault.consequence`) and nothing has been delivered, choose again with one `tried` more, and with
///    `exceeded` when the prompt was too long.
/// 4. After each of these calls but `mayAsk` and `explain`, and under the same lock, `takeWoken`; tell those outside of it.
/// 5. `tick` at `nextDeadline`, which is nil while nobody waits.
///
/// It has no clock, and its randomness is a seeded generator: one seed and one sequence of calls is one run.
package struct Pools: Sendable {
    private var places: [PoolID: Int] = [:]
    private var ids: [PoolID] = []
    private var pools: [Pool] = []
    private var commons = PoolCommons()
    private var random: SeededGenerator
    private var serials: UInt64 = 0

    package init(seed: UInt64) { random = SeededGenerator(seed: seed) }

    package var count: Int { pools.count }

    // MARK: Configuration

    /// Makes or changes a pool. A changed one keeps what it knows of members that stay.
    /// - Parameter others: the rotations that a name means in its scope.
    /// - Returns: false when there are as many as there may be.
    @discardableResult
    package mutating func set(_ id: PoolID, _ rotation: Rotation, others: (String) -> Rotation?) -> Bool {
        if let place = places[id] {
            pools[place].change(rotation, others: others, &commons)
            return true
        }
        guard pools.count < Limits.pools + Limits.publishedPools else { return false }
        serials += 1
        let own = SeededGenerator(seed: random.next())
        places[id] = pools.count
        ids.append(id)
        pools.append(Pool(rotation, others: others, serial: serials, random: own))
        return true
    }

    /// Who waits for it is woken, and finds it gone.
    package mutating func remove(_ id: PoolID) {
        guard let place = places.removeValue(forKey: id) else { return }
        commons.waiting -= pools[place].queue.count
        pools[place].close(&commons)
        let last = pools.count - 1
        if place != last {
            pools[place] = pools[last]
            ids[place] = ids[last]
            places[ids[place]] = place
        }
        pools.removeLast()
        ids.removeLast()
    }

    /// The members of a pool, in the order in which leaves are numbered.
    package func tree(_ id: PoolID) -> PoolTree? { places[id].map { pools[$0].tree } }

    /// Where the leaves can be asked now, in their order.
    package mutating func place(_ id: PoolID, _ leaves: [PoolPlaces], now: Instant) {
        guard let place = places[id] else { return }
        pools[place].place(leaves, &commons, now: now)
    }

    // MARK: Requests

    /// - Parameter facts: of the leaf of this number.
    /// - Returns: nil when there is no such pool.
    package mutating func choose(
        _ id: PoolID, _ request: PoolRequest, now: Instant, facts: (Int) -> MemberFacts
    ) -> PoolChoice? {
        guard let place = places[id] else { return nil }
        let waited = pools[place].queue.count
        defer { commons.waiting += pools[place].queue.count - waited }
        return pools[place].choose(request, &commons, now: now, facts: facts)
    }

    /// Whether a node of the picked member may be asked: the others rest, or have been asked.
    package func mayAsk(_ id: PoolID, _ pick: PoolPick, at node: PublicKey) -> Bool {
        places[id].map { pools[$0].mayAsk(pick, at: node) } ?? false
    }

    package mutating func began(_ id: PoolID, _ pick: PoolPick, at node: PublicKey, now: Instant) -> PoolAttempt {
        guard let place = places[id] else { return PoolAttempt(pick: pick, node: node, began: now) }
        return pools[place].began(pick, at: node, &commons, now: now)
    }

    package mutating func dropped(_ id: PoolID, _ pick: PoolPick, now: Instant) {
        guard let place = places[id] else { return }
        pools[place].dropped(pick, &commons, now: now)
    }

    @discardableResult
    package mutating func answered(_ id: PoolID, _ attempt: inout PoolAttempt, now: Instant) -> PoolNews? {
        guard let place = places[id] else { return nil }
        return pools[place].answered(&attempt, &commons, now: now)
    }

    @discardableResult
    package mutating func ended(
        _ id: PoolID, _ attempt: PoolAttempt, _ outcome: PoolOutcome, now: Instant
    ) -> PoolNews? {
        guard let place = places[id] else { return nil }
        return pools[place].ended(attempt, outcome, &commons, now: now)
    }

    // MARK: Who waits

    /// A request that waits is not wanted any more.
    package mutating func leave(_ id: PoolID, _ ticket: PoolTicket, now: Instant) {
        guard let place = places[id] else { return }
        let waited = pools[place].queue.count
        pools[place].leave(ticket, &commons, now: now)
        commons.waiting += pools[place].queue.count - waited
    }

    /// Those who are to choose again now, each once.
    package mutating func takeWoken() -> [PoolTicket] {
        guard !commons.woken.isEmpty else { return [] }
        defer { commons.woken.removeAll(keepingCapacity: true) }
        return commons.woken
    }

    package mutating func tick(now: Instant) {
        guard commons.waiting > 0 else { return }
        for place in pools.indices where !pools[place].queue.isEmpty {
            commons.waiting -= pools[place].queue.count
            pools[place].tick(&commons, now: now)
            commons.waiting += pools[place].queue.count
        }
    }

    /// When `tick` is to be called. Nil while nobody waits.
    package func nextDeadline(now: Instant) -> Instant? {
        guard commons.waiting > 0 else { return nil }
        return pools.lazy.compactMap { $0.queue.nextDeadline(now: now) }.min()
    }

    /// How many wait for a pool.
    package func waiting(_ id: PoolID) -> Int { places[id].map { pools[$0].queue.count } ?? 0 }

    /// The place of a request among those that wait, from 1: the more urgent stand before it.
    package func position(_ id: PoolID, _ ticket: PoolTicket) -> Int? {
        places[id].flatMap { pools[$0].queue.position(ticket) }
    }

    /// How many conversations a pool remembers.
    package func conversations(_ id: PoolID) -> Int { places[id].map { pools[$0].sessions.count } ?? 0 }

    // MARK: Why

    /// What `choose` would do, and why not otherwise. Changes nothing.
    package func explain(
        _ id: PoolID, _ request: PoolRequest, now: Instant, facts: (Int) -> MemberFacts
    ) -> PoolExplanation? {
        guard let place = places[id] else { return nil }
        return pools[place].explain(request, commons, now: now, facts: facts)
    }
}
