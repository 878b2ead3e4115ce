internal import Foundation
internal import MeshNode
internal import MeshTopology

/// A topology with the directory in which it lives on this machine: `nodes/NAME` (data directories), `config/`,
/// `logs/` and `state.json`.
struct LocalMesh {
    let topology: Topology
    let directory: String
    /// Overrides the demo backend's speed, tokens per second.
    var workerSpeed: Int?
    /// Overrides the nodes' `market.hold_seconds`.
    var holdSeconds: Int?
    /// Lines of progress; standard error, so that `--json` stays clean.
    var progress: @Sendable (String) -> Void = { Console.error($0) }

    static func load(file: String, stateDirectory: String?) throws -> LocalMesh {
        guard let data = FileManager.default.contents(atPath: file) else {
            throw CommandFailure(
                "cannot read \(file); a topology file is needed, such as Topology/triangle.yaml", exitCode: 66)
        }
        let topology = try Topology.parse(String(decoding: data, as: UTF8.self)).get()
        let path = stateDirectory ?? ".local/\(topology.name)"
        return LocalMesh(topology: topology, directory: URL(fileURLWithPath: path).standardizedFileURL.path)
    }

    func dataDirectory(_ node: String) -> String { "\(directory)/nodes/\(node)" }
    func configPath(_ name: String) -> String { "\(directory)/config/\(name).json" }
    func logPath(_ name: String) -> String { "\(directory)/logs/\(name).log" }
    func admin(_ node: String) -> AdminClient { AdminClient(.socket("\(dataDirectory(node))/admin.sock")) }

    /// Directories of mode 0700, and a clear word when a Unix socket's path would not fit.
    func prepareDirectories() throws {
        let longest = topology.nodes.map(\.name).max { $0.count < $1.count } ?? ""
        guard "\(dataDirectory(longest))/admin.sock".utf8.count < 108 else {
            throw CommandFailure(
                "\(directory) is too long for the admin sockets in it (107 bytes); give a shorter one with --state-dir")
        }
        for name in ["", "/nodes", "/config", "/logs"] {
            do {
                try FileManager.default.createDirectory(
                    atPath: directory + name, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
            } catch {
                throw CommandFailure("cannot create \(directory)\(name): \(error.localizedDescription)")
            }
        }
    }

    func loadState() throws -> LocalState? {
        guard let state = try LocalState.load(from: directory) else { return nil }
        guard state.topology == topology.name else {
            throw CommandFailure(
                "\(directory) belongs to the topology '\(state.topology)'; give another directory with --state-dir")
        }
        return state
    }

    /// All processes the topology asks for are running.
    func isUp(_ state: LocalState) -> Bool {
        topology.nodes.allSatisfy { node in LocalProcess.isRunning(state.node(node.name)?.process) }
            && topology.workers.allSatisfy { worker in
                LocalProcess.isRunning(state.workers.first { $0.name == worker.name }?.process)
            }
            && topology.providers.allSatisfy { provider in
                demoServer(of: provider) == nil || LocalProcess.isRunning(state.server(provider.fullName)?.process)
            }
    }

    /// What the server behind a provider lists and how quick it is, where it is one of ours.
    func demoServer(of provider: Topology.Provider) -> (models: [String], tokensPerSecond: Int)? {
        switch provider.backend {
        case .demo(let models, let speed)?: (models, workerSpeed ?? speed)
        case .openAI?, nil: nil
        }
    }

    /// The models each node must list, as (provider, model).
    var expectedModels: [(provider: String, model: String)] {
        let sold = topology.providers.compactMap { provider in
            provider.access == .public ? demoServer(of: provider)?.models.first.map { (provider.id, $0) } : nil
        }
        return sold
            + topology.workers.compactMap { worker in
                guard topology.provider(worker.provider)?.access == .public else { return nil }
                switch worker.backend {
                case .demo(let models, _): return models.first.map { (worker.provider.id, $0) }
                case .openAI: return nil
                }
            }
    }

    /// SIGTERM to workers first, then nodes, so that nobody reconnects to a node that is leaving.
    func stop(_ state: LocalState) async throws -> Int {
        var killed = await LocalProcess.stop(state.workers.compactMap(\.process), seconds: 10)
        killed += await LocalProcess.stop((state.servers ?? []).compactMap(\.process), seconds: 10)
        killed += await LocalProcess.stop(state.nodes.compactMap(\.process), seconds: 35)
        var stopped = state
        for index in stopped.nodes.indices { stopped.nodes[index].process = nil }
        for index in stopped.workers.indices { stopped.workers[index].process = nil }
        for server in state.servers ?? [] { stopped.set(.init(name: server.name, port: server.port)) }
        try stopped.save(to: directory)
        return killed
    }
}
