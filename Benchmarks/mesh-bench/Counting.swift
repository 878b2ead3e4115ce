import Glibc
import NIOPosix

/// What a process has asked of the C library so far, as `Benchmarks/counters` tells it.
struct Counters {
    /// The order of the file.
    private enum Place: Int, CaseIterable {
        case allocations, allocatedBytes, copiedBytes, reads, writes, waits, watches, others
    }

    private let values: [UInt64]

    init(reading path: String) throws {
        guard let file = fopen(path, "r") else {
            throw BenchError("the node wrote no counters: is the library of --counters the one of Benchmarks/counters?")
        }
        defer { fclose(file) }
        var values = [UInt64](repeating: 0, count: Place.allCases.count)
        guard fread(&values, 8, values.count, file) == values.count else { throw BenchError("\(path) is cut short") }
        self.values = values
    }

    private func since(_ earlier: Counters, _ places: Place...) -> Double {
        places.reduce(0) { $0 + Double(values[$1.rawValue] &- earlier.values[$1.rawValue]) }
    }

    /// Per unit of work.
    /// - Parameter bodyBytes: that come in or go out with one.
    func figures(since earlier: Counters, units: Int, bodyBytes: Int) -> [(name: String, value: Double)] {
        let units = Double(max(units, 1))
        return [
            ("allocations", since(earlier, .allocations) / units),
            ("allocated_bytes", since(earlier, .allocatedBytes) / units),
            ("copied_per_byte", since(earlier, .copiedBytes) / units / Double(bodyBytes)),
            ("kernel_calls", since(earlier, .reads, .writes, .waits, .watches, .others) / units),
            ("reads", since(earlier, .reads) / units), ("writes", since(earlier, .writes) / units),
            ("waits", since(earlier, .waits) / units), ("watches", since(earlier, .watches) / units),
        ]
    }
}

/// Counts what requests and chunks cost a node in allocations, copies and calls of the kernel: with nodes of its own,
/// because counting takes time.
enum Counting {
    /// What is counted, and what it may come to.
    struct Gate {
        var figure: String
        var phase: String
        var what: String
        var path: Path
        var connections: Int
        var allocations: Int
        var calls: Double
        var streams = false
        /// At the node whose worker answers, where the buyer is at another one.
        var isAtHost = false
    }

    static let gates = [
        Gate(
            figure: "P1", phase: "counted_c1", what: "a request at c = 1", path: .node, connections: 1,
            allocations: 75, calls: 13),
        Gate(
            figure: "P1", phase: "counted_c64", what: "a request at c = 64", path: .node, connections: 64,
            allocations: 75, calls: 3),
        Gate(
            figure: "P3", phase: "counted_chunk", what: "a chunk of 100 streams", path: .node, connections: 100,
            allocations: 26, calls: 2.5, streams: true),
        Gate(
            figure: "P6", phase: "counted_linked_c1", what: "a request at the entry node, c = 1", path: .linked,
            connections: 1, allocations: 125, calls: 8),
        Gate(
            figure: "P6", phase: "counted_linked_c64", what: "a request at the entry node, c = 64", path: .linked,
            connections: 64, allocations: 125, calls: 3),
        Gate(
            figure: "P6", phase: "counted_host_c64", what: "a request at the hosting node, c = 64", path: .linked,
            connections: 64, allocations: 150, calls: 3, isAtHost: true),
        Gate(
            figure: "P6", phase: "counted_linked_chunk", what: "a chunk of 100 streams at the entry node",
            path: .linked, connections: 100, allocations: 14, calls: 2.5, streams: true),
        Gate(
            figure: "P6", phase: "counted_host_chunk", what: "a chunk of 100 streams at the hosting node",
            path: .linked, connections: 100, allocations: 26, calls: 2.5, streams: true, isAtHost: true),
    ]
    /// A request of 1 KiB and its answer; an event around one sending time.
    private static let requestBytes = 2_048
    private static let chunkBytes = 180

    static func measure(
        _ phases: inout Phases, library: String, wanted: Set<String>, binary: String,
        group: MultiThreadedEventLoopGroup
    ) async throws {
        let gates = gates.filter { wanted.contains($0.figure) }
        guard !gates.isEmpty else { return }
        guard access(library, R_OK) == 0, let path = realpath(library, nil) else {
            throw BenchError("\(library) does not exist: make bench builds it from Benchmarks/counters")
        }
        defer { free(path) }
        let folder = phases.fixture.folder + "/counted"
        mkdir(folder, 0o700)
        let fixture = try await Fixture.make(
            binary: binary, folder: folder, group: group, counters: String(cString: path))
        for gate in gates {
            guard let target = (gate.streams ? fixture.streamTargets : fixture.targets)[gate.path] else { continue }
            let isEntry = gate.path == .linked && !gate.isAtHost
            let file = (isEntry ? fixture.linked : fixture.node).countersFile
            // What is made once is made.
            _ = try await phases.closedLoop(
                target, pid: fixture.process(of: gate.path), connections: gate.connections, milliseconds: 1_000,
                streams: gate.streams)
            var ends: [Counters] = []
            let (totals, _) = try await phases.closedLoop(
                target, pid: fixture.process(of: gate.path), connections: gate.connections, milliseconds: 3_000,
                streams: gate.streams
            ) { _ in ends.append(try Counters(reading: file)) }
            phases.note(gate.phase, gate.path, totals)
            phases.add(
                gate.phase,
                ends[1].figures(
                    since: ends[0], units: gate.streams ? totals.chunks : totals.requests,
                    bodyBytes: gate.streams ? chunkBytes : requestBytes))
        }
    }
}
