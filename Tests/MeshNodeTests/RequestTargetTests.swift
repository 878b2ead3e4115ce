import MeshModel
import MeshTransport
import MeshWire
import Testing

/// Request targets in every form, paths that clients ask for by mistake, compressed bodies, and keys that are wrong.
@Suite(.serialized, .nodeLog) struct RequestTargetTests {
    @Test(arguments: [
        ("/v1/models", "/v1/models"), ("http://node/v1/models", "/v1/models"), ("HTTPS://n:1/a?b=c", "/a?b=c"),
        ("http://node", "/"), ("http://node?a=b", "/?a=b"), ("http://node/x/http://y/z", "/x/http://y/z"),
        ("*", "*"), ("node:443", "node:443"), ("ftp://node/v1", "ftp://node/v1"), ("", ""), ("http://", "/"),
    ])
    func originForms(target: String, form: String) { #expect(RequestTarget.originForm(target) == form) }

    /// RFC 9112, section 3.2.2: a server must take a target in absolute form, whatever host it names.
    @Test func aTargetInAbsoluteFormIsTheSameAsItsPath() async throws {
        try await Shop.open { shop in
            for host in ["node", "127.0.0.1:1", "somewhere.else"] {
                let list = try await shop.buyer.call("GET", "http://\(host)/v1/models")
                #expect(list.status == 200, "\(list.text)")
                #expect(try await shop.buyer.call("GET", "http://\(host)/health").status == 200)
                let connection = try await RawConnection.open(port: shop.node.buyerPort)
                connection.request(
                    "POST", "http://\(host)\(Buyer.chat)", key: shop.buyer.key, body: Array(#"{"model":"lab/m1"}"#.utf8)
                )
                shop.worker.answer(try await shop.worker.request("chat.completions"), payload: "{}")
                #expect(try await connection.reply().status == 200)
                #expect(try await shop.buyer.call("GET", "http://\(host)/v1/../health").status == 404)
            }
            // A worker's handshake, too.
            let (reply, connection) = try await ScriptedWorker.dial(
                shop.node.buyerPort, path: "http://node/api/coderai/wss",
                headers: ScriptedWorker.identity("lab", token: shop.token, client: "far"))
            #expect(reply.status == 101)
            connection.close()
        }
    }

    @Test func aBodyCompressedOtherwiseIs415AndItsEncodingNamed() async throws {
        let rows = [Buyer.chat, "/v1/embeddings", "/api/admin/v1/users", "/v1/nothing"].flatMap { path in
            ["br", "compress", "deflate, gzip"].map { (path, $0) }
        }
        try await withNode { node in
            let connection = try await RawConnection.open(port: node.buyerPort)
            for (path, encoding) in rows {
                connection.request(
                    "POST", path, key: node.adminKey, headers: ["content-encoding: \(encoding)"], body: [0x1F, 0x8B, 8])
                let reply = try await connection.reply()
                #expect(reply.status == 415, "\(path)")
                #expect(reply.errorCode == "unsupported_encoding")
                #expect(reply.errorMessage.contains("'\(encoding)'"))
                #expect(reply["accept-encoding"] == "identity, gzip, deflate, zstd")
            }
            // The bodies were read, and what is not compressed is taken.
            connection.request(
                "POST", Buyer.chat, key: node.adminKey, headers: ["content-encoding: identity"],
                body: Array(#"{"model":"none"}"#.utf8))
            #expect(try await connection.reply().errorCode == "model_not_found")
        }
    }

    private static let mistakes = [
        ("POST", "/v1/v1/chat/completions", "'/v1' twice"), ("GET", "/v1/v1/models", "'/v1' twice"),
        ("POST", "/api/v1/v1/chat/completions", "'/v1' twice"), ("POST", "/v1/api/v1/embeddings", "'/v1' twice"),
        ("POST", "/v1/messages/batches", "count_tokens"), ("POST", "/api/chat", "Ollama"),
        ("POST", "/api/generate", "Ollama"),
        ("GET", "/nowhere", "nothing at this path"), ("GET", "/v1/nowhere", "no route"),
    ]

    @Test func aMistakenPathIsSaidToBeOne() async throws {
        try await withNode { node in
            for (method, path, says) in Self.mistakes {
                let reply = try await node.admin.call(method, path, body: method == "POST" ? "{}" : "")
                #expect(reply.status == 404, "\(path)")
                #expect(reply.errorCode == "not_found")
                #expect(reply.errorMessage.contains(says), "\(path): \(reply.errorMessage)")
            }
        }
    }

    /// One byte more than routes outside inference take: the path is what is wrong, not the size.
    @Test func aPromptForAMistakenPathIsNotCalledTooLarge() async throws {
        try await withNode { node in
            let body = String(repeating: " ", count: Limits.coldBodyBytes) + "{"
            let reply = try await node.admin.call("POST", "/v1/v1/chat/completions", body: body)
            #expect(reply.status == 404 && reply.errorMessage.contains("'/v1' twice"), "\(reply.text)")
            let chunked = try await RawConnection.open(port: node.buyerPort)
            chunked.send("POST /v1/v1/messages HTTP/1.1\r\nhost: n\r\ntransfer-encoding: chunked\r\n\r\n")
            chunked.send("\(String(body.utf8.count, radix: 16))\r\n\(body)\r\n0\r\n\r\n")
            #expect(try await chunked.reply().errorMessage.contains("'/v1' twice"))
            let other = try await node.admin.call("POST", "/v1/nowhere", body: body)
            #expect(other.status == 413)
        }
    }

    private static let headers = [
        ("sk-aisbf-x", "no 'Bearer '"), ("Basic abc", "another scheme"), ("Token abc", "another scheme"),
        ("Bearer", "behind 'Bearer'"), ("Bearer   ", "behind 'Bearer'"), ("Bearersk-aisbf-x", "no 'Bearer '"),
    ]

    @Test func whatIsWrongWithAnAuthorizationHeaderIsSaid() async throws {
        try await withNode { node in
            for (value, says) in Self.headers {
                for path in [Buyer.chat, "/v1/models", "/api/admin/v1/users"] {
                    let reply = try await Buyer(port: node.buyerPort).call(
                        path == Buyer.chat ? "POST" : "GET", path, headers: ["authorization: \(value)"])
                    #expect(reply.status == 401)
                    #expect(reply.errorCode == "invalid_api_key")
                    #expect(reply.errorMessage.contains(says), "\(value): \(reply.errorMessage)")
                    #expect(!reply.text.contains("sk-aisbf-x"))
                }
            }
        }
    }

    /// Wrong keys are told to wait when they are many; a right one from the same address is let in all the same.
    @Test func wrongKeysAreLimitedAndRightOnesPass() async throws {
        try await Shop.open { shop in
            let connection = try await RawConnection.open(port: shop.node.buyerPort)
            var first = 0
            for number in 1...(Limits.wrongKeysPerMinute + 20) {
                connection.request("GET", "/v1/models", key: "sk-aisbf-wrong-\(number)")
                let reply = try await connection.reply()
                if reply.status == 429, first == 0 { first = number }
                let isMany = first > 0
                #expect(reply.status == (isMany ? 429 : 401), "attempt \(number)")
                #expect(reply.errorCode == (isMany ? "rate_limited" : "invalid_api_key"))
                #expect((reply["retry-after"] != nil) == isMany)
            }
            // Whoever set this up from the same address may have had one as well.
            #expect((Limits.wrongKeysPerMinute...Limits.wrongKeysPerMinute + 1).contains(first), "\(first)")
            #expect(try await shop.buyer.call("GET", "/v1/models").status == 200)
            let (reply, _) = try await shop.exchange(#"{"model":"lab/m1"}"#, answer: "{}")
            #expect(reply.status == 200)
            // One that this node has never seen before, and one over the slow routes.
            #expect(try await shop.node.key(of: "bob").call("GET", "/v1/models").status == 200)
            #expect(try await shop.node.admin.call("GET", "/api/admin/v1/users").status == 200)
            // Without any key nothing was guessed.
            #expect(try await Buyer(port: shop.node.buyerPort).call("GET", "/v1/models").status == 401)
        }
    }
}
