internal import ArgumentParser

struct KeyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "key", abstract: "API keys of users.",
        subcommands: [Create.self, List.self, Set.self, Rotate.self, Revoke.self])

    enum Scope: String, CaseIterable, ExpressibleByArgument {
        case inference
        case admin
    }

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Create an API key. The secret is printed once; the node keeps its public key only.")
        @Argument(help: "The user the key belongs to.") var username: String
        @Option(help: "A name to know the key by.") var label = "default"
        @Option(help: "What the key may do: inference, admin. May be repeated.") var scope: [Scope] = [.inference]
        @Option(
            name: [.customLong("expires-in"), .customLong("expires")],
            help: "How long it is good: 90s, 15m, 1h, 30d, 8w (default: until it is revoked).")
        var expiresIn: LifeSpan?
        @Option(help: "What requests with it are for that name no model: lab/m1, rotation/pair, auto.")
        var defaultModel: String?
        @OptionGroup var admin: AdminOptions
        @OptionGroup var output: OutputOptions

        func validate() throws {
            if let expiresIn, expiresIn.seconds < 1 { throw ValidationError("--expires-in must be at least 1 second") }
        }

        func run() async throws {
            var body: [String: JSONValue] = [
                "username": .string(username), "label": .string(label),
                "scopes": .array(scope.map { .string($0.rawValue) }),
            ]
            body["expires_in_seconds"] = (expiresIn?.seconds).map(JSONValue.integer)
            body["default_model"] = defaultModel.map(JSONValue.string)
            KeyCommand.show(try await admin.client().send("POST", "keys", body: .object(body)), output)
        }
    }

    private static func show(_ answer: JSONValue, _ output: OutputOptions) {
        output.printObject(answer, fields: ObjectLayout.key)
        if !output.json { Console.error("The key is shown this once; keep it.") }
    }

    struct Rotate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a key in place of another, for the same user and scopes; the old one ends.",
            discussion: "The new key is good as long from now on as the old one was from its beginning.")
        @Argument(help: "The key id that 'aisbf key list' shows.") var keyID: String
        @Option(help: "How long the old key stays good: 90s, 15m, 1h, 2d, 1w (default: not at all).")
        var overlap: LifeSpan?
        @OptionGroup var admin: AdminOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let answer = try await admin.client().send(
                "POST", "keys/\(AdminClient.segment(keyID))/rotate",
                body: .object(["overlap_seconds": .integer(overlap?.seconds ?? 0)]))
            KeyCommand.show(answer, output)
        }
    }

    struct Set: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say what requests with a key are for that name no model, or take that back.")
        @Argument(help: "The key id that 'aisbf key list' shows.") var keyID: String
        @Option(help: "The model, rotation or policy.") var defaultModel: String?
        @Flag(help: "Requests have to name a model.") var noDefaultModel = false
        @OptionGroup var admin: AdminOptions
        @OptionGroup var output: OutputOptions

        func validate() throws {
            guard (defaultModel != nil) != noDefaultModel else {
                throw ValidationError("give --default-model MODEL, or --no-default-model")
            }
        }

        func run() async throws {
            let answer = try await admin.client().send(
                "PATCH", "keys/\(AdminClient.segment(keyID))",
                body: .object(["default_model": defaultModel.map(JSONValue.string) ?? .null]))
            output.printObject(answer, fields: ObjectLayout.key)
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List API keys, without their secrets.")
        @OptionGroup var admin: AdminOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let answer = try await admin.client().get("keys")
            output.printList(answer, key: "keys", .keys, empty: "No keys yet: aisbf key create USER")
        }
    }

    struct Revoke: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Revoke an API key at once.")
        @Argument(help: "The key id that 'aisbf key list' shows.") var keyID: String
        @OptionGroup var admin: AdminOptions

        func run() async throws {
            _ = try await admin.client().send("DELETE", "keys/\(AdminClient.segment(keyID))")
            Console.print("revoked \(keyID)")
        }
    }
}
