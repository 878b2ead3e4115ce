internal import ArgumentParser
internal import Foundation
internal import MeshNode
internal import MeshTopology

/// Where the process starts: parses the arguments, runs the command and turns failures into exit codes.
package enum CommandLineEntry {
    /// What has to be done before anything else, on the first thread.
    package static func prepare() {
        if CommandLine.arguments.dropFirst().prefix(2) == ["node", "run"] { ThreadCache.widen() }
    }

    package static func main() async {
        do {
            var command = try AISBFCommand.parseAsRoot()
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
        } catch {
            exit(with: error)
        }
    }

    private static func exit(with error: any Error) -> Never {
        if let failure = failure(for: error) {
            Console.error("error: \(failure.message)")
            Foundation.exit(failure.exitCode)
        }
        AISBFCommand.exit(withError: error)
    }

    /// The failures of this program itself; nil for those of argument parsing, which prints its own usage.
    package static func failure(for error: any Error) -> CommandFailure? {
        switch error {
        case let failure as CommandFailure: failure
        case let problems as ConfigurationProblems: CommandFailure(problems.description, exitCode: 78)
        case let failure as NodeStartError: CommandFailure(failure.description, exitCode: failure.exitCode)
        case let problems as TopologyProblems: CommandFailure(problems.description, exitCode: 78)
        default: nil
        }
    }
}

/// A failure with the words for the person at the terminal and the exit code for the script (sysexits(3)):
/// 1 refused, 64 usage, 66 a file that cannot be read, 69 not reachable, 73 a file that cannot be made, 77 not permitted,
/// 78 bad configuration or data.
package struct CommandFailure: Error, Sendable, Equatable {
    package var message: String
    package var exitCode: Int32

    package init(_ message: String, exitCode: Int32 = 1) {
        self.message = message
        self.exitCode = exitCode
    }
}

struct AISBFCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "aisbf",
        abstract: "AISBF Mesh: sell and use AI models across nodes that do not have to trust each other.",
        discussion: """
            Start a whole mesh on this machine:  aisbf local up Topology/triangle.yaml
            Run one node:                        aisbf node init && aisbf node run
            Find out what is wrong:              aisbf doctor

            Commands that talk to a running node use its admin socket in the data directory; with --url and
            AISBF_ADMIN_KEY they reach a node elsewhere. Exit codes: 0 done, 1 refused, 64 usage,
            66 file not readable, 69 node not reachable, 73 file not written, 77 not permitted,
            78 bad configuration or data directory.
            """,
        version: Software.version,
        subcommands: [
            NodeCommand.self, UserCommand.self, ProviderCommand.self, KeyCommand.self, RotationCommand.self,
            PolicyCommand.self, LimitCommand.self, UsageCommand.self, ApplyCommand.self, RouteCommand.self,
            MeshCommand.self, WorkerCommand.self, ConnectCommand.self, LocalCommand.self, DemoServerCommand.self,
            DoctorCommand.self,
            VersionCommand.self,
        ])
}
