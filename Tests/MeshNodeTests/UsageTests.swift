import MeshExchange
import MeshModel
import MeshNode
import MeshWire
import Testing

/// What was used, as buyers, sellers and operators read it.
@Suite(.serialized, .nodeLog) struct UsageTests {
    private static let chat = #"{"model":"lab/m1","messages":[{"role":"user","content":"hello there"}]}"#
    private static let stream =
        #"{"model":"lab/m1","stream":true,"messages":[{"role":"user","content":"hello there"}]}"#

    private static func told(_ id: String) -> Serving.Answer {
        let payload =
            #"{"id":"\#(id)","choices":[],"usage":{"prompt_tokens":100,"completion_tokens":20,"prompt_tokens_details":{"cached_tokens":40}}}"#
        return { $0.answer($1, payload: payload) }
    }

    private static let streamed: Serving.Answer = { worker, request in
        for text in ["one two", " three", " four"] {
            let event =
                #"{"id":"chatcmpl-s","choices":[{"index":0,"delta":{"role":"assistant","content":"\#(text)"}}]}"#
            worker.chunk(request, "data: \(event)\n\n")
        }
        let last = #"{"id":"chatcmpl-s","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#
        worker.chunk(request, "data: \(last)\n\ndata: [DONE]\n\n")
        worker.done(request)
    }

    private func line(_ document: JSONValue?, _ by: String, _ name: String) -> JSONValue? {
        document?["data"]?.elements?.first { $0[by]?.text == name }
    }

    @Test func everyRequestIsMeteredByTheNodeItself() async throws {
        try await TwoSellers.open { shop in
            shop.first.answers(Self.told("chatcmpl-a"))
            for _ in 0..<3 { #expect(try await shop.bob.ask(Self.chat).status == 200) }
            shop.first.answers(Self.streamed)
            #expect(try await shop.bob.ask(Self.stream).status == 200)
            shop.first.answers(Serving.status(400, #"{"error":{"message":"no"}}"#))
            #expect(try await shop.bob.ask(Self.chat).status == 400)

            let own = try await shop.bob.call("GET", "/v1/usage?by=model").document
            let model = try #require(line(own, "model", "m1"), "\(own?.bytes.count ?? 0)")
            #expect(model["requests"]?.integer == 5)
            #expect(model["served"]?.integer == 4)
            // What the worker does not tell is counted here, and marked.
            #expect(model["estimated_requests"]?.integer == 1)
            let (input, output) = (model["input_tokens"]?.integer ?? 0, model["output_tokens"]?.integer ?? 0)
            #expect((303...330).contains(input), "\(input)")
            #expect((63...68).contains(output), "\(output)")
            #expect(model["cached_tokens"]?.integer == 120)
            #expect(model["failed"]?["worker_error"]?.integer == 1)

            for (by, name) in [
                ("user", "bob"), ("provider", "global@north/lab"), ("node", "north"), ("kind", "completions"),
            ] {
                let all = try await shop.node.administer("GET", "usage?by=\(by)")
                #expect(line(all, by, name)?["served"]?.integer == 4, "\(by)")
            }
            // A seller sees the same, and others see nothing of it.
            let sold = try await shop.node.administer("GET", "usage?by=provider&side=seller")
            #expect(line(sold, "provider", "global@north/lab")?["served"]?.integer == 4)
            try await shop.node.user("eve")
            let eve = try await shop.node.key(of: "eve")
            #expect(try await eve.call("GET", "/v1/usage").document?["data"]?.elements?.isEmpty == true)
            #expect(try await eve.call("GET", "/api/u/bob/usage").status == 403)
            #expect(try await eve.call("GET", "/v1/usage?by=colour").status == 400)
        }
    }

    /// The record of an answer is there when its end is, under both of its ids, for its buyer alone.
    @Test func aGenerationIsThereWhenItsAnswerIs() async throws {
        try await TwoSellers.open { shop in
            shop.first.answers(Self.streamed)
            let reply = try await shop.bob.ask(Self.stream)
            let requestID = try #require(reply["x-request-id"])
            for id in [requestID, "chatcmpl-s"] {
                let found = try await shop.bob.call("GET", "/api/v1/generation?id=\(id)")
                let data = try #require(found.document?["data"], "\(found.text)")
                #expect(data["id"]?.text == "chatcmpl-s" && data["request_id"]?.text == requestID)
                #expect(data["model"]?.text == "m1" && data["provider_name"]?.text == "global@north/lab")
                #expect(data["streamed"]?.flag == true && data["cancelled"]?.flag == false)
                #expect(data["finish_reason"]?.text == "stop")
                #expect(data["is_estimated"]?.flag == true)
                #expect(data["total_cost"]?.integer == 0)
                #expect((data["tokens_completion"]?.integer ?? 0) > 2)
            }
            try await shop.node.user("eve")
            let eve = try await shop.node.key(of: "eve")
            #expect(try await eve.call("GET", "/v1/generation?id=\(requestID)").status == 404)
            #expect(try await shop.node.admin.call("GET", "/v1/generation?id=\(requestID)").status == 200)
            #expect(try await shop.bob.call("GET", "/v1/generation").status == 400)
        }
    }

    @Test func openAIsPagesOfUsage() async throws {
        try await TwoSellers.open { shop in
            shop.first.answers(Self.told("chatcmpl-a"))
            for _ in 0..<2 { #expect(try await shop.bob.ask(Self.chat).status == 200) }
            let path = "/v1/organization/usage/completions"
            for (width, seconds) in [("1m", 60), ("1h", 3_600), ("1d", 86_400)] as [(String, Int64)] {
                let reply = try await shop.node.admin.call(
                    "GET", "\(path)?start_time=\(Self.now - 2 * seconds)&bucket_width=\(width)&group_by=model&limit=7")
                let page = try #require(reply.document, "\(reply.text)")
                #expect(page["object"]?.text == "page" && page["has_more"]?.flag == false)
                let buckets = page["data"]?.elements ?? []
                #expect((2...4).contains(buckets.count))
                #expect(
                    buckets.allSatisfy { bucket in
                        bucket["object"]?.text == "bucket"
                            && (bucket["end_time"]?.integer ?? 0) - (bucket["start_time"]?.integer ?? 0) == seconds
                    })
                let results = buckets.flatMap { $0["results"]?.elements ?? [] }
                #expect(results.map { $0["input_tokens"]?.integer ?? 0 }.reduce(0, +) == 200)
                #expect(results.map { $0["num_model_requests"]?.integer ?? 0 }.reduce(0, +) == 2)
                #expect(results.allSatisfy { $0["model"]?.text == "m1" && $0["user_id"] == .null })
                #expect(results.allSatisfy { $0["object"]?.text == "organization.usage.completions.result" })
            }
            // Pages follow each other, and a user's own key sees its own.
            let first = try await shop.bob.call(
                "GET", "\(path)?start_time=\(Self.now - 86_400)&bucket_width=1h&limit=2")
            #expect(first.document?["has_more"]?.flag == true)
            let next = try #require(first.document?["next_page"]?.text)
            let second = try await shop.bob.call(
                "GET", "\(path)?start_time=\(Self.now - 86_400)&bucket_width=1h&limit=2&page=\(next)")
            #expect(
                second.document?["data"]?.elements?.first?["start_time"]?.integer
                    == first.document?["data"]?.elements?.last?["end_time"]?.integer)
            for wrong in ["", "?start_time=x", "?start_time=1&bucket_width=2d", "?start_time=1&limit=0"] {
                #expect(try await shop.bob.call("GET", path + wrong).status == 400, "\(wrong)")
            }
            #expect(try await shop.bob.call("GET", "/v1/organization/usage/wheels?start_time=1").status == 404)
            let costs = try await shop.bob.call("GET", "/v1/organization/costs?start_time=\(Self.now - 86_400)")
            #expect(costs.document?["object"]?.text == "page", "\(costs.text)")
        }
    }

    private static var now: Int64 { SystemClock.wall.seconds }

    @Test func whatAKeyAndItsUserHaveLeft() async throws {
        try await TwoSellers.open { shop in
            _ = try await shop.node.administer(
                "PUT", "limits/user/bob", #"{"money_per_month":"12.5","requests_per_minute":9}"#)
            let key = try await shop.bob.call("GET", "/api/v1/key").document?["data"]
            #expect(key?["limit"] == .number("12.5") && key?["limit_remaining"] == .number("12.5"))
            #expect(key?["limit_reset"]?.text == "monthly" && key?["usage"]?.integer == 0)
            let credits = try await shop.bob.call("GET", "/api/v1/credits").document?["data"]
            #expect(credits?["total_credits"] == .number("12.5") && credits?["total_usage"]?.integer == 0)
            #expect(try await shop.bob.call("POST", "/v1/key").status == 405)
            #expect(try await Buyer(port: shop.node.buyerPort, key: nil).call("GET", "/v1/key").status == 401)
        }
    }
}
