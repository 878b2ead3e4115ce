import Foundation
import NIOCore
import NIOPosix

/// What a node costs when nothing is asked of it, and how soon it answers.
struct Standing {
    let group: any EventLoopGroup
    let mesh: BenchMesh

    static let workers = 1_000

    /// P7: the idle node, and what 1,000 workers with names of their own add.
    func memory(_ place: WorkerPlace) async throws -> Figures {
        let pid = mesh.nodes[0].pid
        try await Task.sleep(for: .seconds(2))
        let idle = ProcessFacts.residentKiB(pid)
        var channels: [any Channel] = []
        let group = group
        var failed = 0
        for start in stride(from: 0, to: Self.workers, by: 50) {
            await withTaskGroup(of: (any Channel)?.self) { tasks in
                for index in start..<(start + 50) {
                    tasks.addTask { try? await MockWorker.attach(place, clientID: "idle-\(index)", group: group) }
                }
                for await channel in tasks {
                    if let channel { channels.append(channel) } else { failed += 1 }
                }
            }
        }
        try await Task.sleep(for: .seconds(5))
        let alive = channels.filter(\.isActive).count
        let full = ProcessFacts.residentKiB(pid)
        let cpuBefore = ProcessFacts.cpuSeconds(pid)
        try await Task.sleep(for: .seconds(3))
        let cpu = (ProcessFacts.cpuSeconds(pid) - cpuBefore) / 3
        for channel in channels { channel.close(promise: nil) }
        return [
            "idle_mb": idle / 1_024, "sessions": Double(alive), "refused": Double(failed),
            "kib_per_session": (full - idle) / Double(max(alive, 1)), "idle_cpu_percent_with_workers": cpu * 100,
        ]
    }

    /// P8: from the start of the process to the first 200, on a data directory that exists.
    func coldStart(_ aisbf: String) async throws -> Figures {
        let begin = ContinuousClock.now
        let process = try Programs.start(
            aisbf, ["node", "run", "--config", mesh.configuration("a")], log: "\(mesh.directory)/cold.log")
        var elapsed = Double.infinity
        while ContinuousClock.now - begin < .seconds(15) {
            var plan = LoadPlan(port: mesh.nodes[0].port, request: LoadPlan.get("/health", port: mesh.nodes[0].port))
            plan.requests = 1
            plan.warmUp = .zero
            plan.length = .milliseconds(500)
            if let tally = try? await LoadGenerator.run(plan, group: group), tally.lastStatus == 200 {
                elapsed = (ContinuousClock.now - begin) / .milliseconds(1)
                break
            }
            try await Task.sleep(for: .milliseconds(5))
        }
        try await Programs.stop(process)
        guard elapsed.isFinite else { throw BenchFailure("the node did not answer within 15 s of its start") }
        return ["cold_start_ms": elapsed]
    }
}
