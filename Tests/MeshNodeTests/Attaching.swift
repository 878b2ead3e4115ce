import MeshNode
import MeshWire

extension ScriptedWorker {
    /// A registered worker, as soon as the node knows its token. Asks seldom: refusals are counted.
    static func admitted(
        at node: TestNode, provider: String = "lab", token: String, client: String = "w1",
        username: String = "global", models: [String] = ["m1"], capabilities: String = "{}"
    ) async throws -> ScriptedWorker {
        try await eventually("\(client) is admitted", within: 20) {
            let worker = try? await attach(
                node.buyerPort, provider: provider, token: token, client: client, username: username, models: models,
                capabilities: capabilities)
            if worker == nil { try await Task.sleep(for: .milliseconds(50)) }
            return worker
        }
    }

    /// Whether the session is still open: a heartbeat is answered.
    func isAlive() async throws -> Bool {
        let id = "alive-\(UInt32.random(in: 0 ... .max))"
        say(#"{"op":"heartbeat","request_id":"\#(id)"}"#)
        return try await event("heartbeat").id == id
    }
}

extension TestNode {
    /// What `/api/coderai/broker/sessions` shows; to the operator, where nobody else asks.
    func sessions(_ caller: Buyer? = nil) async throws -> [JSONValue] {
        let reply = try await (caller ?? admin).call("GET", "/api/coderai/broker/sessions")
        guard reply.status == 200, let sessions = reply.document?["sessions"]?.elements else {
            throw NotSeen(description: "sessions, instead of \(reply.status) \(reply.text)")
        }
        return sessions
    }

    func requestsInFlight() async throws -> Int64 {
        try await sessions().reduce(0) { $0 + ($1["in_flight"]?.integer ?? 0) }
    }

    func session(of client: String) async throws -> JSONValue? {
        try await sessions().first { $0["client_id"]?.text == client }
    }
}

/// Two linked nodes. Providers have their home at the north one, unless a test says otherwise.
func withTwoNodes(
    firstContentMs: Int = 2_000, streamIdleMs: Int = 5_000,
    _ body: @escaping @Sendable (_ north: TestNode, _ south: TestNode) async throws -> Void
) async throws {
    let southern = try await PreparedNode("south")
    try await withNode(
        "north", allow: [southern.summary.nodeID], firstContentMs: firstContentMs, streamIdleMs: streamIdleMs
    ) { north in
        let peer = "\(north.nodeID)@127.0.0.1:\(north.linkPort)"
        try await withNode(
            "south", prepared: southern, peers: [peer], firstContentMs: firstContentMs, streamIdleMs: streamIdleMs
        ) { south in
            try await body(north, south)
        }
    }
}
