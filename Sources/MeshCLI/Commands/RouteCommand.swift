internal import ArgumentParser
internal import Foundation

/// Where requests go.
struct RouteCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "route", abstract: "Where a request would go, and why not elsewhere.", subcommands: [Explain.self])

    struct Explain: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show who would answer a request now, and each candidate with its place or its one reason.",
            discussion: """
                MODEL is what a buyer writes: a model, rotation/NAME, auto:cheap, autoselect/NAME … Nothing is sent to
                anybody. With --body the whole request is looked at: its length, its tools, its preferences.
                """)
        @Argument(help: "The model, as a buyer writes it. May be left out with --body.") var model: String?
        @Option(help: "Of another endpoint than chat, such as embeddings or images/generations.") var endpoint: String?
        @Option(help: "For whom: a username; by default the operator.") var owner = "global"
        @Option(
            help: "A file with the request's JSON body; '-' for standard input.",
            completion: .file(extensions: ["json"]))
        var body: String?
        @OptionGroup var admin: AdminOptions
        @OptionGroup var output: OutputOptions

        func validate() throws {
            if model == nil, body == nil { throw ValidationError("name a MODEL, or give the request with --body") }
        }

        func run() async throws {
            var request: [String: JSONValue] = [:]
            if let body {
                guard case .object(let read) = try DocumentFile.read(body) else {
                    throw CommandFailure("\(body) holds no JSON object", exitCode: 65)
                }
                request = read
            }
            if let model { request["model"] = .string(model) }
            var path = "route/explain?owner=\(AdminClient.segment(owner))"
            if let endpoint { path += "&endpoint=\(AdminClient.segment(endpoint))" }
            let answer = try await admin.client().send("POST", path, body: .object(request))
            if output.json { return Console.print(answer.pretty) }
            Console.print(Table.printable(answer["summary"]?.text ?? ""))
            let rows = answer["candidates"]?.elements ?? []
            if !rows.isEmpty { Console.print(TableLayout.candidates.table(rows).text) }
        }
    }
}
