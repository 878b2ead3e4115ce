internal import ArgumentParser

/// `aisbf mesh names`: what names mean at a node, and who else claims them.
struct MeshNamesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "names",
        abstract: "What names of nodes, users, providers and models mean here.",
        discussion: """
            A node keeps what a name first meant: whoever comes later with the same name gets nothing that is sent to \
            it, and buyers name them by key. Two that came at once get nothing until you accept one of them.
            """,
        subcommands: [List.self, Accept.self, Forget.self], defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show names, those that several claim first.")
        @Flag(help: "Only names that somebody else claims.") var conflicts = false
        @OptionGroup var admin: AdminOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            output.printList(
                try await admin.client().get("mesh/names\(conflicts ? "?conflicts=true" : "")"), key: "names", .names,
                empty: conflicts ? "No name is claimed by two." : "No name is known yet.")
        }
    }

    struct Accept: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Let a name mean somebody else, such as a node that was set up anew with another key.")
        @Argument(help: "The name as 'aisbf mesh names' shows it, such as node:b.") var name: String
        @Argument(help: "Who it means: aisbf_node_…, aisbf_owner_… or key:…") var id: String
        @OptionGroup var admin: AdminOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let body: JSONValue = .object(["name": .string(name), "id": .string(id)])
            output.printObject(
                try await admin.client().send("POST", "mesh/names/accept", body: body),
                fields: ObjectLayout.name)
        }
    }

    struct Forget: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Forget what a name meant: whoever is called so now, or comes next, has it.")
        @Argument(help: "The name as 'aisbf mesh names' shows it, such as provider:lab.") var name: String
        @OptionGroup var admin: AdminOptions

        func run() async throws {
            _ = try await admin.client().send(
                "POST", "mesh/names/forget", body: .object(["name": .string(name)]))
            Console.print("Forgotten: \(name)")
        }
    }
}
