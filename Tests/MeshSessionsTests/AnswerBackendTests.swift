import MeshDialects
import MeshModel
import MeshWire
import Testing

@testable import MeshSessions

/// The same answers where they come without frames, from a backend that this node asks itself.
@Suite struct AnswerBackendTests {
    enum Event: Sendable {
        case workGoesOn
        case whole(Int, String, String)
        case began(AnswerHead)
        case text(String)
        case bytes(Int)
        case ended
        case broke(String, String)
        case deadline
    }

    typealias Step = MachineStep<Event>

    struct Row: Sendable, CustomTestStringConvertible {
        var name: String
        var form = AnswerForm.events
        var subject = AnswerExchange.Subject.completions
        var steps: [Step]
        var testDescription: String { name }
    }

    private static func played(_ row: Row) -> [[String]] {
        let deadlines = AnswerDeadlines(firstContentMs: 10_000, idleMs: 5_000, totalMs: 600_000)
        var exchange = AnswerExchange(
            form: row.form, subject: row.subject, deadlines: deadlines, now: SessionFixtures.start)
        return row.steps.map { step in
            let now = SessionFixtures.now(step.at).instant
            switch step.event {
            case .workGoesOn:
                exchange.workGoesOn(now: now)
                return []
            case .whole(let status, let type, let body):
                guard
                    let whole = WholeAnswer(status: status, contentType: type, fields: [], body: Array(body.utf8))
                else { return ["none"] }
                return words(exchange.answered(whole, now: now))
            case .began(let head): return words(exchange.began(head, now: now))
            case .text(let text): return words(exchange.eventsArrived(Array(text.utf8), now: now))
            case .bytes(let count):
                return [UInt8](repeating: 7, count: count).withUnsafeBytes { bytes in
                    switch exchange.binaryArrived(bytes, now: now) {
                    case .pass: ["pass"]
                    case .actions(let actions): words(actions)
                    }
                }
            case .ended: return words(exchange.ended(now: now))
            case .broke(let text, let code): return words(exchange.broke(AnswerFailure(text: text, code: code)))
            case .deadline: return exchange.deadline <= now ? words(exchange.deadlinePassed()) : []
            }
        }
    }

    private static func words(_ actions: [AnswerExchange.Action]) -> [String] {
        actions.map { action in
            switch action {
            case .head(let head): "head \(head.status) \(head.contentType)"
            case .bytes(let bytes): "bytes \(bytes.count)"
            case .end(let totals): "end \(totals.completionTokens ?? 0) \(totals.finishReason ?? "-")"
            case .fail(let error): "fail \(error.code.rawValue)"
            }
        }
    }

    @Test(arguments: documents + streams + bytes + times) func anAnswerWithoutFrames(row: Row) {
        for (step, done) in zip(row.steps, Self.played(row)) {
            #expect(done == step.done, "\(row.name), at \(step.at): \(step.event)")
        }
    }

    private static let word = #"data: {"choices":[{"delta":{"content":"a"}}]}"# + "\n\n"
    private static let last =
        #"data: {"choices":[{"delta":{},"finish_reason":"stop"}],"usage":{"completion_tokens":7}}"# + "\n\n"
    private static let json =
        #"{"choices":[{"message":{"content":"a"},"finish_reason":"length"}],"usage":{"completion_tokens":3}}"#
    private static let events = AnswerHead(status: 200, contentType: "text/event-stream")
    private static let picture = AnswerHead(status: 200, contentType: "image/png", length: 5)

    private static let documents = [
        Row(
            name: "one piece", form: .document,
            steps: [
                Step(1, .whole(200, "application/json", json), "head 200 application/json", "bytes 98", "end 3 length"),
                Step(2, .whole(200, "application/json", json)), Step(2, .ended), Step(3, .broke("x", "backend_closed")),
            ]),
        Row(
            name: "an error status is the backend's own answer", form: .document,
            steps: [
                Step(
                    1, .whole(429, "application/json", #"{"error":{"message":"slow down"}}"#),
                    "head 429 application/json", "bytes 33", "end 0 -")
            ]),
        Row(
            name: "a page is none", form: .document,
            steps: [Step(1, .whole(200, "text/html", "<html></html>"), "fail worker_bad_answer")]),
        Row(
            name: "it ends before it began", form: .document,
            steps: [Step(1, .ended, "fail worker_bad_answer"), Step(2, .ended)]),
    ]

    private static let streams = [
        Row(
            name: "events, cut anywhere",
            steps: [
                Step(1, .began(events)), Step(2, .text(String(word.prefix(20)))),
                Step(3, .text(String(word.dropFirst(20))), "head 200 text/event-stream", "bytes 47"),
                Step(4, .text(last + "data: [DONE]\n\n"), "bytes 89"), Step(5, .ended, "end 7 stop"),
            ]),
        Row(
            name: "a connection that breaks off in the middle",
            steps: [
                Step(1, .began(events)), Step(2, .text(word), "head 200 text/event-stream", "bytes 47"),
                Step(3, .broke("the backend closed the connection", "backend_closed"), "fail stream_interrupted"),
                Step(4, .text(word)), Step(5, .ended),
            ]),
        Row(
            name: "behind the end nothing can spoil it",
            steps: [
                Step(1, .began(events)), Step(2, .text(word + last), "head 200 text/event-stream", "bytes 136"),
                Step(3, .text("data: [DONE]\n\n")), Step(4, .broke("x", "backend_closed"), "end 7 stop"),
            ]),
        Row(
            name: "before content it is a failure like any other",
            steps: [
                Step(1, .began(events)),
                Step(2, .broke("nobody there", "backend_unreachable"), "fail worker_unavailable"),
            ]),
    ]

    private static let bytes = [
        Row(
            name: "as many as were announced", form: .bytes, subject: .media,
            steps: [
                Step(1, .began(picture), "head 200 image/png"), Step(2, .bytes(2), "pass"), Step(3, .bytes(3), "pass"),
                Step(4, .ended, "end 0 -"),
            ]),
        Row(
            name: "one more", form: .bytes, subject: .media,
            steps: [
                Step(1, .began(picture), "head 200 image/png"), Step(2, .bytes(5), "pass"),
                Step(3, .bytes(1), "fail worker_bad_answer"),
            ]),
        Row(
            name: "one less", form: .bytes, subject: .media,
            steps: [
                Step(1, .began(picture), "head 200 image/png"), Step(2, .bytes(4), "pass"),
                Step(3, .ended, "fail worker_bad_answer"),
            ]),
        Row(
            name: "bytes that no head announced", form: .bytes, subject: .media,
            steps: [Step(1, .bytes(1), "fail worker_bad_answer")]),
        Row(
            name: "a page is no picture", form: .bytes, subject: .media,
            steps: [Step(1, .began(AnswerHead(status: 200, contentType: "text/html")), "fail worker_bad_answer")]),
    ]

    private static let times = [
        Row(
            name: "nobody is at it",
            steps: [
                Step(9_999, .deadline), Step(10_000, .deadline, "fail worker_timeout"), Step(10_001, .began(events)),
            ]),
        Row(
            name: "somebody is at it, and may need longer",
            steps: [
                Step(0, .workGoesOn), Step(Limits.backendPatienceMs - 1, .deadline),
                Step(Limits.backendPatienceMs, .deadline, "fail worker_timeout"),
            ]),
        Row(
            name: "content began, and every part has its own time",
            steps: [
                Step(0, .workGoesOn), Step(100_000, .began(events)),
                Step(104_000, .text(word), "head 200 text/event-stream", "bytes 47"), Step(108_999, .deadline),
                Step(109_000, .deadline, "fail stream_interrupted"),
            ]),
    ]
}
