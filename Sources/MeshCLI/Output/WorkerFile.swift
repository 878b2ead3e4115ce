internal import ArgumentParser
internal import Foundation

/// Where the worker's configuration goes, which holds a secret that is shown once.
struct WorkerFileOptions: ParsableArguments {
    @Option(
        help: "Write the worker's JSON to this file (mode 0600) instead of printing it.",
        completion: .file(extensions: ["json"]))
    var out: String?

    @Option(
        name: [.customLong("backend"), .customLong("backend-url")],
        help: "What its workers sell: the base URL of an OpenAI-compatible server, or 'demo' for built-in text.")
    var backend: String?

    func validate() throws {
        guard let backend, backend != "demo" else { return }
        let url = URLComponents(string: backend)
        guard ["http", "https"].contains(url?.scheme), url?.host?.isEmpty == false, url?.query == nil else {
            throw ValidationError("--backend must be 'demo', or http:// or https:// with a host and without a query")
        }
    }
}

/// The worker's configuration as the node hands it out.
struct WorkerFile {
    let options: WorkerFileOptions
    let json: Bool
    /// Nil where the file is printed.
    private let place: Place?

    private enum Place {
        case new(NewFile)
        /// Only the token changes.
        case edited(WorkerFileEdit, PendingFile)
    }

    private init(options: WorkerFileOptions, json: Bool, place: Place?) {
        self.options = options
        self.json = json
        self.place = place
    }

    /// For a token of a new file: an existing one is left as it is.
    static func new(_ options: WorkerFileOptions, json: Bool) throws -> WorkerFile {
        WorkerFile(options: options, json: json, place: try options.out.map { .new(try NewFile.reserve($0)) })
    }

    /// For a token in place of another: an existing file keeps everything else.
    static func replacingToken(
        of provider: String, _ options: WorkerFileOptions, json: Bool
    ) throws -> WorkerFile {
        guard let path = options.out else { return WorkerFile(options: options, json: json, place: nil) }
        guard let edit = try WorkerFileEdit.open(path, provider: provider) else {
            return WorkerFile(options: options, json: json, place: .new(try NewFile.reserve(path)))
        }
        guard options.backend == nil else {
            throw CommandFailure(
                "--backend is for a new file; \(path) exists, and only the token in it is replaced", exitCode: 64)
        }
        return WorkerFile(
            options: options, json: json,
            place: .edited(edit, try PendingFile.replacing(edit.path, keepingModeOf: edit.status)))
    }

    /// Asks the node for the token and puts it where it belongs. When that fails at the last moment, the token is
    /// printed rather than lost.
    func deliver(_ ask: () async throws -> JSONValue) async throws {
        let answer: JSONValue
        do { answer = try await ask() } catch {
            abandon()
            throw error
        }
        let secret = SecretDocument(answer)
        let worker = prepared(secret.workerFile ?? .null)
        guard let place else { return show(answer, worker) }
        do {
            switch place {
            case .new(let file): try file.commit(worker.pretty + "\n")
            case .edited(let edit, let file): try file.commit(try edit.replacing(secret.token))
            }
        } catch {
            abandon()
            Console.print(worker.pretty)
            Console.error(
                "The file could not be written. Save the text above: its registration token is shown this once.")
            throw error
        }
        if json, let provider = secret.provider { Console.print(provider.pretty) }
        told(place, worker)
    }

    private func abandon() {
        switch place {
        case .new(let file): file.abandon()
        case .edited(_, let file): file.abandon()
        case nil: break
        }
    }

    /// With what the workers sell: without it they do not start, so that nobody sells demo text unasked.
    private func prepared(_ worker: JSONValue) -> JSONValue {
        guard case .object(var members) = worker, let backend = options.backend else { return worker }
        members["backend"] =
            backend == "demo"
            ? .string("demo") : .object(["kind": .string("openai"), "base_url": .string(backend)])
        return .object(members)
    }

    private func show(_ answer: JSONValue, _ worker: JSONValue) {
        if json {
            guard case .object(var members) = answer else { return Console.print(answer.pretty) }
            members["worker"] = worker
            return Console.print(JSONValue.object(members).pretty)
        }
        Console.print(worker.pretty)
        Console.error("Save this as worker.json: its registration token is shown this once.")
        hint(worker, "worker.json")
    }

    private func told(_ place: Place, _ worker: JSONValue) {
        switch place {
        case .new(let file):
            Console.error("wrote \(file.path)")
            hint(worker, file.path)
        case .edited(let edit, _):
            Console.error("replaced the token in \(edit.path); restart the worker that uses it")
        }
    }

    private func hint(_ worker: JSONValue, _ path: String) {
        if worker["backend"] == nil {
            Console.error(
                "Add what the worker sells: \"backend\": {\"kind\": \"openai\", \"base_url\": \"http://127.0.0.1:11434/v1\"}"
            )
        }
        Console.error("start a worker with: aisbf worker run --config \(path)")
    }
}

/// An existing worker.json in which only the token changes; every other byte stays.
struct WorkerFileEdit {
    /// Where the file is, behind symbolic links.
    let path: String
    let status: stat
    private let text: String
    private let document: JSONValue
    /// Where the token stands in `text`, with its quotes.
    private let token: Range<String.Index>

    private static let maximumBytes = 1 << 20

    /// - Returns: nil when there is no such file.
    /// - Throws: a failure for what is no worker.json of `provider`; nothing is changed.
    static func open(_ path: String, provider: String) throws -> WorkerFileEdit? {
        var status = stat()
        guard stat(path, &status) == 0 else {
            if errno == ENOENT { return nil }
            throw refusal(path, String(cString: strerror(errno)))
        }
        guard status.st_mode & S_IFMT == S_IFREG, status.st_size <= maximumBytes,
            let data = FileManager.default.contents(atPath: path), let text = String(validating: data, as: UTF8.self),
            let document = JSONValue.parse(Array(data)), let broker = document["broker"]
        else { throw refusal(path, "it is no worker.json that can be read") }
        let isGlobal = broker["scope"]?.text == "global"
        let name = "\(isGlobal ? "global" : broker["username"]?.text ?? "?")/\(broker["provider_id"]?.text ?? "?")"
        guard name == provider else {
            throw refusal(path, "it is for \(Table.printable(name)), not for \(provider)")
        }
        let literals = text.matches(of: /"registration_token"\s*:\s*("(?:[^"\\]|\\.)*")/)
        guard literals.count == 1, let token = literals.first?.output.1 else {
            throw refusal(path, "its registration_token does not stand in it once; put the new one in by hand")
        }
        let real = URL(fileURLWithPath: path).resolvingSymlinksInPath().path
        return WorkerFileEdit(
            path: real, status: status, text: text, document: document, token: token.startIndex..<token.endIndex)
    }

    func replacing(_ new: String?) throws -> String {
        guard let new else { throw Self.refusal(path, "the node's answer had no token") }
        let edited = text.replacingCharacters(in: token, with: JSONValue.string(new).compact)
        // Nothing but the token may mean anything else than before.
        guard case .object(var members) = document, case .object(var broker)? = members["broker"] else { return edited }
        broker["registration_token"] = .string(new)
        members["broker"] = .object(broker)
        guard JSONValue.parse(Array(edited.utf8)) == .object(members) else {
            throw Self.refusal(path, "the token in it could not be told apart from the rest")
        }
        return edited
    }

    private static func refusal(_ path: String, _ reason: String) -> CommandFailure {
        CommandFailure("\(path) was left as it is: \(reason)", exitCode: PrivateFile.cannotCreate)
    }
}
