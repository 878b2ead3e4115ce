import MeshModel
import MeshWire
import Testing

/// One list of models in the shapes of those who read it.
@Suite(.serialized, .nodeLog) struct ModelShapeTests {
    private static func ids(_ reply: Reply) -> [String] {
        (reply.document?["data"]?.elements ?? []).compactMap { $0["id"]?.text }
    }

    @Test func oneListForTwoAPIs() async throws {
        try await Shop.open(models: ["a", "b", "c", "d/e"]) { shop in
            let all = ["lab/a", "lab/b", "lab/c", "lab/d/e"]
            for base in ["/v1", "/api/v1", "/api/u/bob", "/api/u/bob/v1", ""] {
                let reply = try await shop.buyer.call("GET", "\(base)/models")
                #expect(Self.ids(reply) == all, "\(base): \(reply.text)")
                #expect(reply.document?["object"]?.text == "list" && reply.document?["has_more"]?.flag == false)
                #expect(reply.document?["first_id"]?.text == "lab/a" && reply.document?["last_id"]?.text == "lab/d/e")
                for id in ["lab/d/e", "lab%2Fd%2Fe"] {
                    let one = try await shop.buyer.call("GET", "\(base)/models/\(id)")
                    #expect(one.document?["id"]?.text == "lab/d/e" && one.document?["type"]?.text == "model", "\(base)")
                    #expect(
                        one.document?["display_name"]?.text == "lab/d/e" && one.document?["object"]?.text == "model")
                }
            }
            #expect(try await shop.buyer.call("GET", "/v1/models").document?["models"] == nil)
            let codex = try await shop.buyer.call("GET", "/v1/models?client_version=0.155.0")
            #expect(codex.document?["models"] == [] && codex["etag"] != nil && Self.ids(codex) == all)
        }
    }

    @Test func pagesOfTheList() async throws {
        try await Shop.open(models: ["a", "b", "c", "d", "e"]) { shop in
            let pages: [(query: String, ids: [String], more: Bool)] = [
                ("limit=2", ["a", "b"], true), ("limit=2&after_id=lab/b", ["c", "d"], true),
                ("limit=2&after_id=lab%2Fd", ["e"], false), ("limit=5", ["a", "b", "c", "d", "e"], false),
                ("after_id=lab/e", [], false), ("limit=2&before_id=lab/d", ["b", "c"], true),
                ("before_id=lab/b", ["a"], false), ("limit=1000", ["a", "b", "c", "d", "e"], false),
            ]
            for page in pages {
                let reply = try await shop.buyer.call("GET", "/v1/models?\(page.query)")
                #expect(Self.ids(reply) == page.ids.map { "lab/\($0)" }, "\(page.query)")
                #expect(reply.document?["has_more"]?.flag == page.more, "\(page.query)")
                #expect(reply.document?["last_id"]?.text == page.ids.last.map { "lab/\($0)" }, "\(page.query)")
            }
            for wrong in ["limit=0", "limit=x", "limit=1001", "after_id=lab/none"] {
                #expect(try await shop.buyer.call("GET", "/v1/models?\(wrong)").status == 400, "\(wrong)")
            }
        }
    }

    @Test func namesForProgramsThatTakeNoOthers() async throws {
        try await Shop.open { shop in
            let version = ["anthropic-version: 2023-06-01"]
            let listed = try await shop.buyer.call("GET", "/v1/models?limit=1000", headers: version)
            #expect(Self.ids(listed) == ["lab/m1", "claude/auto"], "\(listed.text)")
            #expect(Self.ids(try await shop.buyer.call("GET", "/v1/models")) == ["lab/m1"])
            let one = try await shop.buyer.call("GET", "/v1/models/claude%2Fauto", headers: version)
            #expect(one.document?["id"]?.text == "claude/auto", "\(one.text)")
            for name in ["claude/auto", "anthropic/auto:cheap"] {
                let (reply, request) = try await shop.exchange(
                    #"{"model":"\#(name)","messages":[]}"#,
                    answer: #"{"choices":[{"message":{"content":"x"},"finish_reason":"stop"}]}"#)
                #expect(reply.status == 200 && request["payload"]?["model"]?.text == "m1", "\(name): \(reply.text)")
            }
            for name in ["claude/none", "claude/", "claude/rotation/x"] {
                #expect(try await shop.buyer.ask(model: name).status == 404, "\(name)")
            }
        }
    }

    @Test func asOtherProgramsAsk() async throws {
        try await Shop.open { shop in
            for path in ["/v1/model/info", "/model/info"] {
                let reply = try await shop.buyer.call("GET", path)
                #expect(reply.document?["data"]?.elements?.first?["model_name"]?.text == "lab/m1", "\(reply.text)")
                #expect(reply.document?["data"]?.elements?.first?["model_info"]?["mode"]?.text == "chat")
            }
            let tags = try await shop.buyer.call("GET", "/api/tags")
            #expect(tags.document?["models"]?.elements?.first?["model"]?.text == "lab/m1", "\(tags.text)")
            let properties = try await shop.buyer.call("GET", "/props?model=lab/m1")
            #expect(properties.document?["model_alias"]?.text == "lab/m1", "\(properties.text)")
            let stranger = Buyer(port: shop.node.buyerPort)
            for path in ["/api/tags", "/props", "/v1/model/info", "/models"] {
                #expect(try await stranger.call("GET", path).status == 401, "\(path)")
            }
            // Whether somebody is there is no secret.
            #expect(try await stranger.call("HEAD", "/api/hello").status == 200)
            #expect(try await stranger.call("GET", "/api/version").document?["version"] != nil)
            #expect(try await shop.buyer.call("POST", "/api/tags", body: "{}").status == 405)
        }
    }

    /// Programs whose base URL lacks `/v1`.
    @Test func theAPIIsAtTheRootToo() async throws {
        try await Shop.open { shop in
            let connection = try await RawConnection.open(port: shop.node.buyerPort)
            defer { connection.close() }
            connection.request(
                "POST", "/chat/completions", key: shop.buyer.key, body: Array(#"{"model":"lab/m1","messages":[]}"#.utf8)
            )
            shop.worker.answer(try await shop.worker.request("chat.completions"), payload: #"{"id":"x"}"#)
            #expect(try await connection.reply().text == #"{"id":"x"}"#)
            connection.request("POST", "/embeddings", key: shop.buyer.key, body: Array(#"{"model":"lab/m1"}"#.utf8))
            #expect(try await connection.reply().errorCode == "endpoint_not_offered")
        }
    }
}
