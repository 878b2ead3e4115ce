internal import ArgumentParser
internal import Foundation
internal import MeshTopology

struct LocalCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "local", abstract: "A whole mesh on this machine, from a topology file.",
        subcommands: [Up.self, Check.self, Failover.self, Down.self])

    struct Place: ParsableArguments {
        @Argument(
            help: "Topology file, such as Topology/triangle.yaml.", completion: .file(extensions: ["yaml", "yml"]))
        var file: String
        @Option(help: "Where keys, data and logs are kept (default .local/<name>).", completion: .directory)
        var stateDir: String?

        func mesh() throws -> LocalMesh { try LocalMesh.load(file: file, stateDirectory: stateDir) }
    }

    struct Up: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Start the mesh with real processes; a second time says that it is up.")
        @OptionGroup var place: Place
        @Flag(help: "Stay until Ctrl-C, then stop everything.") var foreground = false
        @Option(help: "Tokens per second of demo workers, 0 = as fast as possible.") var workerSpeed: Int?
        @Option(help: "How long requests wait for workers that have just left, 0 = not at all (default 30).")
        var holdSeconds: Int?
        @Option(help: "Ask through this node once, streamed, and show the answer.") var showAnswer: String?
        @OptionGroup var output: OutputOptions

        func validate() throws {
            if let workerSpeed, workerSpeed < 0 { throw ValidationError("--worker-speed must not be negative") }
            if let holdSeconds, !(0...300).contains(holdSeconds) {
                throw ValidationError("--hold-seconds takes 0 to 300")
            }
        }

        func run() async throws {
            var mesh = try place.mesh()
            mesh.workerSpeed = workerSpeed
            mesh.holdSeconds = holdSeconds
            guard foreground else { return try await up(mesh) }
            // From here on Ctrl-C is an event: whatever was started is stopped.
            do {
                try await stay(mesh)
            } catch {
                try await stop(mesh)
                throw error
            }
            Console.error("stopping …")
            try await stop(mesh)
        }

        private enum Step {
            case isUp
            case stopWanted
        }

        /// Returns when a signal came, also while the mesh is still starting.
        private func stay(_ mesh: LocalMesh) async throws {
            try await withThrowingTaskGroup(of: Step.self) { group in
                group.addTask {
                    await StopSignals().wait()
                    return .stopWanted
                }
                group.addTask {
                    try await up(mesh)
                    return .isUp
                }
                guard try await group.next() == .isUp else {
                    group.cancelAll()
                    // Starting ends at once with a cancellation, which is no failure here.
                    while await group.nextResult() != nil {}
                    return
                }
                Console.error("\nCtrl-C stops the mesh.")
                _ = try await group.next()
            }
        }

        private func up(_ mesh: LocalMesh) async throws {
            if let before = try mesh.loadState(), mesh.isUp(before) {
                Console.error("\(mesh.topology.name) is already up")
            }
            let state = try await mesh.start()
            LocalReport.print(mesh, state, json: output.json)
            if let showAnswer { try await LocalReport.showStream(mesh, state, node: showAnswer) }
        }

        private func stop(_ mesh: LocalMesh) async throws {
            if let state = try mesh.loadState() { _ = try await mesh.stop(state) }
        }
    }

    struct Check: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Ask every node as a buyer: models, a chat answer, a streamed one. Exit code 1 if any fails.")
        @OptionGroup var place: Place
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let mesh = try place.mesh()
            guard let state = try mesh.loadState(), mesh.isUp(state) else {
                throw CommandFailure(
                    "\(mesh.topology.name) is not up; start it with: aisbf local up \(place.file)", exitCode: 69)
            }
            let results = await LocalCheck(mesh: mesh, state: state).run()
            let failed = results.filter { !$0.passed }.count
            if output.json {
                let rows = JSONValue.array(results.map(\.json))
                Console.print(JSONValue.object(["checks": rows, "failed": .integer(Int64(failed))]).pretty)
            } else {
                Console.print(
                    Table(["NODE", "CHECK", "RESULT", "MS", "DETAIL"], rows: results.map(\.row)).text)
            }
            if failed > 0 { throw CommandFailure("\(failed) of \(results.count) checks failed") }
        }
    }

    struct Failover: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Kill the worker that serves, before and after its first word, and show what the buyer saw.",
            discussion: "The mesh is started if it is not up, and left up with all its workers.")
        @OptionGroup var place: Place
        @Option(help: "The node that the buyer asks.") var node: String?
        @Option(help: "What the buyer asks for; by default the topology's first rotation.") var model: String?

        func run() async throws {
            let mesh = try place.mesh()
            try await FailoverDemo(mesh: mesh, node: node, model: model).run()
        }
    }

    struct Down: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Stop the mesh; its keys, data and ports are kept for the next start.")
        @OptionGroup var place: Place

        func run() async throws {
            let mesh = try place.mesh()
            guard let state = try mesh.loadState(), state.processes.contains(where: LocalProcess.isRunning) else {
                return Console.print("\(mesh.topology.name) is not up")
            }
            let killed = try await mesh.stop(state)
            Console.print("\(mesh.topology.name) is down" + (killed > 0 ? "; \(killed) had to be killed" : ""))
        }
    }
}
