import Foundation
import MeshModel
package import MeshUpstream
package import MeshWire

/// `worker.json`, checked. `Docs/Reference/worker-config.md` lists the keys.
package struct WorkerConfiguration: Sendable {
    package enum BackendKind: Hashable, Sendable {
        /// `baseURL` without a slash at its end.
        case openAI(baseURL: String, apiKey: String?, endpoints: [String] = [])
        case demo(tokensPerSecond: Int, models: [String], faults: DemoFaults)
    }

    package var enabled: Bool
    package var endpoint: BrokerEndpoint
    package var username: String
    package var providerID: String
    package var clientID: String
    package var registrationToken: String
    package var tlsCAFile: String?
    package var backend: BackendKind
    /// Things that are odd and not wrong: unknown keys.
    package var warnings: [String]

    /// Every problem of a file at once, each beginning with its key path.
    package struct Invalid: Error, Hashable, Sendable, CustomStringConvertible {
        package var problems: [String]
        package var description: String { problems.joined(separator: "\n") }
    }

    /// Reads and checks a file.
    /// - Parameter environment: `AISBF_REGISTRATION_TOKEN` is used where the file has no token.
    package static func load(
        path: String, environment: [String: String] = ProcessInfo.processInfo.environment
    ) throws(Invalid) -> WorkerConfiguration {
        guard let data = FileManager.default.contents(atPath: path) else {
            throw Invalid(problems: ["\(path): cannot be read; check the path and its permissions"])
        }
        guard data.count <= 1 << 20 else { throw Invalid(problems: ["\(path): larger than 1 MiB, not a worker.json"]) }
        let document: JSONValue
        do { document = try JSONValue.parse([UInt8](data)) } catch {
            throw Invalid(problems: ["\(path): not valid JSON: \(error.description)"])
        }
        return try parse(document, environment: environment)
    }

    package static func parse(
        _ document: JSONValue, environment: [String: String], hostname: String = ProcessInfo.processInfo.hostName
    ) throws(Invalid) -> WorkerConfiguration {
        var reader = ConfigurationReader(root: document)
        let configuration = WorkerConfiguration(&reader, environment: environment, hostname: hostname)
        guard reader.problems.isEmpty, let configuration else { throw Invalid(problems: reader.problems) }
        return configuration
    }

    private init?(_ reader: inout ConfigurationReader, environment: [String: String], hostname: String) {
        reader.section("", keys: ["broker", "backend"])
        reader.section(
            "broker",
            keys: [
                "enabled", "base_url", "scope", "username", "provider_id", "client_id", "registration_token",
                "transport",
                "tls_ca_file",
            ])
        enabled = reader.flag("broker.enabled") ?? true
        let scope = reader.text("broker.scope") ?? "user"
        if !["user", "global"].contains(scope) { reader.fail("broker.scope", "must be \"user\" or \"global\"") }
        if let transport = reader.text("broker.transport"), transport != "websocket" {
            reader.fail("broker.transport", "must be \"websocket\"")
        }
        let name = reader.text("broker.username")
        if scope == "user", name == nil { reader.fail("broker.username", "is missing; it is the seller's user name") }
        if scope == "global", let name, name != "global" {
            reader.fail("broker.username", "must be left out (or \"global\") with scope \"global\"")
        }
        username = scope == "global" ? "global" : reader.name("broker.username", name) ?? ""
        let provider = reader.text("broker.provider_id")
        if provider == nil { reader.fail("broker.provider_id", "is missing; `aisbf provider create` prints it") }
        providerID = reader.name("broker.provider_id", provider) ?? ""
        clientID =
            reader.name("broker.client_id", reader.text("broker.client_id")) ?? Self.clientID(from: hostname)
        registrationToken = reader.text("broker.registration_token") ?? environment["AISBF_REGISTRATION_TOKEN"] ?? ""
        if registrationToken.isEmpty {
            reader.fail(
                "broker.registration_token",
                "is missing; `aisbf provider create` prints it once (or set AISBF_REGISTRATION_TOKEN)")
        } else if !registrationToken.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) {
            reader.fail("broker.registration_token", "holds a space or a character that no token has; paste it again")
        } else if let problem = Self.tokenProblem(registrationToken) {
            reader.fail("broker.registration_token", "\(problem); paste it again")
        }
        tlsCAFile = reader.text("broker.tls_ca_file")
        if let tlsCAFile, !FileManager.default.isReadableFile(atPath: tlsCAFile) {
            reader.fail("broker.tls_ca_file", "cannot be read")
        }
        let kind = Self.backend(&reader)
        let base = reader.text("broker.base_url")
        var dialled: BrokerEndpoint?
        if let base {
            dialled = BrokerEndpoint(baseURL: base, username: scope == "global" ? nil : username)
            if dialled == nil {
                reader.fail(
                    "broker.base_url", "must be http://, https://, ws:// or wss:// with a host, without a query")
            }
        } else {
            reader.fail("broker.base_url", "is missing; it is the address of a node, such as https://node.example")
        }
        warnings = reader.warnings
        guard let dialled, let kind else { return nil }
        endpoint = dialled
        backend = kind
    }

    /// Tokens of this mesh carry a checksum. One that was minted elsewhere is taken as it is.
    private static func tokenProblem(_ token: String) -> String? {
        guard KeyText.allCases.contains(where: { token.hasPrefix($0.rawValue) }),
            case .failure(let error) = KeyText.registrationToken.parse(token)
        else { return nil }
        return error.message(expected: .registrationToken)
    }

    private static func backend(_ reader: inout ConfigurationReader) -> BackendKind? {
        if reader.value("backend") == .string("demo") {
            return .demo(tokensPerSecond: 50, models: ["demo-chat"], faults: DemoFaults())
        }
        guard reader.value("backend")?.members != nil else {
            reader.fail(
                "backend",
                "is missing: nothing is sold by accident; name your server, for Ollama "
                    + #"{"kind": "openai", "base_url": "http://127.0.0.1:11434/v1"}, or "demo" for built-in text"#)
            return nil
        }
        switch reader.text("backend.kind") {
        case "openai": return openAI(&reader)
        case "demo": return demo(&reader)
        default:
            reader.fail("backend.kind", "must be \"openai\" or \"demo\"")
            return nil
        }
    }

    private static func openAI(_ reader: inout ConfigurationReader) -> BackendKind? {
        reader.section("backend", keys: ["kind", "base_url", "api_key", "endpoints"])
        guard var base = reader.text("backend.base_url") else {
            reader.fail("backend.base_url", "is missing; for Ollama it is http://127.0.0.1:11434/v1")
            return nil
        }
        while base.hasSuffix("/") { base.removeLast() }
        guard let url = URL(string: base), ["http", "https"].contains(url.scheme), url.host() != nil, url.query() == nil
        else {
            reader.fail("backend.base_url", "must be http:// or https:// with a host, without a query")
            return nil
        }
        return .openAI(baseURL: base, apiKey: reader.text("backend.api_key"), endpoints: endpoints(&reader))
    }

    /// What the server has beside chat; every OpenAI-compatible one has these two.
    private static func endpoints(_ reader: inout ConfigurationReader) -> [String] {
        guard let list = reader.value("backend.endpoints") else { return ["v1/completions", "v1/embeddings"] }
        let names = (list.elements ?? []).compactMap(\.text).map { $0.hasPrefix("/") ? String($0.dropFirst()) : $0 }
        let families = EndpointPath.Family.allCases.map(\.rawValue).joined(separator: ", ")
        guard names.count == list.elements?.count, names.count <= Limits.workerEndpoints,
            names.allSatisfy({ EndpointPath("/\($0)") != nil })
        else {
            reader.fail(
                "backend.endpoints",
                "must be a list of at most \(Limits.workerEndpoints) paths such as \"v1/images/generations\", each below v1/ and one of: \(families)"
            )
            return []
        }
        return names
    }

    private static func demo(_ reader: inout ConfigurationReader) -> BackendKind? {
        reader.section("backend", keys: ["kind", "tokens_per_second", "models", "faults"])
        reader.section("backend.faults", keys: ["silent", "garbage", "error_status"])
        let speed = reader.integer("backend.tokens_per_second", in: 0...1_000_000) ?? 50
        let faults = DemoFaults(
            silent: reader.flag("backend.faults.silent") ?? false,
            garbage: reader.flag("backend.faults.garbage") ?? false,
            errorStatus: reader.integer("backend.faults.error_status", in: 400...599).map { Int($0) })
        var models = ["demo-chat"]
        if let list = reader.value("backend.models") {
            let names = (list.elements ?? []).compactMap(\.text).filter { !$0.isEmpty }
            if names.isEmpty || names.count != list.elements?.count {
                reader.fail("backend.models", "must be a list of model names")
            }
            models = names
        }
        return .demo(tokensPerSecond: Int(speed), models: models, faults: faults)
    }

    /// The host's name made fit for `NameRule`.
    package static func clientID(from hostname: String) -> String {
        let allowed = hostname.lowercased().map { character -> Character in
            let fits = NameRule.isValid("a\(character)")
            return fits ? character : "-"
        }
        let name = String(allowed.drop { "._-".contains($0) }.prefix(64))
        return NameRule.isValid(name) ? name : "worker"
    }
}

/// Reads values by key path and collects what is wrong.
struct ConfigurationReader {
    let root: JSONValue
    private(set) var problems: [String] = []
    private(set) var warnings: [String] = []

    init(root: JSONValue) { self.root = root }

    mutating func fail(_ path: String, _ what: String) { problems.append("\(path): \(what)") }

    func value(_ path: String) -> JSONValue? {
        var value: JSONValue? = root
        for key in path.split(separator: ".") { value = value?[String(key)] }
        return value == .null ? nil : value
    }

    /// Checks that the section is an object and names keys it should not have.
    mutating func section(_ path: String, keys: [String]) {
        guard let section = path.isEmpty ? root : value(path) else {
            if path == "broker" { fail(path, "is missing") }
            return
        }
        guard let members = section.members else {
            fail(path.isEmpty ? "worker.json" : path, "must be an object")
            return
        }
        for member in members where !keys.contains(member.name) {
            warnings.append("\(path.isEmpty ? "" : path + ".")\(member.name): unknown key, ignored")
        }
    }

    /// Empty text counts as absent.
    mutating func text(_ path: String) -> String? {
        guard let value = value(path) else { return nil }
        guard let text = value.text else {
            fail(path, "must be text")
            return nil
        }
        return text.isEmpty ? nil : text
    }

    mutating func flag(_ path: String) -> Bool? {
        guard let value = value(path) else { return nil }
        guard let flag = value.flag else {
            fail(path, "must be true or false")
            return nil
        }
        return flag
    }

    mutating func integer(_ path: String, in range: ClosedRange<Int64>) -> Int64? {
        guard let value = value(path) else { return nil }
        guard let integer = value.integer, range.contains(integer) else {
            fail(path, "must be a whole number from \(range.lowerBound) to \(range.upperBound)")
            return nil
        }
        return integer
    }

    mutating func name(_ path: String, _ name: String?) -> String? {
        guard let name else { return nil }
        guard NameRule.isValid(name) else {
            fail(path, "must be \(NameRule.text)")
            return nil
        }
        return name
    }
}
