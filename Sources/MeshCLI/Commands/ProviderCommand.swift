internal import ArgumentParser
internal import Foundation

struct ProviderCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "provider", abstract: "What sellers offer on a node.",
        subcommands: [
            Create.self, List.self, Show.self, Set.self, PriceCommand.self, TokenCommand.self, RotateToken.self,
            Remove.self,
        ])

    enum Access: String, CaseIterable, ExpressibleByArgument {
        case `public`
        case owner
        case named
    }

    enum Kind: String, CaseIterable, ExpressibleByArgument {
        case coderai
        case openai
    }

    enum DataPolicy: String, CaseIterable, ExpressibleByArgument {
        case none
        case bounded
        case collected
        case unknown
    }

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Create a provider and print the worker.json its workers start with.",
            discussion: """
                The registration token in it is shown this once. 'aisbf worker run --config FILE' uses the file.
                A provider of kind openai has no workers: this node asks --base-url itself, with the key in --key-file
                or in AISBF_PROVIDER_KEY, which stays in its data directory.
                """)
        @Argument(help: "Provider id, unique for its owner.") var providerID: String
        @Option(help: "Who serves it: coderai (workers that attach), openai (this node asks a server itself).")
        var kind = Kind.coderai
        @Option(help: "Username of the owner, or 'global' for the operator.") var owner = "global"
        @Option(help: "Who may use it: public, owner, named.") var access = Access.owner
        @Option(help: "Owner id admitted with --access named. May be repeated.") var named: [String] = []
        @Option(help: "Most requests at once.") var maxConcurrency: Int64?
        @Option(help: "A name for people.") var displayName: String?
        @OptionGroup var upstream: UpstreamOptions
        @OptionGroup var file: WorkerFileOptions
        @OptionGroup var admin: AdminOptions
        @OptionGroup var output: OutputOptions

        func validate() throws {
            switch kind {
            case .coderai where !upstream.isEmpty:
                throw ValidationError("--base-url, --key-file and the like belong to --kind openai")
            case .openai where upstream.baseURL == nil: throw ValidationError("--kind openai needs --base-url")
            case .openai where file.out != nil || file.backend != nil:
                throw ValidationError("--out and --backend are for workers, and a provider of kind openai has none")
            case .coderai, .openai: break
            }
            if named.isEmpty == (access == .named) {
                throw ValidationError("--named belongs to --access named, and --access named needs it")
            }
            if let maxConcurrency, maxConcurrency < 1 { throw ValidationError("--max-concurrency must be at least 1") }
        }

        func run() async throws {
            var body: [String: JSONValue] = [
                "owner": .string(owner), "provider_id": .string(providerID), "access": .string(access.rawValue),
            ]
            if !named.isEmpty { body["named"] = .array(named.map(JSONValue.string)) }
            body["max_concurrency"] = maxConcurrency.map(JSONValue.integer)
            body["display_name"] = displayName.map(JSONValue.string)
            if kind == .openai {
                body.merge(try upstream.body()) { $1 }
                body["kind"] = .string(kind.rawValue)
                body["api_keys"] = try UpstreamKey.readAll(
                    files: upstream.keyFile, environment: ProcessInfo.processInfo.environment
                ).map { .array($0.map(JSONValue.string)) }
                let answer = try await admin.client().send("POST", "providers", body: .object(body))
                if output.json { return Console.print(answer.pretty) }
                return output.printObject(ProviderDocument(answer).shown, fields: ObjectLayout.provider)
            }
            let client = try await admin.client()
            let content = JSONValue.object(body)
            try await WorkerFile.new(file, json: output.json).deliver {
                try await client.send("POST", "providers", body: content)
            }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List providers.")
        @OptionGroup var admin: AdminOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            output.printList(
                try await admin.client().get("providers"), key: "providers", .providers,
                empty: "No providers yet: aisbf provider create ID --owner USER")
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show one provider with its tokens and workers.")
        @OptionGroup var name: ProviderName
        @Flag(help: "Say why its workers get no requests: every gate on their way, and how it stands.") var why = false
        @OptionGroup var admin: AdminOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            if why {
                return output.printList(
                    try await admin.client().get("\(name.path)/why"), key: "gates", .gates, empty: "nothing is known")
            }
            let answer = try await admin.client().get(name.path)
            if output.json { return Console.print(answer.pretty) }
            let provider = ProviderDocument(answer)
            output.printObject(provider.shown, fields: ObjectLayout.provider)
            Console.print("\n" + TableLayout.tokens.table(provider.tokens).text)
            Console.print("\n" + TableLayout.workers.table(provider.workers).text)
            if !provider.prices.isEmpty { Console.print("\n" + TableLayout.prices.table(provider.prices).text) }
            guard !provider.closes.isEmpty else { return }
            Console.print("\n" + TableLayout.closes.table(provider.closes).text)
        }
    }

    struct Set: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Change who may use a provider, how much it takes, what it is called and where its upstream is.",
            discussion: "What is not named stays as it is. Requests under way at an upstream end when it changes.")
        @OptionGroup var name: ProviderName
        @Option(help: "Who may use it: public, owner, named.") var access: Access?
        @Option(help: "Id admitted with --access named, in place of those before. May be repeated.")
        var named: [String] = []
        @Option(help: "Most requests at once.") var maxConcurrency: Int64?
        @Option(help: "A name for people.") var displayName: String?
        @OptionGroup var upstream: UpstreamOptions
        @Flag(help: "Keep no key of its upstream any more.") var noKey = false
        @Flag(help: "Send no headers of its own to its upstream any more.") var noHeaders = false
        @Flag(help: "Sell every model under its upstream's name again.") var noMap = false
        @Option(help: "What becomes of what it is sent: none (nothing is kept), bounded, collected, unknown.")
        var dataPolicy: DataPolicy?
        @OptionGroup var admin: AdminOptions
        @OptionGroup var output: OutputOptions

        func validate() throws {
            if noKey, !upstream.keyFile.isEmpty { throw ValidationError("--no-key and --key-file exclude each other") }
            if noHeaders, !upstream.header.isEmpty || !upstream.headerFile.isEmpty {
                throw ValidationError("--no-headers and --header exclude each other")
            }
            if noMap, !upstream.map.isEmpty { throw ValidationError("--no-map and --map exclude each other") }
            if access == .named, named.isEmpty { throw ValidationError("--access named needs --named") }
            if let access, access != .named, !named.isEmpty {
                throw ValidationError("--named belongs to --access named")
            }
            if let maxConcurrency, maxConcurrency < 1 { throw ValidationError("--max-concurrency must be at least 1") }
            let isSame = access == nil && named.isEmpty && maxConcurrency == nil && displayName == nil
            if isSame, upstream.isEmpty, !noKey, !noHeaders, !noMap, dataPolicy == nil {
                throw ValidationError("nothing to change; see --help")
            }
        }

        func run() async throws {
            var body: [String: JSONValue] = [:]
            body["access"] = access.map { .string($0.rawValue) }
            if !named.isEmpty { body["named"] = .array(named.map(JSONValue.string)) }
            body["max_concurrency"] = maxConcurrency.map(JSONValue.integer)
            body["display_name"] = displayName.map(JSONValue.string)
            body["data_policy"] = dataPolicy.map { .string($0.rawValue) }
            body.merge(try upstream.body()) { $1 }
            // Only what is named changes: the variable that 'create' reads may stand in any shell.
            body["api_keys"] = try UpstreamKey.readAll(files: upstream.keyFile, environment: [:])
                .map { .array($0.map(JSONValue.string)) }
            if noKey { body["api_keys"] = .null }
            if noHeaders { body["headers"] = .null }
            if noMap { body["models"] = .null }
            let answer = try await admin.client().send("PATCH", name.path, body: .object(body))
            if output.json { return Console.print(answer.pretty) }
            output.printObject(ProviderDocument(answer).shown, fields: ObjectLayout.provider)
        }
    }

    struct RotateToken: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Replace all registration tokens; workers with an old one are closed after the overlap.",
            discussion: """
                With --out and a worker.json of this provider that exists, only the token in it is replaced. A new file
                gets no backend, unless --backend names one.
                """)
        @OptionGroup var name: ProviderName
        @Option(help: "How long the old tokens stay good: 90s, 15m, 1h, 2d, 1w (default: not at all).")
        var overlap: LifeSpan?
        @OptionGroup var file: WorkerFileOptions
        @OptionGroup var admin: AdminOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let client = try await admin.client()
            let content = JSONValue.object(["overlap_seconds": .integer(overlap?.seconds ?? 0)])
            try await WorkerFile.replacingToken(of: name.name, file, json: output.json).deliver {
                try await client.send("POST", "\(name.path)/rotate-token", body: content)
            }
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove a provider from the mesh; its workers are closed.")
        @OptionGroup var name: ProviderName
        @OptionGroup var admin: AdminOptions

        func run() async throws {
            _ = try await admin.client().send("DELETE", name.path)
            Console.print("removed \(name.name)")
        }
    }
}

/// `owner/id` as an argument.
struct ProviderName: ParsableArguments {
    @Argument(help: "owner/id, such as alice/llama or global/demo.") var name: String

    func validate() throws {
        let parts = name.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, parts.allSatisfy({ !$0.isEmpty }) else {
            throw ValidationError("'\(name)' must be owner/id, as in 'aisbf provider list'")
        }
    }

    var path: String {
        "providers/" + name.split(separator: "/").map { AdminClient.segment(String($0)) }.joined(separator: "/")
    }
}
