import MeshModel
import MeshNode
import MeshWire
import Testing

/// Limits of providers, rotations, policies and other nodes, and what crosses a link of usage.
@Suite(.serialized, .nodeLog) struct SellerLimitTests {
    @Test func aProviderThatHasEnoughIsPassedOver() async throws {
        try await TwoSellers.open { shop in
            try await shop.rotation(#"{"name":"pair","members":["lab","den"]}"#)
            _ = try await shop.node.administer("PUT", "limits/provider/global/lab", #"{"requests_per_minute":2}"#)
            for _ in 0..<2 { #expect(try await shop.ask("lab/m1").status == 200) }
            let refused = try await shop.ask("lab/m1")
            #expect(refused.status == 429 && refused.errorCode == "rate_limited", "\(refused.text)")
            #expect(refused["retry-after"].flatMap { Int($0) }.map { (1...61).contains($0) } == true)
            #expect(!refused.errorMessage.contains("2"), "how much a seller gives is its own affair")
            // Who explains says so, whatever way leads to it.
            for model in ["lab/m1", "rotation/pair", "auto"] {
                let told = try await shop.bob.call("GET", "/v1/route/explain?model=\(model)").document
                let lab = told?["candidates"]?.elements?.first { $0["provider"]?.text == "global@north/lab" }
                #expect(lab?["reason"]?.text == "cooling", "\(model): \(String(describing: told))")
                let winner = told?["winner"]?["provider"]?.text
                #expect(winner == (model == "lab/m1" ? nil : "global@north/den"), "\(model)")
            }
            for _ in 0..<4 { #expect(try await shop.ask().status == 200) }
            #expect(shop.first.count == 2 && shop.second.count == 4)
            let why = try await shop.node.administer("GET", "usage?by=outcome&since=0")
            #expect(why["data"]?.elements?.contains { $0["outcome"]?.text == "rate_limited" } == true)
        }
    }

    @Test func slotsOfAProviderAreFreedWhateverWayARequestEnds() async throws {
        try await TwoSellers.open { shop in
            _ = try await shop.node.administer(
                "PUT", "limits/provider/global/lab", #"{"concurrent":1,"tokens_per_day":100000}"#)
            func left(_ limit: String) async throws -> Int64? {
                try await shop.node.administer("GET", "limits/provider/global/lab")["now"]?.elements?
                    .first { $0["limit"]?.text == limit }?["remaining"]?.integer
            }
            shop.first.answers(Serving.silent)
            let connection = try await shop.bob.start(#"{"model":"lab/m1"}"#)
            try await eventually("it is under way") { try await left("concurrent") == 0 }
            #expect(try await shop.ask("lab/m1").status == 429)
            connection.close()
            try await eventually("the slot") { try await left("concurrent") == 1 }
            #expect(try await left("tokens_per_day") == 100_000)
            shop.first.answers(
                { $0.answer($1, payload: #"{"usage":{"prompt_tokens":30,"completion_tokens":12}}"#) })
            #expect(try await shop.ask("lab/m1").status == 200)
            #expect(try await left("concurrent") == 1)
            #expect(try await left("tokens_per_day") == 99_958)
        }
    }

    @Test func rotationsAndPoliciesHaveLimitsForAllWhoUseThem() async throws {
        try await TwoSellers.open { shop in
            try await shop.rotation(#"{"name":"pair","members":["lab","den"]}"#)
            _ = try await shop.node.administer("POST", "policies", #"{"name":"mine","models":["m1"]}"#)
            for (subject, model) in [
                ("rotation/global/pair", "rotation/pair"), ("policy/global/mine", "autoselect/mine"),
            ] {
                _ = try await shop.node.administer("PUT", "limits/\(subject)", #"{"requests_per_minute":1}"#)
                #expect(try await shop.ask(model).status == 200)
                let refused = try await shop.ask(model)
                #expect(refused.status == 429 && refused.errorMessage.contains(subject), "\(refused.text)")
            }
            for subject in ["rotation/global/none", "policy/global", "provider/global/none", "peer/south"] {
                let reply = try await shop.node.admin.call(
                    "PUT", "/api/admin/v1/limits/\(subject)", body: #"{"concurrent":1}"#)
                #expect((400...404).contains(reply.status), "\(subject) \(reply.text)")
            }
        }
    }

    @Test func anotherNodeHasLimitsAndItsRequestsAreCountedAtBoth() async throws {
        let southern = try await PreparedNode("south")
        try await withNode("north", allow: [southern.summary.nodeID]) { north in
            let peer = "\(north.nodeID)@127.0.0.1:\(north.linkPort)"
            try await withNode("south", prepared: southern, peers: [peer]) { south in
                try await south.user("bob")
                let bob = try await south.key(of: "bob")
                let token = try await north.provider("lab")
                let worker = try await eventually("the worker is admitted", within: 20) {
                    try? await ScriptedWorker.attach(
                        north.buyerPort, provider: "lab", token: token, client: "w1", models: ["m1"])
                }
                try await south.offers("lab/m1", to: bob)
                let serving = Serving(worker) {
                    $0.answer($1, payload: #"{"id":"far","usage":{"prompt_tokens":30,"completion_tokens":12}}"#)
                }
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask { await serving.run() }
                    group.addTask { try await Self.crossing(north, south, bob) }
                    defer { group.cancelAll() }
                    try await group.next()
                }
            }
        }
    }

    private static func crossing(_ north: TestNode, _ south: TestNode, _ bob: Buyer) async throws {
        _ = try await north.administer(
            "PUT", "limits/peer/\(south.nodeID)", #"{"requests_per_minute":1,"tokens_per_month":50000}"#)
        _ = try await south.administer("PUT", "limits/user/bob", #"{"tokens_per_minute":50000}"#)
        let served = try await bob.ask(model: "lab/m1")
        #expect(served.status == 200 && served["aisbf-node"] == "north", "\(served.text)")
        let refused = try await bob.ask(model: "lab/m1")
        #expect(refused.status == 429 && refused.errorCode == "rate_limited", "\(refused.text)")
        #expect(refused["retry-after"] != nil)
        // The entry node has the worker's own count, which crossed in trailers; the hosting node has it, too.
        let limit = try await south.administer("GET", "limits/user/bob")["now"]?.elements?.first
        #expect(limit?["remaining"]?.integer == 49_958)
        let month = try await north.administer("GET", "limits/peer/\(south.nodeID)")["now"]?.elements?
            .first { $0["limit"]?.text == "tokens_per_month" }
        #expect(month?["remaining"]?.integer == 49_958)
        let own = try await bob.call("GET", "/v1/usage?by=node").document?["data"]?.elements
        let far = own?.first { $0["node"]?.text == "north" }
        #expect(far?["input_tokens"]?.integer == 30 && far?["output_tokens"]?.integer == 12)
        #expect(far?["estimated_requests"]?.integer == 0)
        let sold = try await north.administer("GET", "usage?side=seller&by=node")["data"]?.elements
        let line = sold?.first { $0["node"]?.text == "south" }
        #expect(line?["served"]?.integer == 1 && line?["output_tokens"]?.integer == 12)
        #expect(line?["failed"]?["rate_limited"]?.integer == 1)
        let found = try await bob.call("GET", "/v1/generation?id=far")
        #expect(found.document?["data"]?["provider_responses"]?.elements?.first?["node"]?.text == "north")
    }
}
