import MeshModel
import MeshTestServers
import MeshWire
import NIOCore
import NIOPosix
import Synchronization
import Testing

@testable import MeshUpstream

/// What a backend may do to the worker's client, and what becomes of it.
@Suite struct BackendAnswerTests {
    private struct Answer: Sendable {
        var status = 0
        var headers: [(name: String, value: String)] = []
        var length: Int?
        var body: [UInt8] = []
        var words: String?
        var text: String { String(decoding: body, as: UTF8.self) }
        func header(_ name: String) -> String? { headers.first { $0.name == name }?.value }
    }

    private static func with(
        _ backend: RawBackend, key: String? = nil, _ body: (OpenAIBackend) async throws -> Void
    ) async throws {
        try await backend.start()
        let client = BackendClient(group: MultiThreadedEventLoopGroup.singleton)
        do {
            try await body(OpenAIBackend(baseURL: backend.url, apiKey: key, client: client))
        } catch {
            try await client.shutdown()
            await backend.stop()
            throw error
        }
        try await client.shutdown()
        await backend.stop()
    }

    private static func ask(_ backend: OpenAIBackend, _ request: BackendRequest) async throws -> Answer {
        let answer = Mutex(Answer())
        try await backend.perform(request) { part in
            answer.withLock { answer in
                switch part {
                case .words(let words): answer.words = words
                case .head(let status, let headers, _, let length):
                    (answer.status, answer.headers, answer.length) = (status, headers, length)
                case .body(let bytes): answer.body += bytes.readableBytesView
                }
            }
        }
        return answer.withLock { $0 }
    }

    private static func chat(bytes: Int = 2) -> BackendRequest {
        BackendRequest(
            method: "POST", path: "/chat/completions", body: ByteBuffer(bytes: Array(repeating: 0x20, count: bytes)))
    }

    private static let get = BackendRequest(method: "GET", path: "/files/f")

    // MARK: Compressed answers

    /// `{"ok":true}` in each coding.
    private static let gzip = Base64.bytes(Array("H4sIAAAAAAACA6tWys9WsiopKk2tBQCQX9SnCwAAAA==".utf8)) ?? []
    private static let deflate = Base64.bytes(Array("eJyrVsrPVrIqKSpNrQUAFuMEEQ==".utf8)) ?? []

    @Test(arguments: [
        ("gzip", gzip), ("X-GZIP", gzip), ("deflate", deflate), ("identity", Array(#"{"ok":true}"#.utf8)),
    ])
    func aCodedAnswerIsDecodedThoughNobodyAskedForIt(coding: String, body: [UInt8]) async throws {
        let raw = RawBackend { _ in
            [.send(RawBackend.answer(200, body, [("Content-Encoding", coding)]))]
        }
        try await Self.with(raw) { backend in
            let answer = try await Self.ask(backend, Self.chat())
            #expect(answer.text == #"{"ok":true}"# && answer.header("content-encoding") == nil)
            #expect(answer.length == nil || coding == "identity")
            #expect(raw.requests.first?.headers["accept-encoding"] == "identity")
        }
    }

    @Test(arguments: [("br", gzip), ("gzip, br", gzip), ("gzip", Array(gzip.dropLast(12))), ("gzip", [1, 2, 3])])
    func whatCannotBeDecodedIsAFailureAndNoAnswer(coding: String, body: [UInt8]) async throws {
        let raw = RawBackend { _ in [.send(RawBackend.answer(200, body, [("content-encoding", coding)]))] }
        try await Self.with(raw) { backend in
            let failure = await #expect(throws: BackendFailure.self) { try await Self.ask(backend, Self.chat()) }
            #expect(failure?.code == "backend_bad_answer")
        }
    }

    // MARK: Connections

    /// A server whose limit for idle connections is up just when the next request comes.
    @Test func aKeptConnectionThatEndsWithoutAnAnswerIsTriedOnceMore() async throws {
        let raw = RawBackend { $0.onConnection == 1 ? [.send(RawBackend.answer(200, "{}"))] : [.close] }
        try await Self.with(raw) { backend in
            for size in [2, 70_000, 2, 2_000_000, 2, 2] {
                let answer = try await Self.ask(backend, Self.chat(bytes: size))
                #expect(answer.status == 200)
            }
            #expect(raw.requests.allSatisfy { [2, 70_000, 2_000_000].contains($0.body.count) })
        }
    }

    /// It could not be sent a second time.
    @Test func anUploadMeetsNoKeptConnection() async throws {
        let raw = RawBackend { $0.onConnection == 1 ? [.send(RawBackend.answer(200, "{}"))] : [.close] }
        try await Self.with(raw) { backend in
            for _ in 0..<3 {
                _ = try await Self.ask(backend, Self.chat())
                let (rooms, room) = AsyncStream<Int>.makeStream()
                let upload = UploadStream(length: 3) { room.yield($0) }
                var request = BackendRequest(method: "POST", path: "/audio/transcriptions")
                request.upload = upload
                async let answer = Self.ask(backend, request)
                for await _ in rooms { break }
                #expect(upload.arrived(ByteBuffer(string: "abc")))
                upload.ended()
                let status = try await answer.status
                #expect(status == 200)
            }
            #expect(raw.requests.filter { $0.method == "POST" && $0.body == Array("abc".utf8) }.count == 3)
        }
    }

    @Test func aNewConnectionThatEndsWithoutAnAnswerIsNotTriedAgain() async throws {
        let raw = RawBackend { _ in [.close] }
        try await Self.with(raw) { backend in
            let failure = await #expect(throws: BackendFailure.self) { try await Self.ask(backend, Self.chat()) }
            #expect(failure?.code == "backend_closed")
            #expect(raw.requests.count == 1)
        }
    }

    @Test func anAnswerThatHasBegunIsNotTriedAgain() async throws {
        let raw = RawBackend { request in
            guard request.onConnection > 1 else { return [.send(RawBackend.answer(200, "{}"))] }
            return [.send(Array("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf".utf8)), .close]
        }
        try await Self.with(raw) { backend in
            _ = try await Self.ask(backend, Self.chat())
            let failure = await #expect(throws: BackendFailure.self) { try await Self.ask(backend, Self.chat()) }
            #expect(failure?.code == "backend_closed")
            #expect(raw.requests.count == 2)
        }
    }

    /// As nginx does: the answer, its end of the connection, and then it reads on without looking.
    @Test(arguments: [20, 100_000, 4 << 20])
    func anAnswerBeforeTheBodyWasReadArrives(size: Int) async throws {
        let words = #"{"error":{"message":"too large for this backend","type":"invalid_request_error"}}"#
        let raw = RawBackend(answering: .head) { _ in
            [.send(RawBackend.answer(413, words, [("connection", "close")])), .endOutput]
        }
        try await Self.with(raw) { backend in
            for _ in 0..<20 {
                let answer = try await Self.ask(backend, Self.chat(bytes: size))
                #expect(answer.status == 413 && answer.text == words)
            }
        }
    }

    @Test func anAnswerBeforeTheBodyWasReadMayHaveNoLength() async throws {
        let raw = RawBackend(answering: .head) { _ in
            [.send(Array("HTTP/1.1 413 X\r\ncontent-type: text/plain\r\n\r\ntoo large".utf8)), .endOutput]
        }
        try await Self.with(raw) { backend in
            for _ in 0..<10 {
                let answer = try await Self.ask(backend, Self.chat(bytes: 4 << 20))
                #expect(answer.status == 413 && answer.text == "too large")
            }
        }
    }

    // MARK: Redirects

    @Test func aRedirectWithinTheBackendIsFollowed() async throws {
        let raw = RawBackend { request in
            request.target.hasSuffix("/")
                ? [.send(RawBackend.answer(200, request.method))]
                : [.send(RawBackend.answer(307, "", [("location", request.target + "/")]))]
        }
        try await Self.with(raw, key: "k") { backend in
            let posted = try await Self.ask(backend, Self.chat())
            let got = try await Self.ask(backend, Self.get)
            #expect(posted.text == "POST" && got.text == "GET")
            #expect(
                raw.requests.map(\.target) == [
                    "/v1/chat/completions", "/v1/chat/completions/", "/v1/files/f", "/v1/files/f/",
                ])
            #expect(raw.requests.allSatisfy { $0.headers["authorization"] == "Bearer k" })
        }
    }

    @Test(
        arguments: [
            (301, "/v1/chat/completions/"), (302, "/v1/chat/completions/"), (303, "/v1/x"), (307, nil),
            (307, "https://other.example.com/v1/chat/completions"), (308, "//127.0.0.2/v1/chat/completions"),
            (307, "/admin/keys"), (307, "/v1/../admin"), (308, "http://user@127.0.0.1/v1/x"), (304, nil),
            (300, "/v1/x"),
            (307, "/v1/chat/completions"), (307, "/v1/chat/completions/?again"),
        ] as [(Int, String?)])
    func anyOtherRedirectIsAFailure(status: Int, location: String?) async throws {
        let raw = RawBackend { _ in
            [.send(RawBackend.answer(status, "", location.map { [("location", $0)] } ?? []))]
        }
        try await Self.with(raw) { backend in
            let failure = try #require(
                await #expect(throws: BackendFailure.self) { try await Self.ask(backend, Self.chat()) })
            #expect(failure.code == "backend_redirect" && failure.message.contains("\(status)"))
            #expect(failure.detail.contains(location ?? "nowhere"))
            #expect(!failure.message.contains("127.0.0") && !failure.message.contains("example"))
            #expect(raw.requests.count <= 1 + Limits.workerBackendRedirects)
        }
    }

    // MARK: Words of errors

    @Test(arguments: [401, 402, 403, 407])
    func theSellersKeyIsNotTheBuyers(status: Int) async throws {
        let raw = RawBackend { _ in
            let said = "Incorrect API key provided: sk-seller-1234 for my-own-key"
            return [.send(RawBackend.answer(status, #"{"error":{"message":"\#(said)","code":"invalid_api_key"}}"#))]
        }
        try await Self.with(raw, key: "my-own-key") { backend in
            let failure = try #require(
                await #expect(throws: BackendFailure.self) { try await Self.ask(backend, Self.chat()) })
            #expect(failure.code == "backend_refused" && failure.message.contains("Incorrect API key provided"))
            #expect(!failure.message.contains("sk-seller") && !failure.message.contains("my-own-key"))
            #expect(failure.detail.contains("backend.api_key"))
        }
    }

    @Test func errorsPassWithoutTheSellersAddressesAndWithTheirHeaders() async throws {
        let clean = #"{ "error": {"message": "slow down", "type":"requests"} }"#
        let raw = RawBackend { request in
            let headers = [
                ("x-should-retry", "false"), ("retry-after-ms", "17250"), ("retry-after", "18"), ("set-cookie", "a=b"),
            ]
            guard request.target.hasSuffix("completions") else {
                let said = "open /srv/models/x.gguf at http://127.0.0.1:9/v1"
                return [.send(RawBackend.answer(500, #"{"error":{"message":"\#(said)"},"n":1.50}"#))]
            }
            return [.send(RawBackend.answer(429, clean, headers))]
        }
        try await Self.with(raw) { backend in
            let slow = try await Self.ask(backend, Self.chat())
            #expect(slow.status == 429 && slow.text == clean)
            #expect(slow.header("x-should-retry") == "false" && slow.header("retry-after-ms") == "17250")
            #expect(slow.header("retry-after") == "18" && slow.header("set-cookie") == nil)
            let broken = try await Self.ask(backend, Self.get)
            #expect(broken.text == #"{"error":{"message":"open (path) at (address)"},"n":1.50}"#)
            #expect(broken.words == "open /srv/models/x.gguf at http://127.0.0.1:9/v1")
        }
    }

    @Test func errorsInAStreamLoseTheSellersAddressesAndContentStays() async throws {
        let content =
            "data: {\"choices\":[{\"delta\":{\"content\":\"an error at http://127.0.0.1:9/v1\"}}], \"n\":1.50}\n\n"
        let raw = RawBackend { request in
            let host = request.headers["host"] ?? ""
            let error = "data: {\"error\":{\"message\":\"lost \(host) and my-own-key\"}}\r\n\r\n"
            return [
                .send(RawBackend.answer(200, content + error + "data: [DONE]\n\n", type: "text/event-stream"))
            ]
        }
        try await Self.with(raw, key: "my-own-key") { backend in
            let answer = try await Self.ask(backend, Self.chat())
            let told = "data: {\"error\":{\"message\":\"lost (address) and (address)\"}}\r\n\r\n"
            #expect(answer.text == content + told + "data: [DONE]\n\n")
        }
    }

    /// Wherever the network cuts it: in every two parts, and byte by byte.
    @Test(arguments: [
        (
            "data: {\"error\":{\"message\":\"lost my-own-key\"}}\n\n",
            "data: {\"error\":{\"message\":\"lost (address)\"}}\n\n"
        ),
        ("data:{\"error\":\"my-own-key\"}\r\n\r\n: x\r\n", "data: {\"error\":\"(address)\"}\r\n\r\n: x\r\n"),
        ("error: {\"message\":\"my-own-key\"}\r\r", "error: {\"message\":\"(address)\"}\r\r"),
        (
            "event: error\r\ndata: {\"message\":\"my-own-key\"}\r\n\r\ndata: {\"message\":\"my-own-key\"}\r\n\r\n",
            "event: error\r\ndata: {\"message\":\"(address)\"}\r\n\r\ndata: {\"message\":\"my-own-key\"}\r\n\r\n"
        ),
        ("data: {\"error\":\"my-own-key\"}", "data: {\"error\":\"(address)\"}"),
        ("data: {\"content\":\"an error of my-own-key\"}\n\ndata: [DONE]", nil),
        ("data: {\"error\":\n\nevent\n\ndata\n\n{\"error\":\"my-own-key\"}\n", nil),
    ])
    func anErrorThatIsCutInTwoLosesTheSellersOwnToo(stream: String, told: String?) {
        let bytes = Array(stream.utf8)
        let cuts = (0...bytes.count).map { [bytes[..<$0], bytes[$0...]] } + [bytes.indices.map { bytes[$0...$0] }]
        for parts in cuts {
            var cleaner = ErrorEventCleaner(PublicWords(hiding: ["my-own-key"]))
            var output = parts.map { cleaner.take(ByteBuffer(bytes: $0)) }
            if let rest = cleaner.finish() { output.append(rest) }
            #expect(output.map { String(buffer: $0) }.joined() == told ?? stream, "\(parts[0].count)")
        }
    }

    /// What cannot be an error is not held back for a line end that may never come, nor is more of it than an error has.
    @Test(arguments: ["data: [DONE]", ": alive", "id: 5", "data: {\"a\":1}\n\ndata: [DONE]", "error"])
    func nothingElseIsHeldBack(stream: String) {
        var cleaner = ErrorEventCleaner(PublicWords())
        #expect(String(buffer: cleaner.take(ByteBuffer(string: stream))) == (stream == "error" ? "" : stream))
        let long = "{" + String(repeating: "x", count: Limits.workerBackendErrorBytes)
        var patient = ErrorEventCleaner(PublicWords())
        let first = patient.take(ByteBuffer(string: "data: {"))
        #expect(first.readableBytes == 0)
        #expect(patient.take(ByteBuffer(string: long)).readableBytes == 7 + long.utf8.count)
        #expect(patient.take(ByteBuffer(string: "y")).readableBytes == 1)
    }

    @Test func nobodyThereIsSaidWithoutTheAddress() async throws {
        let client = BackendClient(group: MultiThreadedEventLoopGroup.singleton)
        let backend = OpenAIBackend(baseURL: "http://127.0.0.1:1/v1", apiKey: nil, client: client)
        let failure = await #expect(throws: BackendFailure.self) { try await Self.ask(backend, Self.chat()) }
        #expect(failure?.code == "backend_unreachable" && failure?.message == "no connection to its backend")
        #expect(failure?.detail == "connection refused: nobody listens at http://127.0.0.1:1/v1")
        try await client.shutdown()
    }

    // MARK: Ranges

    @Test func aRangeReachesTheBackendAndItsPartComesBack() async throws {
        let raw = RawBackend { request in
            guard request.headers["range"] == "bytes=1-2" else { return [.send(RawBackend.answer(200, "abcd"))] }
            return [.send(RawBackend.answer(206, "bc", [("content-range", "bytes 1-2/4"), ("etag", "\"v\"")]))]
        }
        try await Self.with(raw) { backend in
            var request = Self.get
            request.headers = [("range", "bytes=1-2"), ("if-range", "\"v\""), ("accept", "image/png")]
            let part = try await Self.ask(backend, request)
            #expect(part.status == 206 && part.text == "bc" && part.header("content-range") == "bytes 1-2/4")
            let seen = try #require(raw.requests.first)
            #expect(seen.headers["if-range"] == "\"v\"" && seen.headers["accept"] == "image/png")
            let whole = try await Self.ask(backend, Self.get)
            #expect(whole.text == "abcd")
        }
    }
}
