import Foundation
import Testing

/// What is not chat, through a real node and workers of every released generation.
@Suite(.serialized) struct GenerationProxyTests {
    private static let speech = (0..<1_024).map { UInt8(truncatingIfNeeded: $0) }

    @Test func soundPicturesAndFormsComeThroughEveryGeneration() async throws {
        await atOnce(GenerationTests.generations) { try await Self.soundPicturesAndFormsComeThrough($0) }
    }

    private static func soundPicturesAndFormsComeThrough(_ generation: String) async throws {
        let market = try await Market.open(["log": ["level": "trace"]])
        let client = try market.start(generation)
        #expect(await market.lists(GenerationTests.models), "\(client.output)")

        let speech = try await market.post("audio/speech", json: #"{"model":"gpu/echo","input":"Hi"}"#)
        #expect(speech.status == 200, "\(speech)\n\(client.output)")
        #expect(speech.headers["content-type"] == "audio/wav", "\(speech.headers)")
        #expect(speech.body == Self.speech, "\(speech.body.count) bytes")
        if generation != "D" {
            #expect(speech.headers["content-disposition"] == "attachment; filename=\"speech.wav\"")
            #expect(speech.headers["content-length"] == "1024")
        }

        let picture = try await market.post("images/generations", json: #"{"model":"gpu/echo","prompt":"a cät"}"#)
        #expect(picture.status == 200, "\(picture)\n\(client.output)")
        #expect(picture.headers["content-type"] == "application/json")
        #expect(picture.document?["prompt"] as? String == "a cät", "\(picture)")
        let data = picture.document?["data"] as? [[String: Any]]
        #expect(data?.first?["b64_json"] as? String == "iVBORw0KGgo=")

        #expect(client.output.components(separatedBy: "request proxy").count == 3, "\(client.output)")
        // What it does not advertise it is never asked for, though it would answer.
        let edits = try await market.post("images/edits", json: #"{"model":"gpu/echo"}"#)
        #expect(edits.status == 404 && edits.code == "endpoint_not_offered", "\(edits)")
        let admin = try await market.post("admin/models", json: #"{"model":"gpu/echo"}"#)
        #expect(admin.status == 404, "\(admin)")
        #expect(try await market.ask("echo").status == 200, "\(client.output)")
        #expect(client.output.components(separatedBy: "request proxy").count == 3, "\(client.output)")

        try await Self.aFormAndOtherBytesArriveWhole(market, client)

        // Three of them dial with the token in the URL.
        #expect(market.shop.process.output.contains("\n"), "the node logs nothing at all")
        #expect(!market.shop.process.output.contains(market.token))
        await market.close()
        #expect(!market.shop.process.output.contains(market.token))
    }

    /// What the worker got of a form and of other bytes is what was sent.
    private static func aFormAndOtherBytesArriveWhole(_ market: Market, _ client: ChildProcess) async throws {
        let sound = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
        let file = "\(market.shop.node.directory.path)/sound.wav"
        try Data(sound).write(to: URL(fileURLWithPath: file))
        let hash = try await sha256(file)
        let form = try await market.post(
            "audio/transcriptions",
            ["-F", "model=gpu/echo", "-F", "prompt=süß", "-F", "file=@\(file);type=audio/wav;filename=a b.wav"])
        #expect(form.status == 200, "\(form)\n\(client.output)")
        let fields = form.document?["fields"] as? [[String: String]]
        #expect(
            fields == [["name": "model", "value": "echo"], ["name": "prompt", "value": "süß"]], "\(form)")
        let files = form.document?["files"] as? [[String: String]]
        #expect(
            files == [["name": "file", "filename": "a b.wav", "content_type": "audio/wav", "sha256": hash]], "\(form)")
        let bytes = try await market.post(
            "audio/transcriptions?model=gpu/echo", ["-H", "content-type: audio/wav", "--data-binary", "@\(file)"])
        #expect(bytes.status == 200, "\(bytes)\n\(client.output)")
        #expect(bytes.document?["sha256"] as? String == hash, "\(bytes)")
        #expect(bytes.document?["content_type"] as? String == "audio/wav")
    }

    /// A worker that does one thing at a time, asked for four.
    @Test(arguments: ["D"]) func fourRequestsAtOnceWaitTheirTurnAtASerialWorker(_ generation: String) async throws {
        let market = try await Market.open()
        let client = try market.start(generation, ["--serial"])
        #expect(await market.lists(GenerationTests.models), "\(client.output)")
        async let whole = market.ask("echo")
        async let streamed = market.ask("slow", stream: true)
        async let speech = market.post("audio/speech", json: #"{"model":"gpu/echo","input":"Hi"}"#)
        async let picture = market.post("images/generations", json: #"{"model":"gpu/echo","prompt":"p"}"#)
        let text = "Generation \(generation) says: Hi – äöü €uro 😀 done"
        #expect(try await whole.text == text, "\(client.output)")
        #expect(try await streamed.text == text, "\(client.output)")
        #expect(try await speech.body == Self.speech, "\(client.output)")
        #expect(try await picture.document?["prompt"] as? String == "p", "\(client.output)")
        #expect(!client.output.contains("closed"), "\(client.output)")
        await market.close()
    }

    /// Counted by another program than the worker that is compared with.
    private static func sha256(_ file: String) async throws -> String {
        let child = try ChildProcess("/usr/bin/env", ["sha256sum", file])
        let code = await child.exitCode(within: 10)
        #expect(code == 0, "\(child.output)")
        return String(child.output.prefix(64))
    }
}

extension Market {
    /// An answer whose body may be anything.
    struct BytesReply: CustomStringConvertible {
        var status: Int
        var headers: [String: String]
        var body: [UInt8]

        var document: [String: Any]? { (try? JSONSerialization.jsonObject(with: Data(body))) as? [String: Any] }
        var code: String? { (document?["error"] as? [String: Any])?["code"] as? String }
        var description: String { "\(status) \(headers) \(String(decoding: body.prefix(500), as: UTF8.self))" }
    }

    func post(_ path: String, json: String) async throws -> BytesReply {
        try await post(path, ["-H", "content-type: application/json", "-d", json])
    }

    func post(_ path: String, _ arguments: [String]) async throws -> BytesReply {
        let file = "\(shop.node.directory.path)/answer-\(UInt32.random(in: 0 ... .max))"
        let answer = try await Curl.run(
            ["-o", file, "-D", "-", "-H", "authorization: Bearer \(shop.key)"] + arguments
                + ["\(shop.node.url)/v1/\(path)"])
        let body = try Data(contentsOf: URL(fileURLWithPath: file))
        // With `-i` curl writes the head into the file as well.
        let end = Data("\r\n\r\n".utf8)
        var rest = body[...]
        while rest.starts(with: Data("HTTP/".utf8)), let split = rest.range(of: end) {
            rest = rest[split.upperBound...]
        }
        return BytesReply(status: answer.status, headers: answer.headers, body: Array(rest))
    }
}
