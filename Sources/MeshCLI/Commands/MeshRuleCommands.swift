internal import ArgumentParser

/// `aisbf mesh allow …`: whom the node admits.
struct AllowCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "allow", abstract: "Whom this node admits; changes count at once and outlive a restart.",
        subcommands: [Add.self, Remove.self, List.self])

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Admit a node, or all nodes of an operator.")
        @Argument(help: "aisbf_node_… or aisbf_op_…") var id: String
        @OptionGroup var admin: AdminOptions

        func run() async throws {
            _ = try await admin.client().send("POST", "mesh/allow", body: .object(["value": .string(id)]))
            Console.print("admitted \(Table.printable(id))")
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Admit no longer what was added by command; its links close.")
        @Argument(help: "aisbf_node_… or aisbf_op_…") var id: String
        @OptionGroup var admin: AdminOptions

        func run() async throws {
            _ = try await admin.client().send("DELETE", "mesh/allow/\(AdminClient.segment(id))")
            Console.print("removed \(Table.printable(id))")
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Whom this node admits besides its peers and its own operator's nodes.")
        @OptionGroup var admin: AdminOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            output.printList(
                try await admin.client().get("mesh/allow"), key: "allow", .admitted,
                empty: "Only the peers and the nodes of this node's own operator are admitted.")
        }
    }
}

/// `aisbf mesh peer …`: whom the node dials.
struct PeerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "peer",
        abstract: "Nodes that this node dials for ever and admits; changes count at once and outlive a restart.",
        subcommands: [Add.self, Remove.self, List.self])

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Dial a node and admit it.")
        @Argument(help: "aisbf_node_…@host:port") var peer: String
        @OptionGroup var admin: AdminOptions

        func run() async throws {
            _ = try await admin.client().send("POST", "mesh/static-peers", body: .object(["value": .string(peer)]))
            Console.print("dialling \(Table.printable(peer)); see 'aisbf mesh peers'")
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Dial no longer what was added by command; its links close unless something else admits it.")
        @Argument(help: "aisbf_node_…@host:port, or the node id alone") var peer: String
        @OptionGroup var admin: AdminOptions

        func run() async throws {
            _ = try await admin.client().send("DELETE", "mesh/static-peers/\(AdminClient.segment(peer))")
            Console.print("removed \(Table.printable(peer))")
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Nodes that this node dials, and what came of it.")
        @OptionGroup var admin: AdminOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            output.printList(
                try await admin.client().get("mesh/static-peers"), key: "peers", .staticPeers,
                empty: "No peer is configured. Add one with 'aisbf mesh peer add aisbf_node_…@host:port'.")
        }
    }
}
