internal import ArgumentParser
internal import Foundation
internal import MeshNode

struct ConnectCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "connect", abstract: "Point a program at this node: print its configuration, or write it.",
        discussion: """
            Programs: \(ClientSetup.Client.allCases.map { "\($0.rawValue) (\($0.about))" }.joined(separator: ", ")).

            The key is --key, else AISBF_API_KEY; make one with 'aisbf key create'. With --write the configuration goes
            into the program's own file: what stood there stays and is kept in a copy beside it, and what somebody else
            has set is left alone.
            """)

    @Argument(help: "The program.") var client: ClientSetup.Client
    @Option(help: "The node's base URL (default: this node's, by its configuration).") var url: String?
    @Option(help: "The API key. Better in AISBF_API_KEY: other users of this machine see arguments.") var key: String?
    @Option(help: "The model (default: auto, as a policy chooses).") var model: String?
    @Flag(help: "Write the configuration into the program's file.") var write = false
    @Option(help: "That file, where it is not the usual one.", completion: .file()) var file: String?
    @OptionGroup var configuration: ConfigurationOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        if let model, !(1...512).contains(model.utf8.count) || model.contains(where: \.isNewline) {
            throw ValidationError("--model is one name of at most 512 characters")
        }
    }

    func run() async throws {
        let environment = ProcessInfo.processInfo.environment
        let key = key ?? environment[ClientSetup.keyVariable].flatMap { $0.isEmpty ? nil : $0 }
        let terms = ClientSetup.Terms(
            url: try await base(), key: key, model: model ?? client.usualModel)
        let setup = ClientSetup(client, terms)
        let path = setup.file.map { file ?? Self.path(of: client, $0, environment) }
        var written: ClientFile.Result?
        if write {
            guard let path else {
                throw CommandFailure("\(client.about) reads its environment; there is no file to write", exitCode: 64)
            }
            if case .members = setup.content, key == nil, client == .claude {
                throw CommandFailure(
                    "its key would stand in the file, and none was given: set AISBF_API_KEY", exitCode: 64)
            }
            written = try ClientFile.write(setup, to: path)
        }
        output.json ? show(setup, path, written) : tell(setup, path, written)
    }

    /// Where the program itself looks, which its user may have moved.
    static func path(of client: ClientSetup.Client, _ file: String, _ environment: [String: String]) -> String {
        let moved = client.folderVariable.flatMap { environment[$0] } ?? ""
        if !moved.isEmpty, let name = file.split(separator: "/").last { return "\(moved)/\(name)" }
        let home = environment["HOME"] ?? ""
        return "\(home.isEmpty ? FileManager.default.homeDirectoryForCurrentUser.path : home)/\(file)"
    }

    private func base() async throws -> String {
        var text = url ?? ""
        if text.isEmpty { text = try await configuration.load().api.url }
        while text.hasSuffix("/") { text.removeLast() }
        // As it is told to programs of OpenAI's API.
        if text.hasSuffix("/v1") { text.removeLast(3) }
        guard let scheme = URLComponents(string: text)?.scheme, ["http", "https"].contains(scheme) else {
            throw CommandFailure("--url must begin with https:// or http://", exitCode: 64)
        }
        return text
    }

    private func show(_ setup: ClientSetup, _ path: String?, _ written: ClientFile.Result?) {
        var members: [String: JSONValue] = [
            "client": .string(client.rawValue), "file": path.map(JSONValue.string) ?? .null,
            "content": setup.file == nil ? .null : .string(setup.text), "command": .string(setup.command),
            "environment": .object(
                Dictionary(uniqueKeysWithValues: setup.variables.map { ($0.name, .string($0.value)) })),
        ]
        if let written {
            members["changed"] = .bool(written.isChanged)
            members["backup"] = written.backup.map(JSONValue.string) ?? .null
        }
        Console.print(JSONValue.object(members).pretty)
    }

    private func tell(_ setup: ClientSetup, _ path: String?, _ written: ClientFile.Result?) {
        if let written, let path {
            Console.print(written.isChanged ? "wrote \(path)" : "\(path) says so already")
            if let backup = written.backup { Console.print("what stood there before is in \(backup)") }
        } else if let path {
            Console.print("In \(path):\n\n\(setup.text)\n")
        }
        for variable in setup.variables {
            Console.print("export \(variable.name)=\(ClientSetup.shell(variable.value))")
        }
        Console.print("Then: \(setup.command)")
    }
}

extension ClientSetup.Client: ExpressibleByArgument {}

/// A program's own file, with what connects it to a node in it.
enum ClientFile {
    struct Result: Equatable {
        var isChanged: Bool
        /// Where what stood there before was put.
        var backup: String?
    }

    /// The largest file that is read.
    private static let bytes = 4 << 20

    static func write(_ setup: ClientSetup, to path: String) throws -> Result {
        var facts = stat()
        let isThere = stat(path, &facts) == 0
        guard !isThere || facts.st_size <= bytes else {
            throw CommandFailure("\(path) is too large for a configuration")
        }
        let old = try isThere ? read(path) : ""
        let new: String
        do throws(ClientSetup.Conflict) { new = try setup.applied(to: old) } catch {
            throw CommandFailure(
                "\(path) was left as it is: \(error.words). Put this in by hand:\n\n\(setup.text)")
        }
        guard new != old else { return Result(isChanged: false, backup: nil) }
        let folder = (path as NSString).deletingLastPathComponent
        if !folder.isEmpty {
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        }
        var backup: String?
        if isThere {
            let copy = "\(path).\(Int(Date().timeIntervalSince1970)).bak"
            try NewFile.reserve(copy).commit(old)
            backup = copy
        }
        // A link that leads elsewhere goes on leading there.
        let target = (try? FileManager.default.destinationOfSymbolicLink(atPath: path)).map {
            $0.hasPrefix("/") ? $0 : "\(folder)/\($0)"
        }
        try PendingFile.replacing(target ?? path, keepingModeOf: isThere ? facts : nil).commit(new)
        return Result(isChanged: true, backup: backup)
    }

    private static func read(_ path: String) throws -> String {
        guard let data = FileManager.default.contents(atPath: path), let text = String(data: data, encoding: .utf8)
        else {
            throw CommandFailure("cannot read \(path), or it is no text", exitCode: 66)
        }
        return text
    }
}
