import MeshModel
import MeshNode
import MeshWire
import Synchronization
import Testing

/// Buyers ask a pool of sellers, and whoever is able answers.
@Suite(.serialized, .nodeLog) struct RotationTests {
    private static let pair =
        #"{"name":"pair","members":[{"target":"lab","weight":3},{"target":"den/m2","weight":1}]}"#

    @Test func membersShareByTheirWeights() async throws {
        try await TwoSellers.open { shop in
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
        try await TwoSellers.open { shop in
            try await shop.rotation(Self.pair)
            shop.first.answers(Serving.status(500, "oops"))
            for _ in 0..<8 { #expect(try await shop.ask().status == 200) }
            // Three failures in a row bench it.
            #expect(shop.first.count == 3)
            #expect(shop.second.count == 8)
        }
    }

    /// It stands aside while its model is read into memory, and is none the worse for it.
    @Test func whoIsLoadingItsModelIsNoFailure() async throws {
        try await TwoSellers.open { shop in
            try await shop.rotation(Self.pair)
            let words = #"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#
            shop.first.answers(Serving.status(503, words))
            for _ in 0..<12 { #expect(try await shop.ask().status == 200) }
            #expect(shop.second.count == 12)
            #expect((1...4).contains(shop.first.count), "it is left alone meanwhile: \(shop.first.count)")
            let explained = try await shop.bob.call("GET", "/v1/route/explain?model=rotation/pair")
            #expect(!explained.text.contains("cooling"), "\(explained.text)")
            shop.first.answers(Serving.well)
            try await eventually("it has its share", within: 20) {
                try await shop.ask()["aisbf-provider"] == "global@north/lab"
            }
        }
    }

    /// A member whose worker was lost three times over rests for a minute, and is back as soon as a worker is.
    @Test func whoWasLostIsBackWithItsWorker() async throws {
        try await TwoSellers.open { shop in
            try await shop.rotation(#"{"name":"pair","members":["lab",{"target":"den/m2","tier":1}]}"#)
            shop.first.answers(Serving.silent)
            var waiting: [RawConnection] = []
            for _ in 0..<3 { waiting.append(try await shop.bob.start(#"{"model":"rotation/pair","messages":[]}"#)) }
            try await eventually("the worker has them") { shop.first.count == 3 }
            shop.first.worker.connection.close()
            for connection in waiting {
                let reply = try await connection.reply()
                #expect(reply.status == 200 && reply["aisbf-provider"] == "global@north/den", "\(reply.text)")
            }
            #expect(try await shop.ask()["aisbf-provider"] == "global@north/den")
            let made = try await shop.node.administer("POST", "providers/global/lab/tokens", "{}")
            let token = made["registration_token"]?.text ?? ""
            let worker = try await eventually("a worker is admitted again", within: 20) {
                try? await ScriptedWorker.attach(
                    shop.node.buyerPort, provider: "lab", token: token, client: "w-lab", models: ["m1"])
            }
            let again = Serving(worker)
            let running = Task { await again.run() }
            defer { running.cancel() }
            // Well before its rest would be over.
            try await eventually("the member is asked again", within: 20) {
                try await shop.ask()["aisbf-provider"] == "global@north/lab"
            }
        }
    }

    @Test func whenAllHaveFailedTheBuyerHearsOfEach() async throws {
        try await TwoSellers.open { shop in
            try await shop.rotation(Self.pair)
            let broken = #"{"request_id":"%","status":"error","error":{"code":"worker_error","message":"no luck"}}"#
            for member in [shop.first, shop.second] {
                member.answers { $0.say(broken.replacing("%", with: $1.id)) }
            }
            let reply = try await shop.ask()
            #expect(reply.status == 503)
            #expect(reply.errorCode == "worker_unavailable")
            let words = reply.document?["error"]?["message"]?.text ?? ""
            #expect(
                words.contains("rotation/pair") && words.contains("lab: ") && words.contains("den/m2: "), "\(words)")
        }
    }

    @Test func aBuyersOwnMistakeIsNobodyElsesFault() async throws {
        try await TwoSellers.open { shop in
            try await shop.rotation(Self.pair)
            shop.first.answers(Serving.status(400, #"{"error":{"message":"bad temperature"}}"#))
            shop.second.answers(Serving.status(400, #"{"error":{"message":"bad temperature"}}"#))
            for _ in 0..<8 { #expect(try await shop.ask().status == 400) }
            #expect(shop.first.count == 6, "nobody rests for it, and nobody is asked twice")
            #expect(shop.second.count == 2)
        }
    }

    private static let tooLong =
        #"{"error":{"message":"the prompt of % is too long","type":"invalid_request_error","code":"context_length_exceeded"}}"#

    /// The one failure of a request's own that another member may not have.
    @Test func aLongPromptGoesToALargerWindow() async throws {
        try await TwoSellers.open(windows: (8_000, 32_000)) { shop in
            try await shop.rotation(Self.pair)
            shop.first.answers(Serving.status(400, Self.tooLong.replacing("%", with: "lab")))
            for turn in 1...4 {
                let reply = try await shop.ask()
                #expect(reply.status == 200, "\(reply.text)")
                #expect(shop.second.count == turn)
            }
            #expect(shop.first.count == 3, "it is not its fault: it keeps its share")
            // Whoever has the largest says what the buyer hears, word for word.
            shop.second.answers(Serving.status(400, Self.tooLong.replacing("%", with: "den")))
            for _ in 0..<4 {
                let reply = try await shop.ask()
                #expect(reply.status == 400)
                #expect(reply.text == Self.tooLong.replacing("%", with: "den"), "\(reply.text)")
            }
            #expect(shop.second.count == 8, "once each")
            #expect(shop.first.count == 6, "nobody is asked who has less than the one that refused")
        }
    }

    @Test func whoIsFullIsWaitedFor() async throws {
        try await TwoSellers.open(#"{"max_concurrency":1}"#) { shop in
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

    /// A conversation stays where it began; others take their turns. Of one user all stay, if the pool says so.
    @Test func conversationsStay() async throws {
        try await TwoSellers.open { shop in
            try await shop.rotation(#"{"name":"pair","members":["lab","den"]}"#)
            try await shop.rotation(#"{"name":"mine","members":["lab","den"],"settings":{"sticky":"user"}}"#)
            try await shop.rotation(#"{"name":"none","members":["lab","den"],"settings":{"sticky":"off"}}"#)
            func who(_ pool: String, _ first: String, turns: Int) async throws -> String? {
                let turn = #",{"role":"assistant","content":"so"},{"role":"user","content":"and then?"}"#
                let more = String(repeating: turn, count: turns)
                let body =
                    #"{"model":"rotation/\#(pool)","messages":[{"role":"user","content":"\#(first)"}\#(more)]}"#
                return try await shop.bob.ask(body)["aisbf-provider"]
            }
            for first in ["one", "two", "three"] {
                let place = try await who("pair", first, turns: 0)
                for turns in 1...3 { #expect(try await who("pair", first, turns: turns) == place) }
            }
            let home = try await who("mine", "one", turns: 0)
            for first in ["two", "three", "four"] { #expect(try await who("mine", first, turns: 0) == home) }
            var places: Set<String> = []
            for turns in 0...3 { places.insert(try await who("none", "one", turns: turns) ?? "") }
            #expect(places.count == 2)
        }
    }

    @Test func aUsersOwnPoolComesBeforeTheOperators() async throws {
        try await TwoSellers.open { shop in
            try await shop.rotation(#"{"name":"pair","members":["lab"]}"#)
            try await shop.rotation(#"{"name":"pair","owner":"bob","members":["den"]}"#)
            #expect(try await shop.ask()["aisbf-provider"] == "global@north/den")
            _ = try await shop.node.administer("DELETE", "rotations/bob/pair")
            #expect(try await shop.ask()["aisbf-provider"] == "global@north/lab")
            _ = try await shop.node.administer("DELETE", "rotations/global/pair")
            #expect(try await shop.ask().status == 404)
        }
    }

    /// The operator's own provider in the operator's pool is still nobody else's.
    @Test func aMemberIsForWhomItsSellerSays() async throws {
        try await TwoSellers.open { shop in
            try await shop.rotation(#"{"name":"pair","members":["lab","den"]}"#)
            _ = try await shop.node.administer("PATCH", "providers/global/lab", #"{"access":"owner"}"#)
            for _ in 0..<4 { #expect(try await shop.ask()["aisbf-provider"] == "global@north/den") }
            _ = try await shop.node.administer("PATCH", "providers/global/den", #"{"access":"owner"}"#)
            let reply = try await shop.ask()
            #expect(reply.status == 404)
            #expect(reply.text.contains("not for this key"), "\(reply.text)")
            #expect(shop.first.count == 0)
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
