import MeshModel
import MeshSessions
import Testing

/// One row per form an answer may have.
@Suite struct AnswerFormTests {
    struct Row: Sendable, CustomTestStringConvertible {
        var name: String
        var stream: Bool
        var frames: [String]
        var outcome: String

        init(_ name: String, stream: Bool, _ frames: [String], _ outcome: Outcome) {
            self.name = name
            self.stream = stream
            self.frames = frames
            self.outcome = outcome.description
        }

        var testDescription: String { name }
    }

    static let json = "200 application/json"
    static let events = "200 text/event-stream"
    static let done = "data: [DONE]\n\n"

    /// An error status whose body was in the worker's own words.
    static func refused(
        _ status: Int, _ words: String, type: String = "server_error", code: String = "worker_error"
    ) -> Outcome {
        let body =
            #"{"error":{"message":"the worker says: \#(words)","type":"\#(type)","param":null,"code":"\#(code)"}}"#
        return Outcome(head: "\(status) application/json", body: body)
    }

    static let whole: [Row] = [
        Row(
            "plain", stream: false, [#"{"status":"ok","payload":{"id":"x"}}"#],
            Outcome(head: json, body: #"{"id":"x"}"#)),
        Row("plain list", stream: false, [#"{"status":"ok","payload":[1]}"#], Outcome(head: json, body: "[1]")),
        Row(
            "generation A", stream: false, [#"{"ok":true,"request_id":"q1","payload":{"id":"x"}}"#],
            Outcome(head: json, body: #"{"id":"x"}"#)),
        Row(
            "wrapped text", stream: false,
            [
                #"{"status":"ok","payload":{"status_code":200,"content_type":"application/json","body":"{\"a\":\"\u00e4\"}"}}"#
            ],
            Outcome(head: json, body: #"{"a":"ä"}"#)),
        Row(
            "wrapped object", stream: false,
            [#"{"status":"ok","payload":{"status_code":201,"body":{"a":[1, 2]}},"metrics":{"elapsed_ms":3}}"#],
            Outcome(head: "201 application/json", body: #"{"a":[1, 2]}"#)),
        Row(
            "wrapped list", stream: false, [#"{"payload":{"status_code":200,"body":[1]}}"#],
            Outcome(head: json, body: "[1]")),
        Row(
            "wrapped base64", stream: false,
            [
                #"{"status":"ok","payload":{"status_code":200,"content_type":"image/png","body_base64":"UE5H","filename":"a.png"}}"#
            ],
            Outcome(head: "200 image/png", body: "PNG")),
        Row(
            "base64 without a status", stream: false,
            [#"{"ok":true,"payload":{"content_type":"image/png","body_base64":"UE5H"}}"#],
            Outcome(head: "200 image/png", body: "PNG")),
        Row(
            "base64 that is none, and no status", stream: false, [#"{"payload":{"body_base64":"U"}}"#],
            Outcome(failure: .workerBadAnswer)),
        Row(
            "a field of that name in a plain object", stream: false, [#"{"payload":{"body_base64":["U"]}}"#],
            Outcome(head: json, body: #"{"body_base64":["U"]}"#)),
        Row(
            "base64 beside a status that is none", stream: false,
            [#"{"payload":{"status_code":"200","body_base64":"UE5H"}}"#],
            Outcome(head: json, body: #"{"status_code":"200","body_base64":"UE5H"}"#)),
        Row(
            "wrapped without body", stream: false, [#"{"payload":{"status_code":200}}"#],
            Outcome(failure: .workerBadAnswer)),
        // Statuses without a body, or before the answer, would split or end the buyer's HTTP answer.
        Row(
            "bodiless status", stream: false, [#"{"payload":{"status_code":204,"body":"HTTP/1.1 200 OK"}}"#],
            Outcome(failure: .workerBadAnswer)),
        Row(
            "nothing to say", stream: false, [#"{"payload":{"status_code":204}}"#],
            Outcome(failure: .workerBadAnswer)),
        Row(
            "nothing to say, as bytes", stream: false,
            [#"{"payload":{"status_code":204,"content_type":"application/octet-stream","body":""}}"#],
            Outcome(failure: .workerBadAnswer)),
        Row(
            "nothing to say to a stream", stream: true,
            [#"{"payload":{"status_code":204,"content_type":"application/octet-stream","body":""}}"#],
            Outcome(failure: .workerBadAnswer)),
        Row(
            "lines of documents", stream: false,
            [#"{"payload":{"status_code":200,"content_type":"application/x-ndjson","body":"{\"a\":1}\n{\"a\":2}\n"}}"#],
            Outcome(failure: .workerBadAnswer)),
        Row(
            "lines of documents to a stream", stream: true,
            [#"{"payload":{"status_code":200,"content_type":"application/x-ndjson","body":"{\"a\":1}\n{\"a\":2}\n"}}"#],
            Outcome(failure: .workerBadAnswer)),
        Row(
            "a failure in words of another server", stream: false,
            [#"{"payload":{"status_code":200,"body":{"detail":"Not Found"}}}"#], Outcome(failure: .workerError)),
        Row(
            "the same to a stream", stream: true, [#"{"payload":{"status_code":200,"body":{"detail":"Not Found"}}}"#],
            Outcome(failure: .workerError)),
        Row(
            "a completion with such a field", stream: false,
            [#"{"payload":{"status_code":200,"body":{"choices":[],"detail":"x"}}}"#],
            Outcome(head: json, body: #"{"choices":[],"detail":"x"}"#)),
        Row(
            "not modified", stream: false, [#"{"payload":{"status_code":304,"body":"x"}}"#],
            Outcome(failure: .workerBadAnswer)),
        Row(
            "informational status", stream: false, [#"{"payload":{"status_code":100,"body":"x"}}"#],
            Outcome(failure: .workerBadAnswer)),
        Row(
            "JSON that is none", stream: false, [#"{"payload":{"status_code":200,"body":"{\"choices\":[{\"mess"}}"#],
            Outcome(failure: .workerBadAnswer)),
        Row(
            "wrapped error status", stream: false,
            [#"{"status":"ok","payload":{"status_code":404,"body":{"error":"text"}}}"#],
            refused(404, "text", type: "invalid_request_error")),
        Row(
            "wrapped error status to a stream", stream: true,
            [#"{"payload":{"status_code":503,"body":{"error":"text"}}}"#],
            refused(503, "text")),
        Row(
            "header injection", stream: false,
            [#"{"payload":{"status_code":200,"content_type":"a\r\nb: c","body":{"a":1}}}"#],
            Outcome(head: json, body: #"{"a":1}"#)),
        Row("event response", stream: false, [#"{"event":"response","payload":{}}"#], Outcome(head: json, body: "{}")),
        Row("null event", stream: false, [#"{"event":null,"payload":{}}"#], Outcome(head: json, body: "{}")),
        Row(
            "second answer", stream: false, [#"{"payload":{}}"#, #"{"payload":{"again":1}}"#],
            Outcome(head: json, body: "{}")),
        Row("no payload", stream: false, [#"{"status":"ok"}"#], Outcome(failure: .workerBadAnswer)),
        Row("text payload", stream: false, [#"{"status":"ok","payload":"text"}"#], Outcome(failure: .workerBadAnswer)),
        Row("absurd status", stream: false, [#"{"payload":{"status_code":99}}"#], Outcome(failure: .workerBadAnswer)),
        Row(
            "huge status", stream: false, [#"{"payload":{"status_code":99999999999}}"#],
            Outcome(failure: .workerBadAnswer)),
        Row(
            "broken base64", stream: false, [#"{"payload":{"status_code":200,"body_base64":"U"}}"#],
            Outcome(failure: .workerBadAnswer)),
    ]

    static let errors: [Row] = [
        Row("error text", stream: false, [#"{"status":"error","error":"no"}"#], Outcome(failure: .workerError)),
        Row("error event", stream: true, [#"{"event":"error","error":"no"}"#], Outcome(failure: .workerError)),
        Row("ok false", stream: false, [#"{"ok":false,"error":"no","payload":{}}"#], Outcome(failure: .workerError)),
        Row("error without words", stream: false, [#"{"status":"error"}"#], Outcome(failure: .workerError)),
        Row(
            "code beside the text", stream: false, [#"{"status":"error","error":"no","code":"model_not_found"}"#],
            Outcome(failure: .modelNotFound)),
        Row(
            "error object", stream: false,
            [#"{"status":"error","error":{"code":"model_not_found","message":"m","details":{}}}"#],
            Outcome(failure: .modelNotFound)),
        Row("busy", stream: true, [#"{"status":"error","error":{"code":"busy"}}"#], Outcome(failure: .workerBusy)),
        Row("overloaded", stream: true, [#"{"status":"error","code":"overloaded"}"#], Outcome(failure: .workerBusy)),
        Row(
            "pending, then error", stream: true, [#"{"event":"pending"}"#, #"{"status":"error"}"#],
            Outcome(failure: .workerError)),
    ]

    @Test(arguments: whole + errors) func wholeAnswers(row: Row) {
        #expect(Outcome(stream: row.stream, row.frames).description == row.outcome)
    }

    /// A letter with thousands of accents is one character: the bound is on bytes.
    @Test(arguments: ["x", "x\u{301}\u{301}", "\u{301}"], [true, false])
    func theWorkersWordsAreBounded(filler: String, inEvent: Bool) {
        var exchange = AnswerExchange(stream: true)
        let words = String(repeating: filler, count: 9_000)
        let frame =
            inEvent
            ? #"{"event":"chunk","payload":"data: {\"error\":\"\#(words)\"}\n\n"}"#
            : #"{"status":"error","error":"\#(words)"}"#
        guard case .fail(let error)? = exchange.receive(frame)?.first else {
            Issue.record("no failure")
            return
        }
        #expect(error.message.utf8.count < 600)
    }

    @Test(arguments: ["pending", "registered", "heartbeat", "unheard-of"], [true, false])
    func whatIsNoAnswerIsNeverOne(event: String, stream: Bool) {
        var exchange = AnswerExchange(stream: stream)
        #expect(exchange.receive(#"{"event":"\#(event)","payload":{"message":"processing"}}"#) == [])
        #expect(!exchange.isFinished)
        #expect(exchange.receive(#"{"status":"pending","payload":{}}"#) == [])
        #expect(!exchange.isFinished)
    }
}
