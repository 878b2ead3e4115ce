internal import ArgumentParser

/// Pools of sellers, for buyers who write `rotation/NAME` in place of a model.
struct RotationCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rotation", abstract: "Pools of providers that share the requests for 'rotation/NAME'.",
        subcommands: [
            Create.self, List.self, Show.self, Edit.self, Publish.self, Unpublish.self, Remove.self,
        ])

    struct Content: ParsableArguments {
        @Option(
            name: .customLong("member"),
            help: ArgumentHelp(
                "Who shares the requests, such as lab, lab/model,weight=3 or rotation/other,tier=1. May be repeated.",
                valueName: "target[,weight=N][,tier=N][,off]"))
        var members: [String] = []
        @Option(help: "The model of members that name none.") var model: String?
        @Option(
            name: .customLong("set"),
            help: ArgumentHelp(
                "A setting, such as attempts=3, cooldown_ms=60000 or sticky=user. May be repeated.",
                valueName: "name=value"))
        var settings: [String] = []

        func validate() throws {
            for member in members { _ = try Self.member(member) }
            for setting in settings { _ = try Self.setting(setting) }
        }

        /// What was given, over what there is.
        func body(over known: [String: JSONValue] = [:]) throws -> [String: JSONValue] {
            var body = known
            if !members.isEmpty { body["members"] = .array(try members.map { try Self.member($0) }) }
            if let model { body["model"] = model.isEmpty ? .null : .string(model) }
            guard !settings.isEmpty else { return body }
            var all: [String: JSONValue] = [:]
            if case .object(let known)? = body["settings"] { all = known }
            for setting in settings {
                let (name, value) = try Self.setting(setting)
                all[name] = value
            }
            body["settings"] = .object(all)
            return body
        }

        /// The end is read first: the name of a model may have commas of its own.
        private static func member(_ text: String) throws -> JSONValue {
            var parts = text.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
            var fields: [String: JSONValue] = [:]
            while parts.count > 1, let last = parts.last {
                let words = last.split(separator: "=", maxSplits: 1).map(String.init)
                if last == "off" {
                    fields["enabled"] = .bool(false)
                } else if words.count == 2, ["weight", "tier"].contains(words[0]) {
                    guard let number = Int64(words[1]) else {
                        throw ValidationError("'\(last)' in --member '\(text)': give a whole number")
                    }
                    fields[words[0]] = .integer(number)
                } else {
                    break
                }
                parts.removeLast()
            }
            let target = parts.joined(separator: ",")
            guard !target.isEmpty else { throw ValidationError("--member '\(text)' names no member") }
            fields["target"] = .string(target)
            return .object(fields)
        }

        private static func setting(_ text: String) throws -> (String, JSONValue) {
            let words = text.split(separator: "=", maxSplits: 1).map(String.init)
            guard words.count == 2 else { throw ValidationError("--set '\(text)' is not name=value") }
            return (words[0], Int64(words[1]).map(JSONValue.integer) ?? .string(words[1]))
        }
    }

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Create a rotation.",
            discussion: """
                Buyers then ask for the model 'rotation/NAME' at this node. Weights are shares: 3 and 1 are three quarters
                and one. Members of a higher tier stand in when nobody of the lower ones can take a request.
                """)
        @Argument(help: "Lower-case letters, digits, '.', '_', '-'.") var name: String
        @OptionGroup var scope: MarketScope
        @OptionGroup var content: Content
        @OptionGroup var admin: AdminOptions
        @OptionGroup var output: OutputOptions

        func validate() throws {
            if content.members.isEmpty { throw ValidationError("a rotation needs at least one --member") }
        }

        func run() async throws {
            var body = try content.body()
            body["name"] = .string(name)
            body["owner"] = .string(scope.owner)
            let answer = try await admin.client().send("POST", "rotations", body: .object(body))
            output.printObject(RotationDocument(answer).shown, fields: ObjectLayout.rotation)
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List rotations.")
        @OptionGroup var admin: AdminOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let answer = try await admin.client().get("rotations")
            output.printList(
                answer, key: "rotations", .rotations,
                empty: "No rotations yet: aisbf rotation create NAME --member PROVIDER")
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show one rotation.")
        @Argument(help: "Its name.") var name: String
        @OptionGroup var scope: MarketScope
        @OptionGroup var admin: AdminOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let answer = try await admin.client().get(scope.path("rotations", name))
            RotationCommand.show(answer, output)
        }
    }

    struct Edit: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Change a rotation: the members as a whole, or one setting at a time.")
        @Argument(help: "Its name.") var name: String
        @OptionGroup var scope: MarketScope
        @OptionGroup var content: Content
        @OptionGroup var admin: AdminOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let client = try await admin.client()
            let known = RotationDocument(try await client.get(scope.path("rotations", name))).written
            let answer = try await client.send(
                "PUT", scope.path("rotations", name), body: .object(try content.body(over: known)))
            RotationCommand.show(answer, output)
        }
    }

    struct Publish: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Tell the whole mesh of a rotation: buyers at any node then name it 'owner@node/rotation/NAME'.",
            discussion: "It gives nobody access to its members; each of them decides as before who may use it.")
        @Argument(help: "Its name.") var name: String
        @OptionGroup var scope: MarketScope
        @OptionGroup var admin: AdminOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            RotationCommand.show(try await scope.publish(true, "rotations", name, admin.client()), output)
        }
    }

    struct Unpublish: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Take a rotation back from the mesh. At this node it stays.")
        @Argument(help: "Its name.") var name: String
        @OptionGroup var scope: MarketScope
        @OptionGroup var admin: AdminOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            RotationCommand.show(try await scope.publish(false, "rotations", name, admin.client()), output)
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove a rotation. Requests under way end as they would; who waits in it is told.")
        @Argument(help: "Its name.") var name: String
        @OptionGroup var scope: MarketScope
        @OptionGroup var admin: AdminOptions

        func run() async throws {
            _ = try await admin.client().send("DELETE", scope.path("rotations", name))
            Console.print("removed rotation/\(name) of \(scope.owner)")
        }
    }

    /// As a table, or whole where somebody scripts.
    private static func show(_ answer: JSONValue, _ output: OutputOptions) {
        if output.json { return Console.print(answer.pretty) }
        output.printObject(RotationDocument(answer).shown, fields: ObjectLayout.rotation)
    }
}

/// One rotation as the node answers it.
struct RotationDocument {
    private let answer: JSONValue

    init(_ answer: JSONValue) { self.answer = answer }

    /// As its owner wrote it.
    var written: [String: JSONValue] {
        guard case .object(var fields) = answer else { return [:] }
        for name in ["owner", "changed_at", "published_as"] { fields[name] = nil }
        return fields
    }

    /// With the members in the words of `--member`.
    var shown: JSONValue {
        guard case .object(var fields) = answer else { return answer }
        fields["members"] = .string(Self.members(answer))
        fields["buyers_ask_for"] = .string("rotation/\(answer["name"]?.text ?? "")")
        if case .object(let settings)? = answer["settings"] {
            let words = settings.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value.cell)" }
            fields["settings"] = .string(words.joined(separator: " "))
        }
        return .object(fields)
    }

    static func members(_ rotation: JSONValue) -> String {
        (rotation["members"]?.elements ?? []).map { member in
            var words = [member["target"]?.text ?? "", "weight=\(member["weight"]?.cell ?? "1")"]
            if let tier = member["tier"]?.int, tier != 0 { words.append("tier=\(tier)") }
            if member["enabled"] == .bool(false) { words.append("off") }
            return words.joined(separator: ",")
        }.joined(separator: "  ")
    }
}
