import MeshModel
import MeshNode
import MeshTransport
import MeshWire
import NIOCore
import Testing

/// How the end of an answer crosses a link: in trailers, or, from a node that sends none, in the stream itself.
@Suite(.serialized, .nodeLog) struct ForwardedEndTests {
    private static let word =
        #"data: {"choices":[{"index":0,"delta":{"role":"assistant","content":"a"}}]}"# + "\n\n"
    private static let more = #"data: {"choices":[{"index":0,"delta":{"content":"b"}}]}"# + "\n\n"
    private static let done = "data: [DONE]\n\n"
    /// What a complete stream gets that gave no reason.
    private static let stop =
        #"data: {"object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"# + "\n\n"

    private struct Row: Sendable, CustomStringConvertible {
        var description: String
        /// Behind the first word.
        var rest = ""
        var trailers: [HeaderField] = []
        /// What the buyer reads behind the first word.
        var heard: String?
        var code: String?
    }

    private static func failed(_ code: String, _ words: String) -> [HeaderField] {
        ForwardAnswerEnd.failed(code: code, words: words).trailers
    }

    private static let rows: [Row] = [
        // Nodes that tell the end behind the answer.
        Row(description: "complete", trailers: [HeaderField("aisbf-end", "complete")], heard: stop + done),
        Row(
            description: "complete, with totals", rest: more,
            trailers: [HeaderField("aisbf-end", "complete"), HeaderField("aisbf-totals", "total=9, junk")],
            heard: more + stop + done),
        Row(description: "failed", trailers: failed("worker_error", "hot"), code: "worker_error"),
        Row(description: "lost", trailers: failed("worker_lost", "gone"), code: "stream_interrupted"),
        Row(description: "the buyer's key", trailers: failed("invalid_api_key", "no"), code: "stream_interrupted"),
        Row(description: "a code that is none", trailers: failed("?", ""), code: "stream_interrupted"),
        Row(
            description: "half an event", rest: "data: h", trailers: [HeaderField("aisbf-end", "complete")],
            code: "stream_interrupted"),
        Row(
            description: "half an event and failed", rest: "data: h", trailers: failed("worker_error", "hot"),
            code: "worker_error"),
        // Nodes that tell it in the stream.
        Row(description: "older, complete", rest: more + done, heard: more + stop + done),
        Row(
            description: "older, failed", rest: #"data: {"error":{"code":"worker_error","message":"hot"}}"# + "\n\n",
            heard: #"data: {"error":{"code":"worker_error","message":"hot"}}"# + "\n\n"),
        Row(description: "older, only ended", heard: ""),
        Row(
            description: "trailers that say nothing", rest: done, trailers: [HeaderField("x-a", "b")],
            heard: stop + done),
    ]

    /// A scripted host of `far/m1`, and a buyer at another node.
    private static func open(
        _ body: @escaping @Sendable (_ host: ScriptedHost, _ bob: Buyer) async throws -> Void
    ) async throws {
        let southern = try await PreparedNode("south")
        try await ScriptedHost.open("host", provider: "far", models: ["m1"]) { host, peer in
            try await withNode("south", prepared: southern, peers: [peer]) { south in
                try await south.user("bob")
                let bob = try await south.key(of: "bob")
                try await south.offers("far/m1", to: bob)
                try await body(host, bob)
            }
        }
    }

    @Test func theBuyerHearsOneEnd() async throws {
        try await Self.open { host, bob in
            for row in Self.rows {
                host.serve { forward in
                    forward.respond(status: 200, headers: [HeaderField("content-type", "text/event-stream")])
                    forward.write(ByteBuffer(string: Self.word + row.rest))
                    forward.end(trailers: row.trailers)
                }
                let reply = try await bob.call(
                    "POST", Buyer.chat, body: #"{"model":"far/m1","messages":[],"stream":true}"#)
                #expect(reply.status == 200, "\(row)")
                #expect(reply.text.hasPrefix(Self.word), "\(row): \(reply.text)")
                let rest = String(reply.text.dropFirst(Self.word.count))
                if let heard = row.heard { #expect(rest == heard, "\(row): \(rest)") }
                guard let code = row.code else { continue }
                #expect(rest.contains(#""code":"\#(code)""#) && !rest.contains("[DONE]"), "\(row): \(rest)")
                #expect(rest.hasPrefix("data: {") && rest.hasSuffix("}\n\n"), "\(row): \(rest)")
                if row.trailers.count > 1 { #expect(rest.contains("node host"), "\(row): \(rest)") }
            }
            #expect(host.lastHeaders.contains { $0 == HeaderField("te", "trailers") })
        }
    }

    /// Bytes that are no stream end with the stream; that they broke off is told by cutting the connection.
    @Test func whatIsNoStreamIsCutWhereItBrokeOff() async throws {
        try await Self.open { host, bob in
            for isFailed in [false, true] {
                host.serve { forward in
                    forward.respond(status: 200, headers: [HeaderField("content-type", "application/json")])
                    forward.write(ByteBuffer(string: "{}"))
                    forward.end(
                        trailers: isFailed ? Self.failed("worker_lost", "gone") : [HeaderField("aisbf-end", "complete")]
                    )
                }
                let heard = try? await HeardAnswer.to(
                    bob, path: Buyer.chat, body: #"{"model":"far/m1","messages":[]}"#, within: 10)
                #expect(heard?.isWhole == !isFailed)
                #expect(isFailed || heard?.text == "{}")
            }
        }
    }
}
