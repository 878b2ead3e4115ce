import Glibc
import MeshWire

/// One line of the table: a number to reach and what was measured.
struct Figure {
    var id: String
    var what: String
    var goal: String
    var measured: String
    var met: Bool
}

struct Report {
    var figures: [Figure] = []
    let phases: Phases
    let chosen: Set<String>

    init(phases: Phases, chosen: Set<String>) {
        self.phases = phases
        self.chosen = chosen
        if chosen.contains("P1") { throughput() }
        if chosen.contains("P2") { latency() }
        if chosen.contains("P3") { streaming() }
        if chosen.contains("P4") { crowds() }
        if chosen.contains("P5") { crowdOfWorkers() }
        if chosen.contains("P6") { secondNode() }
        if chosen.contains("P7") { memory() }
        if chosen.contains("P8") { start() }
        if chosen.contains("P10") { bulk() }
        failures()
        if chosen.contains("R5") { leaving() }
        counted()
    }

    private mutating func add(_ id: String, _ what: String, _ goal: String, _ measured: String, _ met: Bool) {
        figures.append(Figure(id: id, what: what, goal: goal, measured: measured, met: met))
    }

    private mutating func throughput() {
        guard let node = phases.median("c64", .node, "rate"), let nginx = phases.median("c64", .nginx, "rate"),
            let cpu = phases.median("c64", .node, "cpu_us"), let nginxCPU = phases.median("c64", .nginx, "cpu_us"),
            nginx > 0
        else { return }
        add(
            "P1", "requests/s, 64 connections", ">= 1.0 x nginx",
            "\(text(node, 0)) = \(text(node / nginx, 2)) x nginx (\(text(nginx, 0)))", node >= nginx)
        add("P1", "node CPU per request", "<= 25 us", "\(text(cpu, 1)) us (nginx \(text(nginxCPU, 1)))", cpu <= 25)
        for peer in [Path.haproxy, .litellm] {
            guard let rate = phases.median("c64", peer, "rate"), let peerCPU = phases.median("c64", peer, "cpu_us"),
                rate > 0
            else { continue }
            add(
                "P1", "against \(peer.rawValue)", "more",
                "\(text(node / rate, 2)) x its \(text(rate, 0)) requests/s (\(text(peerCPU, 1)) us)", node > rate)
        }
    }

    private mutating func latency() {
        guard let node50 = phases.median("c1", .node, "p50_ms"), let node99 = phases.median("c1", .node, "p99_ms"),
            let direct50 = phases.median("c1", .direct, "p50_ms"), let direct99 = phases.median("c1", .direct, "p99_ms")
        else { return }
        let (p50, p99) = (node50 - direct50, node99 - direct99)
        add(
            "P2", "added latency at c = 1, p50 / p99", "<= 0.10 / 0.20 ms", "\(text(p50, 3)) / \(text(p99, 3)) ms",
            p50 <= 0.10 && p99 <= 0.20)
    }

    private mutating func streaming() {
        guard let node50 = phases.median("streams100", .node, "first_p50_ms"),
            let node99 = phases.median("streams100", .node, "first_p99_ms"),
            let nginx50 = phases.median("streams100", .nginx, "first_p50_ms"),
            let nginx99 = phases.median("streams100", .nginx, "first_p99_ms"),
            let cpu = phases.median("streams100", .node, "cpu_us_per_chunk"),
            let nginxCPU = phases.median("streams100", .nginx, "cpu_us_per_chunk")
        else { return }
        add(
            "P3", "first chunk at 100 streams, p50 / p99", "<= 1.2 x nginx",
            "\(text(node50, 3)) / \(text(node99, 3)) ms (nginx \(text(nginx50, 3)) / \(text(nginx99, 3)))",
            node50 <= 1.2 * nginx50 && node99 <= 1.2 * nginx99)
        add(
            "P3", "node CPU per chunk", "<= 1.2 x nginx", "\(text(cpu, 1)) us (nginx \(text(nginxCPU, 1)))",
            cpu <= 1.2 * nginxCPU)
    }

    private mutating func crowds() {
        for streams in [512, 1_000] {
            let phase = "streams\(streams)"
            guard let late = phases.worst(phase, .node, "late"), let lost = phases.worst(phase, .node, "lost"),
                let worst = phases.worst(phase, .node, "worst_delay_ms"),
                let nginxLate = phases.worst(phase, .nginx, "late_or_lost"),
                let nginxWorst = phases.worst(phase, .nginx, "worst_delay_ms")
            else { continue }
            add(
                "P4", "\(streams) streams: late + lost chunks", "0",
                "\(text(late, 0)) + \(text(lost, 0)), worst delay \(text(worst, 0)) ms "
                    + "(nginx \(text(nginxLate, 0)), \(text(nginxWorst, 0)) ms)", late + lost == 0)
        }
    }

    private mutating func crowdOfWorkers() {
        for connections in [8, 64] {
            guard let few = phases.median("workers10c\(connections)", .node, "p50_ms"), few > 0,
                let many = phases.median("workers1000c\(connections)", .node, "p50_ms"),
                let few99 = phases.median("workers10c\(connections)", .node, "p99_ms"),
                let many99 = phases.median("workers1000c\(connections)", .node, "p99_ms")
            else { continue }
            add(
                "P5", "first byte, 1,000 workers against 10, p50 at c = \(connections)", "<= 1.2 x",
                "\(text(many / few, 2)) x (p50 \(text(few, 2)) to \(text(many, 2)) ms, "
                    + "p99 \(text(few99, 2)) to \(text(many99, 2)))",
                many <= 1.2 * few)
        }
    }

    private mutating func bulk() {
        guard let alone = phases.median("bulk_alone", .node, "delay_p99_ms"),
            let beside = phases.median("bulk_beside", .node, "delay_p99_ms"),
            let memory = phases.worst("bulk_beside", .node, "added_mib"),
            let rate = phases.median("bulk_beside", .node, "mib_per_s")
        else { return }
        add(
            "P10", "chunk delay p99 of 100 streams beside a 200 MB answer", "<= 5 ms added",
            "\(text(beside - alone, 2)) ms added (\(text(alone, 2)) to \(text(beside, 2)); \(text(rate, 0)) MiB/s)",
            beside - alone <= 5)
        add("P10", "memory the answer adds to the node", "<= 16 MiB", "\(text(memory, 1)) MiB", memory <= 16)
    }

    private mutating func failures() {
        func of(_ phase: String) -> (failed: Double, slowest: Double, served: Double, out: Double, requests: Double)? {
            guard let failed = phases.worst(phase, .node, "failed"),
                let slow = phases.worst(phase, .node, "slowest_ms"),
                let served = phases.median(phase, .node, "served_percent"),
                let out = phases.worst(phase, .node, "out_after_s"),
                let requests = phases.median(phase, .node, "requests")
            else { return nil }
            return (failed, slow, served, out, requests)
        }
        if let killed = of("worker_killed") {
            add(
                "R1", "worker killed: slowest request from then on", "<= 100 ms",
                "\(text(killed.slowest, 0)) ms, \(text(killed.failed, 0)) failed (of about \(text(killed.requests, 0)))",
                killed.slowest <= 100 && killed.failed == 0)
        }
        if let silent = of("worker_silent") {
            add(
                "R1", "silent worker: out of the rotation", "<= 10 s",
                "\(text(silent.out, 1)) s, \(text(silent.failed, 0)) failed", silent.out <= 10 && silent.failed == 0)
        }
        if let killed = of("node_killed") {
            add(
                "R2", "hosting node killed, a replica elsewhere", ">= 99.9 % served",
                "\(text(killed.served, 2)) % of about \(text(killed.requests, 0)), slowest \(text(killed.slowest, 0)) ms",
                killed.served >= 99.9)
        }
        if let drained = of("node_drained") {
            add(
                "R3", "hosting node drained", "0 failed",
                "\(text(drained.failed, 0)) failed (of about \(text(drained.requests, 0)))", drained.failed == 0)
        }
    }

    private mutating func leaving() {
        for (path, what) in [("node", "its worker here"), ("linked", "a worker at another node")] {
            guard let p50 = phases.median("left_\(path)", .node, "p50_ms"),
                let p99 = phases.worst("left_\(path)", .node, "p99_ms")
            else { continue }
            add(
                "R5", "buyer gone: \(what) told, p50 / p99", "p99 <= 500 ms", "\(text(p50, 1)) / \(text(p99, 1)) ms",
                p99 <= 500)
        }
    }

    /// What a request, or a chunk, costs in numbers that no other program on the machine changes.
    private mutating func counted() {
        for gate in Counting.gates {
            guard let allocations = phases.median(gate.phase, .node, "allocations"),
                let calls = phases.median(gate.phase, .node, "kernel_calls"),
                let copied = phases.median(gate.phase, .node, "copied_per_byte")
            else { continue }
            add(
                gate.figure, "\(gate.what): allocations, kernel calls",
                "<= \(gate.allocations), \(text(gate.calls, 1))",
                "\(text(allocations, 1)), \(text(calls, 2)) (each body byte copied \(text(copied, 1)) x)",
                allocations <= Double(gate.allocations) && calls <= gate.calls)
        }
    }

    private mutating func secondNode() {
        guard let rate = phases.median("c64", .linked, "rate"), let node = phases.median("c64", .node, "rate"),
            let linked50 = phases.median("c1", .linked, "p50_ms"), let node50 = phases.median("c1", .node, "p50_ms"),
            let linked99 = phases.median("c1", .linked, "p99_ms"), let node99 = phases.median("c1", .node, "p99_ms"),
            let cpu = phases.median("c64", .linked, "cpu_us"), node > 0
        else { return }
        add(
            "P6", "requests/s through two nodes", ">= 0.6 x P1",
            "\(text(rate, 0)) = \(text(rate / node, 2)) x P1", rate >= 0.6 * node)
        if let single = phases.median("c64", .node, "cpu_us"), single > 0 {
            add(
                "P6", "entry node's CPU per request", "<= 1.5 x P1's",
                "\(text(cpu, 1)) us = \(text(cpu / single, 2)) x P1's", cpu <= 1.5 * single)
            if let host = phases.median("c64", .linked, "host_cpu_us") {
                add(
                    "P6", "hosting node's CPU per request", "<= 1.5 x P1's",
                    "\(text(host, 1)) us = \(text(host / single, 2)) x P1's", host <= 1.5 * single)
            }
        }
        if let entry = phases.median("streams100", .linked, "cpu_us_per_chunk"),
            let host = phases.median("streams100", .linked, "host_cpu_us_per_chunk"),
            let single = phases.median("streams100", .node, "cpu_us_per_chunk")
        {
            add(
                "P6", "CPU per chunk of 100 streams, entry + hosting node", "<= 2 x P3's",
                "\(text(entry, 1)) + \(text(host, 1)) us (one node \(text(single, 1)))", entry + host <= 2 * single)
        }
        add(
            "P6", "added by the second node, p50 / p99", "p99 <= 0.5 ms",
            "\(text(linked50 - node50, 3)) / \(text(linked99 - node99, 3)) ms", linked99 - node99 <= 0.5)
    }

    private mutating func memory() {
        guard let idle = phases.median("memory", .node, "idle_mib"),
            let session = phases.median("memory", .node, "session_kib"),
            let sessions = phases.median("memory", .node, "sessions")
        else { return }
        add("P7", "memory of an idle node", "<= 48 MiB", "\(text(idle, 1)) MiB", idle <= 48)
        add(
            "P7", "memory per idle worker session", "<= 10 KiB",
            "\(text(session, 1)) KiB (\(text(sessions, 0)) sessions)",
            session <= 10 && sessions >= 1_000)
    }

    private mutating func start() {
        guard let seconds = phases.median("start", .node, "seconds") else { return }
        add("P8", "cold start to first 200", "<= 0.6 s", "\(text(seconds, 3)) s", seconds <= 0.6)
    }

    /// A number with `digits` digits after the point.
    private func text(_ value: Double, _ digits: Int) -> String {
        var scale = 1.0
        for _ in 0..<digits { scale *= 10 }
        let scaled = Int64((value * scale).rounded())
        guard digits > 0 else { return String(scaled) }
        let fraction = String(scaled.magnitude % UInt64(scale))
        return (scaled < 0 ? "-" : "") + String(scaled.magnitude / UInt64(scale)) + "."
            + String(repeating: "0", count: digits - fraction.count) + fraction
    }

    var table: String {
        let rows =
            [["id", "what", "goal", "measured", "met"]]
            + figures.map { [$0.id, $0.what, $0.goal, $0.measured, $0.met ? "yes" : "NO"] }
        let widths = (0..<5).map { column in rows.map { $0[column].count }.max() ?? 0 }
        return rows.map { row in
            zip(row, widths).map { $0 + String(repeating: " ", count: $1 - $0.count) }.joined(separator: "  ")
        }.joined(separator: "\n")
    }

    func document(settings: [JSONValue.Member]) -> JSONValue {
        let lines = figures.map { figure -> JSONValue in
            [
                "id": .string(figure.id), "what": .string(figure.what), "goal": .string(figure.goal),
                "measured": .string(figure.measured), "met": .boolean(figure.met),
            ]
        }
        let raw = phases.samples.map { sample -> JSONValue in
            var members: [JSONValue.Member] = [
                .init("phase", .string(sample.phase)), .init("path", .string(sample.path.rawValue)),
            ]
            members += sample.values.map { .init($0.name, .number(text($0.value, 3))) }
            return .object(members)
        }
        return .object(
            settings + [
                .init("figures", .array(lines)), .init("problems", .strings(phases.problems)),
                .init("samples", .array(raw)),
            ])
    }
}
