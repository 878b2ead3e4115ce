import MeshExchange
import MeshModel
import MeshNode
import MeshWire
import Testing

/// Limits of money, and what is counted of it.
@Suite(.serialized, .nodeLog) struct MoneyLimitTests {
    private static func chat(_ model: String, most: Int = 1_000) -> String {
        #"{"model":"\#(model)","max_tokens":\#(most),"messages":[{"role":"user","content":"hello"}]}"#
    }

    private static let answer: Serving.Answer = {
        $0.answer($1, payload: #"{"id":"paid","usage":{"prompt_tokens":1000,"completion_tokens":1000}}"#)
    }

    /// Sets prices of `lab` (1 and 2 dollars a million) and `den`, and waits until the mesh has them.
    private static func prices(_ shop: TwoSellers, den: String?) async throws {
        shop.first.answers(answer)
        shop.second.answers(answer)
        for (provider, prices) in [("lab", #"{"m1":{"input":"1","output":"2"}}"#), ("den", den)] {
            guard let prices else { continue }
            _ = try await shop.node.administer("PATCH", "providers/global/\(provider)", #"{"prices":\#(prices)}"#)
        }
        try await eventually("the prices are known") {
            let reply = try await shop.bob.ask(chat("lab/m1"))
            let id = reply["x-request-id"] ?? ""
            let data = try await shop.bob.call("GET", "/v1/generation?id=\(id)").document?["data"]
            return data?["total_cost"] == .number("0.003")
        }
    }

    @Test func moneyIsHeldAndSpentAndThenItIs402() async throws {
        try await TwoSellers.open { shop in
            try await Self.prices(shop, den: nil)
            let before = shop.first.count
            // Room for two and a half: each holds a little over 0.002 and costs 0.003.
            _ = try await shop.node.administer("PUT", "limits/user/bob", #"{"money_per_month":"0.0075"}"#)
            for _ in 0..<2 { #expect(try await shop.bob.ask(Self.chat("lab/m1")).status == 200) }
            let refused = try await shop.bob.ask(Self.chat("lab/m1"))
            #expect(refused.status == 402 && refused.errorCode == "budget_exceeded", "\(refused.text)")
            #expect(refused["x-should-retry"] == "false" && refused["retry-after"] != nil)
            let words = refused.errorMessage
            #expect(words.contains("money_per_month") && words.contains("0.001500 USD left"), "\(words)")
            #expect(shop.first.count == before + 2)
            // What is free goes on: den tells no price. So does what fits.
            #expect(try await shop.bob.ask(Self.chat("den/m2")).status == 200)
            #expect(try await shop.bob.ask(Self.chat("lab/m1", most: 100)).status == 200)
            let key = try await shop.bob.call("GET", "/api/v1/key").document?["data"]
            #expect(key?["limit"] == .number("0.0075") && key?["limit_remaining"]?.integer == 0)
            // The operator's own key pays nothing for the operator's workers.
            let own = try await shop.node.key(of: "global")
            _ = try await shop.node.administer("PUT", "limits/user/global", #"{"money_per_day":"0"}"#)
            #expect(try await own.ask(Self.chat("lab/m1")).status == 200)
            let sold = try await shop.node.administer("GET", "usage?side=seller&by=provider")["data"]?.elements
            let lab = sold?.first { $0["provider"]?.text == "global@north/lab" }
            #expect(lab?["earnings"]?["USD"]?.text?.hasPrefix("0.0") == true, "\(sold?.count ?? 0)")
            let day = QuotaDay.start
            let costs = try await shop.bob.call("GET", "/v1/organization/costs?start_time=\(day)&group_by=line_item")
            let results = costs.document?["data"]?.elements?.flatMap { $0["results"]?.elements ?? [] } ?? []
            #expect(results.first?["amount"]?["currency"]?.text == "usd", "\(costs.text)")
            #expect(results.first?["line_item"]?.text == "m1")
        }
    }

    /// A price that nobody can pay, or in another currency, keeps nobody from the others.
    @Test(arguments: [
        #"{"m2":{"input":"900000","output":"900000"}}"#, #"{"m2":{"currency":"EUR","input":"1","output":"1"}}"#,
    ])
    func whoIsTooDearIsPassedOver(den: String) async throws {
        try await TwoSellers.open { shop in
            try await Self.prices(shop, den: den)
            _ = try await shop.node.administer("PUT", "limits/user/bob", #"{"money_per_month":"1"}"#)
            for _ in 0..<3 {
                let reply = try await shop.bob.ask(Self.chat("auto"))
                #expect(reply.status == 200 && reply["aisbf-provider"] == "global@north/lab", "\(reply.text)")
            }
            let refused = try await shop.bob.ask(Self.chat("den/m2"))
            #expect(refused.status == 402 && refused.errorCode == "budget_exceeded", "\(refused.text)")
        }
    }

    /// The same among the members of a rotation; and an explanation says so, and what is left.
    @Test func aDearMemberKeepsNobodyFromTheOthers() async throws {
        try await TwoSellers.open { shop in
            try await Self.prices(shop, den: #"{"m2":{"input":"900000","output":"900000"}}"#)
            try await shop.rotation(
                #"{"name":"pair","members":[{"target":"lab","weight":1},{"target":"den/m2","weight":3}]}"#)
            _ = try await shop.node.administer("PUT", "limits/user/bob", #"{"money_per_month":"1"}"#)
            let before = shop.second.count
            for _ in 0..<4 {
                let reply = try await shop.bob.ask(Self.chat("rotation/pair"))
                #expect(reply.status == 200 && reply["aisbf-provider"] == "global@north/lab", "\(reply.text)")
            }
            #expect(shop.second.count == before)
            func explain(_ model: String) async throws -> JSONValue {
                let reply = try await shop.bob.call("POST", "/v1/route/explain", body: Self.chat(model))
                return try #require(reply.document)
            }
            let told = try await explain("rotation/pair")
            #expect(told["winner"]?["provider"]?.text == "global@north/lab", "\(told)")
            #expect(told["candidates"]?.elements?.map { $0["reason"]?.text } == [nil, "budget"], "\(told)")
            let limits = told["limits"]?.elements ?? []
            let month = try #require(limits.first { $0["limit"]?.text == "money_per_month" })
            #expect(month["subject"]?.text == "user" && month["amount"]?.text == "1")
            #expect(month["refuses"] == .boolean(false))
            let dear = try await explain("den/m2")
            #expect(dear["winner"] == .null)
            #expect(dear["error"]?["code"]?.text == "budget_exceeded", "\(dear)")
            #expect(dear["limits"]?.elements?.contains { $0["refuses"] == .boolean(true) } ?? false, "\(dear)")
        }
    }
}

/// Of the day before this one, in seconds.
private enum QuotaDay {
    static var start: Int64 { SystemClock.wall.seconds / 86_400 * 86_400 - 86_400 }
}
