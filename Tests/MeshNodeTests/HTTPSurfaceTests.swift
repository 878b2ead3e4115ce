import MeshModel
import MeshWire
import Testing

/// The listener against clients that do everything HTTP allows, and what it does not.
@Suite(.serialized, .nodeLog) struct HTTPSurfaceTests {
    @Test func aDeclaredBodyOverTheLimitIs413() async throws {
        try await withNode { node in
            let connection = try await RawConnection.open(port: node.buyerPort)
            connection.send(
                "POST \(Buyer.chat) HTTP/1.1\r\nhost: n\r\nauthorization: Bearer \(node.adminKey)\r\ncontent-length: \(Limits.requestBodyBytes + 1)\r\n\r\n"
            )
            let piece = [UInt8](repeating: 0x20, count: 1 << 20)
            for _ in 0..<8 { connection.send(piece) }
            connection.send(" ")
            let reply = try await connection.reply()
            #expect(reply.status == 413)
            #expect(reply.errorCode == "body_too_large")
        }
    }

    @Test func aChunkedBodyOverTheLimitIs413() async throws {
        try await withNode { node in
            let connection = try await RawConnection.open(port: node.buyerPort)
            connection.send(
                "POST \(Buyer.chat) HTTP/1.1\r\nhost: n\r\nauthorization: Bearer \(node.adminKey)\r\ntransfer-encoding: chunked\r\n\r\n"
            )
            let piece = Array("100000\r\n".utf8) + [UInt8](repeating: 0x20, count: 1 << 20) + Array("\r\n".utf8)
            for _ in 0..<9 { connection.send(piece) }
            connection.send("0\r\n\r\n")
            let reply = try await connection.reply()
            #expect(reply.status == 413)
            #expect(reply.errorCode == "body_too_large")
            // All of it was read, so the connection still works.
            connection.request("GET", "/healthz", key: nil)
            #expect(try await connection.reply().status == 200)
        }
    }

    @Test func whoAsksBeforeSendingATooLargeBodyIsRefusedAtOnce() async throws {
        try await withNode { node in
            let connection = try await RawConnection.open(port: node.buyerPort)
            connection.send(
                "POST \(Buyer.chat) HTTP/1.1\r\nhost: n\r\nauthorization: Bearer \(node.adminKey)\r\nexpect: 100-continue\r\ncontent-length: 99999999\r\n\r\n"
            )
            #expect(try await connection.reply(within: 3).status == 413)
            try await eventually("the end of the connection") { connection.isClosed }
        }
    }

    @Test func whoAsksFirstWithAWrongKeyNeedNotSendTheBody() async throws {
        try await withNode { node in
            let connection = try await RawConnection.open(port: node.buyerPort)
            connection.send(
                "POST \(Buyer.chat) HTTP/1.1\r\nhost: n\r\nauthorization: Bearer no\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n"
            )
            #expect(try await connection.reply(within: 3).status == 401)
        }
    }

    @Test func whoAsksFirstIsToldToContinue() async throws {
        try await withNode { node in
            let connection = try await RawConnection.open(port: node.buyerPort)
            connection.send(
                "POST \(Buyer.chat) HTTP/1.1\r\nhost: n\r\nauthorization: Bearer \(node.adminKey)\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n"
            )
            #expect(try await connection.reply().status == 100)
            connection.send("{}")
            #expect(try await connection.reply().status == 400)
        }
    }

    @Test func headersWithoutEndAreCutOff() async throws {
        try await withNode { node in
            let connection = try await RawConnection.open(port: node.buyerPort)
            connection.send("GET /v1/models HTTP/1.1\r\nhost: n\r\n")
            connection.send("x-long: " + String(repeating: "a", count: 100_000) + "\r\n\r\n")
            let answer = try await eventually("an answer or the end") {
                if let (reply, _) = try Reply.head(connection.pending) { return reply.status }
                return connection.isClosed ? 0 : nil
            }
            #expect([0, 400, 431].contains(answer))
            #expect(try await node.admin.call("GET", "/v1/models").status == 200)
        }
    }

    @Test(arguments: [
        "GARBAGE\r\n\r\n", "BREW /v1/models HTTP/1.1\r\nhost: n\r\n\r\n", "GET / HTTP/9.9\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}", "POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        "GET / HTTP/1.1\r\nbad header\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: n\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ])
    func whatIsNoHTTPEndsTheConnection(bytes: String) async throws {
        try await withNode { node in
            let connection = try await RawConnection.open(port: node.buyerPort)
            connection.send(bytes)
            try await eventually("the end of the connection") { connection.isClosed }
            if let (reply, _) = try Reply.head(connection.pending) { #expect(reply.status >= 400) }
            #expect(try await node.admin.call("GET", "/healthz").status == 200)
        }
    }

    @Test(arguments: [
        "/v1/../api/admin/v1/users", "/v1/%2e%2e/api/admin/v1/users", "/v1/chat%2fcompletions", "/v1/%zz", "/v1/%",
        "//", "/%00", "/v1/./models", "/api/u//models", "/api/u/bob",
    ])
    func tricksWithPathsLeadNowhere(path: String) async throws {
        try await withNode { node in
            let connection = try await RawConnection.open(port: node.buyerPort)
            for method in ["GET", "POST", "HEAD"] {
                connection.request(method, path, key: node.adminKey)
                let reply = try await connection.reply(isHead: method == "HEAD")
                #expect(reply.status == 404, "\(method) \(path)")
            }
            connection.request("GET", "/healthz", key: nil)
            #expect(try await connection.reply().text == #"{"status":"ok"}"#)
        }
    }

    @Test(arguments: [
        ("OPTIONS", "/v1/models", 405), ("DELETE", "/v1/models", 405), ("TRACE", "/v1/models", 405),
        ("GET", Buyer.chat, 405), ("PUT", Buyer.chat, 405), ("OPTIONS", Buyer.chat, 405),
        ("PATCH", "/api/admin/v1/users", 405),
    ])
    func methodsThatDoNotFitAre405(method: String, path: String, status: Int) async throws {
        try await withNode { node in
            let reply = try await node.admin.call(method, path)
            #expect(reply.status == status)
            #expect(reply.errorCode == "method_not_allowed")
            let allowed = try #require(reply["allow"]).split(separator: ", ").map { String($0) }
            #expect(!allowed.isEmpty && !allowed.contains(method))
        }
    }

    @Test func headHasTheHeadersOfGetAndNoBody() async throws {
        try await withNode { node in
            let connection = try await RawConnection.open(port: node.buyerPort)
            connection.request("GET", "/v1/models", key: node.adminKey)
            let get = try await connection.reply()
            connection.request("HEAD", "/v1/models", key: node.adminKey)
            let head = try await connection.reply(isHead: true)
            #expect(head.status == 200)
            #expect(head["content-length"] == get["content-length"])
            connection.request("HEAD", "/v1/models", key: "none")
            #expect(try await connection.reply(isHead: true).status == 401)
            connection.request("GET", "/healthz", key: nil)
            #expect(try await connection.reply().status == 200)
        }
    }

    @Test func anOldClientGetsItsAnswerAndTheEnd() async throws {
        try await withNode { node in
            let connection = try await RawConnection.open(port: node.buyerPort)
            connection.send("GET /v1/models HTTP/1.0\r\nauthorization: Bearer \(node.adminKey)\r\n\r\n")
            #expect(try await connection.reply().status == 200)
            try await eventually("the end of the connection") { connection.isClosed }
        }
    }

    @Test func connectionCloseIsHonoured() async throws {
        try await withNode { node in
            let connection = try await RawConnection.open(port: node.buyerPort)
            connection.request("GET", "/v1/models", key: "wrong", headers: ["connection: close"])
            let reply = try await connection.reply()
            #expect(reply.status == 401)
            #expect(reply["connection"] == "close")
            try await eventually("the end of the connection") { connection.isClosed }
        }
    }

    @Test func aBodyThatComesInPiecesIsTakenWhole() async throws {
        try await withNode { node in
            let connection = try await RawConnection.open(port: node.buyerPort)
            let body = Array(#"{"model":"none"}"#.utf8)
            connection.send(
                "POST \(Buyer.chat) HTTP/1.1\r\nhost: n\r\nauthorization: Bearer \(node.adminKey)\r\ncontent-length: \(body.count)\r\n\r\n"
            )
            for byte in body {
                connection.send([byte])
                try await Task.sleep(for: .milliseconds(5))
            }
            #expect(try await connection.reply().errorCode == "model_not_found")
        }
    }

    @Test func aBodyThatStopsComingIs408() async throws {
        try await withNode { node in
            let connection = try await RawConnection.open(port: node.buyerPort)
            connection.send(
                "POST \(Buyer.chat) HTTP/1.1\r\nhost: n\r\nauthorization: Bearer \(node.adminKey)\r\ncontent-length: 10\r\n\r\n{"
            )
            let reply = try await connection.reply(within: 25)
            #expect(reply.status == 408)
            try await eventually("the end of the connection") { connection.isClosed }
        }
    }
}
