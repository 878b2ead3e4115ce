import Foundation
import MeshModel
import MeshNode
import MeshTransport
import MeshWire
import NIOCore
import Testing

/// What a hosting node that lies, or says nothing, can do to another node's buyers: tell of itself, and no more.
@Suite(.serialized, .nodeLog) struct HostileHostTests {
    private struct Trap: Sendable {
        var liar: ScriptedHost
        var south: TestNode
        var bob: Buyer

        func ask(_ model: String = "trap/m1", stream: Bool = false, within seconds: Int = 10) async throws -> Reply {
            let body = #"{"model":"\#(model)","messages":[],"stream":\#(stream)}"#
            return try await bob.call("POST", Buyer.chat, body: body, within: seconds)
        }
    }

    /// A liar that hosts `trap/m1`, and a node whose buyer asks for it.
    private static func open(
        firstContentMs: Int = 1_000, streamIdleMs: Int = 1_000, peers: [String] = [],
        _ body: @escaping @Sendable (Trap) async throws -> Void
    ) async throws {
        let southern = try await PreparedNode("south")
        try await ScriptedHost.open(
            "liar", provider: "trap", models: ["m1"], capabilities: UploadTests.capabilities
        ) { liar, peer in
            try await withNode(
                "south", prepared: southern, peers: [peer] + peers, firstContentMs: firstContentMs,
                streamIdleMs: streamIdleMs
            ) { south in
                try await south.user("bob")
                let bob = try await south.key(of: "bob")
                try await south.offers("trap/m1", to: bob)
                try await body(Trap(liar: liar, south: south, bob: bob))
            }
        }
    }

    private struct Row: Sendable, CustomStringConvertible {
        var description: String
        var answer: @Sendable (IncomingForward) -> Void
        var status: Int
        var code: String
        var headers: [String: String] = [:]
    }

    private static func says(_ code: String, _ words: String = "words", status: Int = 200)
        -> @Sendable (
            IncomingForward
        ) -> Void
    {
        let document: JSONValue = ["error": ["message": .string(words), "code": .string(code), "param": "seller-path"]]
        let text = String(decoding: document.bytes, as: UTF8.self)
        return { $0.answer(status, [HeaderField("aisbf-error", code), HeaderField("retry-after", "999999999")], text) }
    }

    private static let rows: [Row] = [
        Row(description: "the buyer's key", answer: says("invalid_api_key"), status: 502, code: "node_error"),
        Row(description: "scope", answer: says("insufficient_scope"), status: 502, code: "node_error"),
        Row(description: "a name", answer: says("ambiguous_model"), status: 502, code: "node_error"),
        Row(description: "a fault of this node", answer: says("internal_error"), status: 502, code: "node_error"),
        Row(description: "no code", answer: says("made_up", status: 401), status: 502, code: "node_error"),
        Row(description: "408 without an upload", answer: says("request_timeout"), status: 502, code: "node_error"),
        Row(description: "for somebody else", answer: says("forward_refused"), status: 503, code: "node_unreachable"),
        Row(
            description: "busy", answer: says("worker_busy"), status: 503, code: "worker_busy",
            headers: ["retry-after": "30"]),
        Row(description: "access", answer: says("access_denied"), status: 403, code: "access_denied"),
        // What it says its worker answered.
        Row(
            description: "a plain 401", answer: { $0.answer(401, invalidKey) }, status: 502, code: "worker_error"),
        Row(
            description: "a plain 402", answer: { $0.answer(402, invalidKey) }, status: 502, code: "worker_error"),
        Row(
            description: "400 in this node's name", answer: { $0.answer(400, invalidKey) }, status: 400,
            code: "worker_error"),
        Row(
            description: "a web page",
            answer: { $0.answer(200, [HeaderField("content-type", "Text/HTML")], "<script>") },
            status: 502, code: "node_error"),
        Row(description: "a status without a body", answer: { $0.answer(204, "") }, status: 502, code: "node_error"),
        Row(
            description: "an error without end",
            answer: { $0.answer(500, String(repeating: "x", count: Limits.refusalBytes + 1)) }, status: 502,
            code: "worker_bad_answer"),
    ]

    private static let invalidKey =
        #"{"error":{"message":"Incorrect API key: sk-seller12345","code":"invalid_api_key","type":"x"}}"#

    @Test func aLiarSpeaksForItselfOnly() async throws {
        try await Self.open { trap in
            for row in Self.rows {
                trap.liar.serve(row.answer)
                let reply = try await trap.ask()
                #expect(reply.status == row.status, "\(row): \(reply.text)")
                #expect(reply.errorCode == row.code, "\(row): \(reply.text)")
                #expect(!reply.text.contains("sk-seller") && !reply.text.contains("seller-path"), "\(row)")
                for (name, value) in row.headers { #expect(reply[name] == value, "\(row)") }
            }
            // Its words are marked and cleaned.
            trap.liar.serve(
                Self.says(
                    "worker_error",
                    "a\u{1B}[2J\u{202E}b\nc key sk-aisbf-abcdefgh " + String(repeating: "x ", count: 900)))
            let words = try await trap.ask().errorMessage
            #expect(words.hasPrefix("node liar says: ab c key (secret) x x") && words.utf8.count < 600)
            // The control: an honest answer passes, and so do the worker's own words about the request.
            trap.liar.serve { $0.answer(200, #"{"id":"1"}"#) }
            #expect(try await trap.ask().text == #"{"id":"1"}"#)
            let context =
                #"{"error":{"message":"too long","code":"context_length_exceeded","type":"invalid_request_error"}}"#
            trap.liar.serve { $0.answer(400, context) }
            let own = try await trap.ask()
            #expect(own.status == 400 && own.text == context)
        }
    }

    @Test func headersThatAHostMayNotSet() async throws {
        try await Self.open { trap in
            let set = [
                ("content-type", "application/json"), ("set-cookie", "a=b"), ("location", "http://evil"),
                ("access-control-allow-origin", "*"), ("www-authenticate", "Basic"), ("aisbf-node", "south"),
                ("aisbf-provider", "x"), ("aisbf-attempts", "9"), ("x-request-id", "y"), ("server-timing", "z"),
                ("aisbf-worker", "<script>"), ("retry-after", "99999999"), ("x-ratelimit-limit", "5"),
            ].map { HeaderField($0, $1) }
            trap.liar.serve { $0.answer(200, set, "{}") }
            let reply = try await trap.ask()
            #expect(reply.status == 200)
            for name in ["set-cookie", "location", "access-control-allow-origin", "www-authenticate", "aisbf-worker"] {
                #expect(reply[name] == nil, "\(name)")
            }
            #expect(reply["aisbf-node"] == "liar" && reply["aisbf-provider"] == "global@liar/trap")
            #expect(reply["aisbf-attempts"] == "1" && reply["retry-after"] == "3600")
            #expect(reply["x-request-id"]?.hasPrefix("req_") == true && reply["x-ratelimit-limit"] == "5")
            for value in ["Fri, 31 Dec 1999 23:59:59 GMT", "-1", "1e9", ""] {
                trap.liar.serve {
                    $0.answer(
                        200, [HeaderField("content-type", "application/json"), HeaderField("retry-after", value)], "{}")
                }
                #expect(try await trap.ask()["retry-after"] == nil, "\(value)")
            }
            // A body of another length than was told never becomes the next answer of the connection.
            for (length, body) in [("1", "{}HTTP/1.1 200"), ("9", "{}")] {
                trap.liar.serve {
                    $0.answer(
                        200, [HeaderField("content-type", "application/json"), HeaderField("content-length", length)],
                        body)
                }
                let connection = try await trap.bob.start(#"{"model":"trap/m1"}"#)
                try await eventually("the end of the connection or an error at \(length)") {
                    let text = String(decoding: connection.pending, as: UTF8.self)
                    // The link may have ended with the answer before.
                    return connection.isClosed || text.hasPrefix("HTTP/1.1 502") || text.hasPrefix("HTTP/1.1 503")
                }
                #expect(!String(decoding: connection.pending, as: UTF8.self).contains("{}HTTP"))
            }
        }
    }

    /// Whatever a host does that is no content, its time is this node's.
    @Test func aHostThatNeverAnswersCostsTheTimeOfOneAttempt() async throws {
        try await Self.open { trap in
            let ways: [(String, @Sendable (IncomingForward) -> Void)] = [
                ("silence", { _ in }),
                (
                    "an empty head",
                    { $0.respond(status: 200, headers: [HeaderField("content-type", "text/event-stream")]) }
                ),
                (
                    "comments and roles",
                    { forward in
                        forward.respond(status: 200, headers: [HeaderField("content-type", "text/event-stream")])
                        for number in Int64(0)..<20 {
                            forward.eventLoop.scheduleTask(in: .milliseconds(200 * number)) {
                                forward.write(
                                    ByteBuffer(
                                        string: ": x\n\ndata: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n")
                                )
                            }
                        }
                    }
                ),
                (
                    "half an error",
                    {
                        $0.respond(status: 503, headers: [HeaderField("content-type", "application/json")])
                        $0.write(ByteBuffer(string: "{"))
                    }
                ),
            ]
            for (way, serve) in ways {
                trap.liar.serve(serve)
                let begun = ContinuousClock.now
                let reply = try await trap.ask(stream: true)
                #expect(reply.status == 504 && reply.errorCode == "worker_timeout", "\(way): \(reply.text)")
                #expect(begun.duration(to: .now) < .seconds(5), "\(way)")
                #expect(reply.errorMessage.contains("node liar"), "\(way)")
            }
            // Signs of work are a host's right, within a bound.
            trap.liar.serve { forward in
                for number in Int64(0)..<100 {
                    forward.eventLoop.scheduleTask(in: .milliseconds(100 * number)) { forward.respondLater() }
                }
            }
            let begun = ContinuousClock.now
            #expect(try await trap.ask(within: 20).status == 504)
            #expect(begun.duration(to: .now) < .seconds(12) && begun.duration(to: .now) > .seconds(4))
            trap.liar.serve { forward in
                forward.respondLater()
                forward.eventLoop.scheduleTask(in: .milliseconds(2_500)) { forward.answer(200, #"{"late":true}"#) }
            }
            #expect(try await trap.ask().text == #"{"late":true}"#)
            // Content, and then nothing: the stream ends with an error.
            trap.liar.serve { forward in
                forward.respond(status: 200, headers: [HeaderField("content-type", "text/event-stream")])
                forward.write(ByteBuffer(string: "data: 1\n\n"))
            }
            let cut = try await trap.ask(stream: true)
            #expect(cut.status == 200 && cut.text.hasPrefix("data: 1\n\n") && cut.text.contains("stream_interrupted"))
            #expect(!cut.text.contains("[DONE]"))
        }
    }

    /// The time of an upload is the buyer's as long as the buyer sends, and the host's as soon as it is its turn.
    @Test func anUploadWaitsForItsBuyerAndNotForASilentHost() async throws {
        try await Self.open { trap in
            let body = UploadTests.form(model: "trap/m1", file: UploadTests.sound(2 << 20))
            func upload(cut: Int, pauseMs: Int = 0) async throws -> Reply {
                let connection = try await UploadTests.begin(
                    trap.south.buyerPort, key: trap.bob.key, length: body.count)
                connection.send(Array(body[..<cut]))
                if pauseMs > 0 { try await Task.sleep(for: .milliseconds(pauseMs)) }
                connection.send(Array(body[cut...]))
                return try await connection.reply(within: 20)
            }
            // It never asks for it, or takes all and says nothing.
            for serve in [
                { _ in }, { forward in forward.continueBody(UploadTaker { _ in }) },
            ] as [@Sendable (IncomingForward) -> Void] {
                trap.liar.serve(serve)
                let begun = ContinuousClock.now
                let reply = try await upload(cut: body.count)
                #expect(reply.status == 504 && reply.errorCode == "worker_timeout", "\(reply.text)")
                #expect(begun.duration(to: .now) < .seconds(8))
            }
            // The control: a buyer on a slow line is one who sends.
            trap.liar.serve { forward in
                forward.continueBody(UploadTaker { forward.answer(200, "{\"bytes\":\($0)}") })
            }
            let reply = try await upload(cut: body.count / 2 + 1_048_576 / 2, pauseMs: 3_000)
            #expect(reply.status == 200, "\(reply.text)")
        }
    }

    /// Both hosts have the model; the one that says nothing, or refuses in every way it knows, costs an attempt.
    @Test(arguments: [false, true])
    func anHonestHostAnswersInTheLiarsPlace(stream: Bool) async throws {
        let southern = try await PreparedNode("honest-south")
        try await withNode("north", allow: [southern.summary.nodeID]) { north in
            let token = try await north.provider("lab")
            let worker = try await ScriptedWorker.admitted(at: north, token: token)
            let peer = "\(north.nodeID)@127.0.0.1:\(north.linkPort)"
            try await ScriptedHost.open("liar", provider: "trap", models: ["m1"]) { liar, trap in
                try await withNode("south", prepared: southern, peers: [peer, trap], firstContentMs: 1_000) { south in
                    try await south.user("bob")
                    let bob = try await south.key(of: "bob")
                    try await south.offers("trap/m1", to: bob)
                    try await south.offers("lab/m1", to: bob)
                    let ways: [@Sendable (IncomingForward) -> Void] = [
                        { _ in }, Self.says("invalid_api_key"), Self.says("access_denied"), Self.says("worker_error"),
                        { $0.answer(401, Self.invalidKey) }, { $0.answer(503, "{}") }, { $0.reset() },
                    ]
                    for way in ways {
                        // The honest one fails first, so that it is not always preferred to the liar.
                        for _ in 0..<4 {
                            let failing = try await bob.start(#"{"model":"lab/m1"}"#)
                            let request = try await worker.request("chat.completions")
                            worker.say(#"{"request_id":"\#(request.id)","status":"error","error":{"code":"busy"}}"#)
                            #expect(try await failing.reply().status == 503)
                            failing.close()
                        }
                        liar.serve(way)
                        let before = liar.asked
                        // Until it is the liar's turn; hosts that cost the same are drawn.
                        for _ in 0..<20 where liar.asked == before {
                            let connection = try await bob.start(#"{"model":"m1","stream":\#(stream)}"#)
                            worker.answer(try await worker.request("chat.completions"), payload: #"{"from":"north"}"#)
                            let reply = try await connection.reply()
                            #expect(reply.status == 200 && reply.text.contains("north"), "\(reply.text)")
                            #expect(reply["aisbf-node"] == "north")
                            #expect(reply["aisbf-attempts"] == (liar.asked == before ? "1" : "2"))
                            connection.close()
                        }
                        #expect(liar.asked == before + 1)
                    }
                }
            }
        }
    }
}
