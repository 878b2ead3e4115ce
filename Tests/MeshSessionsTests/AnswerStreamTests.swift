import MeshModel
import MeshSessions
import MeshWire
import Testing

/// Answers in pieces: what the buyer of a stream sees.
@Suite struct AnswerStreamTests {
    typealias Row = AnswerFormTests.Row

    static let done = AnswerFormTests.done
    static let end = #"{"event":"done"}"#

    /// A failure in words that buyers' programs would not read, as they get it.
    static func typed(_ words: String, code: String = "worker_error") -> String {
        "data: "
            + #"{"error":{"message":"the worker says: \#(words)","type":"server_error","param":null,"code":"\#(code)"}}"#
            + "\n\n"
    }

    static func stream(_ body: String) -> Outcome { Outcome(head: AnswerFormTests.events, body: body) }

    static let chunks: [Row] = [
        Row(
            "text", stream: true, [#"{"event":"chunk","payload":{"chunk":"data: a\n\n","sequence":1}}"#, end],
            stream("data: a\n\n" + done)),
        Row(
            "payload is the text", stream: true, [#"{"event":"output","payload":"data: a\n\n"}"#, end],
            stream("data: a\n\n" + done)),
        Row(
            "base64", stream: true, [#"{"event":"data","payload":{"data_base64":"ZGF0YTogYQoK"}}"#, end],
            stream("data: a\n\n" + done)),
        Row(
            "nested base64", stream: true,
            [#"{"event":"chunk","payload":{"chunk":{"encoding":"base64","data":"ZGF0YTogYQoK"}}}"#, end],
            stream("data: a\n\n" + done)),
        Row(
            "nested chunk", stream: true, [#"{"event":"chunk","payload":{"chunk":{"chunk":"data: a\n\n"}}}"#, end],
            stream("data: a\n\n" + done)),
        Row(
            "list", stream: true,
            [#"{"event":"chunk","payload":{"chunks":["data: a","\n\n",{"chunk":"data: b\n\n"}]}}"#, end],
            stream("data: a\n\ndata: b\n\n" + done)),
        Row(
            "object", stream: true, [#"{"event":"progress","payload":{"step": 1}}"#, end],
            stream("data: {\"step\": 1}\n\n" + done)),
        Row(
            "object with line breaks", stream: true, ["{\"event\":\"log\",\"payload\":{\n\"step\":\r\n1}}", end],
            stream("data: { \"step\":  1}\n\n" + done)),
        Row(
            "generation A", stream: true, [#"{"event":"stream","data":"data: a\n\n"}"#, #"{"event":"stream_end"}"#],
            stream("data: a\n\n" + done)),
        Row("missing payload", stream: true, [#"{"event":"chunk"}"#], Outcome(failure: .workerBadAnswer)),
        Row(
            "nested too deep", stream: true,
            [#"{"event":"chunk","payload":{"chunk":{"chunk":{"chunk":{"chunk":"x"}}}}}"#],
            Outcome(failure: .workerBadAnswer)),
        Row(
            "broken base64", stream: true, [#"{"event":"chunk","payload":{"data_base64":"!"}}"#],
            Outcome(failure: .workerBadAnswer)),
        Row(
            "chunks to a plain request", stream: false,
            [#"{"event":"chunk","payload":{"chunk":"{\"a\":"}}"#, #"{"event":"chunk","payload":{"chunk":"1}"}}"#, end],
            Outcome(head: AnswerFormTests.json, body: #"{"a":1}"#)),
        Row("done without content to a plain request", stream: false, [end], Outcome(failure: .workerBadAnswer)),
        Row("done without content", stream: true, [#"{"event":"completed"}"#], Outcome(failure: .workerError)),
    ]

    static let doneMarkers: [Row] = [
        Row(
            "present", stream: true, [#"{"event":"chunk","payload":"data: a\n\ndata: [DONE]\n\n"}"#, end],
            stream("data: a\n\n" + done)),
        Row(
            "absent, last blank line missing", stream: true, [#"{"event":"chunk","payload":"data: a\n"}"#, end],
            stream("data: a\n\n" + done)),
        Row(
            "absent, last line end missing", stream: true, [#"{"event":"chunk","payload":"data: {\"a\":1}"}"#, end],
            stream("data: {\"a\":1}\n\n" + done)),
        Row(
            "split", stream: true,
            [
                #"{"event":"chunk","payload":"data: a\n\ndata: [DO"}"#, #"{"event":"chunk","payload":"NE]\n"}"#,
                #"{"event":"chunk","payload":"\n"}"#, end,
            ],
            stream("data: a\n\n" + done)),
        Row(
            "twice, last one cut off", stream: true,
            [#"{"event":"chunk","payload":"data: a\r\n\r\ndata:[DONE]\r\n\r\ndata: [DONE]"}"#, end],
            stream("data: a\n\n" + done)),
        Row(
            "named event", stream: true,
            [#"{"event":"chunk","payload":"data: a\n\nevent: end\ndata: [DONE]\n\n"}"#, end],
            stream("data: a\n\n" + done)),
    ]

    static let wholeToStream: [Row] = [
        Row(
            "whole event stream in one frame", stream: true,
            [
                #"{"payload":{"status_code":200,"content_type":"text/event-stream","body":"data: a\n\ndata: b\n\ndata: [DONE]\n\n"}}"#
            ],
            stream("data: a\n\ndata: b\n\n" + done)),
        Row(
            "whole event stream, wrong type", stream: true, [#"{"payload":{"status_code":200,"body":"data: a\n\n"}}"#],
            stream("data: a\n\n" + done)),
        Row(
            "whole object", stream: true, [#"{"status":"ok","payload":{"id":"x"}}"#],
            stream("data: {\"id\":\"x\"}\n\n" + done)),
        Row(
            "whole object over several lines", stream: true,
            [#"{"payload":{"status_code":200,"body":"{\n\n\"id\":\n1}"}}"#],
            stream("data: {  \"id\": 1}\n\n" + done)),
        Row(
            "whole failure in the first event", stream: true,
            [#"{"payload":{"status_code":200,"body":"data: {\"error\":\"no\"}\n\n"}}"#], Outcome(failure: .workerError)),
    ]

    static let streamErrors: [Row] = [
        Row(
            "first, text", stream: true, [#"{"event":"chunk","payload":"data: {\"error\":\"no\"}\n\n"}"#, end],
            Outcome(failure: .workerError)),
        Row(
            "first, object", stream: true, [#"{"event":"chunk","payload":{"error":{"message":"no"}}}"#, end],
            Outcome(failure: .workerError)),
        Row(
            "first, not the first field", stream: true,
            [#"{"event":"chunk","payload":"data: {\"id\":1,\"error\":\"no\"}\n\n"}"#], Outcome(failure: .workerError)),
        Row(
            "null is none", stream: true, [#"{"event":"chunk","payload":"data: {\"error\":null,\"id\":1}\n\n"}"#, end],
            stream("data: {\"error\":null,\"id\":1}\n\n" + done)),
        Row(
            "later", stream: true,
            [
                #"{"event":"chunk","payload":"data: a\n\n"}"#,
                #"{"event":"chunk","payload":"data: {\"error\":\"no\"}\n\n"}"#, end,
            ],
            stream("data: a\n\n" + typed("no"))),
        Row(
            "later, in one frame, with an end marker", stream: true,
            [
                #"{"payload":{"status_code":200,"content_type":"text/event-stream","body":"data: a\n\ndata: {\"error\":{\"message\":\"no\"}}\n\ndata: [DONE]\n\n"}}"#
            ],
            stream("data: a\n\n" + typed("no"))),
        Row(
            "later, nothing follows it", stream: true,
            [#"{"event":"chunk","payload":"data: a\n\ndata: {\"error\":\"no\"}\n\ndata: b\n\n"}"#, end],
            stream("data: a\n\n" + typed("no"))),
        Row(
            "later, the word alone", stream: true,
            [
                #"{"event":"chunk","payload":"data: a\n\n"}"#,
                #"{"event":"chunk","payload":"data: {\"choices\":[{\"delta\":{\"content\":\"\\\"error\\\":\",\"error\":\"x\"},\"finish_reason\":\"stop\"}]}\n\n"}"#,
                #"{"event":"chunk","payload":"data: \"error\"\n\ndata: {\"error\":\"\"}\n\ndata: {\"error\":{}}\n\n"}"#,
                end,
            ],
            stream(
                "data: a\n\n"
                    + "data: {\"choices\":[{\"delta\":{\"content\":\"\\\"error\\\":\",\"error\":\"x\"},\"finish_reason\":\"stop\"}]}\n\n"
                    + "data: \"error\"\n\ndata: {\"error\":\"\"}\n\ndata: {\"error\":{}}\n\n" + done)),
        Row(
            "first, with a code", stream: true,
            [#"{"event":"chunk","payload":"data: {\"error\":{\"code\":\"busy\",\"message\":\"no\"}}\n\n"}"#],
            Outcome(failure: .workerBusy)),
        Row(
            "first, code beside the text", stream: true,
            [#"{"event":"chunk","payload":{"error":"no","code":"model_not_found"}}"#], Outcome(failure: .modelNotFound)
        ),
    ]

    static let load =
        #"{"event":"chunk","payload":{"id":"chatcmpl-load","choices":[{"delta":{}}],"x_queue_info":{"position":1}}}"#
    static let loadEvent =
        "data: {\"id\":\"chatcmpl-load\",\"choices\":[{\"delta\":{}}],\"x_queue_info\":{\"position\":1}}\n\n"

    static let loading: [Row] = [
        Row(
            "then content", stream: true, [load, load, #"{"event":"chunk","payload":"data: a\n\n"}"#, end],
            stream(loadEvent + loadEvent + "data: a\n\n" + done)),
        Row(
            "then error frame", stream: true, [load, #"{"status":"error","code":"busy"}"#],
            Outcome(failure: .workerBusy)),
        Row(
            "then error event", stream: true, [load, #"{"event":"chunk","payload":"data: {\"error\":\"no\"}\n\n"}"#],
            Outcome(failure: .workerError)),
        Row("then nothing", stream: true, [load, end], Outcome(failure: .workerError)),
        Row(
            "after content", stream: true,
            [
                #"{"event":"chunk","payload":"data: a\n\n"}"#, load, #"{"event":"chunk","payload":"data: [DONE]\n\n"}"#,
                end,
            ],
            stream("data: a\n\n" + loadEvent + done)),
        Row(
            "comment, then error", stream: true,
            [#"{"event":"chunk","payload":": wait\n\n"}"#, #"{"status":"error"}"#], Outcome(failure: .workerError)),
        Row(
            "then a status", stream: true, [load, #"{"payload":{"status_code":429,"body":"x"}}"#],
            AnswerFormTests.refused(429, "x", type: "rate_limit_error")),
    ]

    @Test(arguments: chunks + doneMarkers + wholeToStream + streamErrors + loading) func streams(row: Row) {
        #expect(Outcome(stream: row.stream, row.frames).description == row.outcome)
    }

    /// However often a worker tells how it is getting on, what is held stays bounded.
    @Test func heldLoadStatusIsBounded() {
        var exchange = AnswerExchange(stream: true)
        for _ in 0..<20_000 { #expect(exchange.receive(Self.load) == []) }
        let outcome = Outcome(exchange.receive(#"{"event":"chunk","payload":"data: a\n\n"}"#) ?? [])
        #expect(outcome.body.utf8.count < Limits.streamBufferBytes + 100)
        #expect(outcome.body.hasPrefix("data: {") && outcome.body.hasSuffix(Self.loadEvent + "data: a\n\n"))
    }

    @Test func aFailureInTheMiddleIsAnEventAndTheEnd() {
        var exchange = AnswerExchange(stream: true)
        _ = exchange.receive(#"{"event":"chunk","payload":"data: a\n\ndata: half"}"#)
        let outcome = Outcome(exchange.receive(#"{"status":"error","error":"gone"}"#) ?? [], isInStream: true)
        #expect(outcome.heads.isEmpty && outcome.ends == 1 && outcome.failures.isEmpty)
        #expect(
            outcome.body.hasPrefix("data: {\"error\":") && !outcome.body.contains("half")
                && !outcome.body.contains("DONE"))
        #expect(exchange.receive(Self.end) == [])
    }

    @Test func aSplitCharacterArrivesWhole() {
        let frames = Array("data: ä\n\n".utf8).map {
            #"{"event":"chunk","payload":{"data_base64":"\#(SessionFixtures.text(Base64.text([$0])))"}}"#
        }
        #expect(Outcome(stream: true, frames + [Self.end]) == Self.stream("data: ä\n\n" + Self.done))
    }

    @Test func anEventWithoutEndFailsTheAnswer() {
        var exchange = AnswerExchange(stream: true)
        let text = String(repeating: "x", count: Limits.eventBytes + 1)
        #expect(
            Outcome(exchange.receive(#"{"event":"chunk","payload":"\#(text)"}"#) ?? [])
                == Outcome(failure: .workerBadAnswer))
    }
}

@Suite struct AnswerDeadlineTests {
    static let deadlines = AnswerDeadlines(firstContentMs: 1_000, idleMs: 500, totalMs: 400_000)

    func milliseconds(_ exchange: AnswerExchange) -> Int64 {
        exchange.deadline.milliseconds(since: SessionFixtures.start)
    }

    @Test func firstContentIdleAndTotal() {
        var exchange = AnswerExchange(stream: true, deadlines: Self.deadlines)
        #expect(milliseconds(exchange) == 1_000)
        _ = exchange.receive(#"{"event":"chunk","payload":"data: a\n\n"}"#, at: 700)
        #expect(milliseconds(exchange) == 1_200)
        _ = exchange.receive(#"{"event":"chunk","payload":"data: a\n\n"}"#, at: 399_900)
        #expect(milliseconds(exchange) == 400_000)
    }

    @Test(arguments: [
        ("10", Int64(10_100)), ("50.9", 50_100), ("0", 60_100), ("-5", 60_100), ("\"x\"", 60_100), ("1e9", 60_100),
        ("99999999999999999999", 60_100), ("9223372036854775807", 60_100), ("100", 60_100),
    ])
    func pendingMovesTheDeadline(estimate: String, expected: Int64) {
        var exchange = AnswerExchange(stream: true, deadlines: Self.deadlines)
        _ = exchange.receive(#"{"event":"pending","payload":{"estimated_timeout":\#(estimate)}}"#, at: 100)
        #expect(milliseconds(exchange) == expected)
    }

    @Test func pendingNeverGoesBeyondTheWhole() {
        var exchange = AnswerExchange(stream: true, deadlines: Self.deadlines)
        let pending = #"{"event":"pending","payload":{"estimated_timeout":9223372036854775807}}"#
        for second in stride(from: Int64(0), through: 390, by: 30) { _ = exchange.receive(pending, at: second * 1_000) }
        #expect(milliseconds(exchange) == 400_000)
        #expect(Outcome(exchange.deadlinePassed()) == Outcome(failure: .workerTimeout))
    }

    @Test func pendingNeverShortensIt() {
        var exchange = AnswerExchange(
            stream: true, deadlines: .init(firstContentMs: 60_000, idleMs: 500, totalMs: 400_000))
        _ = exchange.receive(#"{"event":"pending","payload":{"estimated_timeout":1}}"#)
        #expect(milliseconds(exchange) == 60_000)
    }

    /// Silence for twice the interval is the end, whatever the worker had estimated. Until two have shown it, it is that
    /// of released clients.
    @Test func pendingThatStopsMeansTheRequestIsLost() {
        var exchange = AnswerExchange(
            stream: true, deadlines: .init(firstContentMs: 10_000, idleMs: 500, totalMs: 4_000_000))
        let pending = #"{"event":"pending","payload":{"estimated_timeout":600}}"#
        _ = exchange.receive(pending, at: 0)
        #expect(milliseconds(exchange) == 60_000)
        _ = exchange.receive(pending, at: 40_000)
        #expect(milliseconds(exchange) == 120_000)
        _ = exchange.receive(pending, at: 80_000)
        #expect(milliseconds(exchange) == 160_000)
        // Two in quick succession say nothing of the interval: that of released clients is assumed.
        var hasty = AnswerExchange(
            stream: true, deadlines: .init(firstContentMs: 10_000, idleMs: 500, totalMs: 4_000_000))
        _ = hasty.receive(pending, at: 0)
        _ = hasty.receive(pending, at: 5)
        #expect(milliseconds(hasty) == 60_005)
    }

    /// Parts of the answer show as well that the handler lives, and silence after them as well that it does not.
    @Test func aHandlerThatCrashesAfterPendingIsNoticed() {
        let long = AnswerDeadlines(firstContentMs: 120_000, idleMs: 120_000, totalMs: 4_000_000)
        let pending = #"{"event":"pending"}"#
        var before = AnswerExchange(stream: true, deadlines: long)
        _ = before.receive(pending)
        #expect(milliseconds(before) == 60_000)
        #expect(Outcome(before.deadlinePassed()) == Outcome(failure: .workerLost))
        #expect(before.sample(now: SessionFixtures.now(60_000).instant)?.isSuccess == false)
        var during = AnswerExchange(stream: true, deadlines: long)
        _ = during.receive(pending)
        _ = during.receive(#"{"event":"chunk","payload":"data: a\n\n"}"#, at: 20_000)
        #expect(milliseconds(during) == 80_000)
        _ = during.receive(#"{"event":"log"}"#, at: 30_000)
        #expect(milliseconds(during) == 90_000)
        #expect(Outcome(during.deadlinePassed(), isInStream: true).body.contains("stream_interrupted"))
        // Loading is no content: another worker may still be tried.
        var loading = AnswerExchange(stream: true, deadlines: long)
        _ = loading.receive(pending)
        _ = loading.receive(AnswerStreamTests.load, at: 5_000)
        #expect(milliseconds(loading) == 65_000)
        #expect(Outcome(loading.deadlinePassed()) == Outcome(failure: .workerLost))
        // Who never sends one is not measured by it.
        var silent = AnswerExchange(stream: true, deadlines: long)
        _ = silent.receive(AnswerStreamTests.load, at: 5_000)
        #expect(milliseconds(silent) == 125_000)
        #expect(Outcome(silent.deadlinePassed()) == Outcome(failure: .workerTimeout))
    }

    @Test func aPassedDeadlineFailsOrInterrupts() {
        var waiting = AnswerExchange(stream: true)
        #expect(Outcome(waiting.deadlinePassed()) == Outcome(failure: .workerTimeout))
        #expect(waiting.deadlinePassed().isEmpty)
        var streaming = AnswerExchange(stream: true)
        _ = streaming.receive(#"{"event":"chunk","payload":"data: a\n\n"}"#)
        let outcome = Outcome(streaming.deadlinePassed(), isInStream: true)
        #expect(outcome.ends == 1 && outcome.body.contains("stream_interrupted"))
        var loading = AnswerExchange(stream: true)
        _ = loading.receive(AnswerStreamTests.load)
        #expect(Outcome(loading.deadlinePassed()) == Outcome(failure: .workerTimeout))
    }
}
