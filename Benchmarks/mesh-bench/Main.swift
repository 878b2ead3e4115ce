import ArgumentParser
import Foundation
import Glibc
import MeshWire
import NIOPosix

@main
struct MeshBench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mesh-bench", abstract: "Measure a node against nginx and a direct connection on this machine.",
        subcommands: [Run.self, SoakCommand.self, Choose.self, Tokens.self, Translate.self], defaultSubcommand: Run.self
    )
}

struct Run: AsyncParsableCommand {
    static let all = ["P1", "P2", "P3", "P4", "P5", "P6", "P7", "P8", "P10", "R1", "R2", "R3", "R5"]

    @Option(help: "Figures to measure, comma-separated (default: all).") var only: String?
    @Option(help: "Seconds of one measured interval.") var seconds = 5
    @Option(help: "Intervals per figure; the median counts.") var runs = 3
    @Option(help: "The node's binary.") var aisbf = ".build/release/aisbf"
    @Option(
        help:
            "What counts allocations, copies and calls of the kernel, built from Benchmarks/counters (default: not counted)."
    )
    var counters: String?
    @Option(help: "LiteLLM's executable, for P1 (default: the one in the path, if there is one).") var litellm: String?
    @Option(help: "Write figures and raw samples to this file.") var json: String?

    func validate() throws {
        guard (1...60).contains(seconds), (1...20).contains(runs) else {
            throw ValidationError("--seconds is 1 to 60, --runs 1 to 20.")
        }
        if let wrong = chosen.first(where: { !Self.all.contains($0) }) {
            throw ValidationError("There is no figure \(wrong). There are: \(Self.all.joined(separator: ", ")).")
        }
    }

    private var chosen: [String] {
        only.map { $0.split(separator: ",").map { String($0).uppercased() } } ?? Self.all
    }

    func run() async throws {
        guard access(aisbf, X_OK) == 0 else {
            throw BenchError("\(aisbf) does not exist: swift build -c release --product aisbf, or give --aisbf PATH")
        }
        let folder = FileManager.default.temporaryDirectory.path + "/mesh-bench-\(getpid())"
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        // An interrupt, or a run that takes far too long, must not leave processes behind.
        let endings = Endings.watch(removing: folder, limit: max(600, (seconds + 3) * runs * 20))
        defer {
            for source in endings { source.cancel() }
            Children.shared.killAll()
            try? FileManager.default.removeItem(atPath: folder)
        }
        Endings.raiseFileLimit()
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)
        let hasPeers = chosen.contains("P1")
        let fixture = try await Fixture.make(binary: aisbf, folder: folder, group: group) { folder, backend in
            hasPeers ? try await Peer.started(folder: folder, backend: backend, litellm: litellm) : [:]
        }
        var phases = Phases(fixture: fixture, seconds: seconds, runs: runs)
        let load = ProcessFigures.loadAverage()
        try await measure(&phases, fixture: fixture)
        if let counters {
            try await Counting.measure(&phases, library: counters, wanted: Set(chosen), binary: aisbf, group: group)
        }
        let report = Report(phases: phases, chosen: Set(chosen))
        print(report.table)
        for problem in phases.problems { print("problem: \(problem)") }
        if let json {
            let settings: [JSONValue.Member] = [
                .init("cpu", .string(ProcessFigures.cpuModel())),
                .init("cores", .integer(sysconf(Int32(_SC_NPROCESSORS_ONLN)))),
                .init("load_average_before", .string(load)), .init("seconds", .integer(seconds)),
                .init("runs", .integer(runs)),
            ]
            try ProcessFigures.write(report.document(settings: settings).bytes + [10], to: json)
        }
    }

    private func measure(_ phases: inout Phases, fixture: Fixture) async throws {
        let wanted = Set(chosen)
        if wanted.contains("P8") { try await Sessions.coldStart(&phases, fixture: fixture) }
        if wanted.contains("P7") { try await Sessions.memory(&phases, fixture: fixture) }
        if wanted.contains("P5") { try await Sessions.crowded(&phases, fixture: fixture) }
        if wanted.contains("R5") { try await Leaving.measure(&phases, fixture: fixture) }
        if !wanted.isDisjoint(with: ["R1", "R2", "R3"]) {
            try await Failing.measure(&phases, fixture: fixture, wanted: wanted)
        }
        if wanted.contains("P10") { try await Bulk.measure(&phases, fixture: fixture) }
        var busy: [Path] = []
        var quiet: [Path] = []
        if wanted.contains("P1") { busy += [.node, .nginx] + fixture.peers.keys.sorted { $0.rawValue < $1.rawValue } }
        if wanted.contains("P2") { quiet += [.node, .direct] }
        if wanted.contains("P6") {
            busy += busy.contains(.node) ? [.linked] : [.node, .linked]
            quiet += quiet.contains(.node) ? [.linked] : [.node, .linked]
        }
        if !quiet.isEmpty { try await phases.plain("c1", connections: 1, paths: quiet) }
        if !busy.isEmpty { try await phases.plain("c64", connections: 64, paths: busy) }
        let paced: [Path] =
            (wanted.contains("P3") || wanted.contains("P6") ? [.node] : [])
            + (wanted.contains("P3") ? [.nginx] : []) + (wanted.contains("P6") ? [.linked] : [])
        if !paced.isEmpty { try await phases.streams("streams100", connections: 100, paths: paced) }
        if wanted.contains("P4") {
            for streams in [512, 1_000] {
                for path in (0..<runs).flatMap({ _ in [Path.node, .nginx] }).shuffled() {
                    try await phases.crowd(streams, path)
                }
            }
        }
    }
}
