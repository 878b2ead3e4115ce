import MeshModel
import MeshNode
import MeshWire
import Testing

/// A worker breaks off in the middle of its answer, and another goes on.
@Suite(.serialized, .nodeLog) struct ResumeTests {
    private static func chunk(_ text: String) -> String {
        #"data: {"choices":[{"index":0,"delta":{"content":"\#(text)"},"finish_reason":null}]}"# + "\n\n"
    }

    private static func body(_ model: String, _ more: String) -> String {
        #"{"model":"\#(model)","stream":true,"messages":[{"role":"user","content":"Hi"}]\#(more)}"#
    }

    /// The first has said two words when it goes; the second says two more.
    private static func play(_ shop: TwoSellers) {
        shop.first.answers { worker, request in
            worker.chunk(request, chunk("One "))
            worker.chunk(request, chunk("two "))
            worker.connection.close()
        }
        shop.second.answers { worker, request in
            worker.chunk(request, chunk("three"))
            worker.chunk(request, #"data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"# + "\n\n")
            worker.done(request)
        }
    }

    private static func said(_ reply: Reply) -> String {
        reply.text.split(separator: "\n").filter { $0.hasPrefix("data: {") }.compactMap { line in
            let document = try? JSONValue.parse(Array(line.dropFirst(6).utf8))
            return document?["choices"]?.elements?.first?["delta"]?["content"]?.text
        }.joined()
    }

    @Test(arguments: ["rotation/pair", "auto"])
    func anotherGoesOn(model: String) async throws {
        try await TwoSellers.open { shop in
            try await shop.rotation(#"{"name":"pair","members":["lab",{"target":"den","tier":1}]}"#)
            Self.play(shop)
            let order = model == "auto" ? #","provider":{"order":["lab"]}"# : ""
            let reply = try await shop.bob.ask(Self.body(model, order + #","aisbf":{"resume":true}"#))
            #expect(reply.status == 200)
            #expect(Self.said(reply) == "One two three", "\(reply.text)")
            #expect(reply.text.ranges(of: "[DONE]").count == 1, "\(reply.text)")
            #expect(!reply.text.contains("error"))
            #expect(reply.text.contains(#""resumed":{"provider":"global@north/den""#), "\(reply.text)")
            let messages = try #require(shop.second.latest?["messages"]?.elements)
            #expect(messages.map { $0["content"]?.text } == ["Hi", "One two "])
            #expect(messages.last?["role"]?.text == "assistant")
            #expect(shop.second.latest?["aisbf"] == nil)
        }
    }

    @Test func nobodyGoesOnWhereNobodyAsked() async throws {
        try await TwoSellers.open { shop in
            try await shop.rotation(#"{"name":"pair","members":["lab",{"target":"den","tier":1}]}"#)
            Self.play(shop)
            let reply = try await shop.bob.ask(Self.body("rotation/pair", ""))
            #expect(Self.said(reply) == "One two ")
            #expect(reply.text.contains("stream_interrupted") || reply.text.contains("worker_lost"), "\(reply.text)")
            #expect(!reply.text.contains("[DONE]"))
            #expect(shop.second.count == 0)
        }
    }
}
