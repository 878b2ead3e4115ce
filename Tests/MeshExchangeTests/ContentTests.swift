import MeshModel
import MeshWire
import NIOCore
import Testing

@testable import MeshExchange

/// A request is rendered for each place when that place gets it: golden documents, and the buyer's bytes where nothing
/// of them has to change.
@Suite struct ContentTests {
    private static func body(_ text: String, needsModel: Bool = true) throws -> BuyerBody {
        try BuyerBody.read(ByteBuffer(string: text), needsModel: needsModel)
    }

    private static func text(_ content: Content, _ model: String?) -> String {
        let rendered = content.document(model: model)
        #expect(rendered.readableBytes == rendered.joined.readableBytes)
        var frame = ByteBuffer(string: "head")
        rendered.write(into: &frame)
        #expect(frame.readableBytes == 4 + rendered.readableBytes)
        return String(buffer: rendered.joined)
    }

    private static func head(_ path: String, query: [ProxyHead.Item] = [], inside: Bool = true) throws -> ProxyHead {
        ProxyHead(
            endpoint: try #require(EndpointPath(path)), method: "POST", accept: "a/b",
            passed: [.init("range", "bytes=0-1")], query: query, wantsStream: true, worker: "00112233aabb",
            contentType: "application/json", isModelInside: inside)
    }

    @Test func aChatPassesAsItIsButForItsModel() throws {
        let content = Content.chat(try Self.body(#"{ "model" : "lab/m1", "messages": [1 , 2]}"#))
        #expect(Self.text(content, "m1") == #"{ "model" : "m1", "messages": [1 , 2]}"#)
        #expect(Self.text(content, "x\"\\ä") == #"{ "model" : "x\"\\ä", "messages": [1 , 2]}"#)
        #expect(content.document(model: "lab/m1").pieces.count == 1)
        #expect(content.operation == .chatCompletions && content.upload(model: "m1") == nil)
    }

    @Test func everyPlaceHasItsOwnNameForTheModel() throws {
        let content = Content.chat(try Self.body(#"{"model":"pool"}"#))
        #expect(
            ["a", "b/c", "a"].map { Self.text(content, $0) } == [
                #"{"model":"a"}"#, #"{"model":"b/c"}"#, #"{"model":"a"}"#,
            ])
    }

    @Test func aProxiedBodyStandsInItsDocument() throws {
        let content = Content.proxy(try Self.head("/v1/embeddings"), .json(try Self.body(#"{"model":"a","x":[ 1 ]}"#)))
        #expect(
            Self.text(content, "m1")
                == #"{"endpoint_path":"/v1/embeddings","method":"POST","headers":{"accept":"a/b","range":"bytes=0-1"},"query_params":{},"stream":true,"model":"m1","worker":"00112233aabb","content_type":"application/json","body":{"model":"m1","x":[ 1 ]}}"#
        )
    }

    @Test func whatTheBodyDoesNotNameStandsInTheQuery() throws {
        let head = try Self.head(
            "/v1/files", query: [.init("a", "1"), .init("b", "2"), .init("a", "3")], inside: false)
        #expect(
            Self.text(.proxy(head, .bytes(ByteBuffer(bytes: [0, 255]))), "m1")
                == #"{"endpoint_path":"/v1/files","method":"POST","headers":{"accept":"a/b","range":"bytes=0-1"},"query_params":{"a":["1","3"],"b":"2","model":"m1"},"stream":true,"model":"m1","worker":"00112233aabb","content_type":"application/json","body_base64":"AP8="}"#
        )
        #expect(
            Self.text(.proxy(head, .none), nil).hasSuffix(
                #""worker":"00112233aabb","content_type":"application/json"}"#))
    }

    @Test func anUploadSaysHowMuchItIs() throws {
        let head = try Self.head("/v1/audio/transcriptions")
        let content = Content.proxy(head, .upload(ByteBuffer(string: "xx lab/m1 yy"), model: 3..<9, length: 100))
        #expect(Self.text(content, "m1").hasSuffix(#","upload":{"length":96}}"#))
        let upload = try #require(content.upload(model: "m1"))
        #expect(String(buffer: upload.beginning) == "xx m1 yy" && upload.length == 96)
        let endless = Content.proxy(head, .upload(ByteBuffer(), model: nil, length: nil))
        #expect(Self.text(endless, nil).hasSuffix(#","upload":{}}"#))
    }

    @Test func aDocumentOfAnotherNodeStaysAsItIs() {
        let document = ByteBuffer(string: #"{"model":"m1"}"#)
        #expect(Self.text(.document(document, .proxy), "other") == #"{"model":"m1"}"#)
    }

    /// What this node renders, a hosting node takes.
    @Test func whatIsRenderedIsRead() throws {
        let json = Content.proxy(try Self.head("/v1/embeddings"), .json(try Self.body(#"{"model":"a"}"#)))
        let read = try json.document(model: "m1").joined.withUnsafeReadableBytes { raw -> WorkerPayload in
            try WorkerPayload.read(raw, .proxy)
        }
        #expect(read.model == "m1" && read.endpoint?.text == "/v1/embeddings" && read.worker == "00112233aabb")
        #expect(read.form == .events && read.upload == nil)
    }
}
