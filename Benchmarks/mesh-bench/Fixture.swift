import Glibc
import NIOCore
import NIOPosix

/// Everything one run talks to: two linked nodes, a mock worker at the first, the mock backend, nginx in front of it.
struct Fixture: Sendable {
    static let streamChunks = 100

    let folder: String
    let binary: String
    let loadLoop: any EventLoop
    let mockLoop: any EventLoop
    let pacer: NIOLoopBound<Pacer>
    let node: BenchNode
    let linked: BenchNode
    let workers: WorkerCount
    let nginx: Nginx
    let peers: [Path: Peer]
    let targets: [Path: LoadTarget]
    let streamTargets: [Path: LoadTarget]

    /// - Parameters:
    ///   - counters: what is loaded in front of the nodes and counts.
    ///   - peers: starts other programs than nginx, given a folder and the mock backend's port.
    static func make(
        binary: String, folder: String, group: MultiThreadedEventLoopGroup, counters: String? = nil,
        peers start: (String, Int) async throws -> [Path: Peer] = { _, _ in [:] }
    ) async throws -> Fixture {
        let loadLoop = group.next()
        let mockLoop = group.next()
        let pacer = try await Pacer.start(on: mockLoop)
        let backend = try await MockBackend.listen(on: mockLoop, pacer: pacer, chunks: streamChunks)
        guard let backendPort = backend.localAddress?.port else { throw BenchError("the mock backend has no port") }
        let nginx = try await Nginx.start(folder: folder, backend: backendPort)
        let peers = try await start(folder, backendPort)

        var node = try await BenchNode.initialised("a", binary: binary, folder: folder, counters: counters)
        var linked = try await BenchNode.initialised("b", binary: binary, folder: folder, counters: counters)
        try node.configure(peers: [], allow: [linked.id])
        try linked.configure(peers: ["\(node.id)@127.0.0.1:\(node.linkPort)"], allow: [node.id])
        _ = try await node.start()
        _ = try await linked.start()

        let address = try await node.createProvider()
        let count = WorkerCount()
        _ = try await MockWorker.connect(
            to: address, client: "mock", on: mockLoop, pacer: pacer, chunks: streamChunks, count: count)
        _ = try await waiting(for: "the mock worker to be registered") { count.ready == 1 ? true : nil }
        let key = try await node.createKey()
        let linkedKey = try await linked.createKey()
        let model = try await node.model(key: key)
        let linkedModel = try await linked.model(key: linkedKey)

        func target(_ path: Path, stream: Bool) -> LoadTarget {
            let (port, model, key) =
                switch path {
                case .direct: (backendPort, model, key)
                case .nginx: (nginx.port, model, key)
                case .haproxy, .litellm: (peers[path]?.port ?? 0, "m", peers[path]?.key ?? key)
                case .node: (node.apiPort, model, key)
                case .linked: (linked.apiPort, linkedModel, linkedKey)
                }
            return LoadTarget(
                port: port, request: Payloads.request(model: model, key: key, stream: stream),
                chunks: stream ? streamChunks : nil)
        }
        var targets: [Path: LoadTarget] = [:]
        var streamTargets: [Path: LoadTarget] = [:]
        for path in Path.allCases {
            targets[path] = target(path, stream: false)
            streamTargets[path] = target(path, stream: true)
        }
        return Fixture(
            folder: folder, binary: binary, loadLoop: loadLoop, mockLoop: mockLoop, pacer: pacer, node: node,
            linked: linked, workers: count, nginx: nginx, peers: peers, targets: targets, streamTargets: streamTargets)
    }

    /// The process whose CPU time a path is charged with: the last one a buyer's request enters.
    func process(of path: Path) -> Int32 {
        switch path {
        case .direct: getpid()
        case .nginx: nginx.pid
        case .haproxy, .litellm: peers[path]?.pid ?? 0
        case .node: node.pid
        case .linked: linked.pid
        }
    }
}

/// CPU time of an interval, in microseconds.
struct CPUTime {
    /// Of the process that a path is charged with.
    var charged = 0.0
    var harness = 0.0
    /// Of the node whose worker answers.
    var host = 0.0
}

/// The ways a request can take.
enum Path: String, CaseIterable, Sendable {
    case direct, nginx, haproxy, litellm, node, linked
}
