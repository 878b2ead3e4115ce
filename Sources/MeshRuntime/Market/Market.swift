package import Logging
package import MeshExchange
package import MeshModel
package import MeshRouting
package import NIOCore
import Synchronization

/// The pools of this node and who waits at them: the shell of `Pools`. It knows what the names of a pool's members mean
/// in the catalog of the moment, and what is true of them for one request.
package final class Market: Sendable {
    /// A member, as the catalog has it.
    struct Leaf: Sendable {
        var text: String
        var provider: CatalogProvider?
        var model: String
        /// The largest one of its workers, in tokens, where one tells it.
        var window: Int?

        init(text: String, provider: CatalogProvider?, model: String) {
            self.text = text
            self.provider = provider
            self.model = model
            window = provider?.hosts.compactMap { host in
                host.offer.models.first { $0.id == model }?.contextTokens.map(Int.init)
            }.max()
        }
    }

    private struct Placed {
        var catalog: UInt64
        var leaves: [Leaf]
    }

    private struct Published {
        var hash: Bytes32
        var rotation: Rotation
        /// The greatest was asked for last.
        var turn: UInt64
    }

    private struct State {
        var pools: Pools
        var edition = MarketBook.Edition()
        /// Pools of the mesh that somebody here has asked for.
        var published: [PoolID: Published] = [:]
        var turns: UInt64 = 0
        var placed: [PoolID: Placed] = [:]
        /// Whom to call when a ticket is woken.
        var waiting: [PoolTicket: @Sendable () -> Void] = [:]
    }

    package let book: MarketBook
    package let policies: PolicyMarket
    private let catalog: CatalogHolder
    let dispatcher: Dispatcher
    let node: PublicKey
    private let nodeOperator: PublicKey
    private let logger: Logger
    private let state: Mutex<State>

    package init(
        book: MarketBook, catalog: CatalogHolder, dispatcher: Dispatcher, node: PublicKey, nodeOperator: PublicKey,
        seed: UInt64, logger: Logger
    ) {
        self.book = book
        self.catalog = catalog
        self.dispatcher = dispatcher
        self.node = node
        self.nodeOperator = nodeOperator
        self.logger = logger
        policies = PolicyMarket(catalog: catalog, seed: seed)
        state = Mutex(State(pools: Pools(seed: seed)))
    }

    /// How a request of `asker` finds its places in a pool.
    func finder(
        _ pool: PoolID, _ need: WorkerNeed, _ shape: PoolRequest, for asker: Asker, eventLoop: any EventLoop
    ) -> any PlaceFinder {
        let attempts = settings(of: pool)?.placesAsked ?? Limits.forwardAttempts
        return PoolFinder(
            market: self, pool: pool, need: need, shape: shape, asker: asker,
            attempts: attempts, node: node, eventLoop: eventLoop)
    }

    /// A request that a pool's members answer.
    package func exchange(
        _ request: WorkRequest, in pool: PoolID, _ shape: PoolRequest, for asker: Asker, upload: UploadFlow?,
        writer: any AnswerWriter, eventLoop: any EventLoop
    ) -> Exchange {
        dispatcher.exchange(
            request, by: finder(pool, request.need, shape, for: asker, eventLoop: eventLoop), upload: upload,
            writer: writer, eventLoop: eventLoop)
    }

    /// A request whose places a policy chooses.
    package func exchange(
        _ request: WorkRequest, by wish: PolicyMarket.Wish, for asker: Asker, upload: UploadFlow?,
        writer: any AnswerWriter, eventLoop: any EventLoop
    ) -> Exchange {
        dispatcher.requestBegan()
        let finder = PolicyFinder(
            market: policies, dispatcher: dispatcher, wish: wish, need: request.need, asker: asker, node: node,
            eventLoop: eventLoop)
        return dispatcher.exchange(request, by: finder, upload: upload, writer: writer, eventLoop: eventLoop)
    }

    // MARK: Published pools

    /// The pool of a rotation that somebody published, made when the first request asks for it and kept while it is asked
    /// for. Nil where nothing but pools at which requests wait would have to go for it.
    package func pool(_ told: Publication) -> PoolID? {
        guard case .rotation(let rotation) = told.content else { return nil }
        let id = PoolID(told)
        return change { state in
            state.turns += 1
            let known = state.published[id]?.hash
            if known == told.hash {
                state.published[id]?.turn = state.turns
                return id
            }
            guard known != nil || makeRoom(&state), state.pools.set(id, rotation, others: { _ in nil })
            else { return nil }
            state.published[id] = Published(hash: told.hash, rotation: rotation, turn: state.turns)
            state.placed[id] = nil
            return id
        }
    }

    private func makeRoom(_ state: inout State) -> Bool {
        guard state.published.count >= Limits.publishedPools else { return true }
        let idle = state.published.filter { state.pools.waiting($0.key) == 0 }
        guard let oldest = idle.min(by: { $0.value.turn < $1.value.turn })?.key else { return false }
        state.published.removeValue(forKey: oldest)
        state.placed[oldest] = nil
        state.pools.remove(oldest)
        return true
    }

    package func settings(of pool: PoolID) -> Rotation.Settings? {
        if pool.publisher == nil { return book.settings(of: pool) }
        return state.withLock { $0.published[pool]?.rotation.settings }
    }

    package func stickiness(of pool: PoolID) -> Rotation.Stickiness { settings(of: pool)?.stickiness ?? .off }

    // MARK: Members

    /// The members of a pool by number, with what the catalog knows of each; nil when there is no such pool any more.
    func leaves(_ id: PoolID) -> [Leaf]? { change { state in self.placed(id, &state) } }

    /// Who may answer for a pool now, each with its id for the model.
    package func members(of id: PoolID) -> [(provider: CatalogProvider, model: String)] {
        (leaves(id) ?? []).compactMap { leaf in leaf.provider.map { ($0, leaf.model) } }
    }

    private func placed(_ id: PoolID, _ state: inout State) -> [Leaf]? {
        readBook(&state)
        guard let tree = state.pools.tree(id) else { return nil }
        let (known, serial) = catalog.edition
        if let placed = state.placed[id], placed.catalog == serial { return placed.leaves }
        let meaning: (String) -> CatalogProvider?
        if id.publisher != nil {
            meaning = { name in ProviderKeyName.key(name).flatMap { known.provider(pinned: $0) } }
        } else {
            guard let entry = state.edition.rotations[id] else { return nil }
            let owner = Principal(
                owner: entry.owner, username: id.scope.username, node: node, nodeOperator: nodeOperator)
            meaning = { name in try? known.resolve(provider: name, for: owner).get().providers.first }
        }
        let leaves = tree.leaves.map { leaf -> Leaf in
            guard leaf.never == nil, !leaf.provider.isEmpty, let provider = meaning(leaf.provider)
            else { return Leaf(text: leaf.text, provider: nil, model: leaf.model ?? "") }
            return Leaf(
                text: leaf.text, provider: provider,
                model: leaf.model ?? provider.hosts.first?.offer.models.first?.id ?? "")
        }
        let places = leaves.map { leaf in
            var nodes: [PublicKey] = []
            for host in leaf.provider?.hosts ?? []
            where !nodes.contains(host.node) && (leaf.model.isEmpty || host.offer.models.contains(leaf.model)) {
                nodes.append(host.node)
            }
            return PoolPlaces(provider: leaf.provider?.key, model: leaf.model, nodes: nodes)
        }
        state.pools.place(id, places, now: SystemClock.instant)
        state.placed[id] = Placed(catalog: serial, leaves: leaves)
        return leaves
    }

    private func readBook(_ state: inout State) {
        let edition = book.current
        guard edition.serial != state.edition.serial else { return }
        for id in state.edition.order where edition.rotations[id] == nil {
            state.pools.remove(id)
            state.placed[id] = nil
        }
        for id in edition.order {
            guard let entry = edition.rotations[id] else { continue }
            // One that is in others changes them, too.
            state.pools.set(id, entry.rotation) { name in
                PoolID.meant(by: name, in: id.scope) { edition.rotations[$0] != nil }
                    .flatMap { edition.rotations[$0]?.rotation }
            }
            state.placed[id] = nil
        }
        state.edition = edition
    }

    /// What is true of a member for one request, beside what its pool knows.
    func facts(_ leaf: Leaf, _ need: WorkerNeed, for principal: Principal) -> MemberFacts {
        guard let provider = leaf.provider else { return MemberFacts(exclusion: .absent) }
        guard provider.admits(principal) else { return MemberFacts(exclusion: .unauthorised) }
        var need = need
        need.model = leaf.model.isEmpty ? nil : leaf.model
        switch dispatcher.standing(of: provider, need) {
        case .offered: return MemberFacts(window: leaf.window)
        case .full: return MemberFacts(free: 0, window: leaf.window)
        case .lacksEndpoint: return MemberFacts(exclusion: .endpoint)
        case .absent:
            return MemberFacts(
                exclusion: .absent, mayReturn: catalog.mayReturn(provider, model: leaf.model))
        }
    }

    /// The places of a picked member.
    func places(
        of provider: CatalogProvider, _ pick: PoolPick, _ need: WorkerNeed, for asker: Asker, isRehearsal: Bool = false
    ) -> [any Place] {
        var need = need
        need.model = pick.model.isEmpty ? nil : pick.model
        return dispatcher.places(
            Route(providers: [provider], model: pick.model), need, for: asker, isRehearsal: isRehearsal)
    }

    /// What `choose` would do. Changes nothing.
    func explanation(
        _ id: PoolID, _ request: PoolRequest, _ facts: [MemberFacts], now: Instant
    ) -> PoolExplanation? {
        state.withLock { state in
            state.pools.explain(id, request, now: now) { number in
                facts.indices.contains(number) ? facts[number] : MemberFacts(exclusion: .absent)
            }
        }
    }

    // MARK: Turns

    /// - Parameter wake: called once, on any thread, when a request that has to wait is to choose again.
    func choose(
        _ id: PoolID, _ request: PoolRequest, _ facts: [MemberFacts], wake: @escaping @Sendable () -> Void
    ) -> PoolChoice? {
        change { state in
            let choice = state.pools.choose(id, request, now: SystemClock.instant) { number in
                facts.indices.contains(number) ? facts[number] : MemberFacts(exclusion: .absent)
            }
            if case .wait(let ticket)? = choice { state.waiting[ticket] = wake }
            return choice
        }
    }

    func mayAsk(_ id: PoolID, _ pick: PoolPick, at node: PublicKey) -> Bool {
        state.withLock { $0.pools.mayAsk(id, pick, at: node) }
    }

    func began(_ id: PoolID, _ pick: PoolPick, at node: PublicKey) -> PoolAttempt {
        change { $0.pools.began(id, pick, at: node, now: SystemClock.instant) }
    }

    func dropped(_ id: PoolID, _ pick: PoolPick) { change { $0.pools.dropped(id, pick, now: SystemClock.instant) } }

    func answered(_ id: PoolID, _ attempt: inout PoolAttempt, _ member: String) {
        tell(id, member, change { $0.pools.answered(id, &attempt, now: SystemClock.instant) })
    }

    func ended(_ id: PoolID, _ attempt: PoolAttempt, _ outcome: PoolOutcome, _ member: String) {
        tell(id, member, change { $0.pools.ended(id, attempt, outcome, now: SystemClock.instant) })
    }

    /// The place of a request in the line of its pool, from 1.
    func position(_ id: PoolID, _ ticket: PoolTicket) -> Int { state.withLock { $0.pools.position(id, ticket) ?? 1 } }

    func leave(_ id: PoolID, _ ticket: PoolTicket) {
        change { state in
            state.waiting[ticket] = nil
            state.pools.leave(id, ticket, now: SystemClock.instant)
        }
    }

    /// Time passes for those who wait, and members may have come.
    /// - Returns: when to call again, at the latest.
    func tick(_ id: PoolID) -> Int64 {
        change { state in
            _ = placed(id, &state)
            let now = SystemClock.instant
            state.pools.tick(now: now)
            let left = state.pools.nextDeadline(now: now).map { $0.milliseconds(since: now) }
            return min(max(left ?? Limits.poolLookMs, 1), Limits.poolLookMs)
        }
    }

    /// Changes the pools, and wakes outside of the lock whoever is to choose again after it.
    @discardableResult
    private func change<Result>(_ body: (inout State) -> Result) -> Result {
        let (result, woken) = state.withLock { state in
            let result = body(&state)
            return (result, state.pools.takeWoken().compactMap { state.waiting.removeValue(forKey: $0) })
        }
        for wake in woken { wake() }
        return result
    }

    private func tell(_ id: PoolID, _ member: String, _ news: PoolNews?) {
        guard let news else { return }
        let metadata: Logger.Metadata = [
            "rotation": "\(id.name)", "rotation.scope": "\(id.scope)", "member": "\(member)",
        ]
        switch news {
        case .benched: logger.notice("a member of a rotation rests after its failures", metadata: metadata)
        case .rests: logger.info("a member of a rotation asked for a rest", metadata: metadata)
        case .returned: logger.notice("a member of a rotation is back", metadata: metadata)
        case .down:
            logger.error(
                "a member's own key or account is refused where it buys; its seller has to see to it",
                metadata: metadata)
        }
    }
}
