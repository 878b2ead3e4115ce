import MeshExchange
import MeshModel
import MeshNode
import MeshRuntime
import MeshWire
import NIOCore
import Testing

/// Bodies that go on while they arrive, instead of being collected.
@Suite(.serialized, .nodeLog) struct UploadTests {
    static let capabilities = #"{"uploads":true,"openai_compat":{"audio":true,"files":true}}"#
    static let type = "content-type: multipart/form-data; boundary=b"

    static func form(model: String = "lab/m1", file: [UInt8]) -> [UInt8] {
        Array(
            ("--b\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\n\(model)\r\n"
                + "--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n").utf8)
            + file + Array("\r\n--b--\r\n".utf8)
    }

    /// Made of copies of a piece: byte by byte, 48 MiB take longer than a worker may be silent. The piece is of a length
    /// that fits into no buffer a whole number of times, so that bytes in a wrong place show.
    static func sound(_ count: Int) -> [UInt8] {
        let piece = (0..<65_521).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ $0 >> 9) }
        var sound: [UInt8] = []
        sound.reserveCapacity(count + piece.count)
        while sound.count < count { sound += piece }
        sound.removeLast(sound.count - count)
        return sound
    }

    /// Sends the head of a request whose body follows.
    static func begin(
        _ port: Int, key: String?, length: Int?, path: String = "/v1/audio/transcriptions", type: String = type
    ) async throws -> RawConnection {
        let connection = try await RawConnection.open(port: port)
        var lines = ["POST \(path) HTTP/1.1", "host: node", type, "authorization: Bearer \(key ?? "")"]
        lines.append(length.map { "content-length: \($0)" } ?? "transfer-encoding: chunked")
        connection.send(lines.joined(separator: "\r\n") + "\r\n\r\n")
        return connection
    }

    static func credit(_ worker: ScriptedWorker, _ request: JSONValue, _ bytes: Int) {
        worker.say(#"{"request_id":"\#(request.id)","status":"ok","event":"credit","payload":{"bytes":\#(bytes)}}"#)
    }

    /// The next request, behind what may still come of an upload before it.
    static func request(_ worker: ScriptedWorker) async throws -> JSONValue {
        while true {
            let frame = try await worker.next("the request")
            if frame.opcode == 1, let document = frame.document, document["op"]?.text == "proxy" { return document }
        }
    }

    /// The next word to the worker, behind what may still come of an upload, is to stop.
    static func isCancelled(_ worker: ScriptedWorker) async throws {
        while true {
            let frame = try await worker.next("the cancel")
            guard frame.opcode == 1 else { continue }
            return #expect(frame.document?["op"]?.text == "cancel")
        }
    }

    /// The bytes of the next binary frame, which has to be of `request`.
    static func piece(_ worker: ScriptedWorker, _ request: JSONValue) async throws -> [UInt8]? {
        let frame = try await worker.next("the next piece of the upload")
        if frame.opcode == 1 {
            #expect(frame.document?["op"]?.text == "upload_end")
            #expect(frame.document?["payload"]?.id == request.id)
            return nil
        }
        let head = [1, UInt8(request.id.utf8.count)] + Array(request.id.utf8)
        #expect(frame.opcode == 2 && frame.payload.starts(with: head))
        return Array(frame.payload.dropFirst(head.count))
    }

    /// Everything that comes, with credit given as it comes.
    static func rest(_ worker: ScriptedWorker, _ request: JSONValue, step: Int = 512 << 10) async throws -> [UInt8] {
        var bytes: [UInt8] = []
        credit(worker, request, step)
        var due = 0
        while let piece = try await piece(worker, request) {
            bytes += piece
            due += piece.count
            if due >= step / 2 {
                credit(worker, request, due)
                due = 0
            }
        }
        return bytes
    }

    @Test func aFormGoesOnWhileItArrives() async throws {
        try await Shop.open(capabilities: Self.capabilities) { shop in
            let sound = Self.sound(3 << 20)
            let body = Self.form(file: sound)
            let connection = try await Self.begin(shop.node.buyerPort, key: shop.buyer.key, length: body.count)
            let half = body.count / 2
            connection.send(Array(body[..<half]))
            let request = try await shop.worker.request("proxy")
            let payload = try #require(request["payload"])
            #expect(payload["upload"]?["length"]?.integer == Int64(body.count - 4))
            #expect(payload["model"]?.text == "m1")
            #expect(payload["content_type"]?.text == "multipart/form-data; boundary=b")
            #expect(payload["multipart"] == nil && payload["body"] == nil && payload["body_base64"] == nil)
            // Nothing before there is room, and no more than there is room for.
            Self.credit(shop.worker, request, 100_000)
            var got: [UInt8] = []
            while got.count < 100_000 { got += try #require(try await Self.piece(shop.worker, request)) }
            #expect(got.count == 100_000)
            connection.send(Array(body[half...]))
            got += try await Self.rest(shop.worker, request)
            #expect(got == Self.form(model: "m1", file: sound))
            shop.worker.answer(request, payload: #"{"status_code":200,"body":{"text":"heard"}}"#)
            let reply = try await connection.reply()
            #expect(reply.status == 200)
            #expect(reply.text == #"{"text":"heard"}"#)
            #expect(reply["connection"] == nil)
            // The connection takes the next request.
            connection.request("GET", "/v1/models", key: shop.buyer.key)
            #expect(try await connection.reply().status == 200)
        }
    }

    @Test func bytesOfUnknownLengthGoOnToo() async throws {
        try await Shop.open(capabilities: Self.capabilities) { shop in
            let body = Self.sound(2 << 20)
            let connection = try await Self.begin(
                shop.node.buyerPort, key: shop.buyer.key, length: nil, path: "/v1/audio/transcriptions?model=lab/m1",
                type: "content-type: audio/wav")
            for start in stride(from: 0, to: body.count, by: 256 << 10) {
                connection.send("40000\r\n")
                connection.send(Array(body[start..<start + (256 << 10)]))
                connection.send("\r\n")
            }
            let request = try await shop.worker.request("proxy")
            #expect(request["payload"]?["upload"] == [:])
            #expect(request["payload"]?["query_params"] == ["model": "m1"])
            connection.send("0\r\n\r\n")
            #expect(try await Self.rest(shop.worker, request) == body)
            shop.worker.answer(request, payload: #"{"status_code":200,"body":"{}"}"#)
            #expect(try await connection.reply().status == 200)
        }
    }

    @Test func aWorkerThatGivesNoRoomHoldsTheBuyerBack() async throws {
        try await Shop.open(capabilities: Self.capabilities) { shop in
            let body = Self.form(file: Self.sound(48 << 20))
            let connection = try await Self.begin(shop.node.buyerPort, key: shop.buyer.key, length: body.count)
            connection.send(body)
            let request = try await shop.worker.request("proxy")
            // The node has what it holds, the kernel its buffers, and the rest is still here.
            #expect(try await connection.unsentAtRest() > 24 << 20)
            #expect(try await Self.rest(shop.worker, request, step: 8 << 20).count == body.count - 4)
            shop.worker.answer(request, payload: #"{"status_code":200,"body":"{}"}"#)
            #expect(try await connection.reply().status == 200)
        }
    }

    @Test func aWorkerThatIsBusyLosesItToItsSibling() async throws {
        try await Shop.open(capabilities: Self.capabilities) { shop in
            let second = try await ScriptedWorker.attach(
                shop.node.buyerPort, provider: "lab", token: shop.token, client: "w2", capabilities: Self.capabilities)
            try await eventually("both workers") {
                try await shop.node.admin.call("GET", "/api/coderai/broker/sessions").document?["sessions"]?.elements?
                    .count == 2
            }
            let body = Self.form(file: Self.sound(2 << 20))
            let connection = try await Self.begin(shop.node.buyerPort, key: shop.buyer.key, length: body.count)
            connection.send(body)
            let (busy, free) = try await eventually("the request at one of them") {
                () -> (ScriptedWorker, ScriptedWorker)? in
                if !shop.worker.connection.pending.isEmpty { return (shop.worker, second) }
                return second.connection.pending.isEmpty ? nil : (second, shop.worker)
            }
            let first = try await busy.request("proxy")
            busy.say(
                #"{"request_id":"\#(first.id)","status":"error","error":{"code":"busy","message":"no"},"code":"busy"}"#)
            let request = try await free.request("proxy")
            #expect(try await Self.rest(free, request) == Self.form(model: "m1", file: Self.sound(2 << 20)))
            free.answer(request, payload: #"{"status_code":200,"body":"{}"}"#)
            let reply = try await connection.reply()
            #expect(reply.status == 200)
            #expect(reply["aisbf-attempts"] == "2")
        }
    }

    @Test func anAnswerBeforeTheEndEndsTheUpload() async throws {
        try await Shop.open(capabilities: Self.capabilities) { shop in
            let body = Self.form(file: Self.sound(2 << 20))
            let connection = try await Self.begin(shop.node.buyerPort, key: shop.buyer.key, length: body.count)
            connection.send(Array(body[..<(body.count - 100)]))
            let request = try await shop.worker.request("proxy")
            shop.worker.answer(request, payload: #"{"status_code":422,"body":"{\"error\":\"no sound\"}"}"#)
            let reply = try await connection.reply()
            #expect(reply.status == 422)
            #expect(reply["connection"] == "close")
            // What is still sent is dropped, and then the connection closes.
            connection.send(Array(body[(body.count - 100)...]))
            try await eventually("the end of the connection") { connection.isClosed }
            let next = try await Self.begin(shop.node.buyerPort, key: shop.buyer.key, length: body.count)
            next.send(body)
            let again = try await shop.worker.request("proxy")
            #expect(try await Self.rest(shop.worker, again).count == body.count - 4)
            shop.worker.answer(again, payload: #"{"status_code":200,"body":"{}"}"#)
            #expect(try await next.reply().status == 200)
        }
    }

    @Test(arguments: [
        ("\r\n--b\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nm2\r\n--b--\r\n", "model"),
        ("\r\n--b\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nm1\r\n--b--\r\n", "model"),
        ("\r\n--b\r\nnonsense\r\n\r\nx\r\n--b--\r\n", nil), ("no end", nil),
        ("\r\n--b--\r\n--b\r\ncontent-disposition: form-data; name=\"x\"\r\n\r\ny\r\n--b--\r\n", nil),
    ])
    func aFormThatTurnsBadIsTakenBack(tail: String, parameter: String?) async throws {
        try await Shop.open(capabilities: Self.capabilities) { shop in
            let body = Array(Self.form(file: Self.sound(2 << 20)).dropLast(9)) + Array(tail.utf8)
            let connection = try await Self.begin(shop.node.buyerPort, key: shop.buyer.key, length: body.count)
            connection.send(Array(body[..<(body.count - tail.utf8.count)]))
            let request = try await shop.worker.request("proxy")
            Self.credit(shop.worker, request, 100)
            #expect(try await Self.piece(shop.worker, request)?.count == 100)
            connection.send(tail)
            Self.credit(shop.worker, request, 8 << 20)
            try await Self.isCancelled(shop.worker)
            let reply = try await connection.reply()
            #expect(reply.status == 400)
            #expect(reply.errorCode == "invalid_request")
            #expect(reply.document?["error"]?["param"]?.text == parameter)
        }
    }

    /// The connection is read on behind a form that was refused at its very end, before any of it was wanted.
    @Test func aConnectionLivesOnBehindAFormWithoutAnEnd() async throws {
        try await Shop.open(capabilities: Self.capabilities) { shop in
            let body = Array(Self.form(file: Self.sound((1 << 20) + 20_000)).dropLast(9))
            let connection = try await Self.begin(shop.node.buyerPort, key: shop.buyer.key, length: body.count)
            connection.send(body)
            let reply = try await connection.reply()
            #expect(reply.status == 400 && reply.errorCode == "invalid_request")
            connection.request("GET", "/v1/models", key: shop.buyer.key)
            #expect(try await connection.reply().status == 200)
        }
    }

    @Test(
        arguments: [
            ("application/json", nil, 1, 2), ("application/vnd.x+json; charset=utf-8", nil, 1, 2),
            (" multipart/form-data; boundary=b", nil, 1, 2), ("audio/wav", 3, 2, 1), ("audio/wav", 1, 2, 0),
            ("audio/wav", 2, 2, nil), ("audio/wav", nil, 2, nil),
        ] as [(type: String, length: Int64?, comes: Int, fails: Int?)])
    func whatWasAnnouncedIsWhatComes(type: String, length: Int64?, comes: Int, fails: Int?) throws {
        // 2: at once; 0: while it passes; 1: at its end.
        var step: Int? = 2
        do {
            var check = try UploadCheck(contentType: type, model: nil, length: length)
            step = 0
            try check.pass(ByteBuffer(repeating: 0x78, count: comes))
            step = 1
            try check.end()
            step = nil
        } catch {
            #expect(error.code == .invalidRequest)
        }
        #expect(step == fails)
    }

    @Test func aBuyerWhoLeavesCancelsIt() async throws {
        try await Shop.open(capabilities: Self.capabilities) { shop in
            let body = Self.form(file: Self.sound(2 << 20))
            let connection = try await Self.begin(shop.node.buyerPort, key: shop.buyer.key, length: body.count)
            connection.send(Array(body[..<(body.count - 10)]))
            let request = try await shop.worker.request("proxy")
            Self.credit(shop.worker, request, 4 << 20)
            _ = try await Self.piece(shop.worker, request)
            connection.close()
            try await Self.isCancelled(shop.worker)
        }
    }

    @Test func aWorkerThatIsLostInTheMiddleIsAnError() async throws {
        try await Shop.open(capabilities: Self.capabilities) { shop in
            let body = Self.form(file: Self.sound(2 << 20))
            let connection = try await Self.begin(shop.node.buyerPort, key: shop.buyer.key, length: body.count)
            connection.send(Array(body[..<(body.count - 10)]))
            let request = try await shop.worker.request("proxy")
            Self.credit(shop.worker, request, 64 << 10)
            _ = try await Self.piece(shop.worker, request)
            shop.worker.connection.close()
            let reply = try await connection.reply()
            #expect(reply.status == 502)
            #expect(reply.errorCode == "worker_lost")
        }
    }

    /// What no worker can take in pieces is collected, as far as that goes.
    @Test func withoutSuchAWorkerTheBodyIsCollected() async throws {
        let plain = #"{"max_frame_bytes":16777216,"openai_compat":{"audio":true}}"#
        try await Shop.open(capabilities: plain) { shop in
            let sound = Self.sound(2 << 20)
            let body = Self.form(file: sound)
            let connection = try await Self.begin(shop.node.buyerPort, key: shop.buyer.key, length: body.count)
            connection.send(body)
            let request = try await shop.worker.request("proxy")
            let file = request["payload"]?["multipart"]?["files"]?.elements?.first
            #expect(file?["data_base64"]?.text.flatMap { Base64.bytes($0.utf8) } == sound)
            shop.worker.answer(request, payload: #"{"status_code":200,"body":"{}"}"#)
            #expect(try await connection.reply().status == 200)

            let large = try await Self.begin(shop.node.buyerPort, key: shop.buyer.key, length: 64 << 20)
            large.send(Array(body[..<(2 << 20)]))
            try await Self.refusedAsTooLarge(large, filler: sound)
        }
    }

    @Test func aModelBehindItsFileIsTooLate() async throws {
        try await Shop.open(capabilities: Self.capabilities) { shop in
            let sound = Self.sound(2 << 20)
            let late =
                Array("--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n".utf8) + sound
            let connection = try await Self.begin(shop.node.buyerPort, key: shop.buyer.key, length: 64 << 20)
            connection.send(late)
            let message = try await Self.refusedAsTooLarge(connection, filler: sound)
            #expect(message.contains("before its files"))
        }
    }

    /// Sends until the node has had enough.
    @discardableResult
    private static func refusedAsTooLarge(_ connection: RawConnection, filler: [UInt8]) async throws -> String {
        for _ in 0..<8 { connection.send(filler) }
        let reply = try await connection.reply()
        #expect(reply.status == 413)
        #expect(reply.errorCode == "body_too_large")
        return reply.errorMessage
    }

    // MARK: Across nodes

    private static func far(
        _ body: @escaping @Sendable (TestNode, Buyer, ScriptedWorker) async throws -> Void
    ) async throws {
        let southern = try await PreparedNode("south")
        try await withNode("north", allow: [southern.summary.nodeID]) { north in
            let peer = "\(north.nodeID)@127.0.0.1:\(north.linkPort)"
            try await withNode("south", prepared: southern, peers: [peer]) { south in
                try await south.user("bob")
                let bob = try await south.key(of: "bob")
                let token = try await north.provider("lab")
                let worker = try await eventually("the worker is admitted", within: 20) {
                    try? await ScriptedWorker.attach(
                        north.buyerPort, provider: "lab", token: token, capabilities: capabilities)
                }
                try await south.offers("lab/m1", to: bob)
                try await body(south, bob, worker)
            }
        }
    }

    @Test func itCrossesTheMesh() async throws {
        try await Self.far { south, bob, worker in
            let sound = Self.sound(6 << 20)
            let body = Self.form(file: sound)
            let connection = try await Self.begin(south.buyerPort, key: bob.key, length: body.count)
            connection.send(body)
            let request = try await worker.request("proxy")
            #expect(request["payload"]?["upload"]?["length"]?.integer == Int64(body.count - 4))
            #expect(try await Self.rest(worker, request) == Self.form(model: "m1", file: sound))
            worker.answer(request, payload: #"{"status_code":200,"body":"{}"}"#)
            let reply = try await connection.reply()
            #expect(reply.status == 200)
            #expect(reply["aisbf-node"] == "north")
        }
    }

    @Test func acrossTheMeshItWaitsAndEndsEarlyToo() async throws {
        try await Self.far { south, bob, worker in
            let body = Self.form(file: Self.sound(40 << 20))
            let connection = try await Self.begin(south.buyerPort, key: bob.key, length: body.count)
            connection.send(body)
            let request = try await worker.request("proxy")
            Self.credit(worker, request, 64 << 10)
            _ = try await Self.piece(worker, request)
            #expect(try await connection.unsentAtRest() > 16 << 20)
            worker.answer(request, payload: #"{"status_code":422,"body":"{\"error\":\"no sound\"}"}"#)
            let reply = try await connection.reply()
            #expect(reply.status == 422)

            let left = try await Self.begin(south.buyerPort, key: bob.key, length: body.count)
            left.send(Array(body[..<(4 << 20)]))
            let second = try await Self.request(worker)
            Self.credit(worker, second, 64 << 10)
            _ = try await Self.piece(worker, second)
            left.close()
            try await Self.isCancelled(worker)
        }
    }
}
