import Foundation
import MeshModel
import MeshNode
import MeshWire
import Testing

/// Users who are disabled, enabled and removed, providers that change, keys that are exchanged.
@Suite(.serialized, .nodeLog) struct AccountChangeTests {
    private static func seller(
        _ node: TestNode, _ name: String
    ) async throws -> (key: Buyer, worker: ScriptedWorker, token: String) {
        try await node.user(name)
        let token = try await node.provider("rig", owner: name)
        let worker = try await ScriptedWorker.admitted(at: node, provider: "rig", token: token, username: name)
        return (try await node.key(of: name), worker, token)
    }

    @Test func aDisabledUserIsRefusedAtOnceAndComesBackWhole() async throws {
        try await withNode { node in
            let (alice, worker, _) = try await Self.seller(node, "alice")
            let (bob, other, _) = try await Self.seller(node, "bob")
            try await node.offers("alice/rig/m1".replacing("alice/rig", with: "alice@north/rig"), to: bob)
            let secret = try await node.provider("vault", owner: "alice", access: "owner")
            let vault = try await ScriptedWorker.admitted(
                at: node, provider: "vault", token: secret, client: "w2", username: "alice")
            let answer = try await node.administer("PATCH", "users/alice", #"{"disabled":true}"#)
            #expect(answer["disabled"] == true)
            // At once: the command's answer comes after it is done.
            let refused = try await alice.call("GET", "/v1/models")
            #expect(refused.status == 403 && refused.errorCode == "account_disabled", "\(refused.text)")
            for closed in [worker, vault] {
                #expect(try await closed.closed().reason == "the account of this worker's provider is disabled")
            }
            let listed = try await bob.call("GET", "/v1/models").text
            #expect(!listed.contains("alice@north"), "\(listed)")
            #expect(try await bob.ask(#"{"model":"alice@north/rig/m1"}"#).status == 404)
            #expect(try await other.isAlive())
            // A key nobody knows is told nothing of it, and nothing new is made for the user.
            #expect(try await Buyer(port: node.buyerPort, key: "sk-x").call("GET", "/v1/models").status == 401)
            let key = try await node.admin.call("POST", "/api/admin/v1/keys", body: #"{"username":"alice"}"#)
            #expect(key.status == 409)

            _ = try await node.administer("PATCH", "users/alice", #"{"disabled":false}"#)
            #expect(try await alice.call("GET", "/v1/models").status == 200)
            let token = try await node.administer("POST", "providers/alice/rig/rotate-token", "{}")
            let again = try await ScriptedWorker.admitted(
                at: node, provider: "rig", token: token["registration_token"]?.text ?? "", username: "alice")
            #expect(try await again.isAlive())
            #expect(token["worker"]?["backend"] == nil)
        }
    }

    @Test func aUserIsRemovedWithForceOnlyWhileItSells() async throws {
        try await withNode { node in
            let (alice, worker, _) = try await Self.seller(node, "alice")
            let kept = try await node.admin.call("DELETE", "/api/admin/v1/users/alice")
            #expect(kept.status == 409 && kept.errorMessage.contains("alice/rig"), "\(kept.text)")
            #expect(try await worker.isAlive())
            #expect(try await alice.call("GET", "/v1/models").status == 200)
            let before = try await node.administer("GET", "users")["users"]?.elements?.first?["owner_id"]?.text
            #expect(try await node.admin.call("DELETE", "/api/admin/v1/users/alice?force=true").status == 204)
            #expect(try await worker.closed().reason == "this registration token is no longer valid")
            #expect(try await alice.call("GET", "/v1/models").status == 401)
            #expect(try await node.administer("GET", "providers")["providers"]?.elements == [])
            #expect(try await node.admin.call("DELETE", "/api/admin/v1/users/alice").status == 404)
            // Whoever gets the name next is somebody else.
            try await node.user("alice")
            let after = try await node.administer("GET", "users")["users"]?.elements?.first?["owner_id"]?.text
            #expect(before != nil && after != nil && before != after)
            let files = try FileManager.default.contentsOfDirectory(atPath: "\(node.directory)/keys/owners")
            #expect(files.count { $0.hasPrefix("alice.key.removed-") } == 1 && files.contains("alice.key"))
            #expect(
                try await node.administer("GET", "keys")["keys"]?.elements?.contains { $0["username"] == "alice" }
                    == false)
        }
    }

    @Test func aDisabledUserStaysOneOverARestart() async throws {
        let ready = try await PreparedNode("north")
        defer { try? FileManager.default.removeItem(atPath: ready.directory) }
        let alice = try await withNode(prepared: ready, isKept: true) { node in
            try await node.user("alice")
            _ = try await node.provider("rig", owner: "alice")
            let key = try await node.key(of: "alice")
            _ = try await node.administer("PATCH", "users/alice", #"{"disabled":true}"#)
            return key.key
        }
        try await withNode(prepared: ready) { node in
            let reply = try await Buyer(port: node.buyerPort, key: alice).call("GET", "/v1/models")
            #expect(reply.errorCode == "account_disabled")
            let known = try await node.administer("GET", "mesh/providers")["providers"]?.elements
            #expect(known == [])
        }
    }

    @Test func aProviderChangesWhatIsNamedAndNothingElse() async throws {
        try await withNode { node in
            let (alice, worker, token) = try await Self.seller(node, "alice")
            try await node.user("bob")
            let bob = try await node.key(of: "bob")
            try await node.offers("rig/m1", to: bob)
            let owner = try await node.administer("PATCH", "providers/alice/rig", #"{"access":"owner"}"#)
            #expect(owner["access"]?.text == "owner" && owner["display_name"]?.text == "rig")
            #expect(try await bob.ask(#"{"model":"rig/m1"}"#).status == 404)
            // It is another record now, where the same token is good.
            #expect(try await worker.closed().reason == "who may use this provider has changed; connect again")
            let again = try await ScriptedWorker.admitted(
                at: node, provider: "rig", token: token, username: "alice")
            try await node.offers("rig/m1", to: alice)
            let users = try await node.administer("GET", "users")["users"]?.elements ?? []
            let id = try #require(users.first { $0["username"] == "bob" }?["owner_id"]?.text)
            let body = #"{"access":"named","named":["\#(id)"],"display_name":"Rig","max_concurrency":2}"#
            let named = try await node.administer("PATCH", "providers/alice/rig", body)
            #expect(named["named"]?.elements == [.string(id)] && named["max_concurrency"]?.integer == 2)
            try await node.offers("rig/m1", to: bob)
            // The same again changes nothing and is no failure.
            #expect(try await node.administer("PATCH", "providers/alice/rig", body) == named)
            let empty = try await node.administer("PATCH", "providers/alice/rig", "{}")
            #expect(empty == named)
            #expect(try await again.isAlive())
        }
    }

    @Test func whatCannotBeChangedIsSaid() async throws {
        try await withNode { node in
            try await node.user("alice")
            _ = try await node.provider("rig", owner: "alice")
            for (path, body, status, parameter) in [
                ("providers/alice/rig", #"{"access":"all"}"#, 400, "access"),
                ("providers/alice/rig", #"{"access":"named"}"#, 400, "named"),
                ("providers/alice/rig", #"{"named":["aisbf_owner_x"]}"#, 400, "named"),
                ("providers/alice/rig", #"{"named":"x"}"#, 400, "named"),
                ("providers/alice/rig", #"{"max_concurrency":0}"#, 400, nil),
                ("providers/alice/rig", #"{"max_concurrency":1025}"#, 400, nil),
                ("providers/alice/rig", #"{"max_concurrency":"2"}"#, 400, "max_concurrency"),
                ("providers/alice/rig", #"{"display_name":7}"#, 400, "display_name"),
                ("providers/alice/rig", #"{"provider_id":"x"}"#, 400, "provider_id"),
                ("providers/alice/none", #"{"access":"owner"}"#, 404, nil),
                ("users/none", #"{"disabled":true}"#, 404, nil),
                ("users/alice", #"{"disabled":"yes"}"#, 400, "disabled"),
                ("users/alice", #"{}"#, 400, "disabled"),
            ] as [(String, String, Int, String?)] {
                let reply = try await node.admin.call("PATCH", "/api/admin/v1/\(path)", body: body)
                #expect(reply.status == status, "\(path) \(body): \(reply.text)")
                if let parameter { #expect(reply.document?["error"]?["param"]?.text == parameter, "\(reply.text)") }
            }
            #expect(try await node.admin.call("PATCH", "/api/admin/v1/providers/alice/rig", body: "{}").status == 200)
            #expect(try await node.admin.call("PUT", "/api/admin/v1/users/alice")["allow"] == "PATCH, DELETE")
            #expect(
                try await node.admin.call("PATCH", "/api/admin/v1/users/global", body: #"{"disabled":true}"#).status
                    == 404)
        }
    }

    @Test func aKeyIsExchangedForAnother() async throws {
        try await withNode { node in
            try await node.user("alice")
            let body = #"{"username":"alice","label":"laptop","scopes":["admin"],"expires_in_seconds":604800}"#
            let made = try await node.administer("POST", "keys", body)
            let id = try #require(made["key_id"]?.text)
            let old = Buyer(port: node.buyerPort, key: made["key"]?.text)
            let slow = try await node.administer("POST", "keys/\(id)/rotate", #"{"overlap_seconds":3600}"#)
            let new = Buyer(port: node.buyerPort, key: slow["key"]?.text)
            #expect(slow["label"]?.text == "laptop" && slow["scopes"]?.elements == ["admin"])
            let life = (slow["expires_at"]?.integer ?? 0) - (slow["created_at"]?.integer ?? 0)
            #expect((604_799...604_801).contains(life))
            for buyer in [old, new] { #expect(try await buyer.call("GET", "/api/admin/v1/status").status == 200) }
            let second = try #require(slow["key_id"]?.text)
            let last = try await node.administer("POST", "keys/\(second)/rotate", "{}")
            #expect(try await new.call("GET", "/api/admin/v1/status").status == 401)
            #expect(
                try await Buyer(port: node.buyerPort, key: last["key"]?.text).call("GET", "/api/admin/v1/status").status
                    == 200)
            // One that has ended is not brought back by exchanging it.
            let ended = try await node.admin.call("POST", "/api/admin/v1/keys/\(second)/rotate", body: "{}")
            #expect(ended.status == 409)
            for (path, body, status) in [
                ("keys/ffffffffffff/rotate", "{}", 404), ("keys/\(id)/rotate", #"{"overlap_seconds":-1}"#, 400),
                ("keys/\(id)/rotate", #"{"overlap_seconds":2592001}"#, 400),
                ("keys/\(id)/rotate", #"{"overlap_seconds":"1h"}"#, 400), ("keys/\(id)/turn", "{}", 404),
            ] {
                let reply = try await node.admin.call("POST", "/api/admin/v1/\(path)", body: body)
                #expect(reply.status == status, "\(path): \(reply.text)")
            }
            for seconds in ["0", "-5", "315360001", "\"30d\""] {
                let reply = try await node.admin.call(
                    "POST", "/api/admin/v1/keys", body: #"{"username":"alice","expires_in_seconds":\#(seconds)}"#)
                #expect(reply.status == 400, "\(seconds): \(reply.text)")
            }
        }
    }
}
