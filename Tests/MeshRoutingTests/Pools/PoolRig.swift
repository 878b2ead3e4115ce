import MeshModel
import MeshRouting
import Testing

/// One pool with a clock, and members whose state a test sets.
struct PoolRig {
    static let id = PoolID(scope: .global, name: "pool")
    static func key(_ number: Int) -> RecordKey { RecordKey(Bytes16(high: 7, low: UInt64(number))) }
    static func node(_ number: Int) -> PublicKey {
        PublicKey(Bytes32(high: Bytes16(high: 9, low: UInt64(number)), low: .zero))
    }

    var pools: Pools
    var facts: [MemberFacts]
    var nowMs: Int64 = 1_000_000
    let id: PoolID

    var now: Instant { Instant(nanoseconds: nowMs * 1_000_000) }

    /// Members `m0`, `m1`, …, each with one node of its own.
    init(
        _ members: [(weight: Int, tier: Int)], seed: UInt64 = 1, settings: Rotation.Settings = plain(),
        id: PoolID = PoolRig.id
    ) {
        let members = members.enumerated().map {
            Rotation.Member(.provider("m\($0.offset)", model: "x"), weight: $0.element.weight, tier: $0.element.tier)
        }
        self.init(Rotation(name: "pool", members: members, settings: settings), seed: seed, id: id)
    }

    init(
        _ rotation: Rotation, others: [Rotation] = [], nodes: Int = 1, seed: UInt64 = 1, id: PoolID = PoolRig.id
    ) {
        pools = Pools(seed: seed)
        self.id = id
        facts = []
        set(rotation, others: others, nodes: nodes)
    }

    /// Without conversations, and nobody waits.
    static func plain() -> Rotation.Settings {
        var settings = Rotation.Settings()
        settings.stickiness = .off
        settings.queueLength = 0
        return settings
    }

    mutating func set(_ rotation: Rotation, others: [Rotation] = [], nodes: Int = 1) {
        pools.set(id, rotation) { name in others.first { $0.name == name } }
        let leaves = pools.tree(id)?.leaves ?? []
        facts = leaves.map { _ in MemberFacts() }
        place(leaves.indices.map { leaf in (0..<nodes).map { leaf * 10 + $0 } })
    }

    /// The numbers of the nodes of each leaf.
    mutating func place(_ nodes: [[Int]]) {
        let leaves = pools.tree(id)?.leaves ?? []
        let places = zip(leaves.indices, nodes).map { number, nodes in
            PoolPlaces(
                provider: leaves[number].provider.isEmpty ? nil : Self.key(number), model: leaves[number].model ?? "",
                nodes: nodes.map(Self.node))
        }
        pools.place(id, places, now: now)
    }

    mutating func choose(_ request: PoolRequest = PoolRequest()) -> PoolChoice {
        let facts = facts
        return pools.choose(id, request, now: now) { facts[$0] } ?? .exhausted(Self.gone)
    }

    /// What is told of a pool that is not there.
    static let gone = PoolExhaustion(cause: .members, retryAfterSeconds: nil, reasons: [])

    /// Nil when nobody was picked.
    mutating func pick(_ request: PoolRequest = PoolRequest()) -> PoolPick? {
        if case .ask(let pick) = choose(request) { pick } else { nil }
    }

    mutating func begin(_ request: PoolRequest = PoolRequest()) -> PoolAttempt? {
        guard let pick = pick(request) else { return nil }
        let node = (0..<100).map(Self.node).first { pools.mayAsk(id, pick, at: $0) }
        return node.map { pools.began(id, pick, at: $0, now: now) }
    }

    /// Somebody has to be picked.
    mutating func must(_ request: PoolRequest = PoolRequest()) throws -> PoolAttempt {
        let attempt = begin(request)
        return try #require(attempt)
    }

    @discardableResult
    mutating func end(_ attempt: PoolAttempt, _ outcome: PoolOutcome) -> PoolNews? {
        pools.ended(id, attempt, outcome, now: now)
    }

    /// One request that ends at once.
    /// - Returns: the number of the leaf that had it.
    @discardableResult
    mutating func run(_ request: PoolRequest = PoolRequest(), _ outcome: PoolOutcome = .served) -> Int? {
        guard let attempt = begin(request) else { return nil }
        end(attempt, outcome)
        return attempt.pick.leaf
    }

    /// Runs requests until that leaf rests.
    mutating func bench(_ leaf: Int) {
        for _ in 0..<10_000 {
            guard reason(leaf) != .cooling, let attempt = begin() else { return }
            end(attempt, attempt.pick.leaf == leaf ? .failed(.server) : .served)
        }
    }

    func explain(_ request: PoolRequest = PoolRequest()) -> PoolExplanation? {
        pools.explain(id, request, now: now) { facts[$0] }
    }

    func candidate(_ leaf: Int, _ request: PoolRequest = PoolRequest()) -> PoolExplanation.Candidate? {
        explain(request)?.candidates[leaf]
    }

    func reason(_ leaf: Int, _ request: PoolRequest = PoolRequest()) -> Exclusion? {
        guard case .excluded(let reason)? = candidate(leaf, request)?.standing else { return nil }
        return reason
    }

    func share(_ leaf: Int) -> Int? {
        guard case .share(let perMille)? = candidate(leaf)?.standing else { return nil }
        return perMille
    }

    /// For how long a leaf still rests.
    func restMs(_ leaf: Int) -> Int64? { candidate(leaf)?.until.map { $0.milliseconds(since: now) } }

    /// How many of so many requests each leaf has.
    mutating func counts(_ requests: Int) -> [Int] {
        var counts = [Int](repeating: 0, count: facts.count)
        for _ in 0..<requests { if let leaf = run() { counts[leaf] += 1 } }
        return counts
    }
}

extension PoolRequest {
    func tried(_ attempts: PoolAttempt..., fault: Fault = .server) -> PoolRequest {
        var request = self
        request.tried += attempts.map { $0.tried(fault) }
        return request
    }

    func with(_ ticket: PoolTicket) -> PoolRequest {
        var request = self
        request.ticket = ticket
        return request
    }
}
