import MeshModel
import MeshNode
import MeshWire
import Testing

/// What a seller sees of workers that went away, and what becomes of the requests they had.
@Suite(.serialized, .nodeLog) struct SellerViewTests {
    private static func seller(_ shop: Shop) async throws -> (key: Buyer, token: String) {
        try await shop.node.user("alice")
        let token = try await shop.node.provider("rig", owner: "alice")
        return (try await shop.node.key(of: "alice"), token)
    }

    private static func attach(_ shop: Shop, _ token: String, client: String = "w1") async throws -> ScriptedWorker {
        try await ScriptedWorker.attach(
            shop.node.buyerPort, provider: "rig", token: token, client: client, username: "alice")
    }

    @Test func whyItsWorkersGetNothing() async throws {
        try await Shop.open { shop in
            let (alice, token) = try await Self.seller(shop)
            func gates() async throws -> [String: String] {
                let reply = try await alice.call("GET", "/api/admin/v1/providers/alice/rig/why")
                let gates = reply.document?["gates"]?.elements ?? []
                return Dictionary(
                    gates.map { ($0["gate"]?.text ?? "", $0["state"]?.text ?? "") }, uniquingKeysWith: { $1 })
            }
            let alone = try await gates()
            #expect(alone["workers"] == "closed", "\(alone)")
            #expect(alone["advert"] == "open" && alone["node"] == "open" && alone["access"] == "open")
            let worker = try await Self.attach(shop, token)
            try await eventually("the worker's models") { try await gates()["models"] == "open" }
            let there = try await gates()
            #expect(there["workers"] == "open" && there["places"] == "open" && there["limits"] == "open", "\(there)")
            _ = try await shop.node.administer("PUT", "limits/provider/alice/rig", #"{"requests_per_minute":0}"#)
            #expect(try await gates()["limits"] == "closed")
            try await shop.node.user("eve")
            let eve = try await shop.node.key(of: "eve")
            #expect(try await eve.call("GET", "/api/admin/v1/providers/alice/rig/why").status == 404)
            _ = worker
        }
    }

    @Test func whyAWorkerIsAwayIsShownToItsOwnerAndToNobodyElse() async throws {
        try await Shop.open { shop in
            let (alice, token) = try await Self.seller(shop)
            let status = "/api/coderai/broker/providers/rig/status"
            let first = try await Self.attach(shop, token)
            let second = try await Self.attach(shop, token)
            #expect(try await first.closed().reason == "replaced by a new connection of the same client")
            second.frame(8, [0x03, 0xE9])
            try await eventually("the end of the second") {
                try await alice.call("GET", status).document?["last_close"]?["reason"]?.text == "closed by the worker"
            }
            let third = try await Self.attach(shop, token)
            third.connection.close()
            let last = try await eventually("the end of the third") { () -> JSONValue? in
                let document = try await alice.call("GET", status).document
                return document?["last_close"]?["reason"]?.text == "connection lost" ? document : nil
            }
            #expect(last["connected"] == false)
            #expect(last["last_close"]?["client_id"]?.text == "w1")
            let shown = try await alice.call("GET", "/api/admin/v1/providers/alice/rig").document
            let closes = shown?["closes"]?.elements ?? []
            #expect(closes.map { $0["code"]?.integer } == [1011, 1001, nil])
            #expect(closes.allSatisfy { ($0["closed_at"]?.integer ?? 0) > 0 })

            try await shop.node.user("carol")
            let carol = try await shop.node.key(of: "carol")
            let strange = try await carol.call("GET", status).document
            #expect(
                strange == [
                    "provider_id": "rig", "client_id": .null, "connected": false, "session_id": .null,
                    "last_close": .null,
                ])
            #expect(try await carol.call("GET", "/api/admin/v1/providers/alice/rig").status == 404)
            #expect(try await carol.call("GET", "/api/admin/v1/providers").document?["providers"]?.elements == [])
            let own = try await alice.call("GET", "/api/admin/v1/providers").document?["providers"]?.elements
            #expect(own?.map { $0["name"]?.text } == ["alice/rig"])
            // Looking is all: whoever may not administer may not change even their own here.
            #expect(try await alice.call("DELETE", "/api/admin/v1/providers/alice/rig").status == 403)
            #expect(try await alice.call("GET", "/api/admin/v1/users").status == 403)
        }
    }

    @Test func aRequestGoesOnAtTheConnectionThatTookOver() async throws {
        try await Shop.open { shop in
            let connection = try await shop.buyer.start(#"{"model":"lab/m1"}"#)
            _ = try await shop.worker.request("chat.completions")
            let successor = try await ScriptedWorker.connect(shop.node.buyerPort, provider: "lab", token: shop.token)
            successor.register()
            _ = try await successor.event("registered")
            // It has not said yet which models it has: the same as before.
            let first = try await successor.next("a request")
            let second = try await successor.next("another request")
            let requests = [first, second].compactMap(\.document)
            #expect(requests.compactMap { $0["op"]?.text }.sorted() == ["chat.completions", "models.list"])
            let chat = try #require(requests.first { $0["op"]?.text == "chat.completions" })
            successor.answer(chat, payload: #"{"id":"went on"}"#)
            let reply = try await connection.reply()
            #expect(reply.status == 200 && reply.text == #"{"id":"went on"}"#)
            #expect(reply["aisbf-attempts"] == "2")
        }
    }

    @Test func aRequestTooLargeForOneWorkerGoesToOneThatTakesIt() async throws {
        try await Shop.open { shop in
            let large = try await ScriptedWorker.attach(
                shop.node.buyerPort, provider: "lab", token: shop.token, client: "large",
                capabilities: #"{"max_frame_bytes":8388608}"#)
            let text = String(repeating: "x", count: 2 << 20)
            for _ in 0..<4 {
                let connection = try await shop.buyer.start(#"{"model":"lab/m1","messages":["\#(text)"]}"#)
                let request = try await large.request("chat.completions")
                #expect(request["payload"]?["messages"]?.elements?.first?.text?.utf8.count == text.utf8.count)
                large.answer(request, payload: "{}")
                #expect(try await connection.reply().status == 200)
            }
            large.connection.close()
            try await eventually("413 when it is gone") {
                try await shop.buyer.ask(#"{"model":"lab/m1","messages":["\#(text)"]}"#).errorCode
                    == "worker_frame_limit"
            }
        }
    }

    /// A worker that cannot be told to pause may send a whole stream at once.
    @Test func aBurstReachesABuyerWhoReads() async throws {
        try await Shop.open { shop in
            let connection = try await RawConnection.open(port: shop.node.buyerPort, receiveBuffer: 16_384)
            connection.request(
                "POST", Buyer.chat, key: shop.buyer.key, body: Array(#"{"model":"lab/m1","stream":true}"#.utf8))
            let request = try await shop.worker.request("chat.completions")
            try await connection.readNothing()
            let event = "data: {\"x\":\"\(String(repeating: "y", count: 10_000))\"}\n\n"
            for _ in 0..<300 { shop.worker.chunk(request, event) }
            shop.worker.done(request)
            // It reads, if only after the burst has arrived.
            try await eventually("the node has it all") { try await shop.worker.connection.unsent() == 0 }
            try await connection.readAgain()
            let reply = try await connection.reply(within: 20)
            #expect(reply.text == String(repeating: event, count: 300) + "data: [DONE]\n\n")
        }
    }
}
