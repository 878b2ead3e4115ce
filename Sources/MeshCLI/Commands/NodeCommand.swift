internal import ArgumentParser
internal import MeshNode

struct NodeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "node", abstract: "Set up, run and look at a node.",
        subcommands: [Init.self, Run.self, Status.self])

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
            output.printObject(
                answer,
                fields: [
                    ("name", "name"), ("node id", "node_id"), ("operator id", "operator_id"), ("software", "software"),
                    ("network", "network"), ("api", "api_url"), ("link addresses", "link_addresses"),
                    ("started at", "started_at"), ("uptime seconds", "uptime_seconds"), ("draining", "draining"),
                    ("links", "links"), ("members", "members"), ("workers", "workers"),
                    ("requests in flight", "requests_in_flight"), ("clock offset ms", "clock_offset_ms"),
                ])
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
