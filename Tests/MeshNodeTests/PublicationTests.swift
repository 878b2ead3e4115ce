import Foundation
import MeshModel
import MeshNode
import MeshWire
import Testing

/// Rotations and policies that are used at other nodes than their own.
@Suite(.serialized, .nodeLog) struct PublicationTests {
    private struct Shop: Sendable {
        var north: TestNode
        var south: TestNode
        /// Of the north.
        var bob: Buyer
        var worker: Serving
        var hidden: Serving
    }

    /// The south sells `open` to everybody and `hidden` to nobody; the north has the buyer.
    private static func open(_ body: @escaping @Sendable (Shop) async throws -> Void) async throws {
        let southern = try await PreparedNode("south")
        defer { try? FileManager.default.removeItem(atPath: southern.directory) }
        try await withNode("north", allow: [southern.summary.nodeID]) { north in
            try await north.user("bob")
            let bob = try await north.key(of: "bob")
            let peer = "\(north.nodeID)@127.0.0.1:\(north.linkPort)"
            try await withNode("south", prepared: southern, peers: [peer]) { south in
                try await south.user("seller")
                var serving: [Serving] = []
                for (provider, access) in [("open", "public"), ("hidden", "owner")] {
                    let token = try await south.provider(provider, owner: "seller", access: access)
                    serving.append(
                        Serving(
                            try await ScriptedWorker.admitted(
                                at: south, provider: provider, token: token, username: "seller", models: ["m1"])))
                }
                try await north.offers("open/m1", to: bob)
                let shop = Shop(north: north, south: south, bob: bob, worker: serving[0], hidden: serving[1])
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask { await shop.worker.run() }
                    group.addTask { await shop.hidden.run() }
                    group.addTask { try await body(shop) }
                    defer { group.cancelAll() }
                    try await group.next()
                }
            }
        }
    }

    private static func listed(_ buyer: Buyer) async throws -> [String] {
        (try await buyer.call("GET", "/v1/models").document?["data"]?.elements ?? []).compactMap { $0["id"]?.text }
    }

    @Test func aPublishedRotationServesElsewhereUntilItIsTakenBack() async throws {
        try await Self.open { shop in
            let name = "seller@south/rotation/pair"
            let body = #"{"owner":"seller","name":"pair","members":["open",{"target":"hidden","weight":5}]}"#
            _ = try await shop.south.administer("POST", "rotations", body)
            let unknown = try await shop.bob.ask(model: "seller@south/rotation/none")
            let unpublished = try await shop.bob.ask(model: name)
            #expect(unpublished.status == 404 && unknown.status == 404)
            #expect(
                unpublished.errorMessage.replacing("pair", with: "none") == unknown.errorMessage,
                "who asks cannot tell that it is there: \(unpublished.text)")
            let told = try await shop.south.administer(
                "PUT", "rotations/seller/pair",
                #"{"members":["open",{"target":"hidden","weight":5}],"publish":true}"#)
            #expect(told["published_as"]?.text == name)
            try await eventually("it is listed in the north", within: 20) {
                try await Self.listed(shop.bob).contains(name)
            }
            for _ in 0..<6 {
                let reply = try await shop.bob.ask(model: name)
                #expect(reply.status == 200, "\(reply.text)")
                #expect(reply["aisbf-provider"] == "seller@south/open")
            }
            #expect(shop.worker.count == 6)
            #expect(shop.hidden.count == 0, "publishing gives nobody access")
            #expect(try await shop.bob.call("GET", "/v1/models/\(name)").status == 200)
            let explained = try await shop.bob.call("GET", "/v1/route/explain?model=\(name)")
            #expect(explained.text.contains("unauthorised") && explained.text.contains("seller@south/open"))
            // Members that are for nobody do not bring the rotation into anybody's list.
            let only = #"{"owner":"seller","name":"mine","members":["hidden"],"publish":true}"#
            _ = try await shop.south.administer("POST", "rotations", only)
            _ = try await shop.south.administer("PUT", "rotations/seller/pair", #"{"members":["open"]}"#)
            try await eventually("the change is known", within: 20) {
                try await !shop.bob.call("GET", "/v1/route/explain?model=\(name)").text.contains("unauthorised")
            }
            #expect(try await !Self.listed(shop.bob).contains { $0.hasSuffix("/mine") })
            _ = try await shop.south.administer("DELETE", "rotations/seller/pair")
            try await eventually("it is gone in the north", within: 20) {
                try await !Self.listed(shop.bob).contains(name)
            }
            #expect(try await shop.bob.ask(model: name).status == 404)
        }
    }

    @Test func aPublishedPolicyChoosesElsewhere() async throws {
        try await Self.open { shop in
            let file = #"{"policies":[{"owner":"seller","name":"mine","publish":true,"provider":{"only":["open"]}}]}"#
            _ = try await shop.south.administer("POST", "apply", file)
            let name = "seller@south/autoselect/mine"
            try await eventually("it is listed in the north", within: 20) {
                try await Self.listed(shop.bob).contains(name)
            }
            let reply = try await shop.bob.ask(model: name)
            #expect(reply.status == 200 && reply["aisbf-provider"] == "seller@south/open", "\(reply.text)")
            _ = try await shop.south.administer("PUT", "policies/seller/mine", #"{"publish":false}"#)
            try await eventually("it is gone in the north", within: 20) {
                try await !Self.listed(shop.bob).contains(name)
            }
            #expect(try await shop.bob.ask(model: name).status == 404)
            let kept = try await shop.south.administer("GET", "policies/seller/mine")
            #expect(kept["published_as"] == nil && kept["name"]?.text == "mine")
        }
    }

    @Test func whatMeansNothingElsewhereIsNotPublished() async throws {
        try await Self.open { shop in
            for (members, words) in [
                (#"["nobody"]"#, "names no provider"), (#"["open","seller@south/open"]"#, "member already"),
                (#"["rotation/inner"]"#, "providers only"),
            ] {
                _ = try? await shop.south.administer(
                    "POST", "rotations", #"{"owner":"seller","name":"inner","members":["open"]}"#)
                let reply = try await shop.south.admin.call(
                    "POST", "/api/admin/v1/rotations",
                    body: #"{"owner":"seller","name":"outer","members":\#(members),"publish":true}"#)
                #expect(reply.status == 400 && reply.text.contains(words), "\(reply.text)")
            }
            let all = try await shop.south.administer("GET", "rotations")["rotations"]?.elements ?? []
            #expect(all.compactMap { $0["name"]?.text } == ["inner"], "nothing of what was refused is kept")
        }
    }
}
