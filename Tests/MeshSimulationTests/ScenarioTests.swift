import MeshModel
import MeshSimulation
import Testing

@Suite struct ScenarioTests {
    private func run(_ name: String, nodes: Int, seed: UInt64 = 1, verifies: Bool = true) throws -> ScenarioReport {
        let scenario = try #require(Scenario.named(name))
        var parameters = ScenarioParameters(nodes: nodes, records: 5, seed: seed)
        parameters.verifiesSignatures = verifies
        return scenario.run(parameters)
    }

    @Test(arguments: [
        "join", "partition-heal", "silent", "mutated", "forged", "lossy", "equivocation", "hostile-names", "crash",
    ])
    func holds(name: String) throws {
        let report = try run(name, nodes: 12)
        #expect(report.holds, "\(ReportText.plain(report))")
    }

    @Test func oneOperatorWithMostOfTheNodesIsNotMostOfTheNeighbours() throws {
        let report = try run("crowd", nodes: 40)
        #expect(report.holds, "\(ReportText.plain(report))")
    }

    @Test func thousandsOfRecordsAtOnceAreNoFlood() throws {
        let report = try run("heavy-join", nodes: 4)
        #expect(report.holds, "\(ReportText.plain(report))")
    }

    @Test func anUpdateReachesAHundredNodesInTime() throws {
        let report = try run("spread", nodes: 100)
        #expect(report.holds, "\(ReportText.plain(report))")
    }

    @Test func oneSeedIsOneRun() throws {
        let first = try run("lossy", nodes: 8, seed: 7)
        #expect(try run("lossy", nodes: 8, seed: 7) == first)
        #expect(try run("lossy", nodes: 8, seed: 8).traceHash != first.traceHash)
    }

    /// The negative control: with signatures believed, the forgery check must fail.
    @Test(arguments: ["mutated", "forged"]) func theForgeryCheckCanFail(name: String) throws {
        let report = try run(name, nodes: 12, verifies: false)
        #expect(!report.holds)
        #expect(report.checks.contains { $0.name.contains("never signed") && !$0.holds })
    }

    /// The negative control: nodes that say first and write then are found out, and lose what they said.
    @Test func theCheckOfWhatIsSaidCanFail() throws {
        let scenario = try #require(Scenario.named("crash"))
        var parameters = ScenarioParameters(nodes: 6, records: 1, seed: 1)
        parameters.speaksFirst = true
        let report = scenario.run(parameters)
        #expect(report.checks.contains { $0.name.contains("before it was on the disk") && !$0.holds })
        #expect(report.checks.contains { $0.name.contains("no version said two things") && !$0.holds })
    }

    /// The negative control: nodes that forget what names meant serve whoever has them now.
    @Test func theNameCheckCanFail() throws {
        let scenario = try #require(Scenario.named("hostile-names"))
        var parameters = ScenarioParameters(nodes: 12, records: 1, seed: 1)
        parameters.keepsNames = false
        let report = scenario.run(parameters)
        #expect(report.checks.contains { $0.name.contains("reached a namesake") && !$0.holds })
    }

    @Test func reportsAreReadable() throws {
        let report = try run("join", nodes: 4)
        #expect(ReportText.plain(report).contains("trace \(report.traceHash)"))
        #expect(ReportText.json(report).hasPrefix("{\"scenario\":\"join\""))
    }
}
