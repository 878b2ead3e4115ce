import MeshModel
import MeshRouting
import MeshTopology

extension Scenario {
    /// Of `records`, each stands for three hundred requests.
    private static let requestsPerRecord = 300

    static let pools = Scenario(
        name: "pools", summary: "a day of requests to pools whose members come, go, fail and have enough",
        defaultNodes: 3
    ) { parameters in
        var report = ScenarioReport("pools", parameters)
        var day = PoolDay(
            nodes: min(parameters.nodes, 64), requests: parameters.records * requestsPerRecord,
            market: PoolMarket(seed: parameters.seed), seed: parameters.seed, isRestless: !parameters.rests)
        day.run()
        day.tell(&report)
        return report
    }
}

extension PoolDay {
    /// The day of a topology's market: as many requests as its rotations' shares need to show.
    static func day(of topology: Topology, _ parameters: ScenarioParameters) -> PoolDay? {
        let market = PoolMarket(topology, seed: parameters.seed)
        guard !market.rotations.isEmpty || !market.policies.isEmpty, !market.seats.isEmpty else { return nil }
        return PoolDay(
            nodes: topology.nodes.count, requests: topologyRequests, market: market, seed: parameters.seed,
            nodesDie: topology.nodes.count > 1, isRestless: !parameters.rests)
    }

    private static let topologyRequests = 6_000

    func tell(_ report: inout ScenarioReport) {
        let all = requests.count
        func count(_ end: Request.End) -> Int { requests.count { $0.end == end } }
        report.add("requests", Int64(all), "")
        report.add("served", Int64(count(.served)), "")
        report.add("broken off behind content", Int64(count(.interrupted)), "")
        report.add("buyers who left", Int64(count(.cancelled)), "")
        report.add("refused in the end", Int64(count(.refused)), "")
        if tally.deaths > 0 {
            report.add("nodes that died", Int64(tally.deaths), "")
            report.add("broken off with their node", Int64(count(.lostNode)), "")
        }
        if tally.byPolicy > 0 { report.add("attempts that policies chose", Int64(tally.byPolicy), "") }
        report.add("attempts at sellers that were named", Int64(tally.byName), "")
        report.add("told to come again", Int64(tally.refusals - count(.refused)), "")
        report.add("attempts per 1000 requests", Int64(attempts.count * 1_000 / max(all, 1)), "")
        report.add("benched", Int64(tally.benched), "")
        report.add("rested by their own word", Int64(tally.rested), "")
        report.add("keys refused", Int64(tally.down), "")
        report.add("tried out", Int64(tally.probes), "")
        report.add("found well again", Int64(tally.returned), "")
        report.add("longest queue", Int64(tally.longestQueue), "")
        report.add("longest wait", tally.longestWaitMs, "ms")
        report.add("conversations that stayed", Int64(tally.stayed * 1_000 / max(tally.sessions, 1)), "of 1000")
        report.add("first attempts with all there", Int64(tally.shares.map(\.all).reduce(0, +)), "")
        report.add("virtual time", clock.milliseconds(since: Instant(nanoseconds: 0)), "ms")
        report.require(
            "every request has one end", requests.allSatisfy { $0.ends == 1 },
            "\(requests.count { $0.ends != 1 }) have not")
        report.require("no request is lost that somebody could have served", tally.lost == 0, "\(tally.lost)")
        report.require(
            "at most 1.1 attempts per request", attempts.count * 10 <= all * 11, "\(attempts.count) for \(all)")
        for (name, hasConversations, promised) in [
            ("shares as configured", false, Self.shareError), ("also with conversations", true, Self.sessionError),
        ] {
            let pools = market.rotations.indices.filter {
                (market.rotations[$0].settings.stickiness != .off) == hasConversations
            }.map { tally.shares[$0] }
            guard !pools.isEmpty else { continue }
            let worst = pools.max { $0.largestError < $1.largestError }
            report.require(
                name, pools.allSatisfy { $0.hold(promised: promised, hasConversations: hasConversations) },
                "\(worst?.largestError ?? 0) of 1000 off in \(worst?.all ?? 0)")
        }
        report.require("nothing that must not be", tally.breaches.isEmpty, tally.breaches.first ?? "")
        report.traceHash = traceHash
    }

    /// Of a thousand: how much a share may be off, as soon as there are enough requests to tell.
    private static let shareError = 20
    private static let sessionError = 60
}
