import MeshModel
import MeshNode
import MeshWire
import Testing

/// How soon what happens at one node is known at the other. The times asserted are loose: what they rule out are waits.
@Suite(.serialized, .nodeLog) struct QuickAttachTests {
    struct Pair: Sendable {
        var north: TestNode
        var south: TestNode
        var bob: Buyer
        var token: String

        static func open(_ body: @escaping @Sendable (Pair) async throws -> Void) async throws {
            let southern = try await PreparedNode("south")
            try await withNode("north", allow: [southern.summary.nodeID]) { north in
                let peer = "\(north.nodeID)@127.0.0.1:\(north.linkPort)"
                try await withNode("south", prepared: southern, peers: [peer]) { south in
                    try await south.user("bob")
                    let bob = try await south.key(of: "bob")
                    let token = try await north.provider("lab")
                    let first = try await ScriptedWorker.admitted(at: north, token: token, client: "first")
                    try await south.offers("lab/m1", to: bob)
                    first.connection.close()
                    try await body(Pair(north: north, south: south, bob: bob, token: token))
                }
            }
        }

        func lists(_ model: String, _ isListed: Bool = true) async throws -> Duration {
            let start = ContinuousClock.now
            try await eventually("\(model) at south: \(isListed)") {
                let listed = try await bob.call("GET", "/v1/models").document?["data"]?.elements ?? []
                return listed.contains { $0["id"]?.text == "lab/\(model)" } == isListed
            }
            return start.duration(to: .now)
        }
    }

    @Test func comingChangingAndGoingIsKnownAtOnce() async throws {
        try await Pair.open { pair in
            var slowest = Duration.zero
            _ = try await pair.lists("m1", false)
            for round in 0..<3 {
                let worker = try await ScriptedWorker.attach(
                    pair.north.buyerPort, provider: "lab", token: pair.token, client: "c\(round)", models: ["m1"])
                slowest = max(slowest, try await pair.lists("m1"))
                worker.register("again")
                _ = try await worker.event("registered")
                worker.answer(try await worker.request("models.list"), payload: #"{"data":["n\#(round)"]}"#)
                slowest = max(slowest, try await pair.lists("n\(round)"))
                worker.connection.close()
                slowest = max(slowest, try await pair.lists("n\(round)", false))
            }
            #expect(slowest < .milliseconds(1_000), "\(slowest)")
        }
    }

    /// A list that takes dozens of records and half a megabyte of JSON, at home and at another node.
    @Test func twoThousandModelsAreListedEverywhereAndTheLastIsAnswered() async throws {
        try await Pair.open { pair in
            let models = (0..<2_000).map { number in
                "model-" + String(repeating: "x", count: 41 - String(number).count) + String(number)
            }
            let worker = try await ScriptedWorker.admitted(at: pair.north, token: pair.token, models: models)
            for (node, buyer) in [(pair.north, pair.north.admin), (pair.south, pair.bob)] {
                try await eventually("all models") {
                    let listed = try await buyer.call("GET", "/v1/models").document?["data"]?.elements ?? []
                    return listed.count == 2_000
                }
                _ = node
                let connection = try await buyer.start(#"{"model":"lab/\#(models[1_999])"}"#)
                worker.answer(try await worker.request("chat.completions"), payload: #"{"id":"last"}"#)
                #expect(try await connection.reply().status == 200)
            }
            // One less is one less everywhere.
            worker.register("again")
            _ = try await worker.event("registered")
            let ask = try await worker.request("models.list")
            worker.answer(ask, payload: #"{"data":[\#(models.dropLast().map { "\"\($0)\"" }.joined(separator: ","))]}"#)
            #expect(try await pair.lists(models[1_999], false) < .seconds(5))
        }
    }
}
