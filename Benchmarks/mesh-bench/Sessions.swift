import NIOCore

/// Memory and start-up of a node of its own, apart from the one under load.
enum Sessions {
    /// P7: resident memory of a fresh node, and what each of 1,000 worker sessions adds.
    static func memory(_ phases: inout Phases, fixture: Fixture, workers: Int = 1_000) async throws {
        var node = try await BenchNode.initialised("m", binary: fixture.binary, folder: fixture.folder)
        _ = try await node.start()
        let address = try await node.createProvider()
        try await Task.sleep(for: .seconds(1))
        let idle = ProcessFigures.residentKiB(node.pid)
        let count = WorkerCount()
        let channels = try await MockWorker.connectInTurn(
            to: address, clients: 0..<workers, on: fixture.mockLoop, pacer: fixture.pacer,
            chunks: Fixture.streamChunks, count: count)
        let ready = try await waiting(for: "\(workers) workers to be registered", seconds: 30) {
            count.ready + count.lost >= workers ? count.ready : nil
        }
        try await Task.sleep(for: .seconds(2))
        let full = ProcessFigures.residentKiB(node.pid)
        for channel in channels { try? await channel.close().get() }
        Children.shared.stop(node.pid)
        let perSession = (full - idle) / Double(max(ready, 1))
        phases.add("memory", [("idle_mib", idle / 1_024), ("session_kib", perSession), ("sessions", Double(ready))])
    }

    /// P5: latency with 10 workers attached, and with 1,000, at the same concurrency.
    static func crowded(_ phases: inout Phases, fixture: Fixture) async throws {
        var node = try await BenchNode.initialised("w", binary: fixture.binary, folder: fixture.folder)
        _ = try await node.start()
        let address = try await node.createProvider()
        let key = try await node.createKey()
        let count = WorkerCount()
        var channels: [any Channel] = []
        for workers in [10, 1_000] {
            channels += try await MockWorker.connectInTurn(
                to: address, clients: channels.count..<workers, on: fixture.mockLoop, pacer: fixture.pacer,
                chunks: Fixture.streamChunks, count: count)
            _ = try await waiting(for: "\(workers) workers to be registered", seconds: 30) {
                count.ready + count.lost >= workers ? true : nil
            }
            let target = LoadTarget(
                port: node.apiPort,
                request: Payloads.request(model: try await node.model(key: key), key: key, stream: false))
            // What attaching set going (records, catalogs) is not what is measured.
            try await Task.sleep(for: .seconds(3))
            // 64 connections keep both cores busy, and then ten sockets carry several requests in one call of the kernel
            // where a thousand carry one; 8 show what the number of workers costs by itself.
            for run in 0..<(2 * phases.runs) {
                let connections = run % 2 == 0 ? 64 : 8
                let (totals, cpu) = try await phases.closedLoop(
                    target, pid: node.pid, connections: connections, milliseconds: phases.seconds * 1_000,
                    streams: false)
                let phase = "workers\(workers)c\(connections)"
                phases.note(phase, .node, totals)
                phases.add(
                    phase,
                    [
                        ("p50_ms", phases.milliseconds(totals.latency, 50)),
                        ("p99_ms", phases.milliseconds(totals.latency, 99)),
                        ("cpu_us", cpu.charged / Double(max(totals.requests, 1))),
                    ])
            }
        }
        for channel in channels { try? await channel.close().get() }
        Children.shared.stop(node.pid)
    }

    /// P8: from starting the process to the first 200, with a data directory that exists.
    static func coldStart(_ phases: inout Phases, fixture: Fixture) async throws {
        var node = try await BenchNode.initialised("c", binary: fixture.binary, folder: fixture.folder)
        for _ in 0..<max(phases.runs, 3) {
            let seconds = try await node.start()
            phases.add("start", [("seconds", seconds)])
            Children.shared.stop(node.pid)
        }
    }
}
