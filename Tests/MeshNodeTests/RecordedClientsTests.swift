import Foundation
import MeshWire
import Testing

/// What programs sent when they were tried (`run.py --record`), sent again: it is answered in the form that each of them reads.
@Suite(.serialized, .nodeLog) struct RecordedClientsTests {
    static let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "RealClients/Recorded")
    static let files =
        (try? FileManager.default.contentsOfDirectory(atPath: folder.path).filter { $0.hasSuffix(".json") }.sorted())
        ?? []

    private static func read(_ file: String) throws -> [JSONValue] {
        let data = try Data(contentsOf: folder.appending(path: file))
        // The model of the shop in the place of the one that was asked then.
        let text = String(decoding: data, as: UTF8.self).replacing("shop/chat", with: "lab/m1")
        return try JSONValue.parse(Array(text.utf8)).elements ?? []
    }

    private static func send(_ recorded: JSONValue, to shop: Shop) async throws -> RawConnection {
        let connection = try await RawConnection.open(port: shop.node.buyerPort)
        let headers = (recorded["headers"]?.members ?? []).compactMap { member in
            member.value.text.map { "\(member.name): \($0)" }
        }
        let body = recorded["body"].flatMap { $0.members == nil ? nil : $0.bytes } ?? []
        connection.request(
            recorded["method"]?.text ?? "GET", recorded["path"]?.text ?? "/", key: shop.buyer.key,
            headers: headers.filter { !$0.utf8.contains { $0 > 0x7E } }, body: body)
        return connection
    }

    /// As a worker of chats does.
    private static func answer(_ shop: Shop) async throws -> JSONValue {
        let asked = try await shop.worker.request("chat.completions")
        guard asked["payload"]?["stream"]?.flag == true else {
            let whole =
                #"{"id":"c","object":"chat.completion","choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"OK"}}]}"#
            shop.worker.answer(asked, payload: whole)
            return asked
        }
        shop.worker.chunk(asked, #"data: {"choices":[{"index":0,"delta":{"content":"OK"}}]}"# + "\n\n")
        shop.worker.chunk(
            asked,
            #"data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"# + "\n\n"
                + #"data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":1,"total_tokens":10}}"#
                + "\n\ndata: [DONE]\n\n")
        shop.worker.done(asked)
        return asked
    }

    private static func end(of path: String) -> String {
        if path.contains("/messages") { return "event: message_stop" }
        return path.contains("/responses") ? "event: response.completed" : "data: [DONE]"
    }

    @Test func thereAreSome() { #expect(Self.files.count >= 4) }

    @Test(arguments: files) func whatItSentIsAnswered(file: String) async throws {
        try await Shop.open { shop in
            for recorded in try Self.read(file) {
                let path = recorded["path"]?.text ?? ""
                let connection = try await Self.send(recorded, to: shop)
                defer { connection.close() }
                let isAsked = recorded["method"]?.text == "POST" && !path.contains("count_tokens")
                if isAsked {
                    let asked = try await Self.answer(shop)
                    #expect(asked["payload"]?["messages"]?.elements?.isEmpty == false, "\(path)")
                }
                let reply = try await connection.reply(isHead: recorded["method"]?.text == "HEAD")
                if recorded["method"]?.text == "HEAD" { continue }
                #expect(reply.status == 200, "\(path): \(reply.status) \(reply.text)")
                guard isAsked else { continue }
                if recorded["body"]?["stream"]?.flag == true {
                    #expect(reply["content-type"] == "text/event-stream" && reply.text.contains(Self.end(of: path)))
                } else {
                    #expect(reply.document != nil, "\(path)")
                }
                #expect(reply.text.contains("OK"), "\(path): \(reply.text)")
            }
        }
    }
}
