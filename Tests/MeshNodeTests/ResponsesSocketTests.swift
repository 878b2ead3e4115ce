import MeshCrypto
import MeshModel
import MeshTransport
import MeshWire
import NIOCore
import Synchronization
import Testing

@testable import MeshGateway

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

    /// Limits are those of HTTP: what is refused is a frame with its status, and the socket goes on.
    @Test func limitsAreErrorFrames() async throws {
        try await Shop.open { shop in
            let (_, socket) = try await Self.dial(shop)
            defer { socket.connection.close() }
            for (limit, status, code) in [
                (#"{"tokens_per_day":1}"#, 429, "insufficient_quota"),
                (#"{"concurrent":0}"#, 429, "rate_limit_exceeded"),
                (#"{"requests_per_minute":0}"#, 429, "rate_limit_exceeded"),
                (#"{"allow_routes":["chat/completions"]}"#, 403, "limit_forbids"),
            ] {
                _ = try await shop.node.administer("PUT", "limits/user/bob", limit)
                socket.say(Self.hi)
                let refused = try await Self.said(socket, until: "error").last
                #expect(refused?["status"]?.integer == Int64(status), "\(limit): \(refused ?? .null)")
                #expect(refused?["error"]?["code"]?.text == code, "\(limit): \(refused ?? .null)")
                #expect(refused?["headers"]?["x-should-retry"]?.text != nil, "\(limit): \(refused ?? .null)")
                _ = try await shop.node.administer("DELETE", "limits/user/bob")
            }
            _ = try await shop.node.administer("PUT", "limits/user/bob", #"{"concurrent":1}"#)
            let other = try await shop.buyer.start(#"{"model":"lab/m1","messages":[]}"#)
            defer { other.close() }
            let chat = try await shop.worker.request("chat.completions")
            socket.say(Self.hi)
            let busy = try await Self.said(socket, until: "error").last
            #expect(
                busy?["status"]?.integer == 429 && busy?["error"]?["code"]?.text == "rate_limit_exceeded",
                "\(busy ?? .null)")
            shop.worker.answer(chat, payload: #"{"choices":[]}"#)
            #expect(try await other.reply().status == 200)
            socket.say(Self.hi)
            Self.answer(shop, try await shop.worker.request("chat.completions"))
            #expect(try await Self.said(socket, until: "response.completed").last?["response"]?["usage"] != nil)
        }
    }

    /// Where a node holds as much as it can, nothing is remembered, and the program is told to send everything.
    @Test func whatTheNodeHasNoRoomForIsForgotten() async throws {
        let node = PublicKey(.zero)
        let secret = APIKeySecret(home: node, key: .random())
        let account = APIKeyAccount(
            publicKey: secret.key.publicKey, username: "bob", ownerKey: node, label: "", scopes: [.inference],
            createdAt: Timestamp(milliseconds: 0))
        let server = try await VerdictServer(keys: [account]) { channel, head, shared in
            channel.eventLoop.makeSucceededFuture(ResponsesUpgrade.verdict(channel, head, shared) ?? .notOffered)
        }
        func turns(full: Bool) async throws -> String? {
            let room = full ? 64 : 1 << 20
            server.shared.heldBodyBytes.store(Limits.heldBodiesBytes - room, ordering: .relaxed)
            let (reply, connection) = try await ScriptedWorker.dial(
                server.listener.port, path: "/v1/responses", headers: ["authorization: Bearer \(secret.text)"])
            #expect(reply.status == 101, "\(reply.text)")
            let socket = ScriptedWorker(connection: connection)
            let long = String(repeating: "x", count: 1_000)
            socket.say(#"{"type":"response.create","model":"m","generate":false,"input":"\#(long)"}"#)
            let id = try await Self.said(socket, until: "response.completed").last?["response"]?["id"]?.text ?? ""
            socket.say(#"{"type":"response.create","model":"m","previous_response_id":"\#(id)","input":"more"}"#)
            let code = try await Self.said(socket, until: "error").last?["error"]?["code"]?.text
            connection.close()
            try await eventually("what it held is given back") {
                server.shared.heldBodyBytes.load(ordering: .relaxed) == Limits.heldBodiesBytes - room
            }
            return code
        }
        #expect(try await turns(full: true) == "previous_response_not_found")
        #expect(try await turns(full: false) == "model_not_found")
        try await server.stop()
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
