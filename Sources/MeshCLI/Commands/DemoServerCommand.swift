internal import ArgumentParser
internal import Logging
internal import MeshTelemetry
internal import MeshWorker
internal import NIOCore
internal import NIOPosix
internal import ServiceLifecycle
internal import UnixSignals

/// Something to sell as a provider of kind `openai` where there is no model.
struct DemoServerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "demo-server", abstract: "An OpenAI-compatible server without a model, to try upstreams with.",
        discussion: """
            Listens on the loopback interface only and answers with deterministic text. Sell it with
            'aisbf provider create NAME --kind openai --base-url http://127.0.0.1:PORT/v1'.
            """)
    @Option(help: "The port on 127.0.0.1; 0 for any.") var port = 8_901
    @Option(name: .customLong("model"), help: "A model that it lists. May be repeated.") var models: [String] = []
    @Option(help: "Speed of its answers; 0: as fast as possible.") var tokensPerSecond = 50

    func validate() throws {
        guard (0...65_535).contains(port) else { throw ValidationError("--port is a number from 0 to 65535") }
        guard (0...1_000_000).contains(tokensPerSecond) else {
            throw ValidationError("--tokens-per-second is a number from 0 to 1000000")
        }
    }

    func run() async throws {
        LogOutput.bootstrap(level: .info, format: .text)
        let server = DemoServer(
            DemoBackend(models: models.isEmpty ? ["demo-chat"] : models, tokensPerSecond: tokensPerSecond), port: port,
            eventLoopGroup: MultiThreadedEventLoopGroup.singleton
        ) { Console.print("listening on http://127.0.0.1:\($0)/v1") }
        let group = ServiceGroup(
            configuration: .init(
                services: [.init(service: server)], gracefulShutdownSignals: [.sigterm, .sigint],
                logger: Logger(label: "aisbf.demo-server")))
        do { try await group.run() } catch let error as IOError {
            throw CommandFailure("cannot listen on 127.0.0.1:\(port): \(error)", exitCode: 69)
        }
    }
}
