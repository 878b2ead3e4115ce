import MeshWire
import Testing

/// Where a worker may say who it is, and what counts when it says different things: query before headers, headers
/// before `Authorization`, all of them before the path.
@Suite(.serialized, .nodeLog) struct WorkerIdentityTests {
    private struct Attempt: CustomStringConvertible {
        var path: String
        var headers: [String] = []
        var status: Int

        init(_ path: String, _ headers: [String] = [], _ status: Int) {
            self.path = path
            self.headers = headers
            self.status = status
        }

        var description: String { "\(path) \(headers)" }
    }

    private static func header(_ name: String, _ value: String) -> String { "x-coderai-\(name): \(value)" }

    private static func query(_ items: KeyValuePairs<String, String>) -> String {
        items.map { "\($0.key)=\($0.value)" }.joined(separator: "&")
    }

    @Test func whatStandsFirstCounts() async throws {
        try await withNode { node in
            try await node.user("alice")
            let token = try await node.provider("lab", owner: "alice")
            let other = try await node.provider("other", owner: "alice")
            _ = try await ScriptedWorker.admitted(at: node, token: token, client: "first", username: "alice")
            let path = "/api/u/alice/coderai/wss"
            let good = ScriptedWorker.identity("lab", token: token, client: "h", username: "alice")
            let bad = ScriptedWorker.identity("none", token: other, client: "h", username: "nobody")
            let whole = Self.query([
                "provider_id": "lab", "client_id": "q", "username": "alice", "registration_token": token,
            ])
            let bearer = "authorization: Bearer \(token)"
            let attempts = [
                // The query before everything else.
                Attempt("\(path)?\(whole)", bad, 101),
                Attempt("\(path)?\(whole)", bad + ["authorization: Bearer \(other)"], 101),
                Attempt("\(path)?registration_token=\(other)", good, 403),
                Attempt("\(path)?provider_id=other", good, 403),
                Attempt("\(path)?username=bob", good, 403),
                Attempt("\(path)?username=bob&provider_id=lab&registration_token=\(token)", [], 403),
                // What is empty was not said.
                Attempt("\(path)?registration_token=&provider_id=&username=&client_id=", good, 101),
                Attempt("\(path)?\(whole)", [Self.header("registration-token", "")], 101),
                // Headers before the authorization and the path.
                Attempt(path, good + ["authorization: Bearer \(other)"], 101),
                Attempt(
                    path, ScriptedWorker.identity("lab", token: other, client: "h", username: "alice") + [bearer], 403),
                Attempt(path, [Self.header("provider-id", "lab"), bearer], 101),
                Attempt(path, [Self.header("provider-id", "lab"), "AUTHORIZATION: bEARER \(token)"], 101),
                Attempt(path, [Self.header("provider-id", "lab"), "authorization: Basic \(token)"], 403),
                Attempt(path, [Self.header("provider-id", "lab"), Self.header("username", "bob"), bearer], 403),
                // The path alone says the username, below any prefix of a proxy.
                Attempt("/prefix\(path)?provider_id=lab", [bearer], 101),
                Attempt("/a/b/c\(path)", good, 101),
                Attempt("/api/coderai/wss?\(whole)", [], 403),
                Attempt("/api/u/bob/coderai/wss?\(whole)", [], 403),
                // Another path is a route like any other, and wants a key.
                Attempt("\(path)/more?\(whole)", [], 401),
            ]
            for attempt in attempts {
                let (reply, connection) = try await ScriptedWorker.dial(
                    node.buyerPort, path: attempt.path, headers: attempt.headers)
                #expect(reply.status == attempt.status, "\(attempt)")
                connection.close()
            }
        }
    }

    @Test func whatIsNotSaidHasAName() async throws {
        try await withNode { node in
            let token = try await node.provider("coderai")
            let named = try await ScriptedWorker.admitted(at: node, provider: "coderai", token: token)
            let (reply, connection) = try await ScriptedWorker.dial(
                node.buyerPort, path: "/api/coderai/wss", headers: ["authorization: Bearer \(token)"])
            #expect(reply.status == 101)
            let worker = ScriptedWorker(connection: connection)
            worker.register()
            let registered = try await worker.event("registered")
            #expect(registered["provider_id"]?.text == "coderai")
            #expect(registered["username"]?.text == "global")
            let client = try #require(registered["client_id"]?.text)
            #expect(client.hasPrefix("anon-") && client.dropFirst(5).allSatisfy(\.isNumber) && client.count > 10)
            #expect(try await named.isAlive())
            #expect(try await node.sessions().count == 2)
        }
    }

    /// The same names of two owners are two workers, wherever both are attached.
    @Test func namesakesOfAnotherTenantDoNotDisplaceEachOther() async throws {
        try await withTwoNodes { north, south in
            var workers: [ScriptedWorker] = []
            var tokens: [String] = []
            for home in [north, south] {
                try await home.user("alice")
                let token = try await home.provider("lab", owner: "alice")
                workers.append(try await ScriptedWorker.admitted(at: south, token: token, username: "alice"))
                tokens.append(token)
            }
            for worker in workers { #expect(try await worker.isAlive()) }
            let both = try await south.sessions()
            #expect(both.count == 2)
            #expect(both.allSatisfy { $0["client_id"]?.text == "w1" && $0["owner"]?.text == "alice" })
            #expect(Set(both.compactMap { $0["worker"]?.text }).count == 2)
            // Each owner is shown its own one, though they share their names.
            let alice = try await south.key(of: "alice")
            let own = try await south.sessions(alice)
            #expect(own.count == 1)
            // A second connection of one of them replaces that one and not its namesake.
            let again = try await ScriptedWorker.admitted(at: south, token: tokens[0], username: "alice")
            #expect(try await workers[0].closed().reason == "replaced by a new connection of the same client")
            #expect(try await workers[1].isAlive())
            #expect(try await again.isAlive())
            #expect(
                try await south.sessions(alice).map { $0["session_id"]?.text } == own.map { $0["session_id"]?.text })
        }
    }
}
