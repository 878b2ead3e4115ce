internal import ArgumentParser
internal import Foundation

/// Where a provider of kind `openai` is served from.
struct UpstreamOptions: ParsableArguments {
    @Option(help: "Base URL of an OpenAI-compatible server that this node asks itself, such as https://host/v1.")
    var baseURL: String?

    @Option(
        help: """
            What it has beside chat, such as v1/audio/speech. May be repeated; v1/completions and v1/embeddings where \
            none is named.
            """)
    var endpoint: [String] = []

    @Option(
        help: "File with the key it is asked with (mode 0600), or - for standard input. Never an argument.",
        completion: .file())
    var keyFile: String?

    /// Whether anything of it was said.
    var isEmpty: Bool { baseURL == nil && endpoint.isEmpty && keyFile == nil }

    /// What of it goes to the node beside the key.
    var body: [String: JSONValue] {
        var body: [String: JSONValue] = [:]
        body["base_url"] = baseURL.map(JSONValue.string)
        if !endpoint.isEmpty { body["endpoints"] = .array(endpoint.map(JSONValue.string)) }
        return body
    }
}

/// The key of an upstream, from wherever it may be given.
enum UpstreamKey {
    static let variable = "AISBF_PROVIDER_KEY"
    private static let most = 4_096

    /// - Parameter environment: asked where no file is named.
    static func read(file: String?, environment: [String: String]) throws -> String? {
        if let file { return try checked(try content(of: file), from: file == "-" ? "standard input" : file) }
        guard let text = environment[variable] else { return nil }
        return try checked(text, from: variable)
    }

    /// The one line of `text`. Nothing of it is ever repeated.
    static func checked(_ text: String, from place: String) throws -> String {
        let line = text.trimmingCharacters(in: .whitespacesAndNewlines)
        guard !line.isEmpty else { throw CommandFailure("there is no key in \(place): it is empty", exitCode: 65) }
        guard line.utf8.count <= most, line.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw CommandFailure(
                "what is in \(place) is no key: it must be one line of printable ASCII without spaces", exitCode: 65)
        }
        return line
    }

    /// A file that others may read is no place for a key. A link is followed: secrets are often mounted as one.
    private static func content(of path: String) throws -> String {
        if path == "-" { return String(decoding: FileHandle.standardInput.readData(ofLength: most + 2), as: UTF8.self) }
        let file = URL(fileURLWithPath: path).resolvingSymlinksInPath().path
        guard let facts = try? FileManager.default.attributesOfItem(atPath: file) else {
            throw CommandFailure("cannot read \(path): is it there, and may you look into its folder?", exitCode: 66)
        }
        guard facts[.type] as? FileAttributeType == .typeRegular else {
            throw CommandFailure("\(path) is no plain file", exitCode: 66)
        }
        guard let mode = (facts[.posixPermissions] as? NSNumber)?.intValue, mode & 0o077 == 0 else {
            throw CommandFailure("other users can read \(path); run 'chmod 600 \(path)'", exitCode: 77)
        }
        guard let handle = FileHandle(forReadingAtPath: file),
            let bytes = try? handle.read(upToCount: most + 2) ?? Data()
        else { throw CommandFailure("cannot read \(path): it may not be yours", exitCode: 66) }
        return String(decoding: bytes, as: UTF8.self)
    }
}
