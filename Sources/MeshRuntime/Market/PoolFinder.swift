import MeshExchange
import MeshModel
import MeshRouting
import NIOCore

/// Finds one request's places in a pool, one after the other: the next is chosen by what became of the others. Lives on
/// its exchange's event loop.
final class PoolFinder: PlaceFinder {
    private struct State {
        var request: PoolRequest
        /// The place that was found last.
        var latest: PooledPlace?
        var failures = PoolFailures()
        var exhaustion: PoolExhaustion?
        var leaves: [Market.Leaf] = []
        var found: (@Sendable ([any Place]) -> Void)?
        var hasLeft = false
        /// Counts the waits for the next look.
        var looks = 0
        /// Since when it waits, or when it has been waiting last.
        var waitsSince: Instant?
        var wait: QueueWait?
    }

    let looking = ExchangeStateMachine.Looking.always
    let mayOutgrow = true
    let attempts: Int
    private let market: Market
    private let pool: PoolID
    private let need: WorkerNeed
    private let asker: Asker
    private let node: PublicKey
    private let eventLoop: any EventLoop
    private let state: NIOLoopBoundBox<State>

    init(
        market: Market, pool: PoolID, need: WorkerNeed, shape: PoolRequest, asker: Asker,
        attempts: Int, node: PublicKey, eventLoop: any EventLoop
    ) {
        self.market = market
        self.pool = pool
        self.need = need
        self.asker = asker
        self.attempts = attempts
        self.node = node
        self.eventLoop = eventLoop
        state = NIOLoopBoundBox(State(request: shape), eventLoop: eventLoop)
    }

    var waited: QueueWait? {
        guard var wait = state.value.wait else { return nil }
        if let since = state.value.waitsSince { wait.milliseconds += SystemClock.instant.milliseconds(since: since) }
        return wait
    }

    private func waits(_ ticket: PoolTicket) {
        guard state.value.waitsSince == nil else { return }
        state.value.waitsSince = SystemClock.instant
        guard state.value.wait == nil else { return }
        state.value.wait = QueueWait(position: market.position(pool, ticket), milliseconds: 0)
    }

    private func waitIsOver() {
        let wait = waited
        state.value.wait = wait
        state.value.waitsSince = nil
    }

    func find(_ found: @escaping @Sendable ([any Place]) -> Void) {
        learnFromLatest()
        state.value.found = found
        choose()
    }

    private func learnFromLatest() {
        guard let latest = state.value.latest else { return }
        state.value.latest = nil
        guard let failure = latest.failure else { return }
        let number = state.value.request.tried.count + 1
        state.value.failures.add(latest.member, failure.fault, words: failure.words, attempt: number)
        if let tried = latest.tried { state.value.request.tried.append(tried) }
        // Whoever has no larger window would say the same.
        if failure.fault == .context, let window = latest.window {
            state.value.request.exceeded = max(state.value.request.exceeded ?? 0, window)
        }
    }

    private func choose() {
        guard !state.value.hasLeft, let found = state.value.found else { return }
        // A pick whose place has just gone is dropped, and another made: as often as there are members.
        var gone: [Int] = []
        for _ in 0...Limits.poolMembers {
            guard let leaves = market.leaves(pool) else { break }
            state.value.leaves = leaves
            let facts = leaves.enumerated().map { number, leaf in
                gone.contains(number)
                    ? MemberFacts(exclusion: .absent) : market.facts(leaf, need, for: asker.principal)
            }
            state.value.request.waitedMs = waited?.milliseconds ?? 0
            let request = state.value.request
            let choice = market.choose(pool, request, facts) { [weak self] in self?.wake() }
            switch choice {
            case .ask(let pick)?:
                state.value.request.ticket = nil
                waitIsOver()
                guard let place = place(pick, leaves) else {
                    market.dropped(pool, pick)
                    gone.append(pick.leaf)
                    continue
                }
                state.value.found = nil
                state.value.latest = place
                return found([place])
            case .wait(let ticket)?:
                state.value.request.ticket = ticket
                waits(ticket)
                return look()
            case .exhausted(let exhaustion)?:
                state.value.request.ticket = nil
                waitIsOver()
                state.value.exhaustion = exhaustion
                state.value.found = nil
                return found([])
            case nil: break
            }
            break
        }
        state.value.found = nil
        found([])
    }

    private func place(_ pick: PoolPick, _ leaves: [Market.Leaf]) -> PooledPlace? {
        guard leaves.indices.contains(pick.leaf), let provider = leaves[pick.leaf].provider else { return nil }
        let places = market.places(of: provider, pick, need, for: asker)
        guard let place = places.first(where: { market.mayAsk(pool, pick, at: $0.node ?? node) }) else { return nil }
        return PooledPlace(
            place, of: leaves[pick.leaf].text, window: leaves[pick.leaf].window, market: market, pool: pool, pick: pick,
            here: node)
    }

    // MARK: Waiting

    private func wake() {
        // Never from inside somebody else's choice, who may be one of many that wait.
        eventLoop.execute { self.choose() }
    }

    private func look() {
        let delay = market.tick(pool)
        guard state.value.request.ticket != nil, state.value.found != nil else { return }
        state.value.looks += 1
        let number = state.value.looks
        eventLoop.scheduleTask(in: .milliseconds(delay)) { [weak self] in
            // Whoever has chosen again meanwhile looks anew.
            guard let self, state.value.looks == number, state.value.found != nil else { return }
            look()
        }
    }

    func leave() {
        state.value.hasLeft = true
        state.value.found = nil
        guard let ticket = state.value.request.ticket else { return }
        state.value.request.ticket = nil
        market.leave(pool, ticket)
    }

    // MARK: Nobody

    func none() -> MeshError { verdict ?? gone }

    func told(_ error: MeshError) -> MeshError {
        switch Fault(error) {
        case .client, .context, .node, .buyer: return error
        case .credentials, .billing, .rateLimit, .busy, .declined, .server, .timeout, .transport: break
        }
        learnFromLatest()
        return verdict ?? error
    }

    private var verdict: MeshError? {
        let exhaustion =
            state.value.exhaustion ?? PoolExhaustion(cause: .attempts, retryAfterSeconds: nil, reasons: [])
        let told = state.value.failures.verdict(
            of: pool.modelName, exhaustion, leaves: state.value.leaves.map(\.text))
        guard case .error(var error) = told else { return nil }
        // Trying again is no use where nobody was asked and nobody's reason passes by itself.
        let reasons = exhaustion.reasons.compactMap(\.self)
        if state.value.request.tried.isEmpty, !reasons.isEmpty, !reasons.contains(where: \.passes) {
            error.code = reasons.allSatisfy { $0 == .endpoint } ? .endpointNotOffered : .modelNotFound
        }
        return error
    }

    private var gone: MeshError {
        MeshError(.modelNotFound, "the rotation '\(pool.name)' has just been removed", parameter: "model")
    }
}
