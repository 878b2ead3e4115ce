internal import ArgumentParser
internal import Foundation

/// `aisbf provider token …`: several registration tokens for one provider, each with its own terms.
struct TokenCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "token", abstract: "The registration tokens of a provider.",
        subcommands: [Add.self, List.self, Remove.self])

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Add a registration token and print the worker.json that goes with it.",
            discussion: """
                The other tokens stay as they are. With --import a token that was minted elsewhere is made good here:
                it is read from a file or from standard input, never from the command line, which other users of this
                machine can see.
                """)
        @OptionGroup var name: ProviderName
        @Option(help: "A name to know the token by.") var label = "token"
        @Option(
            name: [.customLong("expires-in"), .customLong("expires")],
            help: "How long it is good: 90s, 15m, 1h, 30d, 8w (default: until it is removed).")
        var expires: LifeSpan?
        @Option(help: "A node that workers may attach to with it, aisbf_node_…. May be repeated (default: any).")
        var allowNode: [String] = []
        @Option(
            name: .customLong("import"),
            help: "Make a token minted elsewhere good: the file it stands in, or - for standard input.",
            completion: .file())
        var importFile: String?
        @OptionGroup var file: WorkerFileOptions
        @OptionGroup var admin: AdminOptions
        @OptionGroup var output: OutputOptions

        func validate() throws {
            if let expires, expires.seconds < 1 { throw ValidationError("--expires-in must be at least 1 second") }
            if importFile != nil, file.out != nil || file.backend != nil {
                throw ValidationError(
                    "--import writes no file, with --out or --backend: your workers have their token already")
            }
        }

        func run() async throws {
            var body: [String: JSONValue] = ["label": .string(label)]
            body["expires_in_seconds"] = (expires?.seconds).map(JSONValue.integer)
            if !allowNode.isEmpty { body["allowed_nodes"] = .array(allowNode.map(JSONValue.string)) }
            body["import"] = try importFile.map { .string(try ImportedToken.read($0)) }
            let client = try await admin.client()
            let content = JSONValue.object(body)
            guard importFile != nil else {
                return try await WorkerFile.new(file, json: output.json).deliver {
                    try await client.send("POST", "\(name.path)/tokens", body: content)
                }
            }
            let answer = try await client.send("POST", "\(name.path)/tokens", body: content)
            if output.json { return Console.print(answer.pretty) }
            Console.print("imported as \(Table.printable(SecretDocument(answer).tokenID ?? ""))")
            Console.error("Workers go on with the token they have.")
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List a provider's tokens, without their secrets.")
        @OptionGroup var name: ProviderName
        @OptionGroup var admin: AdminOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            output.printList(
                try await admin.client().get("\(name.path)/tokens"), key: "tokens", .tokens,
                empty: "No tokens: no worker can attach. aisbf provider token add \(name.name)")
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove a token at once; workers that came with it are closed, at every node.")
        @OptionGroup var name: ProviderName
        @Argument(help: "The token id that 'aisbf provider token list' shows.") var token: String
        @OptionGroup var admin: AdminOptions

        func run() async throws {
            _ = try await admin.client().send("DELETE", "\(name.path)/tokens/\(AdminClient.segment(token))")
            Console.print("removed \(token)")
        }
    }
}

/// The text of a token that was minted elsewhere.
enum ImportedToken {
    /// Far more than any token has.
    private static let maximumBytes = 4_096

    /// - Parameter source: a file, or `-`. It is not repeated in any message: it may be the token itself, by mistake.
    static func read(_ source: String) throws -> String {
        let handle: FileHandle
        if source == "-" {
            handle = .standardInput
        } else if let file = FileHandle(forReadingAtPath: source) {
            handle = file
        } else {
            throw CommandFailure(
                "--import takes a file that can be read, or - for standard input; never the token itself",
                exitCode: 66)
        }
        guard let data = try? handle.read(upToCount: maximumBytes + 1), data.count <= maximumBytes else {
            throw CommandFailure(
                "there is no token to import: nothing, or more than a token's worth, was read", exitCode: 66)
        }
        let text = String(decoding: data, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
        guard !text.isEmpty else { throw CommandFailure("there is no token to import: nothing was read", exitCode: 66) }
        return text
    }
}
