internal import ArgumentParser
internal import Logging
internal import MeshTelemetry
internal import MeshWorker
internal import NIOPosix
internal import ServiceLifecycle
internal import UnixSignals

struct WorkerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "worker", abstract: "Offer a model of this machine through a node.", subcommands: [Run.self])

    struct Run: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Connect a backend to a node until Ctrl-C.",
            discussion: "'aisbf provider create' prints the file; set its 'backend' to an OpenAI-compatible base URL.")
        @Option(help: "The worker's JSON file.", completion: .file(extensions: ["json"])) var config: String

        func run() async throws {
            try await WorkerStart.run(path: config)
        }
    }
}

/// Where the worker agent is started from the command line.
enum WorkerStart {
    static func run(path: String) async throws {
        LogOutput.bootstrap(level: .info, format: .text)
        let configuration: WorkerConfiguration
        do { configuration = try WorkerConfiguration.load(path: path) } catch {
            throw CommandFailure("\(error)", exitCode: 78)
        }
        let logger = Logger(label: "aisbf.worker")
        let agent = WorkerAgent(
            configuration: configuration, eventLoopGroup: MultiThreadedEventLoopGroup.singleton, logger: logger)
        let group = ServiceGroup(
            configuration: .init(
                services: [.init(service: agent)], gracefulShutdownSignals: [.sigterm, .sigint], logger: logger))
        try await group.run()
    }
}
