import MeshModel
import MeshWire
import Testing

@testable import MeshSessions

/// When an answer is complete, and when it only ends.
@Suite struct AnswerEndTests {
    private static let end = AnswerStreamTests.end
    private static let done = AnswerFormTests.done

    private static func chunk(_ text: String) -> String {
        #"{"event":"chunk","payload":{"chunk":\#(SessionFixtures.text(JSONText.quoted(text)))}}"#
    }

    static func word(_ content: String, finish: String = "null") -> String {
        #"data: {"choices":[{"delta":{"content":"\#(content)"},"finish_reason":\#(finish)}]}"# + "\n\n"
    }

    private static let words = word("a") + word("b")
    private static let created = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{}}\n\n"
    private static let started = "event: message_start\ndata: {\"type\":\"message_start\"}\n\n"

    static let complete = [
        words + word("", finish: #""stop""#), words + word("", finish: #" "length""#), words + "data: [DONE]",
        words + "data: [DONE]\n", words + "data:[DONE]\r\r", "data: [DONE]\n\n",
        word("a", finish: #""stop""#) + #"data: {"choices":[],"usage":{"total_tokens":3}}"#,
        created + "data: {\"type\":\"response.completed\",\"response\":{}}\n\n",
        created + "data: {\"type\": \"response.failed\",\"response\":{}}\n\n",
        created + "data: {\"type\":\"response.incomplete\"}\n\n", started + "data: {\"type\":\"message_stop\"}\n\n",
        #"data: {"progress":1}"# + "\n\n" + words + word("", finish: #""stop""#),
        // Streams that have no mark of their own.
        "data: {\"percent\":1}\n\n", "data: words\n\n", "data: words\n", "data: {\"type\":\"speech.audio.done\"}",
    ]

    @Test(arguments: complete) func aStreamThatSaysSoIsComplete(text: String) {
        let outcome = Outcome(stream: true, [Self.chunk(text), Self.end])
        #expect(outcome.heads == [AnswerFormTests.events] && outcome.ends == 1)
        #expect(outcome.body.hasSuffix(Self.done) && !outcome.body.contains("stream_interrupted"))
    }

    static let cut = [
        words, words + word("", finish: #""""#), words + "data: {\"choices\":[{\"delta\":{\"content\":\"fin",
        words + word("finish_reason"), words + word(#"\"finish_reason\":\"stop\""#), words + word("response.completed"),
        words + word("", finish: #""stop""#) + "data: {\"choi", created, started, words + "data: words",
        "data: words\n\ndata: half", words + "data: {\"a\":\n", words + "event: x\nda",
    ]

    @Test(arguments: cut) func anEndAloneIsNoMarkOfCompleteness(text: String) {
        let outcome = Outcome(stream: true, [Self.chunk(text), Self.end])
        #expect(outcome.heads == [AnswerFormTests.events] && outcome.ends == 1 && outcome.failures.isEmpty)
        #expect(outcome.body.contains("stream_interrupted") && !outcome.body.contains("[DONE]"))
        #expect(!outcome.body.contains("fin\n\n") && !outcome.body.contains("choi\n") && !outcome.body.contains("half"))
        var exchange = AnswerExchange(stream: true)
        for frame in [Self.chunk(text), Self.end] { _ = exchange.receive(frame) }
        #expect(exchange.sample(now: SessionFixtures.now(9).instant)?.isSuccess == false)
    }

    @Test(arguments: ["", "\n", ": busy\n\n", "id: 1\n\n", "da", word(""), "data:\n\n"])
    func withoutAnyContentItIsAFailure(text: String) {
        #expect(Outcome(stream: true, [Self.chunk(text), Self.end]) == Outcome(failure: .workerError))
    }

    @Test func doneMaySayThatItIsComplete() {
        let done = #"{"event":"done","payload":{"finish_reason":"stop"}}"#
        #expect(Outcome(stream: true, [Self.chunk(Self.words), done]).body == Self.words + Self.done)
        let whole = #"{"event":"done","payload":{"choices":[{"message":{"content":"ab"}}]}}"#
        #expect(Outcome(stream: true, [Self.chunk(Self.words), whole]).body == Self.words + Self.done)
    }

    // MARK: Behind the end

    @Test(
        arguments: [
            #"{"status":"error","error":"connection lost"}"#, #"{"event":"done"}"#,
            #"{"event":"done","payload":{"error":"x"}}"#,
            #"{"payload":{"status_code":500,"body":"x"}}"#, #"{"status":"ok","payload":{"id":"x"}}"#,
        ])
    func nothingSpoilsACompleteAnswer(frame: String) {
        let late = Self.chunk("data: late\n\ndata: {\"error\":\"late\"}\n\n")
        let outcome = Outcome(stream: true, [Self.chunk(Self.words + "data: [DONE]\n\n"), late, frame])
        #expect(outcome.body == Self.words + Self.done && outcome.ends == 1 && outcome.failures.isEmpty)
    }

    @Test func aLostWorkerDoesNotSpoilItEither() {
        var exchange = AnswerExchange(stream: true)
        _ = exchange.receive(Self.chunk(Self.words + "data: [DONE]\n\n"))
        let outcome = Outcome(exchange.failed(MeshError(.workerLost, "gone")), isInStream: true)
        #expect(outcome.body == Self.done && outcome.ends == 1)
        #expect(exchange.sample(now: SessionFixtures.now(9).instant)?.isSuccess == true)
    }

    @Test(arguments: ["data: [DONE]\n\n", "data: [DONE]"]) func doneIsNotWaitedForLong(marker: String) {
        let deadlines = AnswerDeadlines(firstContentMs: 60_000, idleMs: 60_000, totalMs: 60_000)
        var exchange = AnswerExchange(stream: true, deadlines: deadlines)
        _ = exchange.receive(#"{"event":"pending"}"#)
        _ = exchange.receive(Self.chunk(Self.words + marker), at: 1_000)
        _ = exchange.receive(#"{"event":"pending"}"#, at: 1_100)
        #expect(exchange.deadline.milliseconds(since: SessionFixtures.start) == 1_000 + Limits.streamTailMs)
        #expect(Outcome(exchange.deadlinePassed(), isInStream: true).body == Self.done)
        #expect(exchange.isFinished && exchange.receive(Self.end) == [])
        #expect(exchange.sample(now: SessionFixtures.now(1_500).instant)?.isSuccess == true)
    }

    @Test func aFailureBeforeTheEndMarkerCounts() {
        let outcome = Outcome(
            stream: true, [Self.chunk(Self.words + "data: {\"error\":\"hot\"}\ndata: [DONE]\n\n"), Self.end])
        #expect(outcome.body == Self.words + AnswerStreamTests.typed("hot") && outcome.ends == 1)
    }

    @Test(arguments: ["backend_closed", "backend_timeout"]) func whatBrokeOffIsToldFromWhatFailed(code: String) {
        let frame = #"{"status":"error","error":{"code":"\#(code)","message":"closed"}}"#
        #expect(Outcome(stream: true, [frame]) == Outcome(failure: .workerError))
        let outcome = Outcome(stream: true, [Self.chunk(Self.words), frame])
        #expect(outcome.body == Self.words + AnswerStreamTests.typed("closed", code: "stream_interrupted"))
    }
}
