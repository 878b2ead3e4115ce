import MeshModel
import MeshNode
import MeshWire
import Testing

/// Buyers say what matters to them, and the node chooses who answers.
@Suite(.serialized, .nodeLog) struct PolicyTests {
    private static func ask(_ shop: TwoSellers, _ members: String, model: String = "auto") async throws -> Reply {
        try await shop.bob.ask(#"{"model":"\#(model)","messages":[]\#(members.isEmpty ? "" : ",")\#(members)}"#)
    }

    @Test func autoTakesWhoCanAnswer() async throws {
        try await TwoSellers.open { shop in
            #expect(try await Self.ask(shop, "").status == 200)
            for name in ["auto:cheap", "auto:fast"] {
                #expect(try await Self.ask(shop, "", model: name).status == 200, "\(name)")
            }
            shop.first.answers(Serving.status(500, "oops"))
            for _ in 0..<8 { #expect(try await Self.ask(shop, "").status == 200) }
            #expect(shop.second.count > 0)
            let unknown = try await Self.ask(shop, "", model: "auto:cheep")
            #expect(unknown.status == 404)
            #expect(unknown.text.contains("auto:cheap"), "\(unknown.text)")
        }
    }

    @Test func whatTheRequestSaysOfProvidersHolds() async throws {
        try await TwoSellers.open { shop in
            for _ in 0..<3 {
                let only = try await Self.ask(shop, #""provider":{"only":["den"]},"x_kept": 1.50"#)
                #expect(only["aisbf-provider"] == "global@north/den", "\(only.text)")
                let order = try await Self.ask(shop, #""provider":{"order":["lab"]}"#)
                #expect(order["aisbf-provider"] == "global@north/lab")
            }
            let payload = try #require(shop.second.latest)
            #expect(payload["provider"] == nil, "it is the broker's business")
            #expect(payload["x_kept"] == .number("1.50"))
            #expect(payload["model"]?.text == "m2")

            let nobody = try await Self.ask(shop, #""provider":{"ignore":["den","lab"]}"#)
            #expect(nobody.status == 404)
            #expect(nobody.text.contains("2 provider"), "\(nobody.text)")
            let wrong = try await Self.ask(shop, #""provider":{"sort":"best"}"#)
            #expect(wrong.status == 400)
            #expect(wrong.text.contains("provider.sort"))
            let dear = try await Self.ask(shop, #""provider":{"max_price":{"prompt":1}}"#)
            #expect(dear.status == 404)
            #expect(dear.text.contains("price_ceiling"), "\(dear.text)")
        }
    }

    @Test func modelsAreTriedInTheirOrder() async throws {
        try await TwoSellers.open { shop in
            let first = try await Self.ask(shop, #""models":["m2","m1"]"#, model: "lab/none")
            #expect(first["aisbf-provider"] == "global@north/den", "\(first.text)")
            shop.second.answers(Serving.status(500, "oops"))
            let second = try await Self.ask(shop, #""models":["m2","m1"]"#, model: "lab/none")
            #expect(second["aisbf-provider"] == "global@north/lab")
            #expect(second["aisbf-attempts"] == "2")
            let none = try await Self.ask(shop, #""models":["m4","m5"]"#, model: "lab/none")
            #expect(none.status == 404)
        }
    }

    @Test func aLongPromptGoesToALargerWindow() async throws {
        try await TwoSellers.open(windows: (8_000, 32_000)) { shop in
            let tooLong = #"{"error":{"message":"the prompt is too long","code":"context_length_exceeded"}}"#
            shop.first.answers(Serving.status(400, tooLong))
            let order = #""provider":{"order":["lab"]}"#
            for _ in 0..<4 {
                let reply = try await Self.ask(shop, order)
                #expect(reply.status == 200, "\(reply.text)")
                #expect(reply["aisbf-provider"] == "global@north/den")
            }
            #expect(shop.first.count == 4, "it is not its fault")
            let alone = try await Self.ask(shop, #""provider":{"order":["lab"],"allow_fallbacks":false}"#)
            #expect(alone.status == 400)
            #expect(alone.text == tooLong)
            shop.first.answers(Serving.well)
            shop.second.answers(Serving.status(400, tooLong))
            let larger = try await Self.ask(shop, #""provider":{"order":["den"]}"#)
            #expect(larger.status == 400, "a smaller window is no help")
            #expect(shop.first.count == 5)
        }
    }

    @Test func endingsOrderAndRealNamesWin() async throws {
        try await TwoSellers.open { shop in
            let fast = try await Self.ask(shop, "", model: "lab/m1:nitro")
            #expect(fast["aisbf-provider"] == "global@north/lab")
            #expect(try await Self.ask(shop, "", model: "m2:floor")["aisbf-provider"] == "global@north/den")
            #expect(try await Self.ask(shop, "", model: "lab/none:floor").status == 404)
        }
    }

    @Test func namedPoliciesAreTheirOwners() async throws {
        try await TwoSellers.open { shop in
            let den = #"{"name":"den-only","order_by":"price","provider":{"only":["den"]}}"#
            _ = try await shop.node.administer("POST", "policies", den)
            let reply = try await Self.ask(shop, "", model: "autoselect/den-only")
            #expect(reply["aisbf-provider"] == "global@north/den", "\(reply.text)")
            let own = #"{"name":"den-only","owner":"bob","provider":{"only":["lab"]}}"#
            _ = try await shop.node.administer("POST", "policies", own)
            #expect(try await Self.ask(shop, "", model: "autoselect/den-only")["aisbf-provider"] == "global@north/lab")
            _ = try await shop.node.administer("DELETE", "policies/bob/den-only")
            _ = try await shop.node.administer("DELETE", "policies/global/den-only")
            let gone = try await Self.ask(shop, "", model: "autoselect/den-only")
            #expect(gone.status == 404)
            #expect(gone.text.contains("aisbf policy list"))
            let wrong = try await shop.node.admin.call(
                "POST", "/api/admin/v1/policies", body: #"{"name":"p","order_by":"luck"}"#)
            #expect(wrong.status == 400)
            #expect(wrong.text.contains("order_by"), "\(wrong.text)")
        }
    }
}
