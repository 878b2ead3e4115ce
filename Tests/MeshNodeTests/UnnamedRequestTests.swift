import MeshExchange
import MeshModel
import MeshRuntime
import MeshWire
import NIOCore
import Testing

/// A request goes to the provider that its sender named, whatever it calls its body, and to nobody else.
@Suite(.serialized, .nodeLog) struct UnnamedRequestTests {
    private static let capabilities =
        #"{"openai_compat":{"embeddings":true,"audio":true,"images":true,"rerank":true,"files":true},"#
        + #""studio":{"endpoints":["v1/pipelines","v1/video"]}}"#
    private static let json = #"{"model":"lab/m1","input":"secret"}"#

    /// A node with the provider `lab` and another one that offers the same endpoints and other models.
    private static func open(
        _ body: @escaping @Sendable (Shop, _ other: ScriptedWorker) async throws -> Void
    ) async throws {
        try await Shop.open(capabilities: capabilities) { shop in
            let token = try await shop.node.provider("other")
            let worker = try await eventually("the other worker is admitted") {
                try? await ScriptedWorker.attach(
                    shop.node.buyerPort, provider: "other", token: token, models: ["m2"], capabilities: capabilities)
            }
            try await shop.node.offers("other/m2", to: shop.buyer)
            try await body(shop, worker)
        }
    }

    private static func send(
        _ port: Int, key: String?, _ path: String, _ body: String, method: String = "POST", type: String?
    ) async throws -> RawConnection {
        let connection = try await RawConnection.open(port: port)
        connection.request(
            method, path, key: key, headers: type.map { ["content-type: \($0)"] } ?? [], body: Array(body.utf8))
        return connection
    }

    private static let types: [String?] = [
        nil, "application/x-www-form-urlencoded", "text/plain;charset=UTF-8", "application/octet-stream",
        "application/json", "Application/JSON", "audio/wav", "x",
    ]

    /// What curl sends with `-d`, what browsers send, and nothing at all.
    @Test func jsonGoesToItsModelWhateverItsTypeIs() async throws {
        try await Self.open { shop, other in
            for type in Self.types {
                for path in ["/v1/embeddings", "/v1/rerank", "/v1/audio/speech", "/v1/files"] {
                    let connection = try await Self.send(
                        shop.node.buyerPort, key: shop.buyer.key, path, Self.json, type: type)
                    let frame = try await shop.worker.next("the proxied request")
                    #expect(frame.text.hasSuffix(#","body":{"model":"m1","input":"secret"}}}"#), "\(type ?? "none")")
                    let told = frame.document?["payload"]?["content_type"]?.text ?? ""
                    #expect(BodyKind(contentType: told) == .json && !told.isEmpty, "\(told)")
                    shop.worker.answer(try #require(frame.document), payload: #"{"status_code":200,"body":"{}"}"#)
                    #expect(try await connection.reply().status == 200)
                    connection.close()
                }
            }
            #expect(other.connection.pending.isEmpty)
        }
    }

    @Test func theSameHoldsAtAnotherNode() async throws {
        try await withTwoNodes { north, south in
            try await south.user("bob")
            let bob = try await south.key(of: "bob")
            let token = try await north.provider("lab")
            let worker = try await ScriptedWorker.admitted(at: north, token: token, capabilities: Self.capabilities)
            try await south.offers("lab/m1", to: bob)
            for type in Self.types {
                let connection = try await Self.send(
                    south.buyerPort, key: bob.key, "/v1/embeddings", Self.json, type: type)
                let frame = try await worker.next("the proxied request")
                #expect(frame.text.hasSuffix(#","body":{"model":"m1","input":"secret"}}}"#), "\(type ?? "none")")
                worker.answer(try #require(frame.document), payload: #"{"status_code":200,"body":"{}"}"#)
                #expect(try await connection.reply().status == 200)
                connection.close()
            }
            let repeated = try await Self.send(
                south.buyerPort, key: bob.key, "/v1/files/f?include%5B%5D=b&order=asc&include%5B%5D=a&model=lab/m1", "",
                method: "GET", type: nil)
            let request = try await worker.request("proxy")
            #expect(
                request["payload"]?["query_params"] == ["include[]": ["b", "a"], "order": "asc", "model": "m1"])
            worker.answer(request, payload: #"{"status_code":200,"body":"{}"}"#)
            #expect(try await repeated.reply().status == 200)
            let unnamed = try await Self.send(
                south.buyerPort, key: bob.key, "/v1/embeddings", #"{"input":"secret"}"#, type: "text/plain")
            let reply = try await unnamed.reply()
            #expect(reply.status == 400 && reply.errorMessage.contains("aisbf-model"), "\(reply.text)")
        }
    }

    struct Refused: Sendable, CustomStringConvertible {
        var path = "/v1/embeddings"
        var method = "POST"
        var type: String?
        var body: String
        var says: String
        var description: String { "\(method) \(path) \(type ?? "") \(body.prefix(60))" }
    }

    private static func part(_ name: String, _ value: String, file: String = "") -> String {
        "--b\r\ncontent-disposition: form-data; name=\"\(name)\"\(file)\r\n\r\n\(value)\r\n"
    }

    private static let form = "multipart/form-data; boundary=b"

    static let refused: [Refused] = [
        // No name at all.
        Refused(body: #"{"input":"secret"}"#, says: "name the model"),
        Refused(body: "", says: "name the model"),
        Refused(path: "/v1/files", body: #"{"x":1}"#, says: "name the model"),
        Refused(path: "/v1/pipelines/p/run", body: "{}", says: "name the model"),
        Refused(path: "/v1/video/dub", type: "video/mp4", body: "bytes", says: "name the model"),
        Refused(
            path: "/v1/audio/transcriptions", type: form, body: part("x", "1") + "--b--\r\n", says: "name the model"),
        Refused(path: "/v1/audio/voices", method: "GET", body: "", says: "name the model"),
        Refused(path: "/v1/files/f", method: "DELETE", type: "text/plain", body: "secret", says: "name the model"),
        Refused(path: "/v1/embeddings?worker=00112233aabb", body: "{}", says: "name the model"),
        // One that could be read as another.
        Refused(type: "application/x-www-form-urlencoded", body: "model=lab/m1&input=x", says: "urlencoded"),
        Refused(
            path: "/v1/embeddings?model=lab/m1", type: "application/x-www-form-urlencoded", body: "model=other/m2",
            says: "urlencoded"),
        Refused(body: #"{"model":"lab/m1","Model":"other/m2"}"#, says: "twice"),
        Refused(body: #"{"Model":"lab/m1"}"#, says: "'model'"),
        Refused(body: #"{"model":null}"#, says: "'model'"),
        Refused(path: "/v1/embeddings?model=lab/m1", type: "text/plain", body: "{", says: "JSON"),
        Refused(path: "/v1/embeddings?model=lab/m1", type: "text/plain", body: "{\u{0}\"\u{0}", says: "JSON"),
        Refused(path: "/v1/embeddings?model=lab/m1&model=other/m2", body: "{}", says: "twice"),
        Refused(path: "/v1/embeddings?provider=lab&provider=other", body: "{}", says: "twice"),
        Refused(
            type: form, body: part("model", "lab/m1", file: "; filename=\"a\"") + "--b--\r\n", says: "not as a file"),
        Refused(type: form, body: part("model", "lab/m1") + part("model", "other/m2") + "--b--\r\n", says: "once"),
        Refused(
            path: "/v1/embeddings?model=lab/m1", type: form, body: part("model", "") + "--b--\r\n", says: "1 to 512"),
    ]

    @Test func whatNamesNoModelOrTwoIsToldSo() async throws {
        try await Self.open { shop, other in
            for row in Self.refused {
                let connection = try await Self.send(
                    shop.node.buyerPort, key: shop.buyer.key, row.path, row.body, method: row.method, type: row.type)
                let reply = try await connection.reply()
                #expect(reply.status == 400, "\(row): \(reply.status) \(reply.text)")
                #expect(reply.errorMessage.contains(row.says), "\(row): \(reply.text)")
                connection.close()
            }
            #expect(shop.worker.connection.pending.isEmpty && other.connection.pending.isEmpty)
            // Several could have what is asked for, and one of them is named.
            let several = try await shop.buyer.call("GET", "/v1/files/f-1")
            #expect(several.status == 400 && several.errorMessage.contains("global@north/lab"), "\(several.text)")
            let named = try await Self.send(
                shop.node.buyerPort, key: shop.buyer.key, "/v1/files/f-1?provider=lab", "", method: "GET", type: nil)
            shop.worker.answer(try await shop.worker.request("proxy"), payload: #"{"status_code":200,"body":"{}"}"#)
            #expect(try await named.reply().status == 200)
        }
    }

    /// The entry node and the hosting node look at an upload in the same way.
    @Test func anUploadIsNotJSONAndItsModelIsNoFile() throws {
        func isRefused(_ type: String, _ pieces: [String]) -> Bool {
            do throws(MeshError) {
                var check = try UploadCheck(contentType: type, model: "m1", length: nil)
                for piece in pieces { try check.pass(ByteBuffer(string: piece)) }
                try check.end()
                return false
            } catch { return true }
        }
        #expect(!isRefused("audio/wav", ["RIFF{", "{}"]))
        #expect(!isRefused("audio/wav", [" ", ""]))
        #expect(isRefused("audio/wav", ["  ", "\n", #"{"model":"m2"}"#]))
        #expect(isRefused("application/x-www-form-urlencoded", ["model=m2"]))
        #expect(isRefused("application/json", ["x"]))
        #expect(!isRefused(Self.form, [Self.part("model", "m1"), Self.part("f", "x", file: "; filename=a"), "--b--"]))
        #expect(isRefused(Self.form, [Self.part("model", "m1", file: "; filename=a"), "--b--"]))
        #expect(isRefused(Self.form, [Self.part("model", "m1"), Self.part("model", "m1"), "--b--"]))
        #expect(isRefused(Self.form, [Self.part("model", "m2"), "--b--"]))
    }

    /// Over HTTP/1.1 the parser refuses such headers; what comes another way must not pass either.
    @Test func lineBreaksInHeadersGoNowhere() async throws {
        try await Self.open { shop, _ in
            let connection = try await RawConnection.open(port: shop.node.buyerPort)
            connection.request(
                "POST", "/v1/embeddings", key: shop.buyer.key, headers: ["accept: a\u{1}b"], body: Array(Self.json.utf8)
            )
            try await eventually("a refusal, or a request without it") {
                connection.isClosed || connection.received > 0 || !shop.worker.connection.pending.isEmpty
            }
            guard !shop.worker.connection.pending.isEmpty else { return }
            #expect(try await shop.worker.request("proxy")["payload"]?["headers"] == [:])
        }
    }
}
