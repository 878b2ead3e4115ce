internal import Foundation
internal import MeshNode
internal import MeshTopology

extension LocalMesh {
    static let startSeconds: Int64 = 60

    /// Starts what is not running, creates what is missing, and waits until every node lists every public model.
    func start() async throws -> LocalState {
        try prepareDirectories()
        var state = try loadState() ?? LocalState(topology: topology.name)
        // What ended before is no reason to give up while the rest is started.
        state.forgetEnded()
        let deadline = ContinuousClock.now.advanced(by: .seconds(Self.startSeconds))
        try assignPorts(&state)
        try await initialiseNodes(&state)
        try state.save(to: directory)
        for index in state.nodes.indices { try startNode(&state, index) }
        for node in topology.nodes { try await waitForAdmin(node.name, state, deadline) }
        for provider in topology.providers { try startServer(provider, &state) }
        try await createAccounts(&state)
        try await applyMarkets()
        for worker in topology.workers { try startWorker(worker, &state) }
        try await waitForModels(state, deadline)
        return state
    }

    /// Ports are drawn once and kept, so that keys, base URLs and peers stay valid across restarts.
    private func assignPorts(_ state: inout LocalState) throws {
        let missing = topology.nodes.filter { node in state.node(node.name) == nil }
        var ports = try LocalPorts.free(missing.count * 2)
        for node in missing {
            let link = ports.removeLast()
            state.nodes.append(.init(name: node.name, apiPort: ports.removeLast(), linkPort: link, nodeID: ""))
        }
    }

    /// Two passes: every node's id must exist before the first configuration can name it as a peer.
    private func initialiseNodes(_ state: inout LocalState) async throws {
        for index in state.nodes.indices {
            guard state.nodes[index].nodeID.isEmpty else { continue }
            let configuration = try await configuration(state.nodes[index], state)
            state.nodes[index].nodeID = try NodeStart.initialise(configuration).nodeID
        }
        for node in state.nodes {
            try PrivateFile.write(settings(node, state).pretty + "\n", to: configPath(node.name))
        }
    }

    private func configuration(_ node: LocalState.Node, _ state: LocalState) async throws -> NodeConfiguration {
        try PrivateFile.write(settings(node, state).pretty + "\n", to: configPath(node.name))
        return try await NodeConfiguration.load(file: configPath(node.name), environment: [:])
    }

    /// The node's configuration file. Everybody in the topology is admitted; only the named peers are dialled.
    private func settings(_ node: LocalState.Node, _ state: LocalState) -> JSONValue {
        let described = topology.nodes.first { $0.name == node.name }
        let known = state.nodes.filter { !$0.nodeID.isEmpty }
        let peers = known.filter { described?.peers.contains($0.name) ?? false }
        let region = described?.region ?? ""
        return .object([
            "data_dir": .string(dataDirectory(node.name)),
            "node": .object(["name": .string(node.name)]),
            "api": .object(["listen": .string("127.0.0.1:\(node.apiPort)"), "url": .string(node.baseURL)]),
            "link": .object([
                "listen": .string("127.0.0.1:\(node.linkPort)"),
                "advertise": .array([.string("127.0.0.1:\(node.linkPort)")]),
            ]),
            "market": .object(["hold_seconds": holdSeconds.map { .integer(Int64($0)) } ?? .null]),
            // Everything of such a mesh is on this machine.
            "upstream": .object(["allow_private_addresses": .array([.string("127.0.0.0/8"), .string("::1")])]),
            "mesh": .object([
                "network": .string(topology.network), "region": region.isEmpty ? .null : .string(region),
                "beacon_interval_ms": .integer(topology.beaconIntervalMs),
                "peers": .array(peers.map { .string("\($0.nodeID)@127.0.0.1:\($0.linkPort)") }),
                "allow": .array(known.filter { $0.name != node.name }.map { .string($0.nodeID) }),
            ]),
        ])
    }

    private func startNode(_ state: inout LocalState, _ index: Int) throws {
        let node = state.nodes[index]
        guard !LocalProcess.isRunning(node.process) else { return }
        for port in [node.apiPort, node.linkPort] where !LocalPorts.isFree(port) {
            throw CommandFailure(
                "port \(port) of node \(node.name) is in use by another program; end it, or remove \(directory) to "
                    + "start with new ports and keys")
        }
        progress("starting node \(node.name) on \(node.baseURL)")
        state.nodes[index].process = try LocalProcess.start(
            ["node", "run", "--config", configPath(node.name)], log: logPath("node-\(node.name)"))
        try state.save(to: directory)
    }

    /// Its port is drawn once and kept: the provider's address names it.
    private func startServer(_ provider: Topology.Provider, _ state: inout LocalState) throws {
        guard let demo = demoServer(of: provider) else { return }
        let name = provider.fullName
        var server = try state.server(name) ?? .init(name: name, port: LocalPorts.free(1)[0])
        guard !LocalProcess.isRunning(server.process) else { return }
        progress("starting the demo server of \(name) on http://127.0.0.1:\(server.port)/v1")
        server.process = try LocalProcess.start(
            ["demo-server", "--port", "\(server.port)", "--tokens-per-second", "\(demo.tokensPerSecond)"]
                + demo.models.flatMap { ["--model", $0] }, log: logPath("server-\(provider.id)"))
        state.set(server)
        try state.save(to: directory)
    }

    /// Applying again changes nothing.
    private func applyMarkets() async throws {
        for market in topology.markets {
            guard let body = market.json.flatMap({ JSONValue.parse($0) }) else { continue }
            for node in market.nodes { _ = try await admin(node).send("POST", "apply", body: body) }
        }
    }

    private func startWorker(_ worker: Topology.Worker, _ state: inout LocalState) throws {
        guard let index = state.workers.firstIndex(where: { $0.name == worker.name }) else { return }
        let path = state.workers[index].configPath
        guard !LocalProcess.isRunning(state.workers[index].process) else { return }
        try refreshBackend(worker, path)
        progress("starting worker \(worker.name) at node \(worker.attach)")
        state.workers[index].process = try LocalProcess.start(
            ["worker", "run", "--config", path], log: logPath("worker-\(worker.name)"))
        try state.save(to: directory)
    }

    /// The backend follows the topology and `--worker-speed` on every start; the token in the file stays.
    private func refreshBackend(_ worker: Topology.Worker, _ path: String) throws {
        guard let data = FileManager.default.contents(atPath: path),
            case .object(var file)? = JSONValue.parse(Array(data))
        else { throw CommandFailure("\(path) is missing or damaged; remove \(directory) and start again") }
        file["backend"] = backend(worker)
        try PrivateFile.write(JSONValue.object(file).pretty + "\n", to: path)
    }

    func backend(_ worker: Topology.Worker) -> JSONValue {
        switch worker.backend {
        case .demo(let models, let speed):
            .object([
                "kind": .string("demo"), "models": .array(models.map(JSONValue.string)),
                "tokens_per_second": .integer(Int64(workerSpeed ?? speed)),
            ])
        case .openAI(let url): .object(["kind": .string("openai"), "base_url": .string(url)])
        }
    }
}
