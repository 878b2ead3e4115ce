import MeshModel
import MeshWire
import Testing

/// Everything a worker offers beside chat: what it is sent, and what the buyer gets.
@Suite(.serialized, .nodeLog) struct ProxyTests {
    private static let studio =
        #"{"binary_frames":true,"openai_compat":{"embeddings":true},"#
        + #""studio":{"endpoints":["v1/images/edits","v1/audio/speech","v1/files/{id}/content","v1/video/progress"]}}"#

    private static func open(_ body: @escaping @Sendable (Shop) async throws -> Void) async throws {
        try await Shop.open(capabilities: studio, body)
    }

    private static func start(
        _ shop: Shop, _ path: String, _ body: String = "", method: String = "POST", type: String? = "application/json",
        headers: [String] = []
    ) async throws -> RawConnection {
        let connection = try await RawConnection.open(port: shop.node.buyerPort)
        connection.request(
            method, path, key: shop.buyer.key, headers: headers + (type.map { ["content-type: \($0)"] } ?? []),
            body: Array(body.utf8))
        return connection
    }

    @Test(arguments: ["/v1/embeddings", "/api/v1/embeddings", "/api/u/bob/embeddings", "/api/u/bob/v1/embeddings"])
    func jsonGoesThroughByteForByte(path: String) async throws {
        try await Self.open { shop in
            let connection = try await Self.start(
                shop, path, #"{ "model":"lab/m1","input":["a"], "x":1.50 }"#,
                headers: ["cookie: a=b", "x-forwarded-for: 10.0.0.1", "accept: application/json"])
            let frame = try await shop.worker.next("the proxied request")
            let payload = try #require(frame.document?["payload"])
            #expect(frame.text.hasSuffix(#","body":{ "model":"m1","input":["a"], "x":1.50 }}}"#))
            #expect(payload["endpoint_path"]?.text == "/v1/embeddings")
            #expect(payload["method"]?.text == "POST")
            #expect(payload["content_type"]?.text == "application/json")
            #expect(payload["headers"]?.members?.map(\.name) == ["accept"])
            #expect(payload["stream"]?.flag == false)
            #expect(!frame.text.contains("sk-aisbf-"))
            #expect(!frame.text.contains("10.0.0.1"))
            shop.worker.answer(
                try #require(frame.document),
                payload: #"{"status_code":200,"content_type":"application/json","headers":{"set-cookie":"s=1","#
                    + #""openai-model":"m"},"body":"{\"object\":\"list\"}"}"#)
            let reply = try await connection.reply()
            #expect(reply.status == 200)
            #expect(reply.text == #"{"object":"list"}"#)
            #expect(reply["set-cookie"] == nil)
            #expect(reply["openai-model"] == "m")
            #expect(reply["content-length"] == "17")
            #expect(reply["aisbf-worker"]?.count == 12)
        }
    }

    @Test func aFormReachesTheWorkerInPieces() async throws {
        try await Self.open { shop in
            let form =
                "--b\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nlab/m1\r\n"
                + "--b\r\ncontent-disposition: form-data; name=\"prompt\"\r\n\r\nmake it ü\r\n"
                + "--b\r\ncontent-disposition: form-data; name=\"image\"; filename=\"a.png\"\r\n"
                + "content-type: image/png\r\n\r\n\u{1}\u{2}hello\r\n--b--\r\n"
            let connection = try await Self.start(
                shop, "/v1/images/edits", form, type: "multipart/form-data; boundary=b")
            let request = try await shop.worker.request("proxy")
            let payload = try #require(request["payload"])
            #expect(payload["body"] == nil)
            #expect(
                payload["multipart"]
                    == [
                        "fields": [
                            ["name": "model", "value": "m1"], ["name": "prompt", "value": "make it ü"],
                        ],
                        "files": [
                            [
                                "name": "image", "filename": "a.png", "content_type": "image/png",
                                "data_base64": "AQJoZWxsbw==",
                            ]
                        ],
                    ])
            shop.worker.answer(
                request,
                payload: #"{"status_code":200,"content_type":"image/png","body_base64":"iVBORw==","filename":"b.png"}"#)
            let reply = try await connection.reply()
            #expect(reply.body == [0x89, 0x50, 0x4E, 0x47])
            #expect(reply["content-type"] == "image/png")
            #expect(reply["content-disposition"] == "attachment; filename=\"b.png\"")
        }
    }

    @Test func otherBytesAreBase64AndQueriesLoseTheirSecrets() async throws {
        try await Self.open { shop in
            let posted = try await Self.start(
                shop, "/v1/audio/speech?model=lab%2Fm1", "\u{0}\u{1}", type: "application/octet-stream")
            let first = try await shop.worker.request("proxy")
            #expect(first["payload"]?["body_base64"]?.text == "AAE=")
            #expect(first["payload"]?["query_params"] == ["model": "m1"])
            shop.worker.answer(first, payload: #"{"status_code":200,"body":"{}"}"#)
            #expect(try await posted.reply().status == 200)

            let got = try await Self.start(
                shop, "/v1/files/f-1/content?provider=lab&part=2&part=3&api_key=sk-x&X-API-Key=a&apiKey=b&x=sk-aisbf-c",
                method: "GET", type: nil)
            let second = try await shop.worker.request("proxy")
            #expect(second["payload"]?["endpoint_path"]?.text == "/v1/files/f-1/content")
            #expect(second["payload"]?["query_params"] == ["part": ["2", "3"]])
            #expect(second["payload"]?["body"] == nil)
            shop.worker.answer(second, payload: #"{"status_code":404,"body":{"error":"no such file"}}"#)
            let reply = try await got.reply()
            #expect(reply.status == 404)
            #expect(reply.errorCode == "worker_error" && reply.errorMessage.contains("no such file"))
        }
    }

    @Test func progressIsAStreamOfEvents() async throws {
        try await Self.open { shop in
            let connection = try await Self.start(
                shop, "/v1/video/progress", method: "GET", type: nil, headers: ["accept: text/event-stream"])
            let request = try await shop.worker.request("proxy")
            #expect(request["payload"]?["stream"]?.flag == true)
            shop.worker.say(#"{"request_id":"\#(request.id)","event":"progress","payload":{"percent":50}}"#)
            try await eventually("the first event") { connection.received > 0 }
            shop.worker.done(request)
            let reply = try await connection.reply()
            #expect(reply["content-type"] == "text/event-stream")
            #expect(reply.text == "data: {\"percent\":50}\n\ndata: [DONE]\n\n")
        }
    }

    @Test(arguments: [
        ("POST", "/v1/rerank", 404, "endpoint_not_offered"),
        ("POST", "/v1/images/generations", 404, "endpoint_not_offered"),
        ("POST", "/v1/admin/models", 404, "not_found"), ("POST", "/v1/images/..%2f..%2fadmin", 404, "not_found"),
        ("POST", "/v1/images/%2e%2e/%2e%2e/admin", 404, "not_found"), ("POST", "/v1/static/x", 404, "not_found"),
        ("POST", "/v1/images/edits%3fx", 404, "not_found"), ("PUT", "/v1/files/f-1/content", 405, "method_not_allowed"),
        ("POST", "/v1/coderai/capabilities", 404, "not_found"),
    ])
    func nothingElseIsReached(method: String, path: String, status: Int, code: String) async throws {
        try await Self.open { shop in
            let connection = try await Self.start(shop, path, #"{"model":"lab/m1"}"#, method: method)
            let reply = try await connection.reply()
            #expect(reply.status == status)
            #expect(reply.errorCode == code)
            // The next thing the worker hears is something else.
            let next = try await Self.start(shop, "/v1/embeddings", #"{"model":"lab/m1"}"#)
            let request = try await shop.worker.request("proxy")
            #expect(request["payload"]?["endpoint_path"]?.text == "/v1/embeddings")
            shop.worker.answer(request, payload: "{}")
            #expect(try await next.reply().status == 200)
        }
    }

    @Test(arguments: [
        ("application/json", "{", 400, "invalid_json"),
        ("application/json", #"{"model":"lab/m2"}"#, 404, "model_not_found"),
        ("multipart/form-data", "--b--", 400, "invalid_request"),
        ("multipart/form-data; boundary=b", "no form", 400, "invalid_request"),
    ])
    func badBodiesSayWhatIsWrong(type: String, body: String, status: Int, code: String) async throws {
        try await Self.open { shop in
            let reply = try await Self.start(shop, "/v1/embeddings", body, type: type).reply()
            #expect(reply.status == status)
            #expect(reply.errorCode == code)
        }
    }

    @Test func whatDoesNotFitTheWorkersFrameIsRefusedWithTheLimit() async throws {
        try await Self.open { shop in
            let connection = try await Self.start(
                shop, "/v1/images/edits?model=lab/m1", String(repeating: "x", count: 900_000), type: "image/png")
            let reply = try await connection.reply()
            #expect(reply.status == 413)
            #expect(reply.errorCode == "worker_frame_limit")
            #expect(reply.errorMessage.contains("1048576"))
        }
    }

    @Test func whoReadsSlowlyAndClosesGetsTheWholeAnswer() async throws {
        try await Self.open { shop in
            let connection = try await RawConnection.open(port: shop.node.buyerPort, receiveBuffer: 4_096)
            try await connection.readNothing()
            connection.request("GET", "/v1/files/f/content", key: shop.buyer.key, headers: ["connection: close"])
            let request = try await shop.worker.request("proxy")
            let size = 9 << 20
            let text = String(decoding: Base64.text([UInt8](repeating: 7, count: size)), as: UTF8.self)
            shop.worker.answer(
                request, payload: #"{"status_code":200,"content_type":"video/mp4","body_base64":"\#(text)"}"#)
            try await eventually("the node has it all") { try await shop.worker.connection.unsent() == 0 }
            try await connection.readAgain()
            try await eventually("the end of the connection", within: 20) { connection.isClosed }
            let (reply, _) = try #require(try Reply.parse(connection.pending))
            #expect(reply.body.count == size)
        }
    }

    @Test func placesAreGivenBackWhateverHappens() async throws {
        try await withNode { node in
            let token = try await node.provider("lab")
            let first = try await eventually("the worker is admitted") {
                try? await ScriptedWorker.attach(node.buyerPort, provider: "lab", token: token, client: "w1")
            }
            let second = try await ScriptedWorker.attach(node.buyerPort, provider: "lab", token: token, client: "w2")
            try await node.offers("lab/m1", to: node.admin)
            try await eventually("both workers") {
                try await node.admin.call("GET", "/api/coderai/broker/sessions").document?["sessions"]?.elements?.count
                    == 2
            }
            // One is lost with a request, and the sibling takes it over.
            let connection = try await node.admin.start(#"{"model":"lab/m1"}"#)
            let busy = try await eventually("the request at one of them") { () -> (ScriptedWorker, ScriptedWorker)? in
                if !first.connection.pending.isEmpty { return (first, second) }
                return second.connection.pending.isEmpty ? nil : (second, first)
            }
            busy.0.connection.close()
            busy.1.answer(try await busy.1.request("chat.completions"), payload: #"{"from":"sibling"}"#)
            let reply = try await connection.reply()
            #expect(reply.text == #"{"from":"sibling"}"#)
            #expect(reply["aisbf-attempts"] == "2")
            let idle = try await node.administer("GET", "providers/global/lab")
            #expect(idle["workers"]?.elements?.first?["in_flight"]?.integer == 0)
        }
    }

    // MARK: Binary frames

    private static func binary(_ request: JSONValue, _ bytes: [UInt8]) -> [UInt8] {
        [1, UInt8(request.id.utf8.count)] + Array(request.id.utf8) + bytes
    }

    @Test func aLargeAnswerComesInBinaryFramesByCredit() async throws {
        try await Self.open { shop in
            let connection = try await Self.start(shop, "/v1/files/f/content", method: "GET", type: nil)
            let request = try await shop.worker.request("proxy")
            let block = (0..<65_536).map { UInt8(truncatingIfNeeded: $0 >> 3) }
            let blocks = 64
            shop.worker.say(
                #"{"request_id":"\#(request.id)","event":"start","payload":{"status_code":200,"#
                    + #""content_type":"video/mp4","length":\#(blocks * block.count)}}"#)
            var credit = Limits.answerWindowBytes
            for _ in 0..<blocks {
                while credit < block.count {
                    let grant = try await shop.worker.request("credit")
                    #expect(grant["payload"]?.id == request.id)
                    credit += Int(try #require(grant["payload"]?["bytes"]?.integer))
                }
                shop.worker.frame(2, Self.binary(request, block))
                credit -= block.count
            }
            shop.worker.done(request)
            let reply = try await connection.reply()
            #expect(reply["content-length"] == String(blocks * block.count))
            #expect(reply["content-type"] == "video/mp4")
            #expect(reply.body == Array((0..<blocks).map { _ in block }.joined()))
        }
    }

    @Test func whoSendsMoreThanItsWindowLosesTheRequestAndNotTheSession() async throws {
        try await Self.open { shop in
            // A buyer who reads nothing: no credit comes back.
            let connection = try await RawConnection.open(port: shop.node.buyerPort, receiveBuffer: 4_096)
            try await connection.readNothing()
            connection.request("GET", "/v1/files/f/content", key: shop.buyer.key)
            let request = try await shop.worker.request("proxy")
            shop.worker.say(#"{"request_id":"\#(request.id)","event":"start","payload":{"status_code":200}}"#)
            let block = [UInt8](repeating: 1, count: 256 << 10)
            for _ in 0..<64 { shop.worker.frame(2, Self.binary(request, block)) }
            while true {
                let frame = try await shop.worker.next("cancel")
                if frame.document?["op"]?.text == "cancel" { break }
            }
            let next = try await Self.start(shop, "/v1/embeddings", #"{"model":"lab/m1"}"#)
            shop.worker.answer(try await shop.worker.request("proxy"), payload: "{}")
            #expect(try await next.reply().status == 200)
        }
    }

    @Test func anAnswerThatBreaksOffIsCutAndNotEnded() async throws {
        try await Self.open { shop in
            let connection = try await Self.start(shop, "/v1/files/f/content", method: "GET", type: nil)
            let request = try await shop.worker.request("proxy")
            shop.worker.say(#"{"request_id":"\#(request.id)","event":"start","payload":{"status_code":200}}"#)
            shop.worker.frame(2, Self.binary(request, [1, 2, 3]))
            try await eventually("the first bytes") { connection.received > 0 }
            shop.worker.connection.close()
            try await eventually("the cut") { connection.isClosed }
            let text = String(decoding: connection.pending, as: UTF8.self)
            #expect(text.contains("transfer-encoding: chunked"))
            #expect(!text.hasSuffix("0\r\n\r\n"))
        }
    }
}
