internal import ArgumentParser
internal import Foundation
internal import MeshModel
internal import MeshNode

struct NodeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "node", abstract: "Set up, run and look at a node.",
        subcommands: [Init.self, Run.self, Status.self, Unit.self])

    struct Init: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Create the data directory and the node's keys. Running it again changes nothing.")
        @OptionGroup var settings: NodeSettingOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let configuration = try await settings.load()
            let summary = try NodeStart.initialise(configuration)
            var answer: [String: JSONValue] = [
                "data_dir": .string(configuration.dataDirectory), "node_id": .string(summary.nodeID),
                "operator_id": .string(summary.operatorID),
            ]
            answer["admin_key"] = summary.adminKey.map(JSONValue.string)
            output.printObject(
                .object(answer),
                fields: [
                    ("data directory", "data_dir"), ("node id", "node_id"), ("operator id", "operator_id"),
                    ("admin key", "admin_key"),
                ])
            if summary.adminKey != nil, !output.json {
                Console.print("\nKeep the admin key: it is not stored and not shown again.")
            }
        }
    }

    struct Run: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Run the node until Ctrl-C or SIGTERM; workers and streams are drained.")
        @OptionGroup var settings: NodeSettingOptions

        func run() async throws {
            let configuration = try await settings.load()
            let reread = try settings.rereading()
            try await NodeStart.run(configuration, reread: reread)
        }
    }

    struct Status: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show what a running node says about itself.")
        @OptionGroup var admin: AdminOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let answer = try await admin.client().get("status")
            output.printObject(answer, fields: ObjectLayout.node)
        }
    }
}

extension NodeCommand {
    struct Unit: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print a systemd unit that runs this node as a service.",
            discussion: "aisbf node unit --config /etc/aisbf/node.yaml > /etc/systemd/system/aisbf.service")
        @OptionGroup var configuration: ConfigurationOptions
        @Option(help: "The user the node runs as.") var user = "aisbf"

        func validate() throws {
            guard NameRule.isValid(user) else { throw ValidationError("--user must be the name of a user") }
        }

        func run() async throws {
            let environment = ProcessInfo.processInfo.environment
            let file = configuration.config ?? environment["AISBF_CONFIG"]
            let loaded = try await configuration.load()
            let own = environment["HOME"].map { "\($0)/.local/share/aisbf" }
            let executable = OwnExecutable.path
            Console.printRaw(
                SystemdUnit(
                    executable: executable ?? "/usr/local/bin/aisbf",
                    configPath: file.map { URL(fileURLWithPath: $0).standardizedFileURL.path },
                    // A service has no home: where nothing was said, its data lies where services have theirs.
                    dataDirectory: loaded.dataDirectory == own ? nil : loaded.dataDirectory,
                    isDataDirectoryConfigured: configuration.dataDir == nil,
                    ports: [loaded.api.listen.port, loaded.link.listen.port], user: user, name: loaded.nodeName
                ).text)
        }
    }
}

/// The node's entry points with their errors in words.
enum NodeStart {
    static func initialise(_ configuration: NodeConfiguration) throws -> NodeSummary {
        do {
            return try NodeEntry.initialise(configuration)
        } catch {
            throw failure(error)
        }
    }

    static func run(
        _ configuration: NodeConfiguration, reread: @escaping @Sendable () async throws -> NodeConfiguration
    ) async throws {
        do {
            try await NodeEntry.run(configuration, reread: reread)
        } catch {
            throw failure(error)
        }
    }

    private static func failure(_ error: any Error) -> any Error {
        if CommandLineEntry.failure(for: error) != nil { return error }
        return CommandFailure("\(error)")
    }
}
