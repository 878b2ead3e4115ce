import MeshModel
import MeshRouting
import MeshWire
import NIOCore
import Testing

@testable import MeshExchange

/// The whole life of a request, with no connection, no worker and no waiting: which places are asked, what is held
/// back, what its reader is given, and how it ends.
@Suite struct ExchangeLifeTests {
    /// One step, and what is done about it.
    struct Step: Sendable {
        enum Event: Sendable {
            case start
            /// Whether each place that was found is another node's.
            case found([Bool])
            case says(AnswerPart)
            /// The attempt of this number, which may be over.
            case saysLate(AnswerPart, Int)
            case writable
            case blocked
            case tick
            case buyerLeft
            case refused(ErrorCode)
            case uploadLeft
            /// Too much is asked twice.
            case mayNotRepeat
        }

        var at: Int64
        var event: Event
        var done: [String]

        init(_ at: Int64, _ event: Event, _ done: String...) {
            self.at = at
            self.event = event
            self.done = done
        }
    }

    struct Row: Sendable, CustomTestStringConvertible {
        var name: String
        var form = AnswerForm.events
        var mayRepeat = true
        var isBuyer = true
        var mayResume = false
        var steps: [Step]
        var testDescription: String { name }
    }

    private static let zero = Instant(nanoseconds: 0)

    /// Runs the steps and tells what was done, an action to a word.
    private static func played(_ row: Row) -> [[String]] {
        let terms = Attempts.Terms(
            firstContentMs: 10_000, idleMs: 5_000, totalMs: 60_000, isStream: row.form == .events,
            mayRepeat: row.mayRepeat)
        var machine = ExchangeStateMachine(
            terms, form: row.form, boundsStream: row.isBuyer, mayResume: row.mayResume, now: zero)
        var isWritable = true
        var canSendAgain = true
        return row.steps.map { step in
            let now = zero.advanced(byMilliseconds: step.at)
            var actions: [ExchangeStateMachine.Action]
            switch step.event {
            case .start: actions = machine.start()
            case .found(let areForeign): actions = machine.found(areForeign, now: now)
            case .says(let part):
                actions = machine.arrived(
                    part, of: machine.tried, canSendAgain: canSendAgain, isWritable: isWritable, now: now)
            case .saysLate(let part, let attempt):
                actions = machine.arrived(
                    part, of: attempt, canSendAgain: canSendAgain, isWritable: isWritable, now: now)
            case .blocked:
                isWritable = false
                actions = []
            case .writable:
                isWritable = true
                actions = [.drain]
            case .tick: actions = machine.tick(whoAnswers: "the worker", canSendAgain: canSendAgain, now: now)
            case .buyerLeft: actions = machine.cancelled()
            case .refused(let code): actions = machine.refused(MeshError(code, "no"))
            case .mayNotRepeat:
                #expect(machine.repeatsWork)
                actions = machine.mayNotRepeat(now: now)
            case .uploadLeft:
                canSendAgain = false
                actions = []
            }
            var done: [String] = []
            for action in actions {
                guard case .drain = action else {
                    done += word(action)
                    if case .begin = action, let text = machine.resumesBehind {
                        machine.marks(resumption: ByteBuffer(string: ": mark\n\n"))
                        done.append("behind \(String(decoding: text, as: UTF8.self))")
                    }
                    continue
                }
                while isWritable, let more = machine.nextPiece(now: now) { done += more.flatMap(word) }
                done += machine.drained(now: now).flatMap(word)
            }
            return done
        }
    }

    private static func word(_ action: ExchangeStateMachine.Action) -> [String] {
        switch action {
        case .find: ["find"]
        case .begin(let place, let first, let total): ["begin \(place) \(first) \(total)"]
        case .cancel: ["cancel"]
        case .expire: ["expire"]
        case .failed(let place, let failure):
            Attempts.needsRest(failure) ? ["rest \(place) \(Attempts.retryAfter(failure) ?? 0)"] : []
        case .answers(let place): ["over \(place)"]
        case .pause: ["pause"]
        case .resume: ["resume"]
        case .consumed: []
        case .pending: ["pending"]
        case .head(let head): ["head \(head.status)"]
        case .write(let bytes):
            [
                bytes.readableBytes > 80
                    ? "write \(bytes.readableBytes)" : "write \(String(buffer: bytes).debugDescription)"
            ]
        case .drain: ["drain"]
        case .end(let totals): ["end \(totals.completionTokens ?? 0)"]
        case .fail(let error): ["fail \(error.code.rawValue)"]
        case .failWithoutPlace: ["nobody"]
        case .cut(let closing): ["cut \(closing.map { String(buffer: $0) } ?? "open")"]
        }
    }

    // MARK: Parts

    private static func head(_ status: Int = 200, _ type: String = "text/event-stream") -> Step.Event {
        .says(.head(AnswerHead(status: status, contentType: type)))
    }
    private static func bytes(_ text: String) -> Step.Event { .says(.bytes(ByteBuffer(string: text))) }
    private static func large(_ count: Int) -> Step.Event {
        .says(.bytes(ByteBuffer(string: "data: " + String(repeating: "x", count: count) + "\n\n")))
    }
    private static func fails(_ code: ErrorCode, after seconds: Int? = nil) -> Step.Event {
        .says(.fail(MeshError(code, "no", retryAfterSeconds: seconds)))
    }
    private static let end: Step.Event = {
        var totals = AnswerTotals()
        totals.completionTokens = 7
        return .says(.end(totals))
    }()
    private static let word = #"data: {"choices":[{"delta":{"content":"a"}}]}"# + "\n\n"
    private static let role = #"data: {"choices":[{"delta":{"role":"assistant","content":""}}]}"# + "\n\n"
    private static let passed = "write \(word.debugDescription)"
    private static let began = [Step(0, .start, "find"), Step(0, .found([false, true]), "begin 0 10000 60000")]
    private static let answering = began + [Step(10, head()), Step(20, bytes(word), "over 0", "head 200", passed)]

    // MARK: The table

    static let ways: [Row] = [
        Row(name: "nobody", steps: [Step(0, .start, "find"), Step(0, .found([]), "nobody"), Step(1, .tick)]),
        Row(
            name: "an answer",
            steps: answering + [Step(30, bytes(word), passed), Step(40, end, "end 7"), Step(50, bytes(word))]),
        Row(
            name: "a document", form: .document,
            steps: began + [
                Step(10, head(200, "application/json")), Step(11, bytes("{}"), "over 0", "head 200", #"write "{}""#),
                Step(12, end, "end 7"),
            ]),
        Row(
            name: "a role without a word is none: the sibling may still answer",
            steps: began + [
                Step(10, head()), Step(20, bytes(role)), Step(30, .says(.pending), "pending"),
                Step(40, fails(.workerLost), "begin 1 10000 59960"), Step(50, .saysLate(.pending, 1)),
                Step(60, head()), Step(70, bytes(word), "over 1", "head 200", passed), Step(80, end, "end 7"),
            ]),
        Row(
            name: "who is busy rests",
            steps: began + [Step(10, fails(.workerBusy, after: 3), "rest 0 3", "begin 1 10000 59990")]),
        Row(
            name: "work that may have been done is not asked for again", mayRepeat: false,
            steps: began + [Step(10, fails(.workerLost), "fail worker_lost")]),
        Row(
            name: "an upload of which part has left cannot be sent again",
            steps: began + [Step(5, .uploadLeft), Step(10, fails(.workerLost), "fail worker_lost")]),
        Row(
            name: "what is wrong with the request is told at once",
            steps: began + [Step(10, fails(.invalidRequest), "fail invalid_request")]),
        Row(
            name: "when all have failed it is looked again, once",
            steps: began + [
                Step(10, fails(.workerLost), "begin 1 10000 59990"), Step(20, fails(.nodeUnreachable), "find"),
                Step(20, .found([false]), "begin 2 10000 59980"),
                Step(30, fails(.workerUnavailable), "rest 2 0", "fail worker_lost"),
            ]),
        Row(
            name: "too much is asked twice: the failure is the answer",
            steps: began + [
                Step(10, fails(.workerError), "begin 1 10000 59990"), Step(10, .mayNotRepeat, "fail worker_error"),
            ]),
        Row(
            name: "nobody new is found",
            steps: began + [
                Step(10, fails(.workerLost), "begin 1 10000 59990"), Step(20, fails(.nodeUnreachable), "find"),
                Step(20, .found([]), "fail worker_lost"),
            ]),
        Row(
            name: "a backend's own refusal is kept, and told when no other does better", form: .document,
            steps: began + [
                Step(10, head(503, "application/json")), Step(11, bytes("later")),
                Step(12, end, "rest 0 0", "begin 1 10000 59988"),
                Step(20, fails(.nodeUnreachable), "find"), Step(20, .found([]), "head 503", #"write "later""#, "end 7"),
            ]),
    ]

    private static let next = #"data: {"choices":[{"delta":{"content":"b"}}]}"# + "\n\n"
    private static let tools = #"data: {"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}"# + "\n\n"
    private static let last = #"data: {"choices":[{"delta":{},"finish_reason":"stop"}]}"# + "\n\n"
    private static let mark = #"write ": mark\n\n""#
    private static let written = "write \(next.debugDescription)"

    static let resumptions: [Row] = [
        Row(
            name: "another goes on, in one stream", mayResume: true,
            steps: answering + [
                Step(30, fails(.workerLost), "begin 1 10000 59970", "behind a"), Step(31, head()),
                Step(32, bytes(role)),
                Step(33, bytes(next), "over 1", mark, "write \((role + next).utf8.count)"),
                Step(40, end, "end 7"),
            ]),
        Row(
            name: "also when it fell silent; and once more", mayResume: true,
            steps: answering + [
                Step(6_020, .tick, "cancel", "begin 1 10000 53980", "behind a"), Step(6_030, head()),
                Step(6_031, bytes(next), "over 1", mark, written),
                Step(6_040, fails(.workerLost), "find"),
                Step(6_040, .found([true]), "begin 2 10000 53960", "behind ab"),
                Step(6_050, fails(.workerBusy), "rest 2 0", "fail worker_lost"),
            ]),
        Row(
            name: "nobody can: why it broke off is told", mayResume: true,
            steps: answering + [
                Step(30, fails(.workerLost), "begin 1 10000 59970", "behind a"),
                Step(40, head(503, "application/json")), Step(41, bytes("later")), Step(42, end, "rest 1 0", "find"),
                Step(43, .found([]), "fail worker_lost"),
            ]),
        Row(
            name: "who answers with something else does not go on", mayResume: true,
            steps: answering + [
                Step(30, fails(.workerLost), "begin 1 10000 59970", "behind a"),
                Step(40, head(200, "application/json")),
                Step(41, bytes("{}"), "cancel", "find"), Step(42, .found([]), "fail worker_lost"),
            ]),
        Row(
            name: "nor where nobody asked for it",
            steps: answering + [Step(30, fails(.workerLost), "fail worker_lost")]),
        Row(
            name: "nor behind more than text", mayResume: true,
            steps: answering + [
                Step(30, bytes(tools), "write \(tools.debugDescription)"),
                Step(31, fails(.workerLost), "fail worker_lost"),
            ]),
        Row(
            name: "nor behind the last word", mayResume: true,
            steps: answering + [
                Step(30, bytes(last), "write \(last.debugDescription)"),
                Step(31, fails(.workerLost), "fail worker_lost"),
            ]),
        Row(
            name: "a buyer who leaves meanwhile", mayResume: true,
            steps: answering + [
                Step(30, fails(.workerLost), "begin 1 10000 59970", "behind a"), Step(31, .buyerLeft, "cancel"),
            ]),
        Row(
            name: "what waits for a slow reader stands before it", mayResume: true,
            steps: answering + [
                Step(25, .blocked), Step(30, bytes(word), "pause"),
                Step(31, fails(.workerLost), "begin 1 10000 59969", "behind aa"),
                Step(40, head()), Step(41, bytes(next), "over 1"),
                Step(50, .writable, "write \((word + ": mark\n\n" + next).utf8.count)", "resume"),
                Step(60, end, "end 7"),
            ]),
    ]

    static let times: [Row] = [
        Row(
            name: "who does not begin in time is given up, and the next asked",
            steps: began + [
                Step(10_999, .tick), Step(11_000, .tick, "expire", "begin 1 10000 49000"),
                Step(11_001, .saysLate(.bytes(ByteBuffer(string: word)), 1)), Step(22_000, .tick, "expire", "find"),
                Step(22_000, .found([]), "fail worker_timeout"),
            ]),
        Row(
            name: "a sign of work gives time only where nobody else is left",
            steps: [
                Step(0, .start, "find"), Step(0, .found([false]), "begin 0 10000 60000"),
                Step(9_000, .says(.pending), "pending"), Step(11_000, .tick), Step(50_999, .tick),
                Step(51_000, .tick, "expire", "find"), Step(51_000, .found([]), "fail worker_timeout"),
            ]),
        Row(
            name: "an answer that stops is cut",
            steps: answering + [Step(6_000, .tick), Step(6_020, .tick, "cancel", "fail stream_interrupted")]),
        Row(
            name: "all of it has its time",
            steps: answering
                + (1...12).map { Step(Int64($0) * 5_000, bytes(word), passed) }
                + [Step(61_000, .tick, "cancel", "fail stream_interrupted")]),
    ]

    static let readers: [Row] = [
        Row(
            name: "a slow reader pauses the source, and has it go on",
            steps: answering + [
                Step(30, .blocked), Step(31, bytes(word), "pause"), Step(32, bytes(word)),
                // Its own pause is nobody's silence.
                Step(20_000, .tick), Step(20_001, .writable, "write 94", "resume"), Step(20_002, bytes(word), passed),
                Step(20_003, end, "end 7"),
            ]),
        Row(
            name: "the end waits for what is held",
            steps: answering + [
                Step(30, .blocked), Step(31, bytes(word), "pause"), Step(32, end), Step(33, bytes(word)),
                Step(40, .writable, passed, "end 7"),
            ]),
        Row(
            name: "so does the failure of a stream",
            steps: answering + [
                Step(30, .blocked), Step(31, bytes(word), "pause"), Step(32, fails(.streamInterrupted)),
                Step(40, .writable, passed, "fail stream_interrupted"),
            ]),
        Row(
            name: "half an answer that is no stream is not worth the wait", form: .bytes,
            steps: began + [
                Step(10, head(200, "image/png")), Step(20, bytes("PNG"), "over 0", "head 200", #"write "PNG""#),
                Step(30, .blocked), Step(31, bytes("more"), "pause"), Step(32, fails(.workerLost), "fail worker_lost"),
            ]),
        Row(
            name: "blocked for 30 s",
            steps: answering + [
                Step(30, .blocked), Step(1_000, bytes(word), "pause"), Step(30_999, .tick),
                Step(31_000, .tick, "cancel", "cut "),
            ]),
        Row(
            name: "blocked for 30 s, with everything here",
            steps: answering + [
                Step(30, .blocked), Step(1_000, bytes(word), "pause"), Step(1_001, end), Step(30_999, .tick),
                Step(31_000, .tick, "cut "),
            ]),
        Row(
            name: "a burst passes, more than that does not",
            steps: answering + [
                Step(30, .blocked), Step(31, large(1 << 20), "pause"), Step(32, large(1 << 20)),
                Step(33, large(1 << 20)), Step(34, large(1 << 20), "cancel", "cut "),
            ]),
        Row(
            name: "an answer that begins with one event of more than a burst",
            steps: began + [
                Step(10, head()), Step(15, .blocked), Step(20, large(5 << 20), "over 0", "head 200", "pause"),
                Step(21, bytes(word)), Step(3_030, .tick), Step(4_000, end),
            ]),
        Row(
            name: "more than usual for 3 s",
            steps: answering + [
                Step(30, .blocked), Step(31, large(200 << 10), "pause"), Step(32, large(200 << 10)),
                Step(33, large(200 << 10)), Step(3_032, .tick), Step(3_033, .tick, "cancel", "cut "),
            ]),
        Row(
            name: "another node's reader is not held to it", isBuyer: false,
            steps: answering + [
                Step(30, .blocked), Step(31, large(1 << 20), "pause"), Step(32, large(1 << 20)),
                Step(33, large(1 << 20)), Step(34, large(1 << 20)), Step(5_000, .tick),
            ]),
        Row(
            name: "a forward that nobody reads ends after 30 s, as a buyer's answer does", isBuyer: false,
            steps: answering + [
                Step(30, .blocked), Step(1_000, bytes(word), "pause"), Step(30_999, .tick),
                Step(31_000, .tick, "cancel", "cut "), Step(31_001, bytes(word)),
            ]),
        Row(
            name: "the event under way is brought to its end",
            steps: answering + [
                Step(25, .says(.bytes(ByteBuffer(string: "data: b"))), #"write "data: b""#), Step(30, .blocked),
                Step(31, bytes("c\n\ndata: d\n\n"), "pause"), Step(31_000, .tick, "cancel", "cut c\n\n"),
            ]),
        Row(
            name: "a large piece goes out in parts, as far as the connection takes them",
            steps: answering + [
                Step(30, large(150_000), "write 65536", "write 65536", "write 18936"), Step(31, end, "end 7"),
            ]),
        Row(
            name: "the buyer leaves before content", steps: began + [Step(10, .buyerLeft, "cancel"), Step(20, head())]),
        Row(
            name: "the buyer leaves in the middle",
            steps: answering + [Step(30, .buyerLeft, "cancel"), Step(31, bytes(word)), Step(32, .tick)]),
        Row(
            name: "the request turns out to be none", form: .bytes,
            steps: began + [Step(10, .refused(.invalidRequest), "cancel", "fail invalid_request"), Step(20, head())]),
    ]

    static let foreign: [Row] = [
        Row(
            name: "half an event of another node waits for its other half",
            steps: [
                Step(0, .start, "find"), Step(0, .found([true]), "begin 0 10000 60000"), Step(10, head()),
                Step(20, bytes(word + "data: h"), "over 0", "head 200", passed),
                Step(30, bytes("alf\n\n"), #"write "data: half\n\n""#), Step(40, bytes("data: c")),
                Step(50, end, "fail stream_interrupted"),
            ]),
        Row(
            name: "behind half an event its failure is told all the same",
            steps: [
                Step(0, .start, "find"), Step(0, .found([true]), "begin 0 10000 60000"), Step(10, head()),
                Step(20, bytes(word + "data: h"), "over 0", "head 200", passed),
                Step(30, fails(.workerError), "fail worker_error"),
            ]),
        Row(
            name: "its worker's refusal is judged here: the seller's account is not the buyer's", form: .document,
            steps: [
                Step(0, .start, "find"), Step(0, .found([true]), "begin 0 10000 60000"),
                Step(10, head(401, "application/json")), Step(20, bytes(#"{"error":{"message":"no"}}"#)),
                Step(30, end, "rest 0 0", "find"), Step(30, .found([]), "fail worker_error"),
            ]),
    ]

    @Test(arguments: ways + resumptions + times + readers + foreign) func aRequestLives(row: Row) {
        let played = Self.played(row)
        for (step, done) in zip(row.steps, played) {
            #expect(done == step.done, "\(row.name), at \(step.at): \(step.event)")
        }
    }

    @Test func keepAlivesStandBetweenEvents() {
        var machine = ExchangeStateMachine(
            Attempts.Terms(firstContentMs: 1_000, idleMs: 1_000, totalMs: 1_000, isStream: true, mayRepeat: true),
            form: .events, boundsStream: true, now: Self.zero)
        _ = machine.start()
        _ = machine.found([false], now: Self.zero)
        #expect(!machine.isBetweenEvents)
        func arrives(_ part: AnswerPart, isWritable: Bool = true) {
            _ = machine.arrived(part, of: 1, canSendAgain: true, isWritable: isWritable, now: Self.zero)
        }
        arrives(.head(AnswerHead(status: 200, contentType: "text/event-stream")))
        arrives(.bytes(ByteBuffer(string: Self.word)))
        #expect(machine.isBetweenEvents)
        arrives(.bytes(ByteBuffer(string: "data: half")))
        #expect(!machine.isBetweenEvents)
        arrives(.bytes(ByteBuffer(string: " of it\n\n")))
        #expect(machine.isBetweenEvents)
        arrives(.bytes(ByteBuffer(string: Self.word)), isWritable: false)
        #expect(!machine.isBetweenEvents)
    }
}
