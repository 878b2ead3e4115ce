import MeshWire
import Testing

/// Where workers dial and what they call themselves there.
@Suite(.serialized, .nodeLog) struct WorkerAddressTests {
    private static func dryRun(_ node: TestNode, _ path: String, _ token: String, username: String) async throws
        -> Reply
    {
        let body: JSONValue = [
            "provider_id": "lab", "client_id": "w9", "username": .string(username),
            "registration_token": .string(token),
        ]
        return try await Buyer(port: node.buyerPort, key: nil).call(
            "POST", path, body: String(decoding: body.bytes, as: UTF8.self))
    }

    private static func sessions(_ node: TestNode) async throws -> [JSONValue] {
        let reply = try await node.admin.call("GET", "/api/coderai/broker/sessions")
        return reply.document?["sessions"]?.elements ?? []
    }

    /// The provider counts once its advert is in the catalog. Trying the token until then would count as guessing.
    private static func provider(_ node: TestNode, owner: String = "global") async throws -> String {
        let token = try await node.provider("lab", owner: owner)
        try await eventually("the provider in the catalog") {
            try await node.administer("GET", "mesh/providers")["providers"]?.elements?
                .contains { $0["provider_id"]?.text == "lab" } ?? false
        }
        return token
    }

    @Test func aProxyMayAddAPrefix() async throws {
        try await withNode { node in
            let token = try await Self.provider(node)
            for prefix in ["/api", "/prefix/api", "/a/b/api"] {
                let reply = try await Self.dryRun(node, "\(prefix)/coderai/register", token, username: "global")
                #expect(reply.status == 200, "\(prefix)")
            }
        }
    }

    /// `api` is a username like any other.
    @Test func aUserMayBeCalledLikeAPartOfThePath() async throws {
        try await withNode { node in
            try await node.user("api")
            let token = try await Self.provider(node, owner: "api")
            for prefix in ["", "/prefix"] {
                let reply = try await Self.dryRun(node, "\(prefix)/api/u/api/coderai/register", token, username: "api")
                #expect(reply.status == 200, "\(prefix)")
            }
            let (reply, connection) = try await ScriptedWorker.dial(
                node.buyerPort, path: "/api/u/api/coderai/wss",
                headers: ScriptedWorker.identity("lab", token: token, client: "w", username: "api"))
            #expect(reply.status == 101)
            connection.close()
        }
    }

    @Test func differentClientIDsAreDifferentWorkers() async throws {
        try await withNode { node in
            let token = try await Self.provider(node)
            var workers: [ScriptedWorker] = []
            let long = String(repeating: "x", count: 128)
            for client in ["ü", "ö", "rig \"7\"", long, long + "1", long + "2"] {
                workers.append(
                    try await ScriptedWorker.attach(node.buyerPort, provider: "lab", token: token, client: client))
            }
            let ids = try await Self.sessions(node).compactMap { $0["client_id"]?.text }
            #expect(Set(ids).count == workers.count && Set(ids).isSuperset(of: ["ü", "ö", "rig \"7\"", long]))
        }
    }

    /// What a worker sent of itself, and what this node makes of it.
    @Test func theStatusShowsWhatTheWorkerSent() async throws {
        try await withNode { node in
            let token = try await Self.provider(node)
            let worker = try await ScriptedWorker.connect(node.buyerPort, provider: "lab", token: token)
            worker.say(
                #"{"op":"register","request_id":"r","payload":{"hardware":{"gpu_count":2,"total_vram_gb":0.5,"driver":"550"},"capabilities":{"server":{"name":"codai","version":"2"},"transports":{"websocket":true},"tunnel_only":true,"max_frame_bytes":1}}}"#
            )
            _ = try await worker.event("registered")
            let session = try #require(try await Self.sessions(node).first)
            let told = session["capabilities"]
            #expect(told?["server"] == "codai" && told?["version"] == "2" && told?["transports"] == ["websocket"])
            #expect(told?["tunnel_only"] == true && told?["max_frame_bytes"] == 1_048_576 && told?["uploads"] == false)
            let hardware = session["hardware"]
            #expect(hardware?["gpu_count"] == 2 && hardware?["total_vram_mb"] == 512 && hardware?["driver"] == "550")
        }
    }

    @Test func capabilitiesAreAskedForWhereRegisterHadNone() async throws {
        try await withNode { node in
            let token = try await Self.provider(node)
            let worker = try await ScriptedWorker.connect(node.buyerPort, provider: "lab", token: token)
            worker.say(#"{"op":"register","request_id":"r","payload":{}}"#)
            _ = try await worker.event("registered")
            worker.answer(try await worker.request("models.list"), payload: #"["m1"]"#)
            worker.answer(
                try await worker.request("capabilities"), payload: #"{"openai_compat":{"embeddings":true},"slots":3}"#)
            try await eventually("the endpoint in the list of models") {
                try await node.admin.call("GET", "/v1/models").document?["data"]?.elements?.first?["aisbf"]?[
                    "endpoints"]
                    == ["v1/embeddings"]
            }
            #expect(try await Self.sessions(node).first?["capabilities"]?["slots"] == 3)
        }
    }
}
