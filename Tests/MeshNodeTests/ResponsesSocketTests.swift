import MeshModel
import MeshWire
import Testing

/// A WebSocket of the Responses API at a node, frame by frame.
@Suite(.serialized, .nodeLog) struct ResponsesSocketTests {
    private static func dial(_ shop: Shop, key: String? = nil) async throws -> (reply: Reply, socket: ScriptedWorker) {
        let (reply, connection) = try await ScriptedWorker.dial(
            shop.node.buyerPort, path: "/v1/responses",
            headers: [
                "authorization: Bearer \(key ?? shop.buyer.key ?? "")", "openai-beta: responses_websockets=2026-02-06",
            ])
        return (reply, ScriptedWorker(connection: connection))
    }

    /// What the node says, up to an event of this type.
    private static func said(_ socket: ScriptedWorker, until type: String) async throws -> [JSONValue] {
        var events: [JSONValue] = []
        while events.last?["type"]?.text != type {
            let frame = try await socket.next(type)
            guard frame.opcode == 1, let event = frame.document else {
                throw NotSeen(description: "\(type), but \(frame.opcode) \(frame.text)")
            }
            events.append(event)
        }
        return events
    }

    private static func answer(_ shop: Shop, _ asked: JSONValue) {
        shop.worker.chunk(asked, #"data: {"choices":[{"index":0,"delta":{"content":"Hi"}}]}"# + "\n\n")
        shop.worker.chunk(
            asked, #"data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"# + "\n\ndata: [DONE]\n\n")
        shop.worker.done(asked)
    }

    private static let hi = #"{"type":"response.create","model":"lab/m1","input":"hi"}"#

    @Test func framesAreRequests() async throws {
        try await Shop.open { shop in
            let (reply, socket) = try await Self.dial(shop)
            defer { socket.connection.close() }
            try #require(reply.status == 101, "\(reply.text)")
            // What is no frame is told, and the next one is taken.
            socket.say("nothing")
            #expect(try await Self.said(socket, until: "error").last?["error"]?["code"]?.text == "invalid_json")
            socket.say(Self.hi)
            let first = try await shop.worker.request("chat.completions")
            socket.say(Self.hi)
            let refused = try await Self.said(socket, until: "error").last
            #expect(refused?["status"]?.integer == 400 && refused?["error"]?["message"]?.text?.contains("one") == true)
            Self.answer(shop, first)
            let events = try await Self.said(socket, until: "response.completed")
            #expect(events.map { $0["sequence_number"]?.integer } == (0..<Int64(events.count)).map { $0 })
            let id = events.last?["response"]?["id"]?.text ?? ""
            // In several frames, with a ping between them.
            let next = Array(
                #"{"type":"response.create","model":"lab/m1","previous_response_id":"\#(id)","input":"more"}"#.utf8)
            socket.frame(1, isFinal: false, Array(next.prefix(9)))
            socket.frame(9, [1])
            socket.frame(0, Array(next.dropFirst(9)))
            let second = try await shop.worker.request("chat.completions")
            let messages = second["payload"]?["messages"]?.elements
            #expect(messages?.map { $0["content"]?.text } == ["hi", "Hi", "more"], "\(second)")
            Self.answer(shop, second)
            _ = try await Self.said(socket, until: "response.completed")
            socket.frame(8, [3, 232])
            #expect(try await socket.closed().code == 1_000)
        }
    }

    /// Who leaves in the middle of an answer takes his request along.
    @Test func whoLeavesCancels() async throws {
        try await Shop.open { shop in
            let (_, socket) = try await Self.dial(shop)
            socket.say(Self.hi)
            let asked = try await shop.worker.request("chat.completions")
            shop.worker.chunk(asked, #"data: {"choices":[{"index":0,"delta":{"content":"Hi"}}]}"# + "\n\n")
            _ = try await Self.said(socket, until: "response.output_text.delta")
            socket.connection.close()
            let cancelled = try await shop.worker.next("cancel")
            #expect(cancelled.text.contains("cancel") && cancelled.text.contains(asked.id), "\(cancelled.text)")
        }
    }

    @Test func whatIsNoSocketIsRefused() async throws {
        try await Shop.open { shop in
            let (wrong, none) = try await Self.dial(shop, key: "sk-aisbf-wrong")
            defer { none.connection.close() }
            #expect(wrong.status == 401 && wrong.errorCode == "invalid_api_key", "\(wrong.text)")
            for (opcode, payload, code) in [
                (UInt8(2), [UInt8](repeating: 0, count: 8), 1_003), (3, [1], 1_002), (1, [0xFF, 0xFE], nil),
            ] as [(UInt8, [UInt8], Int?)] {
                let (reply, socket) = try await Self.dial(shop)
                defer { socket.connection.close() }
                #expect(reply.status == 101)
                socket.frame(opcode, payload)
                if let code {
                    #expect(try await socket.closed().code == code, "\(opcode)")
                } else {
                    #expect(try await Self.said(socket, until: "error").count == 1)
                }
            }
        }
    }
}
