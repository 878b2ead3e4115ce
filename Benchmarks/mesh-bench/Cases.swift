import Foundation
import NIOCore
import Synchronization

typealias Figures = [String: Double]

/// The loads, each one run of one program under measurement.
struct Cases {
    let group: any EventLoopGroup
    let mesh: BenchMesh
    let backendPort: Int
    let nginx: NginxProxy
    let seconds: Int

    struct Case {
        var name: String
        var isOnce = false
        var run: () async throws -> Figures
    }

    static let pace = Pace(chunks: 40, microseconds: 50_000)
    static let fastPace = Pace(chunks: 200, microseconds: 10_000)

    /// Everything the wanted goals need; P6 and P1 share nothing but the goal's ratio.
    func all(_ wanted: Set<String>) -> [Case] {
        let a = mesh.nodes[0]
        let b = mesh.nodes[1]
        let nginxPID = nginx.process.processIdentifier
        var cases: [Case] = []
        if !wanted.isDisjoint(with: ["P1", "P6"]) {
            cases.append(Case(name: "rate.node") { try await rate(a.port, mesh.request(a), a.pid) })
        }
        if wanted.contains("P1") {
            cases.append(Case(name: "rate.nginx") { try await rate(nginx.port, plain(nginx.port), nginxPID) })
        }
        if wanted.contains("P6") {
            cases.append(Case(name: "rate.second") { try await rate(b.port, mesh.request(b), b.pid, also: a.pid) })
        }
        if !wanted.isDisjoint(with: ["P2", "P6"]) {
            cases.append(Case(name: "one.node") { try await one(a.port, mesh.request(a)) })
        }
        if wanted.contains("P2") {
            cases.append(Case(name: "one.direct") { try await one(backendPort, plain(backendPort)) })
            cases.append(Case(name: "one.nginx") { try await one(nginx.port, plain(nginx.port)) })
        }
        if wanted.contains("P6") {
            cases.append(Case(name: "one.second") { try await one(b.port, mesh.request(b)) })
        }
        if wanted.contains("P3") {
            for (name, pace) in [("2000", Self.pace), ("10000", Self.fastPace)] {
                cases.append(
                    Case(name: "stream\(name).node") {
                        try await streams(a.port, mesh.request(a, stream: pace), pace, a.pid)
                    })
                cases.append(
                    Case(name: "stream\(name).nginx") {
                        try await streams(nginx.port, plain(nginx.port, stream: pace), pace, nginxPID)
                    })
            }
        }
        if wanted.contains("P4") {
            for count in [512, 1_000] {
                cases.append(
                    Case(name: "many\(count).node", isOnce: true) {
                        try await many(count, a.port, a.pid, mesh.request(a, stream: Self.manyPace))
                    })
                cases.append(
                    Case(name: "many\(count).nginx", isOnce: true) {
                        try await many(count, nginx.port, nginxPID, plain(nginx.port, stream: Self.manyPace))
                    })
            }
        }
        return cases
    }

    private static let manyPace = Pace(chunks: 250, microseconds: 20_000)

    private func plain(_ port: Int, stream: Pace? = nil) -> ByteBuffer {
        LoadPlan.post(
            Answers.request(model: Answers.model, stream: stream), port: port,
            path: stream == nil ? "/v1/chat/completions" : "/stream", key: nil)
    }

    // MARK: Loads

    private func rate(_ port: Int, _ request: ByteBuffer, _ pid: Int32, also: Int32? = nil) async throws -> Figures {
        var plan = LoadPlan(port: port, request: request, connections: 64)
        plan.length = .seconds(Int64(seconds))
        let (tally, cpu) = try await measured(plan, [pid] + (also.map { [$0] } ?? []))
        var figures: Figures = [
            "requests_per_second": Double(tally.requests) / Double(seconds),
            "cpu_us_per_request": cpu[0] * 1e6 / Double(max(tally.requests, 1)),
            "failures": Double(tally.failures),
        ]
        if cpu.count > 1 { figures["cpu_us_per_request_host"] = cpu[1] * 1e6 / Double(max(tally.requests, 1)) }
        figures.merge(Percentiles.microseconds(tally.latencies, "latency")) { first, _ in first }
        return figures
    }

    private func one(_ port: Int, _ request: ByteBuffer) async throws -> Figures {
        var plan = LoadPlan(port: port, request: request)
        plan.length = .seconds(2)
        let tally = try await LoadGenerator.run(plan, group: group)
        var figures = Percentiles.microseconds(tally.latencies, "latency")
        figures["failures"] = Double(tally.failures)
        return figures
    }

    private func streams(_ port: Int, _ request: ByteBuffer, _ pace: Pace, _ pid: Int32) async throws -> Figures {
        var plan = LoadPlan(port: port, request: request, connections: 100)
        plan.spread = .microseconds(Int64(pace.microseconds * pace.chunks))
        plan.warmUp = plan.spread + .milliseconds(200)
        plan.length = .seconds(Int64(seconds))
        plan.expectedChunks = pace.chunks
        let (tally, cpu) = try await measured(plan, [pid])
        var figures: Figures = [
            "chunks_per_second": Double(tally.chunkDelays.count) / Double(seconds),
            "cpu_us_per_chunk": cpu[0] * 1e6 / Double(max(tally.chunkDelays.count, 1)),
            "failures": Double(tally.failures), "lost_chunks": Double(tally.lostChunks),
        ]
        figures.merge(Percentiles.microseconds(tally.firstChunks, "first_chunk")) { first, _ in first }
        figures.merge(Percentiles.microseconds(tally.chunkDelays, "chunk_delay")) { first, _ in first }
        return figures
    }

    private func many(_ count: Int, _ port: Int, _ pid: Int32, _ request: ByteBuffer) async throws -> Figures {
        var plan = LoadPlan(port: port, request: request, connections: count)
        plan.requests = 1
        plan.warmUp = .zero
        plan.spread = .seconds(1)
        plan.length = .seconds(6)
        plan.grace = .seconds(6)
        plan.expectedChunks = Self.manyPace.chunks
        let (tally, cpu) = try await measured(plan, [pid])
        var figures: Figures = [
            "streams": Double(count), "completed": Double(tally.requests), "failures": Double(tally.failures),
            "chunks": Double(tally.chunkDelays.count), "late_chunks": Double(tally.lateChunks),
            "lost_chunks": Double(count * Self.manyPace.chunks - tally.chunkDelays.count),
            "cpu_us_per_chunk": cpu[0] * 1e6 / Double(max(tally.chunkDelays.count, 1)),
        ]
        figures.merge(Percentiles.microseconds(tally.chunkDelays, "chunk_delay")) { first, _ in first }
        return figures
    }

    private func measured(_ plan: LoadPlan, _ pids: [Int32]) async throws -> (Tally, [Double]) {
        let readings = Mutex<(before: [Double], after: [Double])>(([], []))
        let tally = try await LoadGenerator.run(plan, group: group) { isEnd in
            let now = pids.map(ProcessFacts.cpuSeconds)
            readings.withLock { if isEnd { $0.after = now } else { $0.before = now } }
        }
        let (before, after) = readings.withLock { $0 }
        return (tally, zip(after, before).map { max(0, $0 - $1) })
    }
}
