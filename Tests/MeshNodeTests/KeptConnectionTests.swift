import MeshWire
import Testing

/// Requests that follow each other on one connection, whose key is remembered there.
@Suite(.serialized, .nodeLog) struct KeptConnectionTests {
    /// Asks on the connection and plays the worker's part when the request comes to it.
    private static func ask(_ shop: Shop, _ connection: RawConnection, key: String?) async throws -> Reply {
        connection.request("POST", Buyer.chat, key: key, body: Array(#"{"model":"m1"}"#.utf8))
        return try await eventually("an answer") { () -> Reply? in
            while let (frame, length) = ScriptedWorker.decode(shop.worker.connection.pending) {
                shop.worker.connection.drop(length)
                guard let request = frame.document, request["op"]?.text == "chat.completions" else { continue }
                shop.worker.answer(request, payload: #"{"choices":[]}"#)
            }
            return connection.pending.isEmpty ? nil : try await connection.reply()
        }
    }

    @Test func everyRequestHasTheKeyThatStandsInIt() async throws {
        try await Shop.open { shop in
            try await shop.node.user("eve")
            let (bob, eve) = (try #require(shop.buyer.key), try #require(try await shop.node.key(of: "eve").key))
            let connection = try await RawConnection.open(port: shop.buyer.port)
            defer { connection.close() }
            for (key, status) in [
                (bob, 200), (bob, 200), (eve, 200), (bob, 200), (String(bob.dropLast()), 401), (bob + "x", 401),
                (bob, 200),
                ("", 401),
            ] {
                #expect(try await Self.ask(shop, connection, key: key).status == status)
            }
            #expect(try await Self.ask(shop, connection, key: nil).status == 401)
            #expect(try await Self.ask(shop, connection, key: bob).status == 200)
            // Each was counted for whoever asked.
            let usage = try await shop.node.administer("GET", "usage?by=user")["data"]?.elements ?? []
            for (name, served) in [("bob", 5), ("eve", 1)] {
                #expect(usage.first { $0["user"]?.text == name }?["served"]?.integer == Int64(served))
            }
        }
    }

    @Test func whoIsDisabledOrRevokedIsOutAtOnce() async throws {
        try await Shop.open { shop in
            let key = try #require(shop.buyer.key)
            let connection = try await RawConnection.open(port: shop.buyer.port)
            defer { connection.close() }
            #expect(try await Self.ask(shop, connection, key: key).status == 200)
            _ = try await shop.node.administer("PATCH", "users/bob", #"{"disabled":true}"#)
            #expect(try await Self.ask(shop, connection, key: key).errorCode == "account_disabled")
            _ = try await shop.node.administer("PATCH", "users/bob", #"{"disabled":false}"#)
            #expect(try await Self.ask(shop, connection, key: key).status == 200)
            let keys = try await shop.node.administer("GET", "keys")["keys"]?.elements ?? []
            let id = try #require(keys.first { $0["username"]?.text == "bob" }?["key_id"]?.text)
            _ = try await shop.node.administer("DELETE", "keys/\(id)")
            #expect(try await Self.ask(shop, connection, key: key).status == 401)
        }
    }
}
