import MeshModel
import MeshNode
import MeshWire
import Synchronization
import Testing

/// Buyers ask a pool of sellers, and whoever is able answers.
@Suite(.serialized, .nodeLog) struct RotationTests {
    /// A worker that answers every request its own way.
    private final class Serving: Sendable {
        typealias Answer = @Sendable (ScriptedWorker, JSONValue) -> Void

        let worker: ScriptedWorker
        private let answer: Mutex<Answer>
        private let served = Mutex(0)

        init(_ worker: ScriptedWorker, answer: @escaping Answer = Serving.well) {
            self.worker = worker
            self.answer = Mutex(answer)
        }

        static let well: Answer = { $0.answer($1, payload: #"{"id":"x","choices":[]}"#) }
        static let silent: Answer = { _, _ in }
        static func status(_ status: Int, _ body: String = "{}") -> Answer {
            let wrapped: JSONValue = [
                "status_code": .integer(status), "content_type": "application/json", "body": .string(body),
            ]
            return { $0.answer($1, payload: String(decoding: wrapped.bytes, as: UTF8.self)) }
        }

        var count: Int { served.withLock { $0 } }
        func answers(_ next: @escaping Answer) { answer.withLock { $0 = next } }

        func run() async {
            while !Task.isCancelled {
                guard let request = try? await worker.request("chat.completions") else { continue }
                served.withLock { $0 += 1 }
                answer.withLock { $0 }(worker, request)
            }
        }
    }

    private struct Shop: Sendable {
        var node: TestNode
        var bob: Buyer
        var first: Serving
        var second: Serving

        func rotation(_ body: String) async throws { _ = try await node.administer("POST", "rotations", body) }

        func ask(_ model: String = "rotation/pair") async throws -> Reply { try await bob.ask(model: model) }

        /// Two providers, `lab` and `den`, each with one worker and its own model.
        static func open(
            _ capabilities: String = "{}", _ body: @escaping @Sendable (Shop) async throws -> Void
        ) async throws {
            try await withNode { node in
                try await node.user("bob")
                let bob = try await node.key(of: "bob")
                var serving: [Serving] = []
                for (provider, model) in [("lab", "m1"), ("den", "m2")] {
                    let token = try await node.provider(provider)
                    let worker = try await eventually("the worker is admitted", within: 20) {
                        try? await ScriptedWorker.attach(
                            node.buyerPort, provider: provider, token: token, client: "w-\(provider)",
                            models: [model], capabilities: capabilities)
                    }
                    serving.append(Serving(worker))
                    try await node.offers("\(provider)/\(model)", to: bob)
                }
                let shop = Shop(node: node, bob: bob, first: serving[0], second: serving[1])
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask { await shop.first.run() }
                    group.addTask { await shop.second.run() }
                    group.addTask { try await body(shop) }
                    // The workers serve for as long as the test takes.
                    defer { group.cancelAll() }
                    for _ in 0..<1 { try await group.next() }
                }
            }
        }
    }

    private static let pair =
        #"{"name":"pair","members":[{"target":"lab","weight":3},{"target":"den/m2","weight":1}]}"#

    @Test func membersShareByTheirWeights() async throws {
        try await Shop.open { shop in
            try await shop.rotation(Self.pair)
            for _ in 0..<8 {
                let reply = try await shop.ask()
                #expect(reply.status == 200, "\(reply.text)")
                #expect(reply["aisbf-attempts"] == "1")
            }
            #expect(shop.first.count == 6)
            #expect(shop.second.count == 2)
            let models = try await shop.bob.call("GET", "/v1/models").document?["data"]?.elements ?? []
            #expect(models.contains { $0["id"]?.text == "rotation/pair" })
            #expect(try await shop.bob.call("GET", "/v1/models/rotation/pair").status == 200)
            #expect(try await shop.ask("rotation/none").status == 404)
        }
    }

    @Test func whoFailsIsPassedOverAndThenRests() async throws {
        try await Shop.open { shop in
            try await shop.rotation(Self.pair)
            shop.first.answers(Serving.status(500, "oops"))
            for _ in 0..<8 { #expect(try await shop.ask().status == 200) }
            // Three failures in a row bench it.
            #expect(shop.first.count == 3)
            #expect(shop.second.count == 8)
        }
    }

    @Test func whenAllHaveFailedTheBuyerHearsOfEach() async throws {
        try await Shop.open { shop in
            try await shop.rotation(Self.pair)
            let broken = #"{"request_id":"%","status":"error","error":{"code":"worker_error","message":"no luck"}}"#
            for member in [shop.first, shop.second] {
                member.answers { $0.say(broken.replacing("%", with: $1.id)) }
            }
            let reply = try await shop.ask()
            #expect(reply.status == 503)
            #expect(reply.errorCode == "worker_unavailable")
            let words = reply.document?["error"]?["message"]?.text ?? ""
            #expect(words.contains("rotation/pair") && words.contains("lab: ") && words.contains("den/m2: "), "\(words)")
        }
    }

    @Test func aBuyersOwnMistakeIsNobodyElsesFault() async throws {
        try await Shop.open { shop in
            try await shop.rotation(Self.pair)
            shop.first.answers(Serving.status(400, #"{"error":{"message":"bad temperature"}}"#))
            shop.second.answers(Serving.status(400, #"{"error":{"message":"bad temperature"}}"#))
            for _ in 0..<8 { #expect(try await shop.ask().status == 400) }
            #expect(shop.first.count == 6, "nobody rests for it, and nobody is asked twice")
            #expect(shop.second.count == 2)
        }
    }

    @Test func whoIsFullIsWaitedFor() async throws {
        try await Shop.open(#"{"max_concurrency":1}"#) { shop in
            try await shop.rotation(#"{"name":"one","members":["lab"]}"#)
            let held = Mutex<JSONValue?>(nil)
            shop.first.answers { _, request in held.withLock { $0 = request } }
            let first = try await shop.bob.start(#"{"model":"rotation/one"}"#)
            let request = try await eventually("the worker has the first") { held.withLock { $0 } }
            let second = try await shop.bob.start(#"{"model":"rotation/one"}"#)
            shop.first.answers(Serving.well)
            Serving.well(shop.first.worker, request)
            #expect(try await first.reply().status == 200)
            #expect(try await second.reply().status == 200)
        }
    }

    @Test func aUsersOwnPoolComesBeforeTheOperators() async throws {
        try await Shop.open { shop in
            try await shop.rotation(#"{"name":"pair","members":["lab"]}"#)
            try await shop.rotation(#"{"name":"pair","owner":"bob","members":["den"]}"#)
            #expect(try await shop.ask()["aisbf-provider"] == "global@north/den")
            _ = try await shop.node.administer("DELETE", "rotations/bob/pair")
            #expect(try await shop.ask()["aisbf-provider"] == "global@north/lab")
            _ = try await shop.node.administer("DELETE", "rotations/global/pair")
            #expect(try await shop.ask().status == 404)
        }
    }

    /// What a rotation may not be, and what is said of it.
    @Test(arguments: [
        (#"{"name":"Bad Name","members":["lab"]}"#, "name"), (#"{"name":"p","members":[]}"#, "members"),
        (#"{"name":"p"}"#, "members"), (#"{"name":"p","members":["rotation/p"]}"#, "circle"),
        (#"{"name":"p","members":["rotation/none"]}"#, "no rotation 'none'"),
        (#"{"name":"p","members":[{"target":"lab","weight":-1}]}"#, "weight"),
        (#"{"name":"p","members":["lab"],"settings":{"colldown_ms":1}}"#, "cooldown_ms"),
        (#"{"name":"p","members":["lab"],"weights":[1]}"#, "weights"),
        (#"{"name":"p","owner":"nobody","members":["lab"]}"#, "aisbf user create nobody"),
    ])
    func whatIsWrongIsSaid(_ body: String, _ words: String) async throws {
        try await withNode { node in
            let reply = try await node.admin.call("POST", "/api/admin/v1/rotations", body: body)
            #expect((400..<500).contains(reply.status))
            #expect(reply.text.contains(words), "\(reply.text)")
            #expect(try await node.administer("GET", "rotations")["rotations"]?.elements?.isEmpty == true)
        }
    }

    /// All of a file, or none of it.
    @Test func aFileIsAppliedWhole() async throws {
        try await withNode { node in
            let good = #"{"rotations":[{"name":"b","members":["rotation/a"]},{"name":"a","members":["lab"]}]}"#
            _ = try await node.administer("POST", "apply", good)
            _ = try await node.administer("POST", "apply", good)
            let bad = #"{"rotations":[{"name":"c","members":["lab"]},{"name":"a","members":["rotation/b"]}]}"#
            let reply = try await node.admin.call("POST", "/api/admin/v1/apply", body: bad)
            #expect(reply.status == 400)
            #expect(reply.text.contains("circle"), "\(reply.text)")
            let names = try await node.administer("GET", "rotations")["rotations"]?.elements?.compactMap {
                $0["name"]?.text
            }
            #expect(names == ["a", "b"])
            let used = try await node.admin.call("DELETE", "/api/admin/v1/rotations/global/a")
            #expect(used.status == 409, "b needs it")
        }
    }

    /// Members at other nodes are members like any other, and what was set up is there after a restart.
    @Test func membersAtOtherNodes() async throws {
        let southern = try await PreparedNode("south")
        try await withNode("north", allow: [southern.summary.nodeID]) { north in
            let peer = "\(north.nodeID)@127.0.0.1:\(north.linkPort)"
            let token = try await north.provider("lab")
            let worker = try await eventually("the worker is admitted", within: 20) {
                try? await ScriptedWorker.attach(
                    north.buyerPort, provider: "lab", token: token, client: "w", models: ["m1"], capabilities: "{}")
            }
            let far = Serving(worker)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { await far.run() }
                let key = try await withNode("south", prepared: southern, peers: [peer], isKept: true) { south in
                    try await south.user("bob")
                    let bob = try await south.key(of: "bob")
                    try await south.offers("lab/m1", to: bob)
                    let body = #"{"name":"far","members":["global@north/lab/m1"]}"#
                    _ = try await south.administer("POST", "rotations", body)
                    #expect(try await bob.ask(model: "rotation/far")["aisbf-node"] == "north")
                    return bob.key
                }
                try await withNode("south", prepared: southern, peers: [peer]) { south in
                    let bob = Buyer(port: south.buyerPort, key: key)
                    try await eventually("the pool answers", within: 20) {
                        try await bob.ask(model: "rotation/far").status == 200
                    }
                }
                group.cancelAll()
            }
        }
    }
}
