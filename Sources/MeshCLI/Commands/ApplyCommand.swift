internal import ArgumentParser
internal import Foundation
internal import MeshTopology

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
        let body = try Self.read(file)
        let answer = try await admin.client().send("POST", "apply", body: body)
        if output.json { return Console.print(answer.pretty) }
        for (key, prefix) in [("rotations", "rotation"), ("policies", "autoselect")] {
            for entry in answer[key]?.elements ?? [] {
                Console.print("\(prefix)/\(entry["name"]?.text ?? "") of \(entry["owner"]?.text ?? "")")
            }
        }
    }

    /// The largest file that is read.
    private static let bytes = 1 << 20

    private static func read(_ file: String) throws -> JSONValue {
        let data: Data
        if file == "-" {
            data = FileHandle.standardInput.readData(ofLength: bytes + 1)
        } else {
            guard let handle = FileHandle(forReadingAtPath: file) else {
                throw CommandFailure("cannot read \(file): is it there, and may you read it?")
            }
            data = (try? handle.read(upToCount: bytes + 1)) ?? Data()
        }
        guard data.count <= bytes else { throw CommandFailure("\(file) is larger than \(bytes >> 10) KiB") }
        do {
            let text = String(decoding: data, as: UTF8.self)
            return try YAMLFile.decode(JSONValue.self, from: text)
        } catch {
            throw CommandFailure("\(file) is neither YAML nor JSON: \(error)", exitCode: 65)
        }
    }
}
