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
    /// Attempts that policies chose; nodes that died.
    var byPolicy = 0
    var deaths = 0
    var longestQueue = 0
    var longestWaitMs: Int64 = 0
    /// What must never happen and did.
    var breaches: [String] = []
    /// Of each leaf of each pool: its share of a thousand by the rotation, and how many first attempts it served while
    /// all members of the first tier could have.
    private(set) var shares: [[Int]] = []
    private(set) var firsts: [[Int]] = []
    private var lastMembers: [UInt64: Int] = [:]

    mutating func broken(_ what: String) { if breaches.count < 100 { breaches.append(what) } }

    mutating func start(_ pools: Pools, _ ids: [PoolID]) {
        shares = ids.map { id in
            let explained = pools.explain(id, PoolRequest(), now: Instant(nanoseconds: 0)) { _ in MemberFacts() }
            return explained.map(Self.shares) ?? []
        }
        firsts = shares.map { [Int](repeating: 0, count: $0.count) }
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
        return explained.map { Self.shares($0) == shares[request.pool] } ?? false
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

    mutating func served(_ pool: Int, _ leaf: Int) { firsts[pool][leaf] += 1 }

    mutating func heard(_ news: PoolNews?) {
        switch news {
        case .benched: benched += 1
        case .rests: rested += 1
        case .down: down += 1
        case .returned: returned += 1
        case nil: break
        }
    }

    /// By how many of a thousand the share of a leaf is off at most.
    func largestError(_ pool: Int) -> Int {
        let all = firsts[pool].reduce(0, +)
        guard all > 0 else { return 0 }
        return zip(firsts[pool], shares[pool]).map { abs($0 * 1_000 / all - $1) }.max() ?? 0
    }
}
