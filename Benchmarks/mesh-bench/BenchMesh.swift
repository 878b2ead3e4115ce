import Foundation
import MeshWire
import NIOCore

/// Two nodes as real processes: a worker attaches at `a`, buyers ask at both.
struct BenchMesh {
    struct Node: Sendable {
        var name: String
        var port: Int
        var pid: Int32
        var key: String
    }

    let aisbf: String
    let directory: String
    private(set) var nodes: [Node] = []

    private var topology: String { "\(directory)/bench.yaml" }
    private var stateDirectory: String { "\(directory)/mesh" }
    var worker: String { "\(directory)/worker.json" }

    init(aisbf: String, directory: String) throws {
        self.aisbf = aisbf
        self.directory = directory
        let text = """
            name: bench
            description: Two nodes under measurement.
            beacon_interval_ms: 1000
            nodes:
              - name: a
                peers: []
              - name: b
                peers: [a]
            users:
              - name: seller
                home: a
            providers: []
            workers: []
            buyers:
              - name: buyer
                node: a
              - name: buyer
                node: b

            """
        try text.write(toFile: topology, atomically: true, encoding: .utf8)
    }

    mutating func up() async throws {
        try await Programs.finish(
            aisbf, ["local", "up", topology, "--state-dir", stateDirectory], log: "\(directory)/up.log")
        let state = try Programs.read("\(stateDirectory)/state.json")
        nodes = try (state["nodes"]?.elements ?? []).map { node in
            let key = state["buyers"]?.elements?.first { $0["node"] == node["name"] }?["key"]?.text
            guard let name = node["name"]?.text, let port = node["apiPort"]?.integer,
                let pid = node["process"]?["pid"]?.integer, let key
            else { throw BenchFailure("the state of the mesh is not what this benchmark knows") }
            return Node(name: name, port: Int(port), pid: Int32(truncatingIfNeeded: pid), key: key)
        }
        guard nodes.count == 2 else { throw BenchFailure("two nodes were expected") }
    }

    func down() async throws {
        try await Programs.finish(
            aisbf, ["local", "down", topology, "--state-dir", stateDirectory], log: "\(directory)/down.log")
    }

    func configuration(_ node: String) -> String { "\(stateDirectory)/config/\(node).json" }

    /// Creates the provider and reads where its workers attach.
    func createProvider() async throws -> WorkerPlace {
        try await Programs.finish(
            aisbf,
            [
                "provider", "create", "bench", "--owner", "seller", "--access", "public", "--out", worker, "--config",
                configuration("a"),
            ], log: "\(directory)/provider.log")
        return try place()
    }

    func place() throws -> WorkerPlace {
        let broker = try Programs.read(worker)["broker"]
        guard let provider = broker?["provider_id"]?.text, let token = broker?["registration_token"]?.text else {
            throw BenchFailure("\(worker) is not what this benchmark knows")
        }
        return WorkerPlace(
            port: nodes[0].port, providerID: provider, username: broker?["username"]?.text ?? "seller", token: token)
    }

    /// The name under which a buyer at any node finds the model.
    static let model = "seller@a/bench/\(Answers.model)"

    func request(_ node: Node, stream: Pace? = nil) -> ByteBuffer {
        LoadPlan.post(
            Answers.request(model: Self.model, stream: stream), port: node.port, path: "/v1/chat/completions",
            key: node.key)
    }

    /// Until a request at every node is answered.
    func waitForAnswers(_ group: any EventLoopGroup) async throws {
        let deadline = ContinuousClock.now.advanced(by: .seconds(30))
        for node in nodes {
            while true {
                var plan = LoadPlan(port: node.port, request: request(node))
                plan.requests = 1
                plan.warmUp = .zero
                let tally = try? await LoadGenerator.run(plan, group: group)
                if tally?.lastStatus == 200 { break }
                guard ContinuousClock.now < deadline else {
                    throw BenchFailure("node \(node.name) answers \(tally?.lastStatus ?? 0) after 30 s")
                }
                try await Task.sleep(for: .milliseconds(100))
            }
        }
    }
}
