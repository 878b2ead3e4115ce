internal import ArgumentParser

/// A file with what an owner sets up, brought in whole or not at all.
struct ApplyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "apply", abstract: "Bring in a file of rotations and policies, all of it or none of it.",
        discussion: """
            The file is YAML or JSON with 'rotations:' and 'policies:', lists of what 'aisbf rotation show NAME --json' and
            'aisbf policy show NAME --json' print. What is there already is changed; what the file does not name stays.
            Applying it again changes nothing.
            """)
    @Argument(help: "The file; '-' for standard input.", completion: .file(extensions: ["yaml", "yml", "json"]))
    var file: String
    @OptionGroup var admin: AdminOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let body = try DocumentFile.read(file)
        let answer = try await admin.client().send("POST", "apply", body: body)
        if output.json { return Console.print(answer.pretty) }
        for (key, prefix) in [("rotations", "rotation"), ("policies", "autoselect")] {
            for entry in answer[key]?.elements ?? [] {
                Console.print("\(prefix)/\(entry["name"]?.text ?? "") of \(entry["owner"]?.text ?? "")")
            }
        }
    }
}
