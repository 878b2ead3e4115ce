import MeshModel
import MeshRouting

/// What a bystander of a `PoolDay` counts.
struct PoolTally: Sendable {
    /// Visits of buyers, and those that were told to come again.
    var asked = 0
    var refusals = 0
    /// Requests that nobody answered in the end although somebody could have.
    var lost = 0
    var probes = 0
    var benched = 0
    var rested = 0
    var down = 0
    var returned = 0
    var sessions = 0
    var stayed = 0
    /// Attempts that policies chose, those for buyers who named a seller, and nodes that died.
    var byPolicy = 0
    var byName = 0
    var deaths = 0
    var longestQueue = 0
    var longestWaitMs: Int64 = 0
    /// What must never happen and did.
    var breaches: [String] = []
    /// Of each pool.
    private(set) var shares: [PoolShares] = []
    private var lastMembers: [UInt64: Int] = [:]

    mutating func broken(_ what: String) { if breaches.count < 100 { breaches.append(what) } }

    mutating func start(_ pools: Pools, _ ids: [PoolID], entries: Int) {
        shares = ids.map { id in
            let explained = pools.explain(id, PoolRequest(), now: Instant(nanoseconds: 0)) { _ in MemberFacts() }
            return PoolShares(due: explained.map(Self.shares) ?? [], entries: entries)
        }
    }

    private static func shares(_ explained: PoolExplanation) -> [Int] {
        explained.candidates.map { candidate in
            switch candidate.standing {
            case .share(let perMille): perMille
            case .excluded: 0
            }
        }
    }

    /// Whether every member has the share that its owner gave it, for this request and now.
    func isWhole(
        _ pools: Pools, _ id: PoolID, _ request: PoolDay.Request, _ facts: [MemberFacts], _ now: Instant
    ) -> Bool {
        let explained = pools.explain(id, PoolRequest(), now: now) { facts[$0] }
        return explained.map { Self.shares($0) == shares[request.pool].due } ?? false
    }

    /// Whether conversations meet the member that they met before.
    mutating func chosen(_ request: PoolDay.Request, _ pick: PoolPick) {
        guard let session = request.asked.session, request.asked.tried.isEmpty else { return }
        // Each node remembers for itself.
        let key = session << 16 | UInt64(request.entry)
        if let last = lastMembers[key] {
            sessions += 1
            stayed += last == pick.leaf ? 1 : 0
        }
        lastMembers[key] = pick.leaf
    }

    mutating func asks(_ request: PoolDay.Request, isWhole: Bool) {
        shares[request.pool].asks(request.entry, isWhole: isWhole)
    }

    mutating func served(_ pool: Int, _ leaf: Int) { shares[pool].serves(leaf) }

    mutating func heard(_ news: PoolNews?) {
        switch news {
        case .benched: benched += 1
        case .rests: rested += 1
        case .down: down += 1
        case .returned: returned += 1
        case nil: break
        }
    }
}
