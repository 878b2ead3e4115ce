import ArgumentParser
import Foundation
import NIOCore
import NIOPosix

struct RunCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Start nodes, nginx, a worker and the load, and print goal by goal what was reached.")

    @Option(help: "Goals to measure, such as P1,P6.") var only = "P1,P2,P3,P4,P6,P7,P8"
    @Option(help: "Seconds each rate is measured.") var seconds = 4
    @Option(help: "Runs of each load; the median counts.") var runs = 3
    @Option(help: "Write every run to this file.") var json: String?
    @Option(help: "The aisbf program; the one beside this program when left out.") var aisbf: String?
    @Option(help: "The nginx program.") var nginx = "/usr/sbin/nginx"

    func validate() throws {
        guard (1...60).contains(seconds), (1...20).contains(runs) else {
            throw ValidationError("--seconds must be 1 to 60 and --runs 1 to 20")
        }
    }

    func run() async throws {
        let own = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent().path
        let program = aisbf ?? "\(own)/aisbf"
        for path in [program, nginx] where !FileManager.default.isExecutableFile(atPath: path) {
            throw BenchFailure("\(path) is missing: build aisbf with -c release, and install nginx-light")
        }
        let directory = NSTemporaryDirectory() + "aisbf-bench-\(ProcessInfo.processInfo.processIdentifier)"
        try FileManager.default.createDirectory(
            atPath: directory, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
        var report = Report(seconds: seconds)
        do {
            let bench = Sitting(command: self, program: program, directory: directory)
            try await bench.run(&report)
        } catch {
            say("stopped: \(error); logs are in \(directory)")
            throw error
        }
        try FileManager.default.removeItem(atPath: directory)
        report.conclude()
        print(report.table)
        if let json { try report.json.write(to: URL(fileURLWithPath: json)) }
    }

    func say(_ text: String) { FileHandle.standardError.write(Data("\(text)\n".utf8)) }
}

/// One sitting: everything that is compared runs on the same machine within minutes.
struct Sitting {
    let command: RunCommand
    let program: String
    let directory: String

    private var wanted: Set<String> { Set(command.only.uppercased().split(separator: ",").map(String.init)) }

    func run(_ report: inout Report) async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)
        var mesh = try BenchMesh(aisbf: program, directory: directory)
        do {
            try await mesh.up()
            let place = try await mesh.createProvider()
            try await standing(&mesh, place, group, &report)
            try await loads(mesh, try mesh.place(), group, &report)
        } catch {
            try? await mesh.down()
            throw error
        }
        try await mesh.down()
        try await group.shutdownGracefully()
    }

    private func standing(
        _ mesh: inout BenchMesh, _ place: WorkerPlace, _ group: any EventLoopGroup, _ report: inout Report
    ) async throws {
        if wanted.contains("P7") {
            command.say("memory …")
            report.runs["memory"] = [try await Standing(group: group, mesh: mesh).memory(place)]
        }
        guard !wanted.isDisjoint(with: ["P7", "P8"]) else { return }
        // A fresh node for the loads, whose memory the idle workers have not stretched.
        try await mesh.down()
        if wanted.contains("P8") {
            command.say("cold start …")
            for _ in 0..<max(command.runs, 3) {
                report.runs["cold", default: []].append(
                    try await Standing(group: group, mesh: mesh).coldStart(program))
            }
        }
        try await mesh.up()
    }

    private func loads(
        _ mesh: BenchMesh, _ place: WorkerPlace, _ group: any EventLoopGroup, _ report: inout Report
    ) async throws {
        guard !wanted.isDisjoint(with: ["P1", "P2", "P3", "P4", "P6"]) else { return }
        let worker = try await attach(place, group)
        let backend = try await MockBackend.start(group)
        let free = try await ServerBootstrap(group: group).bind(host: "127.0.0.1", port: 0).get()
        let port = free.localAddress?.port ?? 0
        try await free.close()
        let proxy = try NginxProxy.start(
            command.nginx, directory: directory, backendPort: backend.localAddress?.port ?? 0, port: port)
        do {
            try await mesh.waitForAnswers(group)
            try await measure(mesh, backend.localAddress?.port ?? 0, proxy, group, &report)
        } catch {
            try? await Programs.stop(proxy.process)
            throw error
        }
        try await Programs.stop(proxy.process)
        try await worker.close()
        try await backend.close()
    }

    /// A node that has just started may refuse workers until it knows its own providers again.
    private func attach(_ place: WorkerPlace, _ group: any EventLoopGroup) async throws -> any Channel {
        let deadline = ContinuousClock.now.advanced(by: .seconds(15))
        while true {
            do { return try await MockWorker.attach(place, clientID: "bench-worker", group: group) } catch {
                guard ContinuousClock.now < deadline else { throw error }
                try await Task.sleep(for: .milliseconds(500))
            }
        }
    }

    private func measure(
        _ mesh: BenchMesh, _ backendPort: Int, _ proxy: NginxProxy, _ group: any EventLoopGroup, _ report: inout Report
    ) async throws {
        let cases = Cases(
            group: group, mesh: mesh, backendPort: backendPort, nginx: proxy, seconds: command.seconds
        ).all(wanted)
        for round in 0..<command.runs {
            for item in cases.shuffled() where round == 0 || !item.isOnce {
                let figures = try await item.run()
                report.runs[item.name, default: []].append(figures)
                let text = figures.sorted { $0.key < $1.key }.map { "\($0.key)=\(($0.value * 10).rounded() / 10)" }
                command.say("\(round + 1)/\(command.runs) \(item.name): \(text.joined(separator: " "))")
            }
        }
    }
}
