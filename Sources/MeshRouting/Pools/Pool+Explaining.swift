import MeshModel

extension Pool {
    func mayAsk(_ pick: PoolPick, at node: PublicKey) -> Bool {
        guard pick.serial == serial, let leaf = leaves.first(where: { $0.identity == pick.identity }) else {
            return false
        }
        let seat = leaf.seats[..<leaf.placed].firstIndex { $0.key.node == node }
        return seat.map(pick.seats.contains) ?? false
    }

    /// On a copy: the very choice that a request would meet.
    func explain(
        _ request: PoolRequest, _ commons: PoolCommons, now: Instant, facts: (Int) -> MemberFacts
    ) -> PoolExplanation {
        var pool = self
        var changed = commons
        let choice = pool.choose(request, &changed, now: now, facts: facts)
        pool = self
        pool.survey(request, .others, commons.board, now, facts)
        let shares = pool.shares()
        let candidates = leaves.indices.map { leaf in
            let standing = pool.standings[leaf]
            let twin = leaves[leaf].twin ?? leaf
            return PoolExplanation.Candidate(
                leaf: leaf,
                standing: standing.reason.map { .excluded($0) } ?? .share(perMille: shares[twin]),
                until: standing.reason == .cooling ? standing.soonest : nil)
        }
        return PoolExplanation(candidates: candidates, choice: choice)
    }

    /// How many of a thousand requests each leaf is the first for, by what was last surveyed.
    private func shares() -> [Int] {
        var shares = [Int](repeating: 0, count: leaves.count)
        share(1_000_000, of: 0, &shares)
        return shares.map { ($0 + 500) / 1_000 }
    }

    private func share(_ millionths: Int, of group: Int, _ shares: inout [Int]) {
        let standing = groups[group]
        guard let serving = standing.serving else { return }
        let own = standing.next == nil ? millionths : millionths * standing.percent / 100
        share(own, among: serving, &shares)
        if let next = standing.next { share(millionths - own, among: next, &shares) }
    }

    private func share(_ millionths: Int, among run: Range<Int>, _ shares: inout [Int]) {
        let parts = run.map { Int(tree.nodes[$0].weight) * nodePercents[$0] }
        let total = parts.reduce(0, +)
        guard total > 0 else { return }
        for (node, part) in zip(run, parts) where part > 0 {
            let own = millionths * part / total
            switch tree.nodes[node].content {
            case .leaf(let leaf): shares[leaves[leaf].twin ?? leaf] += own
            case .group(let inner): share(own, of: inner, &shares)
            }
        }
    }
}
