internal import ArgumentParser

struct MeshCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mesh", abstract: "What a node knows of its mesh, whom it admits and whom it dials.",
        subcommands: [
            Peers.self, AllowCommand.self, PeerCommand.self, Providers.self, Records.self, Record.self,
            MeshNamesCommand.self,
        ])

    struct Peers: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Other nodes: who is alive, who is linked.")
        @OptionGroup var admin: AdminOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let answer = try await admin.client().get("mesh/peers")
            output.printList(
                answer, key: "peers", .peers,
                empty: "No other node is known. Add one with 'aisbf mesh peer add aisbf_node_…@host:port'.")
            let knocks = answer.knocks
            guard !output.json, !knocks.isEmpty else { return }
            Console.print("\nAsked for a link and are not admitted here:\n\(TableLayout.knocks.table(knocks).text)")
        }
    }

    struct Providers: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Every provider in the mesh and where its workers are.")
        @OptionGroup var admin: AdminOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            output.printList(
                try await admin.client().get("mesh/providers"), key: "providers", .meshProviders,
                empty: "No provider is known in this mesh.")
        }
    }

    struct Records: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "The signed records the node holds.")
        @Option(help: "Only this type, such as ProviderAdvert.") var type: String?
        @OptionGroup var admin: AdminOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let query = type.map { "?type=\(AdminClient.segment($0))" } ?? ""
            output.printList(
                try await admin.client().get("mesh/records\(query)"), key: "records", .records, empty: "No records.")
        }
    }

    struct Record: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "record", abstract: "One record.", subcommands: [Show.self])

        struct Show: AsyncParsableCommand {
            static let configuration = CommandConfiguration(abstract: "Show a record with its body and raw bytes.")
            @Argument(help: "The record key that 'aisbf mesh records' shows.") var key: String
            @OptionGroup var admin: AdminOptions
            @OptionGroup var output: OutputOptions

            func run() async throws {
                let answer = try await admin.client().get("mesh/records/\(AdminClient.segment(key))")
                output.printObject(answer, fields: ObjectLayout.record)
                if !output.json, let body = answer["body"] { Console.print("\n\(body.pretty)") }
            }
        }
    }
}
