internal import Foundation

/// What `local up` remembers of a mesh on this machine, in a JSON file of mode 0600: it holds API keys.
struct LocalState: Codable, Sendable, Equatable {
    var topology: String
    var nodes: [Node] = []
    var workers: [Worker] = []
    var buyers: [Buyer] = []
    /// Providers that were created, `owner@node/id`.
    var providers: [String] = []
    /// Demo servers behind providers that their nodes serve themselves. Nil in files of before there were any.
    var servers: [Server]?

    /// Its provider is `name`, as in `providers`.
    struct Server: Codable, Sendable, Equatable {
        var name: String
        var port: Int
        var process: ProcessRecord?
    }

    struct Node: Codable, Sendable, Equatable {
        var name: String
        var apiPort: Int
        var linkPort: Int
        var nodeID: String
        var process: ProcessRecord?

        var baseURL: String { "http://127.0.0.1:\(apiPort)" }
    }

    struct Worker: Codable, Sendable, Equatable {
        var name: String
        var configPath: String
        var process: ProcessRecord?
    }

    struct Buyer: Codable, Sendable, Equatable {
        var name: String
        var node: String
        var key: String
    }

    /// A process and the time it started: a number alone may have been given to another process since.
    struct ProcessRecord: Codable, Sendable, Equatable {
        var pid: Int32
        var startedTicks: UInt64
    }

    func node(_ name: String) -> Node? { nodes.first { $0.name == name } }

    /// Processes that do not run any more were never started.
    mutating func forgetEnded() {
        for index in nodes.indices where !LocalProcess.isRunning(nodes[index].process) { nodes[index].process = nil }
        for index in workers.indices where !LocalProcess.isRunning(workers[index].process) {
            workers[index].process = nil
        }
        servers = servers?.map { server in
            var server = server
            if !LocalProcess.isRunning(server.process) { server.process = nil }
            return server
        }
    }

    func server(_ name: String) -> Server? { servers?.first { $0.name == name } }

    mutating func set(_ server: Server) {
        servers = (servers ?? []).filter { $0.name != server.name } + [server]
    }

    var processes: [ProcessRecord] {
        workers.compactMap(\.process) + (servers ?? []).compactMap(\.process) + nodes.compactMap(\.process)
    }

    static func path(in directory: String) -> String { "\(directory)/state.json" }

    /// Nil when there is none yet.
    static func load(from directory: String) throws -> LocalState? {
        guard let data = FileManager.default.contents(atPath: path(in: directory)) else { return nil }
        do {
            return try JSONDecoder().decode(LocalState.self, from: data)
        } catch {
            throw CommandFailure(
                "\(path(in: directory)) is damaged; end its processes and remove \(directory), then start again")
        }
    }

    func save(to directory: String) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        try PrivateFile.write(
            String(decoding: try encoder.encode(self), as: UTF8.self) + "\n", to: Self.path(in: directory))
    }
}
