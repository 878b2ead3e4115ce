import MeshCrypto
import MeshModel
import MeshNode
import MeshWire
import Testing

/// Providers that are not for everybody: what a node learns that has nothing to do with them, and that those whom they
/// concern can use them everywhere.
@Suite(.serialized, .nodeLog) struct PrivateProviderTests {
    struct Pair: Sendable {
        var north: TestNode
        var south: TestNode
        /// Of south; their owner keys are known there only.
        var bob: Buyer
        var carol: Buyer
        var bobID: String
        /// Of north, and a provider of hers for herself alone.
        var alice: Buyer
        var token: String

        static func open(
            named: Bool = false, _ body: @escaping @Sendable (Pair) async throws -> Void
        ) async throws {
            let southern = try await PreparedNode("south")
            try await withNode("north", allow: [southern.summary.nodeID]) { north in
                let peer = "\(north.nodeID)@127.0.0.1:\(north.linkPort)"
                try await withNode("south", prepared: southern, peers: [peer]) { south in
                    let made = try await south.administer("POST", "users", #"{"username":"bob"}"#)
                    let bobID = made["owner_id"]?.text ?? ""
                    try await south.user("carol")
                    try await north.user("alice")
                    let access = named ? #""named","named":["\#(bobID)"]"# : #""owner""#
                    let provider = try await north.administer(
                        "POST", "providers",
                        #"{"provider_id":"hidden-den","owner":"alice","display_name":"Hidden Den","access":\#(access)}"#
                    )
                    try await body(
                        Pair(
                            north: north, south: south, bob: try await south.key(of: "bob"),
                            carol: try await south.key(of: "carol"), bobID: bobID,
                            alice: try await north.key(of: "alice"),
                            token: provider["registration_token"]?.text ?? ""))
                }
            }
        }

        func worker(at node: TestNode) async throws -> ScriptedWorker {
            try await eventually("the worker is admitted") {
                try? await ScriptedWorker.attach(
                    node.buyerPort, provider: "hidden-den", token: token, username: "alice", models: ["secret-model"],
                    capabilities: #"{"studio_endpoints":["v1/secret-endpoint"]}"#)
            }
        }

        /// Everything south's operator can see of the mesh, as text and as bytes.
        func seenAtSouth() async throws -> String {
            var seen = ""
            for path in ["mesh/providers", "mesh/records"] {
                seen += String(decoding: try await south.administer("GET", path).bytes, as: UTF8.self)
            }
            let records = try await south.administer("GET", "mesh/records")["records"]?.elements ?? []
            for record in records {
                let whole = try await south.administer("GET", "mesh/records/\(record["key"]?.text ?? "")")
                seen += String(decoding: whole.bytes, as: UTF8.self)
                let raw = Array((whole["raw"]?.text ?? "").utf8)
                let bytes = stride(from: 0, to: raw.count - 1, by: 2).compactMap {
                    UInt8(String(decoding: raw[$0...$0 + 1], as: UTF8.self), radix: 16)
                }
                seen += String(decoding: bytes, as: UTF8.self)
            }
            return seen
        }

        func attachmentVersion() async throws -> String? {
            try await north.administer("GET", "mesh/records?type=attachment")["records"]?.elements?.first?["version"]?
                .text
        }

        func count(_ type: String) async throws -> Int {
            try await south.administer("GET", "mesh/records?type=\(type)")["records"]?.elements?.count ?? 0
        }
    }

    @Test func aStrangersNodeLearnsNothing() async throws {
        try await Pair.open { pair in
            let worker = try await pair.worker(at: pair.north)
            try await pair.north.offers("hidden-den/secret-model", to: pair.alice)
            try await eventually("the records at south") {
                let attachments = try await pair.count("attachment")
                return attachments == 1
            }
            let seen = try await pair.seenAtSouth()
            for word in ["hidden-den", "Hidden Den", "alice", "secret-model", "secret-endpoint", "named"] {
                #expect(!seen.contains(word), "\(word)")
            }
            // The control: what is public is there.
            _ = try await pair.north.provider("open-shop")
            try await eventually("the public one") { try await pair.seenAtSouth().contains("open-shop") }
            for model in [
                "hidden-den/secret-model", "alice@north/hidden-den/secret-model", "secret-model", "secret-modem",
            ] {
                let reply = try await pair.carol.ask(model: model)
                #expect(reply.status == 404)
                #expect(!reply.text.contains("did you mean"))
            }
            let listing = try await pair.carol.call("GET", "/v1/models")
            #expect(listing.document?["data"]?.elements?.isEmpty == true)
            #expect(listing["cache-control"] == "private")
            let connection = try await pair.alice.start(#"{"model":"hidden-den/secret-model"}"#)
            worker.answer(try await worker.request("chat.completions"), payload: "{}")
            let reply = try await connection.reply()
            #expect(reply.status == 200 && reply["cache-control"] == "private")
        }
    }

    @Test func aNamedOwnerBuysAtTheirOwnNodeAndNobodyElseThere() async throws {
        try await Pair.open(named: true) { pair in
            let worker = try await pair.worker(at: pair.north)
            try await pair.south.offers("hidden-den/secret-model", to: pair.bob)
            let connection = try await pair.bob.start(#"{"model":"hidden-den/secret-model"}"#)
            worker.answer(try await worker.request("chat.completions"), payload: #"{"id":"x"}"#)
            let reply = try await connection.reply()
            #expect(reply.status == 200)
            #expect(reply["aisbf-provider"] == "alice@north/hidden-den")
            for model in ["hidden-den/secret-model", "secret-model", "secret-modem"] {
                let refused = try await pair.carol.ask(model: model)
                #expect(refused.status == 404 && !refused.text.contains("did you mean"))
            }
            #expect(try await pair.carol.call("GET", "/v1/models").document?["data"]?.elements?.isEmpty == true)
        }
    }

    /// The token opens what the node has to know.
    @Test func aWorkerAttachesAtAStrangersNodeAndServesItsOwner() async throws {
        try await Pair.open { pair in
            try await eventually("the adverts") { try await pair.count("provider-advert") == 1 }
            let worker = try await pair.worker(at: pair.south)
            try await pair.north.offers("hidden-den/secret-model", to: pair.alice)
            let connection = try await pair.alice.start(#"{"model":"hidden-den/secret-model"}"#)
            worker.answer(try await worker.request("chat.completions"), payload: #"{"id":"far"}"#)
            let reply = try await connection.reply()
            #expect(reply.status == 200 && reply["aisbf-node"] == "south")
            #expect(try await pair.carol.ask(model: "hidden-den/secret-model").status == 404)
            // Another name, another token, another user: one refusal.
            for (provider, username, token) in [
                ("hidden-dem", "alice", pair.token), ("hidden-den", "alicf", pair.token),
                ("hidden-den", "alice", RegistrationToken.random().text),
            ] {
                let path = "/api/u/\(username)/coderai/wss"
                let (refused, _) = try await ScriptedWorker.dial(
                    pair.south.buyerPort, path: path,
                    headers: ScriptedWorker.identity(provider, token: token, client: "x", username: username))
                #expect(refused.status == 403)
            }
            let version = try await pair.attachmentVersion()
            // A second token changes who may read; the session goes on, and what is told of it can be read again.
            _ = try await pair.north.administer("POST", "providers/alice/hidden-den/tokens", #"{"label":"second"}"#)
            try await eventually("the attachment, sealed anew") {
                try await pair.attachmentVersion() != version
            }
            #expect(try await worker.isAlive())
            try await pair.north.offers("hidden-den/secret-model", to: pair.alice)
            // The end of the token ends the session, there as everywhere.
            _ = try await pair.north.administer("POST", "providers/alice/hidden-den/rotate-token", "{}")
            #expect(try await worker.closed().code == 1_008)
        }
    }

    /// What is shown to one of a node's users takes its short name from no other, and nobody's models.
    @Test func whatOneUserSeesShadowsNothingForAnother() async throws {
        try await Pair.open(named: true) { pair in
            let hidden = try await pair.worker(at: pair.north)
            try await pair.south.offers("hidden-den/secret-model", to: pair.bob)
            try await pair.south.user("dave")
            let dave = try await pair.south.key(of: "dave")
            #expect(try await dave.ask(model: "hidden-den/open-model").status == 404)
            // Later somebody sells under the same name to all.
            let open = try await ScriptedWorker.admitted(
                at: pair.south, provider: "hidden-den",
                token: try await pair.south.provider("hidden-den", owner: "carol"),
                username: "carol", models: ["open-model"])
            try await pair.south.offers("hidden-den/open-model", to: dave)
            for (buyer, model, worker) in [
                (dave, "hidden-den/open-model", open), (pair.bob, "hidden-den/secret-model", hidden),
                (pair.bob, "carol@south/hidden-den/open-model", open),
            ] {
                let connection = try await buyer.start(#"{"model":"\#(model)"}"#)
                worker.answer(try await worker.request("chat.completions"), payload: #"{"id":"x"}"#)
                #expect(try await connection.reply().status == 200, "\(model)")
            }
            let listed = try await pair.bob.call("GET", "/v1/models").document?["data"]?.elements ?? []
            #expect(
                listed.compactMap { $0["id"]?.text }.sorted()
                    == ["carol@south/hidden-den/open-model", "hidden-den/secret-model"])
            let names = try await pair.south.administer("GET", "mesh/names")["names"]?.elements ?? []
            #expect(names.contains { $0["name"]?.text == "shown:hidden-den@\(pair.bobID)" })
        }
    }
}
