import Glibc
import Histogram

/// One measured interval, and the numbers taken from it.
struct Sample: Sendable {
    var phase: String
    var path: Path
    var values: [(name: String, value: Double)]
}

/// Runs the measured intervals. Every interval has an end of its own; none waits for an answer without a limit.
struct Phases {
    let fixture: Fixture
    let seconds: Int
    let runs: Int
    private(set) var samples: [Sample] = []
    private(set) var problems: [String] = []

    init(fixture: Fixture, seconds: Int, runs: Int) {
        self.fixture = fixture
        self.seconds = seconds
        self.runs = runs
    }

    /// The median over the runs of one figure.
    func median(_ phase: String, _ path: Path, _ name: String) -> Double? {
        let values = samples.filter { $0.phase == phase && $0.path == path }
            .compactMap { sample in sample.values.first { $0.name == name }?.value }.sorted()
        guard !values.isEmpty else { return nil }
        let middle = values.count / 2
        return values.count % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2
    }

    func worst(_ phase: String, _ path: Path, _ name: String) -> Double? {
        samples.filter { $0.phase == phase && $0.path == path }
            .compactMap { sample in sample.values.first { $0.name == name }?.value }.max()
    }

    /// Closed loop over `connections`, all paths in random order, every path once per run.
    mutating func plain(_ phase: String, connections: Int, paths: [Path]) async throws {
        for path in paths {
            _ = try await closedLoop(path, connections: connections, milliseconds: 700, streams: false)
        }
        for path in (0..<runs).flatMap({ _ in paths }).shuffled() {
            let (totals, cpu) = try await closedLoop(
                path, connections: connections, milliseconds: seconds * 1_000, streams: false)
            note(phase, path, totals)
            let requests = Double(max(totals.requests, 1))
            samples.append(
                Sample(
                    phase: phase, path: path,
                    values: [
                        ("rate", Double(totals.requests) / Double(seconds)), ("cpu_us", cpu.charged / requests),
                        ("host_cpu_us", cpu.host / requests), ("harness_cpu_us", cpu.harness / requests),
                        ("p50_ms", milliseconds(totals.latency, 50)),
                        ("p99_ms", milliseconds(totals.latency, 99)), ("errors", Double(totals.errors)),
                    ]))
        }
    }

    /// Paced streams one after the other on every connection.
    mutating func streams(_ phase: String, connections: Int, paths: [Path]) async throws {
        for path in (0..<runs).flatMap({ _ in paths }).shuffled() {
            let (totals, cpu) = try await closedLoop(
                path, connections: connections, milliseconds: max(seconds, 3) * 1_000, streams: true)
            note(phase, path, totals)
            samples.append(
                Sample(
                    phase: phase, path: path,
                    values: [
                        ("first_p50_ms", milliseconds(totals.firstChunk, 50)),
                        ("first_p99_ms", milliseconds(totals.firstChunk, 99)),
                        ("cpu_us_per_chunk", cpu.charged / Double(max(totals.chunks, 1))),
                        ("host_cpu_us_per_chunk", cpu.host / Double(max(totals.chunks, 1))),
                        ("chunks", Double(totals.chunks)), ("errors", Double(totals.errors)),
                    ]))
        }
    }

    /// Many streams at once, each read to its end. Through nginx it shows what the harness and the machine are late by.
    mutating func crowd(_ streams: Int, _ path: Path) async throws {
        let recorder = Recorder()
        guard let target = fixture.streamTargets[path] else { return }
        recorder.begin()
        let cpu = ProcessFigures.cpuMicroseconds(fixture.process(of: path))
        let channels = try await LoadGenerator.open(
            streams, to: target, recorder: recorder, on: fixture.loadLoop, spread: 1_000, repeats: false)
        let deadline = Clock.now() + 15_000_000_000
        while Clock.now() < deadline {
            let totals = recorder.totals
            if totals.finished + totals.errors >= streams { break }
            try await Task.sleep(for: .milliseconds(20))
        }
        let used = ProcessFigures.cpuMicroseconds(fixture.process(of: path)) - cpu
        let totals = recorder.end()
        await LoadGenerator.close(channels, recorder: recorder)
        note("streams\(streams)", path, totals)
        let lost = streams * Fixture.streamChunks - totals.chunks
        samples.append(
            Sample(
                phase: "streams\(streams)", path: path,
                values: [
                    ("late", Double(totals.lateChunks)), ("lost", Double(lost)),
                    ("late_or_lost", Double(totals.lateChunks + lost)),
                    ("worst_delay_ms", Double(totals.worstDelay) / 1e6),
                    ("cpu_us_per_chunk", used / Double(max(totals.chunks, 1))), ("errors", Double(totals.errors)),
                ]))
    }

    mutating func add(_ phase: String, _ values: [(name: String, value: Double)]) {
        samples.append(Sample(phase: phase, path: .node, values: values))
    }

    private func closedLoop(
        _ path: Path, connections: Int, milliseconds: Int, streams: Bool
    ) async throws -> (Recorder.Totals, CPUTime) {
        guard let target = (streams ? fixture.streamTargets : fixture.targets)[path] else {
            throw BenchError("no target for \(path.rawValue)")
        }
        return try await closedLoop(
            target, pid: fixture.process(of: path), connections: connections, milliseconds: milliseconds,
            streams: streams)
    }

    /// Load on `target` for a while.
    /// - Parameters:
    ///   - pid: of the process that is charged with it.
    ///   - interval: told when what is measured begins, with true, and when it ends.
    func closedLoop(
        _ target: LoadTarget, pid: Int32, connections: Int, milliseconds: Int, streams: Bool,
        during interval: (Bool) throws -> Void = { _ in }
    ) async throws -> (Recorder.Totals, CPUTime) {
        let recorder = Recorder()
        if streams { recorder.begin() }
        let spread = streams ? 2_000 : 0
        let channels = try await LoadGenerator.open(
            connections, to: target, recorder: recorder, on: fixture.loadLoop, spread: spread)
        if !streams {
            try await Task.sleep(for: .milliseconds(150))
        }
        recorder.begin()
        try interval(true)
        let pids = (pid, getpid(), fixture.node.pid)
        let before = Self.used(pids)
        try await Task.sleep(for: .milliseconds(milliseconds))
        let after = Self.used(pids)
        let totals = recorder.end()
        try interval(false)
        await LoadGenerator.close(channels, recorder: recorder)
        return (
            totals,
            CPUTime(
                charged: after.charged - before.charged, harness: after.harness - before.harness,
                host: after.host - before.host)
        )
    }

    private static func used(_ pids: (charged: Int32, harness: Int32, host: Int32)) -> CPUTime {
        CPUTime(
            charged: ProcessFigures.cpuMicroseconds(pids.charged),
            harness: ProcessFigures.cpuMicroseconds(pids.harness), host: ProcessFigures.cpuMicroseconds(pids.host))
    }

    mutating func note(_ phase: String, _ path: Path, _ totals: Recorder.Totals) {
        guard totals.errors > 0 else { return }
        problems.append("\(phase) \(path.rawValue): \(totals.errors) errors, first: \(totals.firstError ?? "")")
    }

    func milliseconds(_ histogram: Histogram<UInt64>, _ percentile: Double) -> Double {
        Double(histogram.valueAtPercentile(percentile)) / 1e6
    }
}
