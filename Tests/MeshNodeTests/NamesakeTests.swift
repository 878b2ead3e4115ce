import Foundation
import MeshModel
import MeshNode
import MeshWire
import Testing

/// A node, a user and a provider that are called as others were before.
@Suite(.serialized, .nodeLog) struct NamesakeTests {
    /// A node that is linked to `buyers` and has the user `seller` with a public provider `demo` and a worker of it.
    private static func selling(
        _ prepared: PreparedNode, at buyers: TestNode, models: [String] = ["m1"],
        _ body: @escaping @Sendable (TestNode, ScriptedWorker) async throws -> Void
    ) async throws {
        let peer = "\(buyers.nodeID)@127.0.0.1:\(buyers.linkPort)"
        try await withNode("b", prepared: prepared, peers: [peer], isKept: true) { node in
            let isNew = (try? await node.user("seller")) != nil
            let token =
                isNew
                ? try await node.provider("demo", owner: "seller")
                : try await node.administer("POST", "providers/seller/demo/rotate-token", "{}")["registration_token"]?
                    .text ?? ""
            let worker = try await ScriptedWorker.admitted(
                at: node, provider: "demo", token: token, username: "seller", models: models)
            try await body(node, worker)
        }
    }

    @discardableResult
    private static func answered(_ buyer: Buyer, _ model: String, by worker: ScriptedWorker) async throws -> Reply {
        let connection = try await buyer.start(#"{"model":"\#(model)","messages":[]}"#)
        defer { connection.close() }
        worker.answer(try await worker.request("chat.completions"), payload: #"{"from":"the right one"}"#)
        let reply = try await connection.reply()
        #expect(reply.text == #"{"from":"the right one"}"#)
        return reply
    }

    @Test func aNamesakeGetsNothingAndIsNamedByKey() async throws {
        let honest = try await PreparedNode("b")
        let hostile = try await PreparedNode("b")
        let ours = try await PreparedNode("a")
        defer {
            for node in [honest, hostile, ours] { try? FileManager.default.removeItem(atPath: node.directory) }
        }
        let allow = [honest.summary.nodeID, hostile.summary.nodeID]
        try await withNode("a", prepared: ours, allow: allow, isKept: true) { north in
            try await north.user("bob")
            let bob = try await north.key(of: "bob")
            try await Self.selling(honest, at: north) { south, right in
                try await north.offers("demo/m1", to: bob)
                try await Self.answered(bob, "seller@b/demo/m1", by: right)
                try await Self.selling(hostile, at: north) { _, wrong in
                    let listed = try await eventually("both in the list", within: 20) { () -> [JSONValue]? in
                        let all = try await bob.call("GET", "/v1/models").document?["data"]?.elements ?? []
                        return all.count == 2 ? all : nil
                    }
                    for _ in 0..<5 {
                        try await Self.answered(bob, "seller@b/demo/m1", by: right)
                        try await Self.answered(bob, "demo/m1", by: right)
                    }
                    #expect(wrong.connection.pending.isEmpty)
                    let other = try #require(listed.first { $0["id"]?.text != "demo/m1" }?["id"]?.text)
                    #expect(other.hasPrefix("key:"), "\(other)")
                    // Neither answers under the other's name.
                    let theirs = try await Self.answered(bob, other, by: wrong)
                    #expect(theirs["aisbf-provider"] == String(other.prefix { $0 != "/" }))
                    #expect(theirs["aisbf-node"] == hostile.summary.nodeID)
                    let ours = try await Self.answered(bob, "demo/m1", by: right)
                    #expect(ours["aisbf-provider"] == "seller@b/demo")
                    #expect(ours["aisbf-node"] == "b")
                    let names = try await north.administer("GET", "mesh/names?conflicts=true")["names"]?.elements ?? []
                    let claimed = try #require(names.first { $0["name"]?.text == "node:b" })
                    #expect(claimed["means"]?.text == south.nodeID)
                    #expect(claimed["claimed_by"]?.elements?.map { $0.text } == [hostile.summary.nodeID])
                    try await eventually("the name is used") {
                        let names = try await north.administer("GET", "mesh/names")["names"]?.elements ?? []
                        return names.contains { $0["name"]?.text == "node:b" && $0["used"]?.flag == true }
                    }
                    // The worker leaves, and nobody takes its place.
                    right.connection.close()
                    try await eventually("the worker's end", within: 20) {
                        try await bob.call("GET", "/v1/models").document?["data"]?.elements?.count == 1
                    }
                    for name in ["seller@b/demo/m1", "demo/m1"] {
                        #expect(try await bob.ask(model: name).status == 503, "\(name)")
                    }
                    #expect(wrong.connection.pending.isEmpty)
                }
            }
        }
        try await Self.afterARestart(hostile, ours, allow)
    }

    /// Then the namesake is the only one there is.
    private static func afterARestart(_ hostile: PreparedNode, _ ours: PreparedNode, _ allow: [String]) async throws {
        try await withNode("a", prepared: ours, allow: allow, isKept: true) { north in
            let bob = try await north.key(of: "bob")
            try await Self.selling(hostile, at: north, models: ["m2"]) { node, wrong in
                let id = try await eventually("the namesake in the list", within: 20) {
                    try await bob.call("GET", "/v1/models").document?["data"]?.elements?.first?["id"]?.text
                }
                #expect(id.hasPrefix("key:"), "\(id)")
                for name in ["seller@b/demo/m2", "demo/m2"] {
                    let reply = try await bob.ask(model: name)
                    // What is still known of the right one has no worker now; nothing else is ever meant.
                    #expect([404, 503].contains(reply.status), "\(name): \(reply.text)")
                }
                #expect(wrong.connection.pending.isEmpty)
                // Until the operator says that it is the right one.
                let accepted = try await north.administer(
                    "POST", "mesh/names/accept", #"{"name":"node:b","id":"\#(node.nodeID)"}"#)
                #expect(accepted["means"]?.text == node.nodeID)
                try await eventually("the full name") {
                    try await bob.call("GET", "/v1/models").document?["data"]?.elements?.first?["id"]?.text
                        == "seller@b/demo/m2"
                }
                try await Self.answered(bob, "seller@b/demo/m2", by: wrong)
                let key = id.prefix { $0 != "/" }
                _ = try await north.administer(
                    "POST", "mesh/names/accept", #"{"name":"provider:demo","id":"\#(key)"}"#)
                try await north.offers("demo/m2", to: bob)
                try await Self.answered(bob, "demo/m2", by: wrong)
                for body in ["{}", #"{"name":"x"}"#, #"{"name":"node:b","id":"x"}"#] {
                    let reply = try await north.admin.call("POST", "/api/admin/v1/mesh/names/accept", body: body)
                    #expect(reply.status == 400, "\(body)")
                }
                #expect(try await north.admin.call("GET", "/api/admin/v1/mesh/names/accept").status == 405)
            }
        }
    }

    /// The same node: whoever creates a provider called like the first part of a model's id draws nothing.
    @Test func aModelsIdIsNobodysToTake() async throws {
        try await Shop.open(models: ["meta-llama/llama-3-8b"]) { shop in
            let connection = try await shop.buyer.start(#"{"model":"meta-llama/llama-3-8b","messages":[]}"#)
            shop.worker.answer(try await shop.worker.request("chat.completions"), payload: #"{"from":"lab"}"#)
            #expect(try await connection.reply().text == #"{"from":"lab"}"#)
            let token = try await shop.node.provider("meta-llama")
            let taker = try await ScriptedWorker.admitted(
                at: shop.node, provider: "meta-llama", token: token, models: ["llama-3-8b"])
            try await shop.node.offers("global@north/meta-llama/llama-3-8b", to: shop.buyer)
            for _ in 0..<5 {
                try await Self.answered(shop.buyer, "meta-llama/llama-3-8b", by: shop.worker)
            }
            #expect(taker.connection.pending.isEmpty)
            try await Self.answered(shop.buyer, "global@north/meta-llama/llama-3-8b", by: taker)
            // A provider that is removed is nobody, though another one offers a model of that spelling.
            let other = try await shop.node.provider("other")
            let spelled = try await ScriptedWorker.admitted(
                at: shop.node, provider: "other", token: other, models: ["lab/meta-llama/llama-3-8b"])
            try await shop.node.offers("other/lab/meta-llama/llama-3-8b", to: shop.buyer)
            try await Self.answered(shop.buyer, "lab/meta-llama/llama-3-8b", by: shop.worker)
            _ = try await shop.node.administer("DELETE", "providers/global/lab")
            try await eventually("the provider's end") {
                try await shop.buyer.ask(model: "lab/meta-llama/llama-3-8b").status == 404
            }
            #expect(spelled.connection.pending.isEmpty)
        }
    }
}
