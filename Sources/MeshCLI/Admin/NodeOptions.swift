internal import ArgumentParser
internal import Foundation
internal import MeshNode

/// Flags from which a node's configuration is made.
struct ConfigurationOptions: ParsableArguments {
    @Option(
        name: .long, help: "Configuration file, YAML or JSON (or AISBF_CONFIG).",
        completion: .file(extensions: ["yaml", "yml", "json"]))
    var config: String?

    @Option(
        name: .long, help: "Data directory (default ~/.local/share/aisbf, or AISBF_DATA_DIR).",
        completion: .directory)
    var dataDir: String?

    func load(adding more: NodeConfiguration.Overrides = [:]) async throws -> NodeConfiguration {
        let environment = ProcessInfo.processInfo.environment
        var overrides = more
        if let dataDir { overrides[.dataDirectory] = [dataDir] }
        return try await NodeConfiguration.load(
            file: config ?? environment["AISBF_CONFIG"], environment: environment, overrides: overrides)
    }
}

/// The rest of the configuration as flags, for the commands that start a node.
struct NodeSettingOptions: ParsableArguments {
    @OptionGroup var configuration: ConfigurationOptions

    @Option(help: "Name of this node.")
    var name: String?

    @Option(help: "Where buyers and workers connect, host:port.")
    var apiListen: String?

    @Option(help: "Base URL told to buyers and workers.")
    var apiURL: String?

    @Option(help: "Where other nodes connect, host:port.")
    var linkListen: String?

    @Option(help: "A node to dial from the start, aisbf_node_…@host:port. May be repeated.")
    var peer: [String] = []

    @Option(name: .customLong("set"), help: "Any configuration key, key=value. May be repeated.")
    var settings: [String] = []

    func load() async throws -> NodeConfiguration {
        try await configuration.load(adding: try overrides())
    }

    /// The same again, later: the file may have changed, flags and environment have not.
    func rereading() throws -> @Sendable () async throws -> NodeConfiguration {
        let environment = ProcessInfo.processInfo.environment
        let file = configuration.config ?? environment["AISBF_CONFIG"]
        var overrides = try overrides()
        if let directory = configuration.dataDir { overrides[.dataDirectory] = [directory] }
        return { [overrides] in
            try await NodeConfiguration.load(file: file, environment: environment, overrides: overrides)
        }
    }

    func overrides() throws -> NodeConfiguration.Overrides {
        var overrides: NodeConfiguration.Overrides = [:]
        var unknown: [ConfigurationProblem] = []
        for setting in settings {
            let parts = setting.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            if let key = NodeConfigurationKey(rawValue: parts[0]), parts.count == 2 {
                overrides[key, default: []].append(parts[1])
            } else {
                unknown.append(.init(path: "--set \(setting)", message: "must be key=value with a configuration key"))
            }
        }
        guard unknown.isEmpty else { throw ConfigurationProblems(problems: unknown) }
        if let name { overrides[.nodeName] = [name] }
        if let apiListen { overrides[.apiListen] = [apiListen] }
        if let apiURL { overrides[.apiURL] = [apiURL] }
        if let linkListen { overrides[.linkListen] = [linkListen] }
        if !peer.isEmpty { overrides[.meshPeers] = peer }
        return overrides
    }
}

/// Which node an admin command talks to.
struct AdminOptions: ParsableArguments {
    @OptionGroup var configuration: ConfigurationOptions

    @Option(help: "Base URL of a node elsewhere; needs an admin key.")
    var url: String?

    @Option(help: "Admin key for --url. Better in AISBF_ADMIN_KEY: other users of this machine see arguments.")
    var adminKey: String?

    @Option(
        help: "PEM file of the authority that --url's certificate is checked against, in place of the system's.",
        completion: .file(extensions: ["pem", "crt"]))
    var caFile: String?

    func client() async throws -> AdminClient {
        guard var url else {
            guard caFile == nil else {
                throw CommandFailure("--ca-file belongs to --url https://…", exitCode: 64)
            }
            return AdminClient(.socket(try await configuration.load().adminSocketPath))
        }
        while url.hasSuffix("/") { url.removeLast() }
        guard let key = adminKey ?? ProcessInfo.processInfo.environment["AISBF_ADMIN_KEY"], !key.isEmpty else {
            throw CommandFailure("--url needs an admin key: set AISBF_ADMIN_KEY", exitCode: 64)
        }
        guard ["http", "https"].contains(URLComponents(string: url)?.scheme) else {
            throw CommandFailure("--url must begin with https:// or http://", exitCode: 64)
        }
        return AdminClient(.url(url, key: key), caFile: caFile)
    }
}
