import MeshModel
import MeshWire
import Testing

/// What of a buyer's request reaches a worker, and what of a worker's answer reaches a buyer.
@Suite(.serialized, .nodeLog) struct RequestHygieneTests {
    static let studio =
        #"{"openai_compat":{"embeddings":true},"studio":{"endpoints":["v1/images/edits","v1/files","v1/pipelines/{id}/run"]}}"#

    /// Fields of the buyer, of its proxies and of its connection: none of them is the worker's business.
    private static let noise = [
        "X-API-Key: sk-aisbf-other", "Forwarded: for=10.0.0.1", "X-Forwarded-For: 10.0.0.1", "X-Real-IP: 10.0.0.1",
        "Connection: keep-alive, x-hop", "X-Hop: 1", "TE: trailers", "Keep-Alive: timeout=5",
        "Proxy-Authorization: Basic c2VjcmV0", "Cookie: session=c2VjcmV0", "User-Agent: buyer/1", "Origin: http://b",
        "Referer: http://b/private", "OpenAI-Organization: org-secret", "ACCEPT: image/png",
    ]

    @Test func ofABuyersHeadersOnlyAcceptReachesAWorker() async throws {
        try await Shop.open(capabilities: Self.studio) { shop in
            let connection = try await RawConnection.open(port: shop.node.buyerPort)
            for (method, path) in [("POST", "/v1/images/edits"), ("GET", "/v1/files/f-1"), ("DELETE", "/v1/files/f-1")]
            {
                let body = method == "POST" ? Array(#"{"model":"lab/m1"}"#.utf8) : []
                connection.request(
                    method, path, key: shop.buyer.key, headers: Self.noise + ["Content-Type: application/json"],
                    body: body)
                let frame = try await shop.worker.next("the proxied request")
                let payload = try #require(frame.document?["payload"])
                #expect(payload["headers"] == ["accept": "image/png"], "\(method)")
                for secret in ["sk-aisbf-", "10.0.0.1", "c2VjcmV0", "buyer/1", "http://b", "org-secret", "x-hop"] {
                    #expect(!frame.text.contains(secret), "\(secret) in \(method)")
                }
                if method != "POST" {
                    let names = payload.members?.map(\.name) ?? []
                    #expect(names == ["endpoint_path", "method", "headers", "query_params", "stream"], "\(method)")
                }
                shop.worker.answer(
                    try #require(frame.document), payload: #"{"status_code":200,"body":"{}"}"#)
                #expect(try await connection.reply().status == 200)
            }
            let bare = try await RawConnection.open(port: shop.node.buyerPort)
            bare.request("GET", "/v1/files/f-1", key: shop.buyer.key)
            let request = try await shop.worker.request("proxy")
            #expect(request["payload"]?["headers"] == [:])
            shop.worker.answer(request, payload: #"{"status_code":200,"body":"{}"}"#)
            #expect(try await bare.reply().status == 200)
        }
    }

    @Test func aKeyMayStandInXAPIKeyAndGoesNoFurther() async throws {
        try await Shop.open(capabilities: Self.studio) { shop in
            let key = try #require(shop.buyer.key)
            let connection = try await RawConnection.open(port: shop.node.buyerPort)
            connection.request("GET", "/v1/files/f-1", key: nil, headers: ["X-API-Key: \(key)"])
            let frame = try await shop.worker.next("the proxied request")
            #expect(!frame.text.contains(key))
            shop.worker.answer(try #require(frame.document), payload: #"{"status_code":200,"body":"{}"}"#)
            #expect(try await connection.reply().status == 200)
        }
    }

    @Test func anImageRouteIsTheSameUnderEveryBasePath() async throws {
        try await Shop.open(capabilities: Self.studio) { shop in
            let connection = try await RawConnection.open(port: shop.node.buyerPort)
            for base in ["/v1", "/api/v1", "/api/u/bob", "/api/u/bob/v1"] {
                connection.request(
                    "POST", "\(base)/images/edits", key: shop.buyer.key, headers: ["content-type: application/json"],
                    body: Array(#"{"model":"lab/m1","prompt":"a cat"}"#.utf8))
                let request = try await shop.worker.request("proxy")
                #expect(request["payload"]?["endpoint_path"]?.text == "/v1/images/edits", "\(base)")
                #expect(request["payload"]?["body"] == ["model": "m1", "prompt": "a cat"], "\(base)")
                shop.worker.answer(
                    request, payload: #"{"status_code":200,"content_type":"image/png","body_base64":"iVBORw=="}"#)
                let reply = try await connection.reply()
                #expect(reply.status == 200 && reply["content-type"] == "image/png", "\(base)")
                #expect(reply.body == [0x89, 0x50, 0x4E, 0x47], "\(base)")
            }
        }
    }

    /// The hosting node and the entry node both drop what is not for a buyer.
    @Test func aWorkersCookiesDoNotCrossTheMesh() async throws {
        try await withTwoNodes { north, south in
            try await south.user("bob")
            let bob = try await south.key(of: "bob")
            let token = try await north.provider("lab")
            let worker = try await ScriptedWorker.admitted(at: north, token: token, capabilities: Self.studio)
            try await south.offers("lab/m1", to: bob)
            let connection = try await RawConnection.open(port: south.buyerPort)
            connection.request(
                "POST", "/v1/images/edits", key: bob.key,
                headers: Self.noise + ["content-type: application/json"], body: Array(#"{"model":"lab/m1"}"#.utf8))
            let request = try await worker.request("proxy")
            #expect(request["payload"]?["headers"] == ["accept": "image/png"])
            worker.answer(
                request,
                payload: #"{"status_code":200,"content_type":"image/png","body_base64":"AAEC","headers":{"#
                    + #""Set-Cookie":"s=1","connection":"close","content-length":"99","transfer-encoding":"gzip","#
                    + #""content-encoding":"gzip","server":"codai","aisbf-node":"elsewhere","x-seed":"7"}}"#)
            let reply = try await connection.reply()
            #expect(reply.status == 200 && reply.body == [0, 1, 2])
            #expect(reply["x-seed"] == "7")
            for name in ["set-cookie", "connection", "transfer-encoding", "content-encoding", "server"] {
                #expect(reply[name] == nil, "\(name)")
            }
            #expect(reply["content-length"] == "3")
            #expect(reply.headers.filter { $0.name == "aisbf-node" }.map(\.value) == ["north"])
        }
    }

    /// However a path is spelled, a worker's `/admin`, `/static` and the like are not reached.
    @Test func noSpellingOfAPathLeadsOutsideTheDataPaths() async throws {
        try await Shop.open(capabilities: Self.studio) { shop in
            let paths = [
                "/v1/images/%252e%252e/admin", "/v1/images/..%5cadmin", "/v1/images/edits;x=1",
                "/v1/images/%c0%ae%c0%ae/admin", "/v1/images%ef%bc%8fedits", "/v1/images/edits%00", "/v1/ADMIN",
                "/V1/images/edits", "/v1/Images/edits", "/admin", "/admin/models", "/static/x", "/coderai/capabilities",
                "/v1/coderai/capabilities", "/api/v1/admin", "/api/v1/static/x", "/api/u/bob/admin",
                "/api/u/bob/v1/admin", "/v1//admin", "/v1/images/./../admin", "/v1/images/../admin",
                "/v1/images/%2e%2e%2fadmin", "/v1/images/edits%0d%0ax:1", "/v1/images/edits%20", "/v1/images/%",
                "/v1/images/%zz", "//v1/admin", "/v1",
            ]
            for method in ["POST", "GET"] {
                for path in paths {
                    let connection = try await RawConnection.open(port: shop.node.buyerPort)
                    connection.request(
                        method, path, key: shop.buyer.key, headers: ["content-type: application/json"],
                        body: method == "POST" ? Array(#"{"model":"lab/m1"}"#.utf8) : [])
                    let reply = try await connection.reply()
                    #expect([404, 400].contains(reply.status), "\(method) \(path): \(reply.status) \(reply.text)")
                    #expect(reply.errorCode != "endpoint_not_offered", "\(method) \(path)")
                    connection.close()
                }
            }
            // The next thing the worker hears is something else.
            let next = try await RawConnection.open(port: shop.node.buyerPort)
            next.request(
                "POST", "/v1/embeddings", key: shop.buyer.key, headers: ["content-type: application/json"],
                body: Array(#"{"model":"lab/m1"}"#.utf8))
            let request = try await shop.worker.request("proxy")
            #expect(request["payload"]?["endpoint_path"]?.text == "/v1/embeddings")
            shop.worker.answer(request, payload: "{}")
            #expect(try await next.reply().status == 200)
        }
    }
}

/// Whether and when a buyer should ask again.
@Suite(.serialized, .nodeLog) struct RepetitionTests {
    @Test func aWorkersOwnRefusalSaysWhenToComeBack() async throws {
        try await Shop.open { shop in
            let rows: [(status: Int, headers: String, expected: String?)] = [
                (429, "{}", "2"), (503, "{}", "2"), (500, "{}", nil), (429, #"{"retry-after":"17"}"#, "17"),
                (503, #"{"Retry-After":"17"}"#, "17"), (500, #"{"retry-after":"17"}"#, "17"),
            ]
            for row in rows {
                let (reply, _) = try await shop.exchange(
                    #"{"model":"lab/m1"}"#,
                    answer: #"{"status_code":\#(row.status),"headers":\#(row.headers),"body":{"error":"later"}}"#)
                #expect(reply.status == row.status && reply.text.contains("later"), "\(row)")
                // No default for what is no refusal, and never two of them.
                #expect(
                    reply.headers.filter { $0.name == "retry-after" }.map(\.value) == [row.expected].compactMap(\.self),
                    "\(row)")
            }
        }
    }

    /// What a worker keeps (jobs, files) is not begun a second time elsewhere; what only reads is.
    @Test func onlyWhatHasNoEffectsIsTriedAgain() async throws {
        let studio = #"{"studio":{"endpoints":["v1/files","v1/pipelines","v1/video","v1/images"]}}"#
        try await Shop.open(capabilities: studio) { shop in
            var workers = [shop.worker]
            for (method, path, mayRepeat) in [
                ("POST", "/v1/files", false), ("POST", "/v1/pipelines/p/run", false), ("POST", "/v1/video/dub", false),
                ("DELETE", "/v1/files/f", false), ("GET", "/v1/files/f", true), ("POST", "/v1/images/edits", true),
            ] {
                let row = "\(method) \(path)"
                workers.append(
                    try await ScriptedWorker.admitted(
                        at: shop.node, token: shop.token, client: row.filter(\.isLetter), capabilities: studio))
                try await eventually("both workers", within: 20) {
                    try await shop.node.sessions().filter { $0["models"] == ["m1"] }.count == 2
                }
                let connection = try await RawConnection.open(port: shop.node.buyerPort)
                let body = method == "POST" ? #"{"model":"lab/m1"}"# : ""
                connection.request(
                    method, path + (body.isEmpty ? "?model=lab/m1" : ""), key: shop.buyer.key,
                    headers: ["content-type: application/json"], body: Array(body.utf8))
                let busy = try await eventually("the request at one of them") {
                    workers.firstIndex { Self.holdsRequest($0) }
                }
                workers.remove(at: busy).connection.close()
                let other = workers[0]
                if mayRepeat {
                    other.answer(try await other.request("proxy"), payload: #"{"status_code":200,"body":"{}"}"#)
                }
                let reply = try await connection.reply()
                #expect(reply.status == (mayRepeat ? 200 : 502), "\(row)")
                #expect(reply["aisbf-attempts"] == (mayRepeat ? "2" : "1"), "\(row)")
                if mayRepeat { continue }
                #expect(reply.errorCode == "worker_lost", "\(row)")
                // The sibling has heard nothing of it.
                #expect(try await other.isAlive(), "\(row)")
            }
        }
    }

    private static func holdsRequest(_ worker: ScriptedWorker) -> Bool {
        String(decoding: worker.connection.pending, as: UTF8.self).contains(#""op":"proxy""#)
    }
}
