import MeshDialects
import MeshModel
import MeshWire
import Testing

@testable import MeshSessions

/// Forms that no description of the protocol promises, and that some worker sends all the same.
@Suite struct AnswerQuirkTests {
    typealias Row = AnswerFormTests.Row

    static let json = AnswerFormTests.json
    static let done = AnswerFormTests.done
    static let end = AnswerStreamTests.end
    static let content = #"{"event":"chunk","payload":"data: a\n\n"}"#
    static let progress = #"{"event":"progress","payload":{"step":1}}"#
    static let progressEvent = "data: {\"step\":1}\n\n"
    static func stream(_ body: String) -> Outcome { AnswerStreamTests.stream(body) }

    /// The whole answer once more behind its chunks, or only word that they were all.
    static let repeats: [Row] = [
        #"{"status":"ok","payload":{"object":"chat.completion","choices":[{"message":{"content":"a"}}]}}"#,
        #"{"status":"ok","payload":{}}"#, #"{"status":"ok"}"#, #"{"status":"ok","payload":{"status_code":200}}"#,
    ].map { last in Row("chunks, then \(last)", stream: true, [content, last], stream("data: a\n\ndata: [DONE]\n\n")) }

    @Test(arguments: repeats) func whatIsRepeatedIsDeliveredOnce(row: Row) {
        #expect(Outcome(stream: row.stream, row.frames).description == row.outcome)
    }

    static let statuses: [Row] = [
        Row(
            "OpenAI's error object", stream: false,
            [#"{"payload":{"status_code":422,"body":"{\"error\": {\"message\":\"m\",\"code\":7}}"}}"#],
            Outcome(head: "422 application/json", body: #"{"error": {"message":"m","code":7}}"#)),
        Row(
            "FastAPI's words", stream: true, [#"{"payload":{"status_code":404,"body":{"detail":"none here"}}}"#],
            AnswerFormTests.refused(404, "none here", type: "invalid_request_error")),
        Row(
            "error object without words", stream: false,
            [#"{"payload":{"status_code":500,"body":{"error":{"type":7}}}}"#],
            AnswerFormTests.refused(500, #"{\"type\":7}"#)),
        Row(
            "text", stream: false,
            [#"{"payload":{"status_code":500,"content_type":"text/html","headers":{"etag":"e"},"body":"<b>\n"}}"#],
            AnswerFormTests.refused(500, "<b>")),
        Row(
            "nothing", stream: false, [#"{"payload":{"status_code":500}}"#],
            AnswerFormTests.refused(500, "it failed with status 500")),
        Row(
            "bytes", stream: false, [#"{"payload":{"status_code":500,"body_base64":"/////w=="}}"#],
            AnswerFormTests.refused(500, "it failed with status 500")),
        Row(
            "number", stream: false, [#"{"payload":{"status_code":403,"body":7}}"#],
            AnswerFormTests.refused(403, "7", type: "permission_error")),
        Row(
            "the seller's own key", stream: false,
            [#"{"payload":{"status_code":401,"body":"{\"error\":{\"message\":\"wrong key\"}}"}}"#],
            Outcome(failure: .workerError)),
        Row(
            "busy", stream: false, [#"{"payload":{"status_code":429,"body":{"error":"no","code":"busy"}}}"#],
            Outcome(failure: .workerBusy)),
        Row(
            "success that tells of a failure", stream: false, [#"{"payload":{"error":{"code":"busy"}}}"#],
            Outcome(failure: .workerBusy)),
        Row(
            "details", stream: false, [#"{"status":"error","error":"no","code":"x","details":{"error":"other"}}"#],
            Outcome(failure: .workerError)),
    ]

    static let bodies: [Row] = [
        Row("number", stream: false, [#"{"payload":{"status_code":200,"body":7}}"#], Outcome(head: json, body: "7")),
        Row(
            "null", stream: false, [#"{"payload":{"status_code":200,"body":null}}"#],
            Outcome(failure: .workerBadAnswer)),
        Row(
            "number to a stream", stream: true, [#"{"payload":{"status_code":200,"body":7}}"#],
            stream("data: 7\n\n" + done)),
        Row(
            "null to a stream", stream: true, [#"{"payload":{"status_code":200,"body":null}}"#],
            Outcome(failure: .workerBadAnswer)),
        Row(
            "object to a stream", stream: true, [#"{"payload":{"status_code":200,"body":{"a":1}}}"#],
            stream("data: {\"a\":1}\n\n" + done)),
        Row(
            "base64 to a stream", stream: true,
            [#"{"payload":{"status_code":200,"content_type":"text/event-stream","body_base64":"ZGF0YTogYQoK"}}"#],
            stream("data: a\n\n" + done)),
        Row(
            "untyped base64 to a stream", stream: true,
            [#"{"payload":{"status_code":200,"body_base64":"ZGF0YTogYQoK"}}"#],
            stream("data: a\n\n" + done)),
        Row(
            "untyped base64 of an object to a stream", stream: true,
            [#"{"payload":{"status_code":200,"body_base64":"eyJhIjoxfQ=="}}"#], stream("data: {\"a\":1}\n\n" + done)),
        Row(
            "untyped picture to a stream", stream: true, [#"{"payload":{"status_code":200,"body_base64":"/9j/"}}"#],
            Outcome(head: "200 application/octet-stream", body: SessionFixtures.text([0xFF, 0xD8, 0xFF]))),
        Row(
            "text to a stream", stream: true, [#"{"payload":"data: a\n\n"}"#], stream("data: a\n\n" + done)),
        Row("other text to a stream", stream: true, [#"{"payload":"hello"}"#], Outcome(failure: .workerBadAnswer)),
        Row(
            "text of an object to a stream", stream: true, [#"{"payload":" {\"a\":1}"}"#],
            stream("data:  {\"a\":1}\n\n" + done)),
        Row("text of an object", stream: false, [#"{"payload":"{\"a\":1}"}"#], Outcome(head: json, body: #"{"a":1}"#)),
        Row(
            "untyped words to a stream", stream: true, [#"{"payload":{"status_code":200,"body":"hello"}}"#],
            Outcome(failure: .workerBadAnswer)),
        Row(
            "event stream to a plain request", stream: false,
            [#"{"payload":{"status_code":200,"content_type":"text/event-stream","body":"data: a\n\n"}}"#],
            Outcome(failure: .workerBadAnswer)),
        Row(
            "failing event stream to a plain request", stream: false,
            [#"{"payload":{"status_code":200,"body":"data: {\"error\":{\"code\":\"busy\"}}\n\n"}}"#],
            Outcome(failure: .workerBusy)),
    ]

    static let endings: [Row] = [
        Row(
            "wrapped, after progress", stream: true,
            [progress, #"{"event":"completed","payload":{"status_code":200,"body":{"a":1}}}"#],
            stream(progressEvent + "data: {\"a\":1}\n\n" + done)),
        Row(
            "wrapped stream, after progress", stream: true,
            [progress, #"{"event":"completed","payload":{"status_code":200,"body":"data: a\n\ndata: [DONE]\n\n"}}"#],
            stream(progressEvent + "data: a\n\n" + done)),
        Row(
            "wrapped picture, after progress", stream: true,
            [
                progress,
                #"{"event":"done","payload":{"status_code":200,"content_type":"image/png","body_base64":"UE5H"}}"#,
            ],
            stream(
                progressEvent
                    + "data: {\"status_code\":200,\"content_type\":\"image/png\",\"body_base64\":\"UE5H\"}\n\n" + done)),
        Row(
            "plain, after progress", stream: true, [progress, #"{"event":"done","payload":{"url":"/f"}}"#],
            stream(progressEvent + "data: {\"url\":\"/f\"}\n\n" + done)),
        Row(
            "plain list", stream: true, [#"{"event":"done","payload":[1]}"#], stream("data: [1]\n\n" + done)),
        Row(
            "plain, to a plain request", stream: false, [progress, #"{"event":"done","payload":{"id":"x"}}"#],
            Outcome(head: json, body: #"{"id":"x"}"#)),
        Row(
            "only how it went", stream: true,
            [progress, #"{"event":"done","payload":{"usage":{"total_tokens":3},"latency_ms":4,"status":"ok"}}"#],
            stream(progressEvent + done)),
        Row("empty", stream: true, [#"{"event":"done","payload":{}}"#], Outcome(failure: .workerError)),
        Row("text", stream: true, [#"{"event":"done","payload":"ok"}"#], Outcome(failure: .workerError)),
        Row(
            "once more after content", stream: true, [content, #"{"event":"done","payload":{"id":"x"}}"#],
            stream("data: a\n\n" + done)),
        Row(
            "half an event is content", stream: true,
            [#"{"event":"chunk","payload":"data: {\"a\":1}"}"#, #"{"event":"done","payload":{"id":"x"}}"#],
            stream("data: {\"a\":1}\n\n" + done)),
        Row(
            "last chunk", stream: true, [content, #"{"event":"done","payload":{"chunk":"data: b\n\n"}}"#],
            stream("data: a\n\ndata: b\n\n" + done)),
        Row(
            "how many chunks", stream: true, [content, #"{"event":"done","payload":{"chunks":7}}"#],
            stream("data: a\n\n" + done)),
        Row(
            "error, after nothing", stream: true, [#"{"event":"done","payload":{"error":"no"}}"#],
            Outcome(failure: .workerError)),
        Row(
            "unreadable", stream: true, [#"{"event":"done","payload":{"status_code":99}}"#],
            Outcome(failure: .workerBadAnswer)),
        Row("second end", stream: true, [content, end, end, content], stream("data: a\n\n" + done)),
        Row("progress, then the end", stream: true, [progress, end], stream(progressEvent + done)),
        Row(
            "whole object, after progress", stream: true, [progress, #"{"status":"ok","payload":{"id":"x"}}"#],
            stream(progressEvent + "data: {\"id\":\"x\"}\n\n" + done)),
    ]

    static let chunks: [Row] = [
        Row(
            "data in the payload", stream: true, [#"{"event":"stream","payload":{"data":"data: a\n\n"}}"#, end],
            stream("data: a\n\n" + done)),
        Row(
            "object as data in the payload", stream: true,
            [#"{"event":"stream","payload":{"data":{"a":1},"sequence":1}}"#, end], stream("data: {\"a\":1}\n\n" + done)),
        Row(
            "OpenAI's list is no envelope", stream: true, [#"{"event":"output","payload":{"data":[{"a":1}]}}"#, end],
            stream("data: {\"data\":[{\"a\":1}]}\n\n" + done)),
        Row(
            "null payload beside data", stream: true,
            [#"{"event":"stream","payload":null,"data":"data: a\n\n"}"#, end], stream("data: a\n\n" + done)),
        Row(
            "null payload", stream: true, [#"{"event":"chunk","payload":null}"#, content, end],
            stream("data: a\n\n" + done)),
        Row(
            "null chunk", stream: true, [#"{"event":"chunk","payload":{"chunk":null}}"#, content, end],
            stream("data: a\n\n" + done)),
        Row(
            "chunk inside chunks", stream: true,
            [#"{"event":"chunk","payload":{"chunks":[{"chunks":["data: a\n"]},{"chunk":{"data":"\n"}},null]}}"#, end],
            stream("data: a\n\n" + done)),
        Row(
            "mixed list", stream: true,
            [
                #"{"event":"chunk","payload":{"chunks":["data: a\n\nda",{"b":1},7,{"data_base64":"dGE6IGMKCg=="}]}}"#,
                end,
            ],
            stream("data: a\n\ndata: {\"b\":1}\n\ndata: 7\n\ndata: c\n\n" + done)),
        Row(
            "encoding beside the chunk", stream: true,
            [#"{"event":"chunk","payload":{"chunk":"ZGF0YTogYQoK","encoding":"base64"}}"#, end],
            stream("data: a\n\n" + done)),
        Row(
            "objects to a plain request", stream: false,
            [AnswerStreamTests.load, #"{"event":"output","payload":{"id": "x"}}"#, end],
            Outcome(head: json, body: #"{"id": "x"}"#)),
        Row(
            "error object to a plain request", stream: false,
            [#"{"event":"chunk","payload":{"error":{"code":"busy"}}}"#], Outcome(failure: .workerBusy)),
        Row("events to a plain request", stream: false, [content, end], Outcome(failure: .workerBadAnswer)),
        Row(
            "failing events to a plain request", stream: false,
            [#"{"event":"chunk","payload":"data: {\"error\":\"no\",\"code\":\"model_not_found\"}\n\n"}"#, end],
            Outcome(failure: .modelNotFound)),
        Row(
            "half a document", stream: false, [#"{"event":"chunk","payload":"{\"a\":"}"#, end],
            Outcome(failure: .workerBadAnswer)),
        Row(
            "progress without payload", stream: true, [#"{"event":"progress"}"#, content, end],
            stream("data: a\n\n" + done)),
        Row(
            "log of damaged base64", stream: true, [#"{"event":"log","payload":{"data_base64":"!"}}"#, content, end],
            stream("data: a\n\n" + done)),
        Row(
            "words of a log spoil no event", stream: true,
            [
                #"{"event":"chunk","payload":"data: a"}"#, #"{"event":"log","payload":"loading"}"#,
                #"{"event":"log","payload":"data: l"}"#, #"{"event":"chunk","payload":"b\n\n"}"#, end,
            ], stream("data: l\n\ndata: ab\n\n" + done)),
    ]

    @Test(arguments: statuses + bodies + endings + chunks) func quirks(row: Row) {
        #expect(Outcome(stream: row.stream, row.frames).description == row.outcome)
    }

    @Test(arguments: [
        "data: a\n", "data:a\n", "event: x\ndata: a\n", "id: 1\ndata: a\n", "retry: 5\ndata: a\n", ": hi\n\ndata: a\n",
        "\n\r\n\ndata: a\n", "\r\n: hi\n\ndata: a\n", "\u{FEFF}data: a\r", "  \ndata: a\n",
    ])
    func anEventStreamIsToldByItsText(text: String) {
        for type in ["application/json", "text/plain", "application/octet-stream", "text/event-stream", ""] {
            let type = type.isEmpty ? "" : #""content_type":"\#(type)","#
            let quoted = SessionFixtures.text(JSONText.quoted(text))
            let outcome = Outcome(stream: true, [#"{"payload":{"status_code":200,\#(type)"body":\#(quoted)}}"#])
            #expect(outcome.heads == [AnswerFormTests.events] && outcome.ends == 1)
            #expect(outcome.body.hasSuffix("a\n\n" + Self.done) && !outcome.body.contains("data: data"))
        }
    }

    /// Frames that tell of a failure once content is out: an event of it is the last, without an end marker.
    @Test(
        arguments: [
            (#"{"payload":{"status_code":503,"body":{"error":{"message":"gone"}}}}"#, "the worker says: gone"),
            (#"{"event":"done","payload":{"status_code":500,"body":"gone"}}"#, "the worker says: gone"),
            (#"{"event":"done","payload":{"error":"gone"}}"#, "the worker says: gone"),
            (#"{"ok":false,"error":"gone"}"#, "the worker says: gone"),
            (#"{"event":"error","payload":"gone"}"#, "the worker says: gone"),
            (#"{"event":"error","payload":{"message":"gone"}}"#, "the worker says: gone"),
            (#"{"event":"error","payload":{"error":{"message":"gone"},"code":"x"}}"#, "the worker says: gone"),
            (#"{"payload":{"status_code":200,"content_type":"image/png","body_base64":"UE5H"}}"#, "no event"),
            (#"{"payload":{"status_code":200,"content_type":"application/json","body":"gone"}}"#, "cannot read"),
        ] as [(String, String)])
    func aFailureAfterContentEndsTheStream(frame: String, words: String) {
        var exchange = AnswerExchange(stream: true)
        _ = exchange.receive(Self.content)
        let outcome = Outcome(exchange.receive(frame) ?? [], isInStream: true)
        #expect(outcome.heads.isEmpty && outcome.ends == 1 && outcome.failures.isEmpty)
        #expect(outcome.body.hasPrefix("data: {\"error\":{") && outcome.body.contains(words))
        #expect(!outcome.body.contains("DONE"))
        #expect(exchange.sample(now: SessionFixtures.now(9).instant)?.isSuccess == false)
    }

    @Test func theWordsOfAnErrorAreKept() throws {
        let rows: [(String, ErrorCode)] = [
            (#"{"event":"error","payload":"gone"}"#, .workerError),
            (#"{"event":"error","payload":{"error":"gone","code":"busy"}}"#, .workerBusy),
            (#"{"event":"error","payload":{"detail":"gone"}}"#, .workerError),
            (#"{"status":"error","error":{"message":"gone","code":"overloaded"}}"#, .workerBusy),
            (#"{"status":"error","error":"","payload":{"message":"gone"}}"#, .workerError),
        ]
        for (frame, code) in rows {
            var exchange = AnswerExchange(stream: true)
            guard case .fail(let error)? = exchange.receive(frame)?.first else {
                Issue.record("no failure: \(frame)")
                continue
            }
            #expect(error.message.hasSuffix("gone") && error.code == code)
        }
    }

    // MARK: A whole completion to a stream

    @Test(
        arguments: [
            (
                #"{"id": "c", "object": "chat.completion", "choices": [{"index":0,"message": {"role":"assistant","content":"message"},"finish_reason":"stop"}],"usage":{"total_tokens":3}}"#,
                #"{"id": "c", "object": "chat.completion.chunk", "choices": [{"index":0,"delta": {"role":"assistant","content":"message"},"finish_reason":"stop"}],"usage":{"total_tokens":3}}"#
            ),
            (
                #"{"choices":[{"message":{"tool_calls":[{"id":"a"},{"id":"b","index":4},{}]}},{"message":{}}],"object":"chat.completion"}"#,
                #"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a"},{"id":"b","index":4},{}]}},{"delta":{}}],"object":"chat.completion.chunk"}"#
            ),
            (
                #"{"choices":[{"message":{}}]}"#, #"{"object":"chat.completion.chunk","choices":[{"delta":{}}]}"#
            ),
        ] as [(String, String)])
    func aWholeCompletionBecomesAChunk(whole: String, chunk: String) {
        let quoted = SessionFixtures.text(JSONText.quoted(whole))
        for frame in [
            #"{"status":"ok","payload":\#(whole)}"#, #"{"payload":{"status_code":200,"body":\#(whole)}}"#,
            #"{"payload":{"status_code":200,"body":\#(quoted)}}"#, #"{"event":"done","payload":\#(whole)}"#,
        ] {
            #expect(Outcome(stream: true, [frame]) == Self.stream("data: \(chunk)\n\n" + Self.done))
        }
        #expect(
            Outcome(stream: false, [#"{"status":"ok","payload":\#(whole)}"#]) == Outcome(head: Self.json, body: whole))
    }

    @Test(arguments: [
        #"{"object":"chat.completion.chunk","choices":[{"message":{}}]}"#,
        #"{"object":"list","choices":[{"message":{}}]}"#,
        #"{"object":"chat.completion","choices":[]}"#,
        #"{"object":"chat.completion","choices":[{"delta":{},"message":{}}]}"#,
        #"{"object":"chat.completion","choices":[{"message":"x"}]}"#, #"{"object":"chat.completion","choices":[7]}"#,
        #"{"object":"text_completion","choices":[{"text":"x"}]}"#, #"{"object":7,"choices":[{"message":{}}]}"#, "[]",
        "{}", "{",
    ])
    func whatIsNoCompletionStays(document: String) { #expect(ChatCompletion.chunk(Array(document.utf8)) == nil) }

    // MARK: Size

    /// However it comes.
    @Test func aLargeEventPasses() {
        let text = String(repeating: "x", count: 1_500_000)
        let object = #"{"b64_json":"\#(text)"}"#
        for frames in [
            [#"{"event":"output","payload":\#(object)}"#, Self.end],
            [
                #"{"event":"chunk","payload":"data: {\"b64_json\":\"\#(text)"}"#,
                #"{"event":"chunk","payload":"\"}\n\n"}"#, Self.end,
            ], [#"{"status":"ok","payload":\#(object)}"#],
            [#"{"payload":{"status_code":200,"body":\#(object)}}"#], [#"{"event":"completed","payload":\#(object)}"#],
            [
                #"{"payload":{"status_code":200,"content_type":"text/event-stream","body":"data: {\"b64_json\":\"\#(text)\"}"}}"#
            ],
        ] {
            #expect(Outcome(stream: true, frames) == Self.stream("data: \(object)\n\n" + Self.done))
        }
    }

    /// Lists in lists could make millions of pieces out of one frame.
    @Test func piecesOfAFrameAreBounded() {
        let list = "[" + Array(repeating: "1", count: 4_000).joined(separator: ",") + "]"
        var exchange = AnswerExchange(stream: true)
        #expect(!(exchange.receive(#"{"event":"chunk","payload":{"chunks":\#(list)}}"#) ?? []).isEmpty)
        #expect(!exchange.isFinished)
        let lists = Array(repeating: #"{"chunks":\#(list)}"#, count: 2).joined(separator: ",")
        _ = exchange.receive(#"{"event":"chunk","payload":{"chunks":[\#(lists)]}}"#)
        #expect(exchange.isFinished)
    }
}
