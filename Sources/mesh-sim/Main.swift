import ArgumentParser
import Foundation
import MeshModel
import MeshSimulation
import MeshTopology

@main
struct MeshSim: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mesh-sim", abstract: "Runs many mesh nodes in virtual time and checks what must hold.",
        subcommands: [Run.self, Sweep.self, Replay.self, List.self])
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
    @Argument(help: "A topology file to simulate, in place of a built-in scenario.") var file: String?
    @Option(help: "Which scenario; 'mesh-sim list' names them. Default: spread.") var scenario: String?
    @Option(help: "Number of nodes, 3 to 5000.") var nodes: Int?
    @Option(help: "Number of records published.") var records: Int?
    @Option(help: "Seed of everything random.") var seed: UInt64 = 1
    @Flag(help: "Believe every signature: a negative control that must fail.") var credulous = false
    @Flag(help: "Say what is still on its way to the disk: another one.") var speaksFirst = false
    @Flag(help: "Forget what names meant at the end of a node: another one.") var forgetsNames = false
    @Flag(help: "Let nobody in a pool rest, whatever becomes of requests: another one.") var restless = false

    func validate() throws {
        guard (3...5_000).contains(nodes ?? 3) else { throw ValidationError("--nodes takes 3 to 5000") }
        guard (1...10_000).contains(records ?? 1) else { throw ValidationError("--records takes 1 to 10000") }
        guard file == nil || scenario == nil else { throw ValidationError("give a file or --scenario, not both") }
        guard file == nil || (nodes == nil && records == nil) else {
            throw ValidationError("nodes and records of a topology stand in its file")
        }
        let name = scenario ?? Self.usual
        guard Scenario.named(name) != nil else {
            let names = Scenario.all.map(\.name).joined(separator: ", ")
            throw ValidationError("no scenario '\(name)'; there are \(names)")
        }
    }

    private static let usual = "spread"

    func report() throws -> ScenarioReport {
        let (scenario, parameters) = try prepared()
        return scenario.run(parameters)
    }

    /// What is to be run, and how; the seed can be set anew for each run.
    func prepared() throws -> (Scenario, ScenarioParameters) {
        let chosen: Scenario
        var records = records ?? 20
        if let file {
            let topology = try Self.topology(file)
            chosen = Scenario(topology)
            records = topology.providers.count
        } else {
            guard let scenario = Scenario.named(scenario ?? Self.usual) else { throw ExitCode(1) }
            chosen = scenario
        }
        var parameters = ScenarioParameters(nodes: nodes ?? chosen.defaultNodes, records: records, seed: seed)
        parameters.verifiesSignatures = !credulous
        parameters.speaksFirst = speaksFirst
        parameters.keepsNames = !forgetsNames
        parameters.rests = !restless
        return (chosen, parameters)
    }

    private static func topology(_ path: String) throws -> Topology {
        guard let data = FileManager.default.contents(atPath: path) else {
            throw ValidationError("'\(path)' cannot be read")
        }
        switch Topology.parse(String(decoding: data, as: UTF8.self)) {
        case .success(let topology): return topology
        case .failure(let problems): throw ValidationError("\(path): \(problems)")
        }
    }
}

struct Run: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Runs a scenario or a topology file; exit code 1 when something that must hold does not.")

    @OptionGroup var arguments: ScenarioArguments
    @Flag(help: "Print the report as JSON.") var json = false

    func run() throws {
        let report = try arguments.report()
        print(json ? ReportText.json(report) : ReportText.plain(report))
        if !report.holds { throw ExitCode(1) }
    }
}

struct Sweep: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract:
            "Runs a scenario or a topology file with many seeds, and names those with which something does not hold.")

    @OptionGroup var arguments: ScenarioArguments
    @Option(help: "How many seeds, 1 to 1000000, beginning with --seed.") var seeds = 100

    func validate() throws {
        guard (1...1_000_000).contains(seeds) else { throw ValidationError("--seeds takes 1 to 1000000") }
        guard arguments.seed <= UInt64.max - UInt64(seeds) else { throw ValidationError("--seed is too large") }
    }

    func run() throws {
        var (scenario, parameters) = try arguments.prepared()
        var failed = 0
        var extremes: [(name: String, unit: String, least: Int64, most: Int64)] = []
        for seed in arguments.seed..<arguments.seed + UInt64(seeds) {
            parameters.seed = seed
            let report = scenario.run(parameters)
            for check in report.checks where !check.holds { print("seed \(seed): \(check.name) (\(check.detail))") }
            failed += report.holds ? 0 : 1
            for figure in report.figures {
                guard let known = extremes.firstIndex(where: { $0.name == figure.name }) else {
                    extremes.append((figure.name, figure.unit, figure.value, figure.value))
                    continue
                }
                extremes[known].least = min(extremes[known].least, figure.value)
                extremes[known].most = max(extremes[known].most, figure.value)
            }
        }
        for figure in extremes { print("  \(figure.name): \(figure.least) to \(figure.most) \(figure.unit)") }
        print("\(scenario.name): \(seeds) seeds, \(failed) failed")
        if failed > 0 { throw ExitCode(1) }
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
