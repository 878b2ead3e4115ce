import ArgumentParser
import MeshModel
import MeshSimulation

@main
struct MeshSim: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mesh-sim", abstract: "Runs many mesh nodes in virtual time and checks what must hold.",
        subcommands: [Run.self, Replay.self, List.self])
}

struct List: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Lists the built-in scenarios.")

    func run() {
        for scenario in Scenario.all {
            let padding = String(repeating: " ", count: max(1, 16 - scenario.name.count))
            print("\(scenario.name)\(padding)\(scenario.summary) (\(scenario.defaultNodes) nodes)")
        }
    }
}

struct ScenarioArguments: ParsableArguments {
    @Option(help: "Which scenario; 'mesh-sim list' names them.") var scenario = "spread"
    @Option(help: "Number of nodes, 3 to 5000.") var nodes: Int?
    @Option(help: "Number of records published.") var records = 20
    @Option(help: "Seed of everything random.") var seed: UInt64 = 1
    @Flag(help: "Believe every signature: a negative control that must fail.") var credulous = false

    func validate() throws {
        guard Scenario.named(scenario) != nil else {
            let names = Scenario.all.map(\.name).joined(separator: ", ")
            throw ValidationError("no scenario '\(scenario)'; there are \(names)")
        }
        guard (3...5_000).contains(nodes ?? 3) else { throw ValidationError("--nodes takes 3 to 5000") }
        guard (1...10_000).contains(records) else { throw ValidationError("--records takes 1 to 10000") }
    }

    func report() throws -> ScenarioReport {
        guard let scenario = Scenario.named(scenario) else { throw ValidationError("no scenario '\(scenario)'") }
        var parameters = ScenarioParameters(
            nodes: nodes ?? scenario.defaultNodes, records: records, seed: seed)
        parameters.verifiesSignatures = !credulous
        return scenario.run(parameters)
    }
}

struct Run: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Runs a scenario; exit code 1 when something that must hold does not.")

    @OptionGroup var arguments: ScenarioArguments
    @Flag(help: "Print the report as JSON.") var json = false

    func run() throws {
        let report = try arguments.report()
        print(json ? ReportText.json(report) : ReportText.plain(report))
        if !report.holds { throw ExitCode(1) }
    }
}

struct Replay: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Runs a scenario twice and compares the traces, or compares with a trace hash given.")

    @OptionGroup var arguments: ScenarioArguments
    @Option(help: "Trace hash of an earlier run.") var expect: String?

    func run() throws {
        let hash = try arguments.report().traceHash.description
        let expected = try expect ?? arguments.report().traceHash.description
        print("trace \(hash)")
        guard hash == expected else {
            print("differs from \(expected)")
            throw ExitCode(1)
        }
        print("same as \(expect == nil ? "the second run" : "expected")")
    }
}
