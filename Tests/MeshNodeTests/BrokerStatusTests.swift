import MeshWire
import Testing

/// What operators and owners are shown of worker sessions, and nobody else.
@Suite(.serialized, .nodeLog) struct BrokerStatusTests {
    private static let register = #"""
        {"v":1,"op":"register","request_id":"reg-1","payload":{
        "hardware":{"hostname":"rig","platform":"linux","gpus":[
        {"index":0,"name":"RTX 4090","vendor":"nvidia","total_vram_mb":24576,"available_vram_mb":20480},
        {"index":1,"name":"RTX 3060","vendor":"nvidia","total_vram_gb":12,"used_vram_mb":2288}]},
        "studio_endpoints":["v1/images/generations","v1/audio/speech"],
        "capabilities":{"server":"codai","version":"2.0.0"}}}
        """#

    private static func status(
        _ caller: Buyer, _ provider: String = "lab", client: String? = nil
    ) async throws -> JSONValue {
        let query = client.map { "?client_id=\($0)" } ?? ""
        let reply = try await caller.call("GET", "/api/coderai/broker/providers/\(provider)/status\(query)")
        #expect(reply.status == 200)
        return try #require(reply.document)
    }

    @Test func anOwnerSeesItsOwnWorkersAndAStrangerNone() async throws {
        try await withNode { node in
            var tokens: [String: String] = [:]
            for name in ["alice", "bob", "carol"] { try await node.user(name) }
            for name in ["alice", "bob"] {
                tokens[name] = try await node.provider("lab", owner: name)
                _ = try await ScriptedWorker.admitted(at: node, token: tokens[name] ?? "", username: name)
            }
            let (alice, bob) = (try await node.key(of: "alice"), try await node.key(of: "bob"))
            let carol = try await node.key(of: "carol")
            let all = try await node.sessions()
            #expect(all.compactMap { $0["owner"]?.text }.sorted() == ["alice", "bob"])
            for (caller, name) in [(alice, "alice"), (bob, "bob")] {
                let own = all.filter { $0["owner"]?.text == name }
                let seen = try await node.sessions(caller)
                #expect(seen.map { $0["session_id"]?.text } == own.map { $0["session_id"]?.text })
                for client in [nil, "w1"] {
                    let status = try await Self.status(caller, client: client)
                    #expect(status["session_id"] == own.first?["session_id"])
                    #expect(status["connected"] == true)
                }
            }
            // A stranger cannot tell a provider of others from one that does not exist.
            #expect(try await node.sessions(carol).isEmpty)
            let nobody: JSONValue = [
                "client_id": .null, "connected": false, "session_id": .null, "last_close": .null,
            ]
            for provider in ["lab", "none"] {
                var members: [JSONValue.Member] = [.init("provider_id", .string(provider))]
                members += nobody.members ?? []
                #expect(try await Self.status(carol, provider) == .object(members))
            }
            let open = Buyer(port: node.buyerPort, key: nil)
            for path in ["sessions", "providers/lab/status"] {
                #expect(try await open.call("GET", "/api/coderai/broker/\(path)").status == 401)
            }
        }
    }

    @Test func theClientIDSelectsAmongAProvidersWorkers() async throws {
        try await withNode { node in
            try await node.user("alice")
            try await node.user("bob")
            let token = try await node.provider("lab", owner: "alice")
            for client in ["w1", "w2"] {
                _ = try await ScriptedWorker.admitted(at: node, token: token, client: client, username: "alice")
            }
            let alice = try await node.key(of: "alice")
            for caller in [alice, node.admin] {
                for client in ["w1", "w2"] {
                    #expect(try await Self.status(caller, client: client)["client_id"]?.text == client)
                }
                let absent = try await Self.status(caller, client: "w3")
                #expect(absent["connected"] == false && absent["client_id"]?.text == "w3")
            }
            let bob = try await node.key(of: "bob")
            #expect(try await Self.status(bob, client: "w1")["connected"] == false)
            let posted = try await alice.call("POST", "/api/coderai/broker/providers/lab/status", body: "{}")
            #expect(posted.status == 405)
        }
    }

    @Test func metricsAreTheOperatorsAlone() async throws {
        try await withNode { node in
            try await node.user("bob")
            let bob = try await node.key(of: "bob")
            let metrics = try await node.admin.call("GET", "/metrics")
            #expect(metrics.status == 200 && metrics.text.contains("aisbf_worker_sessions"))
            let refused = try await bob.call("GET", "/metrics")
            #expect(refused.status == 403 && !refused.text.contains("aisbf_worker"))
            let open = try await Buyer(port: node.buyerPort, key: nil).call("GET", "/metrics")
            #expect(open.status == 401 && !open.text.contains("aisbf_worker"))
        }
    }

    @Test func everyFieldThatDashboardsExpectIsThere() async throws {
        try await withNode { node in
            try await node.user("alice")
            let token = try await node.provider("lab", owner: "alice")
            let alice = try await node.key(of: "alice")
            let worker = try await ScriptedWorker.connect(
                node.buyerPort, provider: "lab", token: token, client: "rig", username: "alice")
            worker.say(Self.register)
            let registered = try await worker.event("registered")
            worker.answer(try await worker.request("models.list"), payload: #"["m1"]"#)
            try await node.offers("lab/m1", to: alice)

            let first = try await Self.status(alice)
            #expect(first["session_id"] == registered["session_id"])
            #expect(first["provider_id"]?.text == "lab")
            #expect(first["client_id"]?.text == "rig")
            #expect(first["connected"] == true)
            let since = try #require(first["connected_at"]?.integer)
            #expect(since > 1_700_000_000)
            #expect(first["metadata"]?["owner"]?.text == "alice")
            #expect(first["metadata"]?["scope"]?.text == "user")
            #expect(first["metadata"]?["studio_endpoints"] == ["v1/images/generations", "v1/audio/speech"])
            let hardware = try #require(first["metadata"]?["hardware"])
            #expect(hardware["hostname"]?.text == "rig" && hardware["platform"]?.text == "linux")
            #expect(hardware["gpu_count"] == 2)
            #expect(hardware["total_vram_mb"] == 36_864)
            #expect(hardware["available_vram_mb"] == 30_480)
            #expect(hardware["used_vram_mb"] == 6_384)
            #expect(first["performance"]?["window_size"] == 100)
            #expect(first["performance"]?["sample_count"] == 0)
            #expect(first["performance"]?["avg_latency_ms"] == .null)

            let connection = try await alice.start(#"{"model":"lab/m1"}"#)
            worker.answer(
                try await worker.request("chat.completions"),
                payload: #"{"id":"c","usage":{"prompt_tokens":3,"completion_tokens":40,"total_tokens":43}}"#)
            #expect(try await connection.reply().status == 200)
            worker.say(
                #"{"op":"heartbeat","request_id":"hb","payload":{"hardware":{"gpus":[{"index":0,"available_vram_mb":4096}]}}}"#
            )
            _ = try await worker.event("heartbeat")

            let second = try await Self.status(alice)
            let gpu = try #require(second["metadata"]?["hardware"]?["gpus"]?.elements?.first)
            // What the beat left out stays, and what follows from it follows.
            #expect(gpu["available_vram_mb"] == 4_096 && gpu["used_vram_mb"] == 20_480)
            #expect(gpu["name"]?.text == "RTX 4090" && gpu["total_vram_mb"] == 24_576)
            #expect(second["metadata"]?["hardware"]?["available_vram_mb"] == 14_096)
            let performance = try #require(second["performance"])
            #expect(performance["sample_count"] == 1)
            #expect(performance["avg_total_tokens"] == 43 && performance["last_total_tokens"] == 43)
            #expect(performance["success_rate"] == .number("1.0"))
            #expect(performance["last_success"] == true)
            let latency = try #require(performance["last_latency_ms"]?.integer)
            #expect(performance["avg_latency_ms"]?.integer == latency && (0..<10_000).contains(latency))
            let speed = try #require(performance["last_tokens_per_second"]?.integer)
            #expect(performance["avg_tokens_per_second"]?.integer == speed && speed > 0)
            #expect(second["session_id"] == first["session_id"] && second["connected_at"]?.integer == since)

            let seen = try #require(second["last_seen"]?.integer)
            try await eventually("a later sign of life", within: 20) {
                worker.say(#"{"op":"heartbeat","request_id":"more"}"#)
                return try await Self.status(alice)["last_seen"]?.integer ?? 0 > seen
            }
        }
    }
}
