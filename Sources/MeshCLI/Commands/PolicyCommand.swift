internal import ArgumentParser

/// How `autoselect/NAME` chooses among all that a buyer may use.
struct PolicyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "policy", abstract: "Policies that choose who answers 'autoselect/NAME'.",
        discussion: "Built in are auto, auto:cheap, auto:fast, auto:private, auto:context and auto:media.",
        subcommands: [
            Create.self, List.self, Show.self, Edit.self, Publish.self, Unpublish.self, Remove.self,
        ])

    struct Content: ParsableArguments {
        @Option(
            name: .customLong("set"),
            help: ArgumentHelp(
                """
                One of its fields, such as order_by=price, hosted=never, models=[llama-3*], regions=[eu] or \
                provider={max_price: {prompt: 1}}. May be repeated; an empty value takes the field out.
                """, valueName: "field=value"))
        var fields: [String] = []

        func body(over known: [String: JSONValue] = [:]) throws -> [String: JSONValue] {
            var body = known
            for field in fields {
                let words = field.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
                guard words.count == 2, !words[0].isEmpty else {
                    throw ValidationError("--set '\(field)' is not field=value")
                }
                guard !words[1].isEmpty else {
                    body[words[0]] = nil
                    continue
                }
                do {
                    body[words[0]] = try DocumentFile.value(words[1])
                } catch { throw ValidationError("the value in --set '\(field)' is neither text nor YAML") }
            }
            return body
        }
    }

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Create a policy. Buyers then ask for the model 'autoselect/NAME' at this node.")
        @Argument(help: "Lower-case letters, digits, '.', '_', '-'.") var name: String
        @OptionGroup var scope: MarketScope
        @OptionGroup var content: Content
        @OptionGroup var admin: AdminOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            var body = try content.body()
            body["name"] = .string(name)
            body["owner"] = .string(scope.owner)
            PolicyCommand.show(try await admin.client().send("POST", "policies", body: .object(body)), output)
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List policies.")
        @OptionGroup var admin: AdminOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let answer = try await admin.client().get("policies")
            output.printList(
                answer, key: "policies", .policies,
                empty: "No policies beside the built-in ones: aisbf policy create NAME --set order_by=price")
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show one policy.")
        @Argument(help: "Its name.") var name: String
        @OptionGroup var scope: MarketScope
        @OptionGroup var admin: AdminOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            PolicyCommand.show(try await admin.client().get(scope.path("policies", name)), output)
        }
    }

    struct Edit: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Change fields of a policy.")
        @Argument(help: "Its name.") var name: String
        @OptionGroup var scope: MarketScope
        @OptionGroup var content: Content
        @OptionGroup var admin: AdminOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let client = try await admin.client()
            let known = RotationDocument(try await client.get(scope.path("policies", name))).written
            PolicyCommand.show(
                try await client.send(
                    "PUT", scope.path("policies", name), body: .object(try content.body(over: known))), output)
        }
    }

    struct Publish: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Tell the whole mesh of a policy: buyers at any node then name it 'owner@node/autoselect/NAME'.")
        @Argument(help: "Its name.") var name: String
        @OptionGroup var scope: MarketScope
        @OptionGroup var admin: AdminOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            PolicyCommand.show(try await scope.publish(true, "policies", name, admin.client()), output)
        }
    }

    struct Unpublish: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Take a policy back from the mesh. At this node it stays.")
        @Argument(help: "Its name.") var name: String
        @OptionGroup var scope: MarketScope
        @OptionGroup var admin: AdminOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            PolicyCommand.show(try await scope.publish(false, "policies", name, admin.client()), output)
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Remove a policy.")
        @Argument(help: "Its name.") var name: String
        @OptionGroup var scope: MarketScope
        @OptionGroup var admin: AdminOptions

        func run() async throws {
            _ = try await admin.client().send("DELETE", scope.path("policies", name))
            Console.print("removed autoselect/\(name) of \(scope.owner)")
        }
    }

    /// Its fields are as many as its owner wrote.
    private static func show(_ answer: JSONValue, _ output: OutputOptions) {
        if output.json { return Console.print(answer.pretty) }
        guard case .object(let fields) = answer else { return }
        let first = ["name", "owner"]
        let rest = fields.keys.filter { !first.contains($0) && $0 != "changed_at" }.sorted()
        let shown = fields.mapValues { value -> JSONValue in
            switch value {
            case .object, .array: .string(value.compact)
            case .null, .bool, .integer, .number, .string: value
            }
        }
        output.printObject(.object(shown), fields: (first + rest).map { ($0, $0) } + [("changed", "changed_at")])
    }
}
