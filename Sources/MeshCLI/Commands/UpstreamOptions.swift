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
        help: """
            File with the keys it is asked with, one a line (mode 0600), or - for standard input. Never an argument. May \
            be repeated; all of them take the place of those before.
            """,
        completion: .file())
    var keyFile: [String] = []

    @Option(help: "A header of every request to it, as 'Name: value'. May be repeated; all replace those before.")
    var header: [String] = []

    @Option(
        help: "File with such headers, one a line (mode 0600), for values that nobody is to see. May be repeated.",
        completion: .file())
    var headerFile: [String] = []

    @Option(
        help: "A model under a name of its own, as SOLD=UPSTREAM. May be repeated; all replace those before.")
    var map: [String] = []

    @Option(help: "How many seconds it may sleep before it answers: requests wait for it so long. 0: it does not.")
    var coldStart: Int64?

    /// Whether anything of it was said.
    var isEmpty: Bool {
        baseURL == nil && endpoint.isEmpty && keyFile.isEmpty && header.isEmpty && headerFile.isEmpty && map.isEmpty
            && coldStart == nil
    }

    /// What of it goes to the node beside the keys.
    func body() throws -> [String: JSONValue] {
        var body: [String: JSONValue] = [:]
        body["base_url"] = baseURL.map(JSONValue.string)
        if !endpoint.isEmpty { body["endpoints"] = .array(endpoint.map(JSONValue.string)) }
        let headers = try UpstreamHeaders.read(header, files: headerFile)
        if !headers.isEmpty { body["headers"] = .object(headers.mapValues(JSONValue.string)) }
        if !map.isEmpty { body["models"] = .object(try Self.models(map)) }
        body["cold_start_seconds"] = coldStart.map(JSONValue.integer)
        return body
    }

    private static func models(_ map: [String]) throws -> [String: JSONValue] {
        var models: [String: JSONValue] = [:]
        for entry in map {
            let parts = entry.split(separator: "=", maxSplits: 1).map(String.init)
            guard parts.count == 2, models[parts[0]] == nil else {
                throw CommandFailure("--map takes SOLD=UPSTREAM, each name once, and not '\(entry)'", exitCode: 64)
            }
            models[parts[0]] = .string(parts[1])
        }
        return models
    }
}

/// Headers of every request to an upstream, from wherever they may be given.
enum UpstreamHeaders {
    static func read(_ lines: [String], files: [String]) throws -> [String: String] {
        var headers: [String: String] = [:]
        func take(_ line: String, from place: String) throws {
            let parts = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            let name = parts[0].trimmingCharacters(in: .whitespaces)
            // What is wrong may hold a secret, and is not repeated.
            guard parts.count == 2, !name.isEmpty else {
                throw CommandFailure("a header in \(place) is not written as 'Name: value'", exitCode: 65)
            }
            guard headers.updateValue(parts[1].trimmingCharacters(in: .whitespaces), forKey: name) == nil else {
                throw CommandFailure("the header '\(name.prefix(64))' is given twice", exitCode: 65)
            }
        }
        for line in lines { try take(line, from: "--header") }
        for file in files {
            for line in try SecretInput.content(of: file).split(whereSeparator: \.isNewline) {
                try take(String(line), from: SecretInput.name(of: file))
            }
        }
        return headers
    }
}

/// The key of an upstream, from wherever it may be given.
enum UpstreamKey {
    static let variable = "AISBF_PROVIDER_KEY"
    private static let most = 4_096

    /// The keys in `files`, one a line; where none is named, the one in `environment`.
    static func readAll(files: [String], environment: [String: String]) throws -> [String]? {
        guard !files.isEmpty else {
            return try environment[variable].map { [try checked($0, from: variable)] }
        }
        return try files.flatMap { file -> [String] in
            let place = SecretInput.name(of: file)
            let lines = try SecretInput.content(of: file).split(whereSeparator: \.isNewline)
            guard !lines.isEmpty else { throw CommandFailure("there is no key in \(place): it is empty", exitCode: 65) }
            return try lines.map { try checked(String($0), from: place) }
        }
    }

    /// - Parameter environment: asked where no file is named.
    static func read(file: String?, environment: [String: String]) throws -> String? {
        if let file { return try checked(try SecretInput.content(of: file), from: SecretInput.name(of: file)) }
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
}

/// A file with secrets, or standard input.
enum SecretInput {
    /// What is read of one file.
    static let most = 16_384

    static func name(of path: String) -> String { path == "-" ? "standard input" : path }

    /// A file that others may read is no place for a key. A link is followed: secrets are often mounted as one.
    static func content(of path: String) throws -> String {
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
