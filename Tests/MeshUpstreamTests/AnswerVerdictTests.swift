import MeshUpstream
import NIOCore
import Testing

/// What a seller reads of answers whose status says that all is well.
@Suite struct AnswerVerdictTests {
    struct Row: Sendable, CustomTestStringConvertible {
        var name: String
        var streams: Bool
        var type: String
        var body: String
        /// A word of what is said; nil where it is an answer.
        var says: String?
        var testDescription: String { name }
    }

    private static let content = #"data: {"choices":[{"delta":{"content":"a"},"finish_reason":null}]}"# + "\n\n"
    private static let stop = #"data: {"choices":[{"delta":{},"finish_reason":"stop"}]}"# + "\n\n"
    private static let events = "text/event-stream"
    private static let json = "application/json"

    private static let rows: [Row] = [
        Row(name: "a stream", streams: true, type: events, body: content + stop + "data: [DONE]\n\n"),
        Row(name: "a stream without an end marker", streams: true, type: events, body: content + stop),
        Row(name: "a stream that breaks off", streams: true, type: events, body: content, says: "broke off"),
        Row(
            name: "a stream cut in an event", streams: true, type: events, body: content + "data: {\"choi",
            says: "broke off"),
        Row(name: "a stream of nothing", streams: true, type: events, body: "", says: "ended before"),
        Row(
            name: "words in an error event", streams: true, type: events, body: "event: error\ndata: slow down\n\n",
            says: "slow down"),
        Row(
            name: "an error typed as a stream", streams: true, type: events, body: #"{"error":{"message":"loading"}}"#,
            says: "loading"),
        Row(
            name: "an error behind content", streams: true, type: events,
            body: content + #"data: {"error":{"message":"died"}}"# + "\n\n", says: "died"),
        Row(name: "a document for a stream", streams: true, type: json, body: #"{"choices":[]}"#),
        Row(name: "a page for a stream", streams: true, type: "text/html", body: "<html>in</html>", says: "web page"),
        Row(name: "a document", streams: false, type: json, body: #"{"choices":[{"message":{}}],"error":null}"#),
        Row(name: "a list", streams: false, type: json, body: #"{"object":"list","data":[]}"#),
        Row(name: "an error", streams: false, type: json, body: #"{"error":"boom"}"#, says: "boom"),
        Row(name: "nothing", streams: false, type: json, body: "", says: "empty"),
        Row(name: "half a document", streams: false, type: json, body: #"{"choices":["#, says: "no JSON"),
        Row(name: "a page", streams: false, type: json, body: "<!DOCTYPE html><html>", says: "web page"),
        Row(name: "a picture", streams: false, type: "image/png", body: "PNG"),
        Row(
            name: "a long document", streams: false, type: json,
            body: #"{"choices":[],"x":"\#(String(repeating: "x", count: 100_000))"}"#),
    ]

    @Test(arguments: rows, [1, 7, 1_000_000]) func whatABackendSaid(row: Row, piece: Int) {
        var verdict = AnswerVerdict(streams: row.streams)
        verdict.take(.head(status: 200, headers: [], contentType: row.type))
        var rest = ByteBuffer(string: row.body)
        let piece = row.body.utf8.count > 10_000 ? max(piece, 1_000) : piece
        while let part = rest.readSlice(length: min(piece, rest.readableBytes)), part.readableBytes > 0 {
            verdict.take(.body(part))
        }
        let said = verdict.finish()
        #expect((said == nil) == (row.says == nil), "\(said ?? "-")")
        if let words = row.says { #expect(said?.contains(words) ?? false, "\(said ?? "-")") }
    }

    /// An error status has words of its own, and sounds and files may be anything.
    @Test func whatIsNotJudged() {
        var verdict = AnswerVerdict(streams: false)
        verdict.take(.head(status: 500, headers: [], contentType: Self.json))
        verdict.take(.body(ByteBuffer(string: "oops")))
        #expect(verdict.finish() == nil)
        for path in ["/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"] {
            #expect(AnswerVerdict.judges(path))
        }
        for path in ["/v1/audio/speech", "/v1/files/f/content", "/v1/embeddings"] {
            #expect(!AnswerVerdict.judges(path))
        }
    }
}
