import MeshModel
import MeshSimulation
import Testing

/// A day of requests to pools, in virtual time.
@Suite struct PoolScenarioTests {
    private func run(seed: UInt64, records: Int = 8, rests: Bool = true) throws -> ScenarioReport {
        let scenario = try #require(Scenario.named("pools"))
        var parameters = ScenarioParameters(nodes: 3, records: records, seed: seed)
        parameters.rests = rests
        return scenario.run(parameters)
    }

    private func figure(_ name: String, _ report: ScenarioReport) -> Int64? {
        report.figures.first { $0.name == name }?.value
    }

    @Test(arguments: 1...6 as ClosedRange<UInt64>) func holds(seed: UInt64) throws {
        let report = try run(seed: seed)
        #expect(report.holds, "\(ReportText.plain(report))")
    }

    /// A request that met nobody but full members, where one of another tier was free.
    @Test func whoIsFullCostsNoAttempt() throws {
        let report = try run(seed: 5_072, records: 20)
        #expect(report.holds, "\(ReportText.plain(report))")
    }

    /// Two had failed when the third said that the prompt was too long for it, and one with a larger window was free.
    @Test func tooSmallAWindowCostsNoAttempt() throws {
        let report = try run(seed: 1_664, records: 20)
        #expect(report.holds, "\(ReportText.plain(report))")
    }

    /// Few requests, and shares that are off by no more than chance explains.
    @Test(arguments: [3_514, 8_117] as [UInt64]) func fewRequestsTellLessOfShares(seed: UInt64) throws {
        let report = try run(seed: seed)
        #expect(report.holds, "\(ReportText.plain(report))")
    }

    /// Enough goes wrong in it for that to mean something.
    @Test func somethingHappens() throws {
        let report = try run(seed: 2)
        for name in ["benched", "rested by their own word", "keys refused", "tried out", "found well again"] {
            #expect(try #require(figure(name, report)) > 0, "\(name)")
        }
        #expect(try #require(figure("attempts per 1000 requests", report)) > 1_010)
    }

    @Test func oneSeedIsOneRun() throws {
        let first = try run(seed: 7, records: 2)
        #expect(try run(seed: 7, records: 2) == first)
        #expect(try run(seed: 8, records: 2).traceHash != first.traceHash)
    }

    /// The negative control: pools that hear of no failure ask who said no, and lose requests.
    @Test func theChecksCanFail() throws {
        let report = try run(seed: 21, rests: false)
        #expect(report.checks.contains { $0.name == "nothing that must not be" && !$0.holds })
        #expect(report.checks.contains { $0.name.contains("is lost") && !$0.holds })
    }
}
