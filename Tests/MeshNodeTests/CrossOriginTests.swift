import MeshWire
import Testing

/// What a browser is told about pages of other origins.
@Suite(.serialized, .nodeLog) struct CrossOriginTests {
    private static let page = "origin: https://chat.example.org"

    private static func ask(_ shop: Shop, _ path: String, _ headers: [String] = [page]) async throws -> Reply {
        let asked = [
            "access-control-request-method: POST", "access-control-request-headers: Authorization, x-stainless-os",
        ]
        return try await Buyer(port: shop.node.buyerPort).call("OPTIONS", path, headers: headers + asked)
    }

    @Test func aPageMayCallTheBuyerAPIAndReadItsErrors() async throws {
        try await Shop.open { shop in
            for path in [
                Buyer.chat, "/v1/messages", "/api/u/bob/models", "/models", "/v1/files/f", "/api/tags",
            ] {
                let reply = try await Self.ask(shop, path)
                #expect(reply.status == 204, "\(path): \(reply.text)")
                #expect(reply["access-control-allow-origin"] == "https://chat.example.org")
                #expect(reply["access-control-allow-methods"] == "GET, POST, DELETE")
                #expect(reply["access-control-allow-headers"] == "Authorization, x-stainless-os")
                #expect(reply["vary"] == "origin")
            }
            for (path, status) in [("/v1/models", 200), ("/v1/models/none", 404), ("/v1/none", 404)] {
                let reply = try await shop.buyer.call("GET", path, headers: [Self.page])
                #expect(reply.status == status)
                #expect(reply["access-control-allow-origin"] == "https://chat.example.org", "\(path)")
                #expect(reply["access-control-expose-headers"]?.contains("x-request-id") == true)
                #expect(reply["access-control-allow-credentials"] == nil)
            }
            let wrong = try await Buyer(port: shop.node.buyerPort).call(
                "POST", Buyer.chat, headers: [Self.page], body: "{}")
            #expect(wrong.status == 401 && wrong["access-control-allow-origin"] != nil)
            let connection = try await RawConnection.open(port: shop.node.buyerPort)
            defer { connection.close() }
            connection.request(
                "POST", Buyer.chat, key: shop.buyer.key, headers: [Self.page],
                body: Array(#"{"model":"lab/m1","messages":[]}"#.utf8))
            shop.worker.answer(try await shop.worker.request("chat.completions"), payload: #"{"id":"x"}"#)
            #expect(try await connection.reply()["access-control-allow-origin"] == "https://chat.example.org")
            // The next request on the connection is nobody's page.
            connection.request("GET", "/v1/models", key: shop.buyer.key)
            #expect(try await connection.reply()["access-control-allow-origin"] == nil)
        }
    }

    @Test func nothingElseIsOpenToPages() async throws {
        try await Shop.open { shop in
            for path in ["/api/admin/v1/users", "/metrics", "/health", "/api/coderai/broker/sessions", "/nowhere"] {
                let asked = try await Self.ask(shop, path)
                #expect(asked.status != 204 && asked["access-control-allow-origin"] == nil, "\(path)")
                let read = try await shop.node.admin.call("GET", path, headers: [Self.page])
                #expect(read["access-control-allow-origin"] == nil, "\(path)")
            }
            // What is no question of a browser's is no preflight.
            let plain = try await shop.buyer.call("OPTIONS", "/v1/models", headers: [Self.page])
            #expect(plain.status == 405, "\(plain.text)")
            #expect(try await Self.ask(shop, "/v1/models", []).status != 204)
        }
    }
}
