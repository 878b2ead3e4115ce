import MeshModel
import MeshNode
import MeshWire
import Synchronization
import Testing

/// What keys and users may use, as buyers meet it.
@Suite(.serialized, .nodeLog) struct LimitTests {
    private static let chat = #"{"model":"lab/m1","messages":[{"role":"user","content":"hello"}]}"#

    /// 300 requests at once against a limit for 100, from 300 connections: exactly 100 are served.
    @Test(arguments: [#"{"requests_per_minute":100}"#, #"{"tokens_per_day":100000}"#])
    func threeHundredAtOnceNeverPassAHundred(limit: String) async throws {
        try await TwoSellers.open { shop in
            _ = try await shop.node.administer("PUT", "limits/user/bob", limit)
            shop.first.answers(Self.using(prompt: 400, completion: 600))
            // A thousand tokens are held and a thousand used.
            let body =
                #"{"model":"lab/m1","max_tokens":950,"messages":[{"role":"user","content":"\#(Self.words(30))"}]}"#
            let replies = try await withThrowingTaskGroup(of: Reply.self) { group in
                for _ in 0..<300 {
                    group.addTask { try await shop.bob.call("POST", Buyer.chat, body: body, within: 60) }
                }
                var replies: [Reply] = []
                while let reply = try await group.next() { replies.append(reply) }
                return replies
            }
            let served = replies.count { $0.status == 200 }
            #expect(served <= 100)
            #expect(served == shop.first.count, "whoever was refused was not asked for")
            // The one worker has its own bound, and whoever meets that gives back what was held.
            let full: [String?] = ["worker_busy", "worker_unavailable"]
            let busy = replies.count { full.contains($0.errorCode) }
            if limit.contains("requests") {
                #expect(served == 100 || busy > 0, "\(served)")
            } else {
                #expect(served >= 90, "\(served)")
            }
            let refused = replies.filter { $0["x-should-retry"] != nil && !full.contains($0.errorCode) }
            #expect(served + busy + refused.count == 300)
            #expect(
                refused.allSatisfy {
                    ["rate_limit_exceeded", "insufficient_quota", "limit_unavailable"].contains($0.errorCode)
                })
        }
    }

    private static func words(_ count: Int) -> String { Array(repeating: "word", count: count).joined(separator: " ") }

    private static func using(prompt: Int, completion: Int) -> Serving.Answer {
        let payload =
            #"{"id":"x","choices":[],"usage":{"prompt_tokens":\#(prompt),"completion_tokens":\#(completion)}}"#
        return { $0.answer($1, payload: payload) }
    }

    private static let refusals: [(name: String, limit: String, after: Int)] = [
        ("requests_per_minute", #"{"requests_per_minute":1}"#, 1),
        ("tokens_per_minute", #"{"tokens_per_minute":3000}"#, 1),
        ("concurrent", #"{"concurrent":0}"#, 0), ("tokens_per_day", #"{"tokens_per_day":3000}"#, 1),
        ("tokens_per_month", #"{"tokens_per_month":3000}"#, 1), ("expires_at", #"{"expires_at":1000}"#, 0),
        ("allow_addresses", #"{"allow_addresses":["192.0.2.0/24"]}"#, 0),
        ("allow_models", #"{"allow_models":["den/*"]}"#, 0), ("allow_routes", #"{"allow_routes":["embeddings"]}"#, 0),
    ]

    /// Each refusal says which limit, what is left and when it resets, and whether trying again helps.
    @Test func everyRefusalSaysWhichLimitAndWhatIsLeft() async throws {
        try await TwoSellers.open { shop in
            shop.first.answers(Self.using(prompt: 1_000, completion: 1_999))
            for (name, limit, after) in Self.refusals {
                _ = try await shop.node.administer("PUT", "limits/user/bob", limit)
                for _ in 0..<after { #expect(try await shop.bob.ask(Self.chat).status == 200, "\(name)") }
                let reply = try await shop.bob.ask(Self.chat)
                try Self.check(reply, name)
                let streamed = try await shop.bob.ask(Self.chat.dropLast() + #","stream":true}"#)
                #expect(streamed.status == reply.status && streamed.errorCode == reply.errorCode, "\(name)")
                _ = try await shop.node.administer("DELETE", "limits/user/bob")
            }
            #expect(try await shop.bob.ask(Self.chat).status == 200)
        }
    }

    private static func check(_ reply: Reply, _ name: String) throws {
        let message = reply.errorMessage
        #expect(message.contains("user/bob"), "\(message)")
        #expect(reply.document?["error"]?["request_id"]?.text == reply["x-request-id"])
        switch name {
        case "requests_per_minute", "tokens_per_minute":
            #expect(reply.status == 429 && reply.errorCode == "rate_limit_exceeded", "\(reply.text)")
            let seconds = try #require(reply["retry-after"].flatMap { Int($0) })
            #expect((1...61).contains(seconds))
            #expect(message.contains(name) && message.contains("try again in \(seconds)s"), "\(message)")
            #expect(reply["x-should-retry"] == "true")
            #expect(reply["retry-after-ms"].flatMap { Int($0) }.map { ($0 + 999) / 1_000 } == seconds)
            let unit = name == "requests_per_minute" ? "requests" : "tokens"
            #expect(reply["x-ratelimit-limit-\(unit)"] == (unit == "requests" ? "1" : "3000"))
            #expect(reply["x-ratelimit-remaining-\(unit)"] != nil)
            #expect(reply["x-ratelimit-reset-\(unit)"]?.hasSuffix("s") == true)
        case "concurrent": #expect(reply.status == 429 && reply["x-should-retry"] == "false", "\(reply.text)")
        case "tokens_per_day", "tokens_per_month":
            #expect(reply.status == 429 && reply.errorCode == "insufficient_quota", "\(reply.text)")
            #expect(reply.document?["error"]?["type"]?.text == "insufficient_quota")
            #expect(reply["x-should-retry"] == "false" && reply["retry-after"] != nil)
            #expect(message.contains("1 left") && message.contains("it resets at 20"), "\(message)")
        default:
            #expect(reply.status == 403 && reply.errorCode == "limit_forbids", "\(reply.text)")
            #expect(reply["x-should-retry"] == "false")
        }
    }

    @Test func answersTellWhatIsLeft() async throws {
        try await TwoSellers.open { shop in
            let key = shop.bob
            #expect(try await key.ask(Self.chat)["x-ratelimit-limit-requests"] == nil, "nobody is limited")
            _ = try await shop.node.administer(
                "PUT", "limits/user/bob", #"{"requests_per_minute":10,"tokens_per_minute":50000}"#)
            shop.first.answers(Self.using(prompt: 10, completion: 5))
            for left in [9, 8] {
                let reply = try await key.ask(Self.chat)
                #expect(reply["x-ratelimit-limit-requests"] == "10")
                #expect(reply["x-ratelimit-remaining-requests"] == "\(left)")
                #expect(reply["x-ratelimit-limit-tokens"] == "50000")
                #expect(reply["x-ratelimit-reset-tokens"] != nil)
            }
            // What was held and not used is back: 2 × 15 tokens are gone.
            let shown = try await shop.node.administer("GET", "limits/user/bob")
            let tokens = shown["now"]?.elements?.first { $0["limit"]?.text == "tokens_per_minute" }
            #expect(tokens?["remaining"]?.integer == 49_970)
            // Limits are changed one by one.
            let changed = try await shop.node.administer("PATCH", "limits/user/bob", #"{"tokens_per_minute":null}"#)
            #expect(changed["requests_per_minute"]?.integer == 10 && changed["tokens_per_minute"] == nil)
        }
    }

    /// Whatever way a request ends, its slot is free again.
    @Test func aSlotIsFreedWhateverWayARequestEnds() async throws {
        try await TwoSellers.open { shop in
            _ = try await shop.node.administer("PUT", "limits/user/bob", #"{"concurrent":1,"tokens_per_day":1000000}"#)
            func left(_ limit: String) async throws -> Int64? {
                try await shop.node.administer("GET", "limits/user/bob")["now"]?.elements?
                    .first { $0["limit"]?.text == limit }?["remaining"]?.integer
            }
            let stream = #"{"model":"lab/m1","stream":true,"messages":[{"role":"user","content":"hello"}]}"#
            // The buyer leaves in the middle of a stream: what was delivered counts.
            shop.first.answers { worker, request in
                let event =
                    #"{"choices":[{"index":0,"delta":{"role":"assistant","content":"one two three four five"}}]}"#
                worker.chunk(request, "data: \(event)\n\n")
            }
            let connection = try await shop.bob.start(stream)
            try await eventually("content") { String(decoding: connection.pending, as: UTF8.self).contains("five") }
            let busy = try await shop.bob.ask(Self.chat)
            #expect(busy.status == 429 && busy.errorCode == "rate_limit_exceeded", "\(busy.text)")
            connection.close()
            try await eventually("the slot of who left") { try await left("concurrent") == 1 }
            let used = 1_000_000 - (try await left("tokens_per_day") ?? 0)
            #expect((5...60).contains(used), "\(used)")
            // One whose worker fails used nothing.
            shop.first.answers(Serving.status(500))
            #expect(try await shop.bob.ask(Self.chat).status >= 500)
            #expect(try await left("concurrent") == 1)
            #expect(1_000_000 - (try await left("tokens_per_day") ?? 0) == used)
            // One who leaves before anything came used nothing either.
            shop.first.answers(Serving.silent)
            let early = try await shop.bob.start(Self.chat)
            try await eventually("it is under way") { try await left("concurrent") == 0 }
            early.close()
            try await eventually("the slot of who left early") { try await left("concurrent") == 1 }
            #expect(1_000_000 - (try await left("tokens_per_day") ?? 0) == used)
        }
    }

    /// Every model that is listed may be asked for, and no other.
    @Test func whatIsNotAllowedIsNotListed() async throws {
        try await TwoSellers.open { shop in
            try await shop.rotation(#"{"name":"pair","members":["lab","den"]}"#)
            func listed() async throws -> [String] {
                try await shop.bob.call("GET", "/v1/models").document?["data"]?.elements?.compactMap { $0["id"]?.text }
                    ?? []
            }
            #expect(try await listed() == ["den/m2", "lab/m1", "rotation/pair"])
            _ = try await shop.node.administer("PUT", "limits/user/bob", #"{"allow_models":["lab/*","rotation/pair"]}"#)
            #expect(try await listed() == ["lab/m1", "rotation/pair"])
            for model in try await listed() { #expect(try await shop.ask(model).status == 200) }
            #expect(try await shop.ask("den/m2").status == 403)
            #expect(try await shop.ask("auto").status == 403)
            let fallback = #"{"model":"lab/m1","models":["den/m2"],"messages":[]}"#
            #expect(try await shop.bob.ask(fallback).status == 403)
        }
    }

    @Test func limitsOfAKeyAndOfItsUserHoldBoth() async throws {
        try await TwoSellers.open { shop in
            let keys = try await shop.node.administer("GET", "keys")["keys"]?.elements ?? []
            let id = try #require(keys.first { $0["username"]?.text == "bob" }?["key_id"]?.text)
            _ = try await shop.node.administer("PUT", "limits/user/bob", #"{"requests_per_minute":3}"#)
            _ = try await shop.node.administer("PUT", "limits/key/\(id)", #"{"requests_per_minute":1}"#)
            #expect(try await shop.bob.ask(Self.chat).status == 200)
            #expect(try await shop.bob.ask(Self.chat).errorMessage.contains("key/\(id)"))
            // Another key of the same user has what the user has left.
            let other = try await shop.node.key(of: "bob")
            #expect(try await other.ask(Self.chat).status == 200)
            #expect(try await other.ask(Self.chat).status == 200)
            #expect(try await other.ask(Self.chat).errorMessage.contains("user/bob"))
            #expect(try await shop.node.administer("GET", "limits")["limits"]?.elements?.count == 2)
        }
    }

    @Test func nonsenseIsRefused() async throws {
        try await withNode { node in
            for (path, body, status) in [
                ("limits/user/nobody", "{\"concurrent\":1}", 404),
                ("limits/key/ffffffffffff", "{\"concurrent\":1}", 404),
                ("limits/wheel/x", "{\"concurrent\":1}", 400), ("limits/user/global", "{}", 400),
                ("limits/user/global", "{\"rpm\":1}", 400), ("limits/user/global", "{\"concurrent\":-1}", 400),
            ] {
                let reply = try await node.admin.call("PUT", "/api/admin/v1/\(path)", body: body)
                #expect(reply.status == status, "\(path) \(reply.text)")
            }
            let gone = try await node.admin.call("DELETE", "/api/admin/v1/limits/user/global")
            #expect(gone.status == 404)
        }
    }
}
