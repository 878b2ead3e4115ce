import Foundation
import MeshCrypto
import MeshModel
import MeshNode
import MeshTelemetry
import MeshWire
import ServiceLifecycle

/// A whole node in this process, on loopback ports of the system's choice.
struct TestNode: Sendable {
    let buyerPort: Int
    let linkPort: Int
    let nodeID: String
    let adminKey: String
    let directory: String

    var admin: Buyer { Buyer(port: buyerPort, key: adminKey) }

    func administer(_ method: String, _ path: String, _ body: String = "") async throws -> JSONValue {
        let reply = try await admin.call(method, "/api/admin/v1/\(path)", body: body)
        guard (200..<300).contains(reply.status) else {
            throw NotSeen(description: "\(method) \(path): \(reply.status) \(reply.text)")
        }
        return reply.document ?? .null
    }

    func user(_ name: String) async throws { _ = try await administer("POST", "users", #"{"username":"\#(name)"}"#) }

    func key(of username: String, scopes: String = #"["inference"]"#) async throws -> Buyer {
        let made = try await administer("POST", "keys", #"{"username":"\#(username)","scopes":\#(scopes)}"#)
        return Buyer(port: buyerPort, key: made["key"]?.text)
    }

    /// - Returns: the registration token.
    func provider(_ id: String, owner: String = "global", access: String = "public") async throws -> String {
        let body = #"{"provider_id":"\#(id)","owner":"\#(owner)","access":"\#(access)"}"#
        let made = try await administer("POST", "providers", body)
        return made["registration_token"]?.text ?? ""
    }

    /// Waits until `buyer` is offered `model`.
    func offers(_ model: String, to buyer: Buyer) async throws {
        try await eventually("\(model) in the list of models") {
            try await buyer.call("GET", "/v1/models").document?["data"]?.elements?
                .contains { $0["id"]?.text == model } ?? false
        }
    }
}

/// A data directory with keys in it, so that others can be told of the node before it runs.
struct PreparedNode: Sendable {
    let directory = "/tmp/aisbf-\(UInt32.random(in: 0 ... .max))"
    let summary: NodeSummary

    /// - Parameter other: a node of the same operator.
    init(_ name: String, operatorOf other: PreparedNode? = nil) async throws {
        if let other {
            try FileManager.default.createDirectory(
                atPath: "\(directory)/keys", withIntermediateDirectories: true,
                attributes: [.posixPermissions: 0o700])
            try FileManager.default.copyItem(
                atPath: "\(other.directory)/keys/operator.key", toPath: "\(directory)/keys/operator.key")
        }
        summary = try NodeEntry.initialise(try await Self.configuration(name, directory))
    }

    /// The id of a node that nobody runs.
    static func strangerID() -> String { KeyText.node.text(SigningKey.random().publicKey.bytes) }

    static func configuration(
        _ name: String, _ directory: String, peers: [String] = [], allow: [String] = [], firstContentMs: Int = 2_000,
        streamIdleMs: Int = 5_000, logRequests: String = "failed", degree: Int = 8, holdSeconds: Int = 0,
        upstreamRanges: [String] = ["127.0.0.0/8", "::1"]
    ) async throws -> NodeConfiguration {
        try await NodeConfiguration.load(
            file: nil, environment: ["HOME": directory],
            overrides: [
                .dataDirectory: [directory], .nodeName: [name], .apiListen: ["127.0.0.1:0"],
                .linkListen: ["127.0.0.1:0"], .meshNetwork: ["node tests"], .meshPeers: peers, .meshAllow: allow,
                .meshDegree: [String(degree)],
                .greetingGrace: ["300"], .upstreamRanges: upstreamRanges,
                .holdSeconds: [String(holdSeconds)], .firstContent: [String(firstContentMs)],
                .streamIdle: [String(streamIdleMs)],
                .beaconInterval: ["1000"], .logRequests: [logRequests],
            ])
    }
}

/// Runs a node for as long as `body` takes, then stops it as SIGTERM would.
/// - Parameters:
///   - isKept: whether its data directory stays, for a node that is to run again.
///   - log: where its lines go, too; they are printed when the test fails.
func withNode<Value: Sendable>(
    _ name: String = "north", prepared: PreparedNode? = nil, peers: [String] = [], allow: [String] = [],
    firstContentMs: Int = 2_000, streamIdleMs: Int = 5_000, isKept: Bool = false,
    log: LogLines? = nil, logRequests: String = "failed", degree: Int = 8, holdSeconds: Int = 0,
    upstreamRanges: [String] = ["127.0.0.0/8", "::1"],
    _ body: @Sendable (TestNode) async throws -> Value
) async throws -> Value {
    let ready: PreparedNode
    if let prepared { ready = prepared } else { ready = try await PreparedNode(name) }
    defer { if !isKept { try? FileManager.default.removeItem(atPath: ready.directory) } }
    let configuration = try await PreparedNode.configuration(
        name, ready.directory, peers: peers, allow: allow, firstContentMs: firstContentMs, streamIdleMs: streamIdleMs,
        logRequests: logRequests, degree: degree, holdSeconds: holdSeconds, upstreamRanges: upstreamRanges)
    let home = try NodeHome.open(configuration)
    let logger = (NodeLog.current?.node(name, log) ?? log ?? LogLines(keeping: 1)).logger
    let node = try await RunningNode.start(
        configuration, home: home, registry: NodeMetrics.bootstrap(), logger: logger)
    let group = ServiceGroup(
        configuration: .init(services: [.init(service: node)], gracefulShutdownSignals: [], logger: logger))
    let test = TestNode(
        buyerPort: node.apiPort, linkPort: node.linkPort, nodeID: home.summary.nodeID,
        adminKey: ready.summary.adminKey ?? "", directory: ready.directory)
    return try await withThrowingTaskGroup(of: Void.self) { tasks in
        tasks.addTask { try await group.run() }
        let result: Result<Value, any Error>
        do { result = .success(try await started(test, body)) } catch { result = .failure(error) }
        await group.triggerGracefulShutdown()
        let end = await tasks.nextResult()
        // What went wrong in the test comes first: a node that it left in the middle may end badly.
        let value = try result.get()
        try end?.get()
        return value
    }
}

private func started<Value: Sendable>(
    _ node: TestNode, _ body: @Sendable (TestNode) async throws -> Value
) async throws -> Value {
    // The first admin key works once the store was read.
    try await eventually("the node's own key") { try await node.admin.call("GET", "/v1/models").status == 200 }
    return try await body(node)
}
