import Foundation
import MeshModel
import MeshSimulation
import MeshTopology
import Testing

/// What `mesh-sim run FILE` does.
@Suite struct TopologyScenarioTests {
    private static let directory = URL(filePath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().appending(path: "Topology")

    private func run(
        _ topology: Topology, seed: UInt64 = 1, change: (inout ScenarioParameters) -> Void = { _ in }
    ) -> ScenarioReport {
        var parameters = ScenarioParameters(nodes: topology.nodes.count, records: topology.providers.count, seed: seed)
        change(&parameters)
        return Scenario(topology).run(parameters)
    }

    private func shipped(_ name: String) throws -> Topology {
        let text = try String(contentsOf: Self.directory.appending(path: "\(name).yaml"), encoding: .utf8)
        return try Topology.parse(text).get()
    }

    @Test(arguments: ["single", "triangle", "pool"], 1...3 as ClosedRange<UInt64>)
    func everyShippedFileHolds(name: String, seed: UInt64) throws {
        let report = run(try shipped(name), seed: seed)
        #expect(report.holds, "\(ReportText.plain(report))")
        #expect(report.scenario == name)
    }

    @Test func oneSeedIsOneReport() throws {
        let triangle = try shipped("triangle")
        #expect(ReportText.json(run(triangle, seed: 9)) == ReportText.json(run(triangle, seed: 9)))
        #expect(run(triangle, seed: 9).traceHash != run(triangle, seed: 10).traceHash)
    }

    /// Buyers choose by the rotation and the policy of `pool.yaml` for a day, while workers and whole nodes go and come.
    @Test func aMarketIsTradedIn() throws {
        let report = run(try shipped("pool"), seed: 5)
        #expect(report.holds, "\(ReportText.plain(report))")
        for name in ["nodes that died", "attempts that policies chose", "found well again", "served"] {
            #expect(try #require(report.figures.first { $0.name == name }).value > 0, "\(name)")
        }
        let triangle = run(try shipped("triangle"))
        #expect(!triangle.figures.contains { $0.name == "served" }, "it has nothing to choose from")
    }

    /// Days on which somebody was just back, or rested a moment longer, when nobody else was left: a policy waits as a pool does.
    @Test(arguments: [87, 226, 234, 278] as [UInt64]) func whoIsJustBackIsWaitedFor(seed: UInt64) throws {
        let report = run(try shipped("pool"), seed: seed)
        #expect(report.holds, "\(ReportText.plain(report))")
    }

    /// The negative control: pools that hear of no failure ask whoever said no.
    @Test func aMarketThatLearnsNothingIsFoundOut() throws {
        let report = run(try shipped("pool")) { $0.rests = false }
        #expect(!report.holds)
    }

    /// The negative control of what is said and when.
    @Test func aNodeThatSpeaksFirstIsFoundOut() throws {
        let report = run(try shipped("triangle")) { $0.speaksFirst = true }
        #expect(report.checks.contains { $0.name.contains("before it was on the disk") && !$0.holds })
    }

    /// Workers away from home, providers for some only, an operator's own, and buyers who must not find them.
    static let market = """
        name: market
        nodes:
          - {name: a, peers: [b]}
          - {name: b, peers: [c]}
          - {name: c}
          - {name: d, peers: [a, c]}
        users:
          - {name: mia, home: a}
          - {name: noa, home: b}
        providers:
          - {id: open, owner: mia, home: a, access: public}
          - {id: own, owner: mia, home: a, access: owner}
          - {id: some, owner: noa, home: b, access: named, named: [kim@d]}
          - {id: gpu, owner: global, home: c, access: public, max_concurrency: 4}
        workers:
          - {name: w1, provider: mia@a/open, attach: d}
          - {name: w2, provider: mia@a/own, attach: a, backend: {kind: demo, models: [m, lab/n]}}
          - {name: w3, provider: noa@b/some, attach: c}
          - {name: w4, provider: global@c/gpu, attach: c}
          - {name: w5, provider: global@c/gpu, attach: b, backend: {kind: openai, base_url: "http://127.0.0.1:1/v1"}}
        buyers:
          - {name: mia, node: a}
          - {name: kim, node: d}
          - {name: kim, node: b}
          - {name: zoe, node: c}
        """

    @Test func everyBuyerFindsWhatHeMayUseAndNothingElse() throws {
        let report = run(try Topology.parse(Self.market).get())
        #expect(report.holds, "\(ReportText.plain(report))")
        #expect(report.figures.first { $0.name == "power failures" }?.value == 4)
    }
}
