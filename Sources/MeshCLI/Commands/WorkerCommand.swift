internal import ArgumentParser

struct WorkerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "worker", abstract: "Offer a model of this machine through a node.", subcommands: [Run.self])

    struct Run: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Connect a backend to a node until Ctrl-C.",
            discussion: "'aisbf provider create' prints the file; set its 'backend' to an OpenAI-compatible base URL.")
        @Option(help: "The worker's JSON file.") var config: String

        func run() async throws {
            try await WorkerStart.run(path: config)
        }
    }
}

/// Where the worker agent is started from the command line.
enum WorkerStart {
    static func run(path: String) async throws {
        throw CommandFailure("this build has no worker agent")
    }
}
