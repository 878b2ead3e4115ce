internal import ArgumentParser

struct UserCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "user", abstract: "Accounts of sellers and buyers on a node.", subcommands: [Create.self, List.self])

    static let layout = TableLayout([
        ("USERNAME", "username"), ("OWNER ID", "owner_id"), ("CREATED", "created_at"), ("DISABLED", "disabled"),
    ])

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Create a user.")
        @Argument(help: "Lower-case letters, digits, '.', '_', '-'.") var username: String
        @OptionGroup var admin: AdminOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let answer = try await admin.client().send("POST", "users", body: .object(["username": .string(username)]))
            output.printObject(
                answer, fields: [("username", "username"), ("owner id", "owner_id"), ("created", "created_at")])
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List users.")
        @OptionGroup var admin: AdminOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let answer = try await admin.client().get("users")
            output.printList(answer, key: "users", UserCommand.layout, empty: "No users yet: aisbf user create NAME")
        }
    }
}
