internal import ArgumentParser

struct UserCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "user", abstract: "Accounts of sellers and buyers on a node.",
        subcommands: [Create.self, List.self, Disable.self, Enable.self, Remove.self])

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Create a user.")
        @Argument(help: "Lower-case letters, digits, '.', '_', '-'.") var username: String
        @OptionGroup var admin: AdminOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let answer = try await admin.client().send("POST", "users", body: .object(["username": .string(username)]))
            output.printObject(answer, fields: ObjectLayout.user)
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List users.")
        @OptionGroup var admin: AdminOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let answer = try await admin.client().get("users")
            output.printList(answer, key: "users", .users, empty: "No users yet: aisbf user create NAME")
        }
    }

    struct Disable: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Refuse a user's keys and workers from now on; nothing is deleted.")
        @Argument(help: "The username.") var username: String
        @OptionGroup var admin: AdminOptions

        func run() async throws {
            try await UserCommand.set(username, disabled: true, admin)
            Console.print("disabled \(username)")
        }
    }

    struct Enable: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Take back 'user disable'.")
        @Argument(help: "The username.") var username: String
        @OptionGroup var admin: AdminOptions

        func run() async throws {
            try await UserCommand.set(username, disabled: false, admin)
            Console.print("enabled \(username)")
        }
    }

    private static func set(_ username: String, disabled: Bool, _ admin: AdminOptions) async throws {
        _ = try await admin.client().send(
            "PATCH", "users/\(AdminClient.segment(username))", body: .object(["disabled": .bool(disabled)]))
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove a user with its API keys. Its name is free again, for somebody with another owner id.")
        @Argument(help: "The username.") var username: String
        @Flag(help: "Remove its providers as well; without this a user that has some is not removed.") var force = false
        @OptionGroup var admin: AdminOptions

        func run() async throws {
            _ = try await admin.client().send(
                "DELETE", "users/\(AdminClient.segment(username))\(force ? "?force=true" : "")")
            Console.print("removed \(username)")
        }
    }
}
