import MeshModel
import MeshWire
import Testing

/// Where a request would go, asked before it goes there.
@Suite(.serialized, .nodeLog) struct ExplainTests {
    private static func explain(_ shop: TwoSellers, _ body: String, _ query: String = "") async throws -> JSONValue {
        let reply = try await shop.bob.call("POST", "/v1/route/explain\(query)", body: body)
        #expect(reply.status == 200, "\(reply.text)")
        return try #require(reply.document)
    }

    private static let rotation =
        #"{"name":"pair","members":[{"target":"lab","weight":3},{"target":"den/m2","weight":1}]}"#

    /// Nothing changes between the question and the request, a hundred times.
    @Test(arguments: ["rotation/pair", "auto", "auto:cheap", "lab/m1", "m2:floor"])
    func whoIsExplainedServes(model: String) async throws {
        try await TwoSellers.open { shop in
            try await shop.rotation(Self.rotation)
            let body = #"{"model":"\#(model)","messages":[]}"#
            var winners: Set<String> = []
            for _ in 0..<100 {
                let told = try await Self.explain(shop, body)
                let winner = try #require(told["winner"]?["provider"]?.text, "\(told)")
                let reply = try await shop.bob.ask(body)
                #expect(reply.status == 200, "\(reply.text)")
                #expect(reply["aisbf-provider"] == winner)
                #expect(reply["aisbf-node"] == told["winner"]?["node"]?.text)
                winners.insert(winner)
            }
            if model == "rotation/pair" { #expect(winners.count == 2) }
        }
    }

    @Test func eachCandidateHasItsPlaceOrItsReason() async throws {
        try await TwoSellers.open(windows: (8_000, 32_000)) { shop in
            try await shop.rotation(
                #"{"name":"pair","members":[{"target":"lab","weight":3},{"target":"den/m2","weight":1},"nowhere"]}"#)
            let pool = try await Self.explain(shop, #"{"model":"rotation/pair","messages":[]}"#)
            #expect(pool["strategy"]?.text == "rotation")
            let members = pool["candidates"]?.elements ?? []
            #expect(members.map { $0["member"]?.text } == ["lab", "den/m2", "nowhere"])
            #expect(members.map { $0["share_per_mille"]?.integer } == [750, 250, nil])
            // What is not there and what is not for the caller look the same.
            #expect(members[2]["reason"]?.text == "unauthorised")
            #expect(members.filter { $0["selected"] == .boolean(true) }.count == 1)

            let policy = try await Self.explain(
                shop, #"{"model":"auto","messages":[],"max_tokens":20000,"provider":{"sort":"price"}}"#)
            #expect(policy["strategy"]?.text == "policy")
            let candidates = policy["candidates"]?.elements ?? []
            #expect(candidates.count == 2)
            #expect(candidates.first?["rank"]?.integer == 1)
            #expect(candidates.first?["model"]?.text == "m2")
            #expect(candidates.last?["reason"]?.text == "context")
            #expect(candidates.last?["passes"] == .boolean(false))

            let nobody = try await Self.explain(shop, #"{"model":"auto","messages":[],"provider":{"only":["x"]}}"#)
            #expect(nobody["winner"] == .null)
            #expect(nobody["error"]?["code"]?.text == "model_not_found", "\(nobody)")
            #expect((nobody["candidates"]?.elements ?? []).allSatisfy { $0["reason"]?.text == "provider" })

            let images = try await Self.explain(shop, #"{"model":"lab/m1"}"#, "?endpoint=images/generations")
            #expect(images["winner"] == .null)
            #expect(images["error"]?["code"]?.text == "endpoint_not_offered")
            #expect(images["candidates"]?.elements?.first?["reason"]?.text == "endpoint")
        }
    }

    @Test func whoMayAskAndHow() async throws {
        try await TwoSellers.open { shop in
            let read = try await shop.bob.call("GET", "/v1/route/explain?model=lab%2Fm1")
            #expect(read.document?["winner"]?["provider"]?.text == "global@north/lab", "\(read.text)")
            #expect(try await shop.bob.call("GET", "/v1/route/explain").status == 400)
            #expect(try await shop.bob.call("DELETE", "/v1/route/explain?model=lab").status == 405)
            #expect(try await shop.bob.call("GET", "/v1/route/explain?model=x&endpoint=%2F..").status == 400)
            let unknown = try await shop.bob.call("POST", "/v1/route/explain", body: #"{"model":"lab/mx"}"#)
            #expect(unknown.status == 404)
            let stranger = Buyer(port: shop.node.buyerPort, key: "aisbf_key_none")
            #expect(try await stranger.call("GET", "/v1/route/explain?model=lab").status == 401)
            for owner in ["global", "bob"] {
                let told = try await shop.node.administer(
                    "POST", "route/explain?owner=\(owner)", #"{"model":"auto","messages":[]}"#)
                #expect(told["candidates"]?.elements?.count == 2, "\(told)")
            }
            let nobody = try await shop.node.admin.call(
                "POST", "/api/admin/v1/route/explain?owner=nobody", body: #"{"model":"auto"}"#)
            #expect(nobody.status == 404)
        }
    }

    /// In the answer itself, for who asks for it.
    @Test(arguments: [false, true]) func theWayIsToldInTheAnswer(isStream: Bool) async throws {
        try await TwoSellers.open { shop in
            try await shop.rotation(Self.rotation)
            if isStream {
                shop.first.answers { worker, request in
                    worker.chunk(
                        request, "data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\n")
                    worker.done(request)
                }
            }
            let body = #"{"model":"rotation/pair","stream":\#(isStream),"messages":[]}"#
            let reply = try await shop.bob.call(
                "POST", Buyer.chat, headers: ["x-openrouter-metadata: Enabled"], body: body)
            #expect(reply.status == 200, "\(reply.text)")
            let document: JSONValue?
            if isStream {
                let events = reply.text.split(separator: "\n\n").map { String($0.dropFirst("data: ".count)) }
                #expect(events.last == "[DONE]")
                document = try JSONValue.parse(Array(events.dropLast().last?.utf8 ?? "".utf8))
            } else {
                document = reply.document
                #expect(document?["id"]?.text == "x")
            }
            let told = try #require(document?["openrouter_metadata"], "\(reply.text)")
            #expect(told["requested"]?.text == "rotation/pair")
            #expect(told["attempt"]?.integer == 1)
            #expect(told["endpoints"]?["total"]?.integer == 2)
            let selected = told["endpoints"]?["available"]?.elements?.filter { $0["selected"] == .boolean(true) } ?? []
            #expect(selected.map { $0["provider"]?.text } == [reply["aisbf-provider"]])
            let plain = try await shop.bob.ask(body)
            #expect(!plain.text.contains("openrouter_metadata"))
        }
    }
}
