import MeshModel
import NIOHTTP1
import Testing

@testable import MeshGateway

/// The whole life of a buyer's connection, with no socket and no waiting: what is read of its requests and how much is
/// kept, when it is answered, and whether it stays.
@Suite struct GatewayMachineTests {
    typealias Machine = GatewayHandler.StateMachine

    /// One step, and what is done about it.
    struct Step: Sendable {
        enum Event: Sendable {
            case head(Machine.Request = .kept)
            case judged(Machine.Judgement)
            case body(Int, fits: Bool = true)
            case end
            case uploadBegan
            case staysCollected
            case uploadFull
            case uploadBroke
            /// The request goes to a worker.
            case exchange(isDraining: Bool = false)
            case answerHead(isDraining: Bool = false)
            case wrote
            case answerEnded
            case slowReaderCut
            case answerBroke
            case writable(Bool)
            case patrol(unsent: Int = 0, isStarving: Bool = false)
            case quiesce
            case inputClosed
            case left
        }

        var at: Int64
        var event: Event
        var done: String

        init(_ at: Int64, _ event: Event, _ done: String = "") {
            self.at = at
            self.event = event
            self.done = done
        }
    }

    struct Row: Sendable, CustomTestStringConvertible {
        var name: String
        var steps: [Step]
        var testDescription: String { name }
    }

    private static func played(_ row: Row) -> [String] {
        let zero = Instant(nanoseconds: 0)
        var machine = Machine(now: zero)
        return row.steps.map { step in
            let now = zero.advanced(byMilliseconds: step.at)
            switch step.event {
            case .head(let request): return word(machine.headArrived(request, now: now))
            case .judged(let judgement): return word(machine.judged(judgement))
            case .body(let count, let fits):
                let action = machine.bodyArrived(count, now: now)
                guard action == .keep else { return word(action) }
                return machine.kept(fits: fits).map { "keep, \(word($0))" } ?? "keep"
            case .end: return word(machine.requestEnded(now: now))
            case .uploadBegan: machine.uploadBegan()
            case .staysCollected: return word(machine.staysCollected())
            case .uploadFull: machine.uploadSteered(reads: false)
            case .uploadBroke: machine.uploadBroke()
            case .exchange(let isDraining): return machine.exchangeBegins(isDraining: isDraining) ? "begin" : "no"
            case .answerHead(let isDraining):
                return machine.answerBegins(isDraining: isDraining) ? "connection: close" : "kept"
            case .wrote: machine.wrote(now: now)
            case .answerEnded: return word(machine.answerEnded(now: now))
            case .slowReaderCut: machine.closesBehindAnswer()
            case .answerBroke: return word(machine.answerBroke())
            case .writable(let isWritable): return word(machine.writabilityChanged(isWritable))
            case .patrol(let unsent, let isStarving):
                return word(machine.patrol(unsent: unsent, isStarving: isStarving, now: now))
            case .quiesce: return word(machine.quiesced())
            case .inputClosed: return word(machine.inputClosed())
            case .left: machine.left()
            }
            return ""
        }
    }

    private static func word(_ action: Machine.Action?) -> String {
        switch action {
        case .judge: "judge"
        case .sendContinue: "100"
        case .keep: "keep"
        case .decide: "decide"
        case .pass: "pass"
        case .refuse(let refusal): "refuse \(refusal)"
        case .answerRefusal: "answer refusal"
        case .answer: "answer"
        case .endUpload: "end upload"
        case .answerTimeout: "408"
        case .refuseUpload: "refuse upload"
        case .keepAlive: "waiting"
        case .read(let reads): reads ? "read" : "stop reading"
        case .close: "close"
        case nil: ""
        }
    }

    private static func word(_ ending: Machine.Ending) -> String {
        let reads = ending.startsReading ? "read, " : ""
        return reads + (ending.closesAfterMs.map { "close after \($0)" } ?? "stay")
    }

    @Test(arguments: rows) func aLife(_ row: Row) {
        let done = Self.played(row)
        for (step, word) in zip(row.steps, done) {
            #expect(word == step.done, "\(row.name): \(step.event) at \(step.at)")
        }
    }

    private static let chat = Machine.Judgement.take(limit: 100, declared: 0, mayStream: false)
    private static let held = Limits.uploadHeldBytes
    private static let file = Machine.Judgement.take(limit: 2 * held, declared: 0, mayStream: true)

    /// The first steps of every request that is taken.
    private static func taken(
        _ request: Machine.Request = .kept, _ judgement: Machine.Judgement = chat, at: Int64 = 0
    ) -> [Step] {
        [Step(at, .head(request), "judge"), Step(at, .judged(judgement))]
    }

    /// A whole request that a worker is asked.
    private static func asked(_ request: Machine.Request = .kept, at: Int64 = 0) -> [Step] {
        taken(request, at: at) + [
            Step(at, .body(10), "keep"), Step(at, .end, "answer"), Step(at, .exchange(), "begin"),
        ]
    }

    /// A body that goes on while it arrives.
    private static let uploading =
        taken(.kept, file) + [
            Step(0, .body(held), "keep, decide"), Step(0, .uploadBegan), Step(0, .exchange(), "begin"),
        ]

    private static let rows = requests + bodies + uploads + deadlines + ends

    private static let requests = [
        Row(
            name: "one after the other",
            steps: asked() + [Step(1, .answerHead(), "kept"), Step(2, .answerEnded, "stay")] + asked(at: 3)
                + [Step(4, .answerHead(), "kept"), Step(4, .answerEnded, "stay")]),
        Row(
            name: "a head while an answer is under way is not looked at",
            steps: asked() + [Step(1, .head()), Step(1, .answerHead(), "kept"), Step(2, .answerEnded, "stay")]),
        Row(
            name: "behind the last answer nothing is read",
            steps: asked(.last) + [
                Step(1, .answerHead(), "connection: close"), Step(2, .answerEnded, "close after 0"), Step(3, .head()),
                Step(3, .body(5)), Step(3, .end),
            ]),
        Row(
            name: "without a body",
            steps: taken() + [Step(0, .end, "answer"), Step(1, .answerHead(), "kept"), Step(1, .answerEnded, "stay")]),
        Row(
            name: "the body is asked for",
            steps: [
                Step(0, .head(.expecting), "judge"), Step(0, .judged(chat), "100"), Step(1, .body(100), "keep"),
                Step(2, .end, "answer"),
            ]),
        Row(
            name: "a body that is asked for is not, where the request has failed, and nothing follows",
            steps: [
                Step(0, .head(.expecting), "judge"), Step(0, .judged(.refuse(limit: 100)), "answer refusal"),
                Step(0, .answerHead(), "connection: close"), Step(0, .answerEnded, "read, close after 2000"),
                Step(1, .body(50)), Step(1, .end), Step(2, .head()),
            ]),
        Row(
            name: "a stream of HTTP/2 ends by itself",
            steps: asked(.stream) + [Step(1, .answerHead(), "kept"), Step(1, .answerEnded, "stay")]),
        Row(
            name: "a stream that is answered early is closed at once",
            steps: taken(.stream) + [
                Step(1, .body(101), "refuse tooLarge"), Step(1, .body(101), "answer refusal"),
                Step(1, .answerHead(), "kept"), Step(1, .answerEnded, "close after 0"),
            ]),
    ]

    private static let bodies = [
        Row(
            name: "up to the bound",
            steps: taken() + [Step(0, .body(60), "keep"), Step(0, .body(40), "keep"), Step(0, .end, "answer")]),
        Row(
            name: "one byte over it, and read to its end",
            steps: taken() + [
                Step(0, .body(60), "keep"), Step(0, .body(41), "refuse tooLarge"), Step(0, .body(100)),
                Step(0, .end, "answer refusal"), Step(0, .answerHead(), "kept"), Step(0, .answerEnded, "stay"),
            ]),
        Row(
            name: "one byte over what is read of it, and answered early",
            steps: taken() + [
                Step(0, .body(101), "refuse tooLarge"), Step(0, .body(99)), Step(0, .body(2), "answer refusal"),
                Step(0, .answerHead(), "connection: close"), Step(0, .answerEnded, "read, close after 2000"),
                Step(1, .body(1_000)), Step(2, .end),
            ]),
        Row(
            name: "refused by its head, and read to its end",
            steps: [
                Step(0, .head(), "judge"), Step(0, .judged(.refuse(limit: 10))), Step(0, .body(10)),
                Step(0, .end, "answer refusal"), Step(0, .answerHead(), "kept"), Step(0, .answerEnded, "stay"),
            ] + taken(at: 1)),
        Row(
            name: "no room for it",
            steps: taken() + [
                Step(0, .body(10, fits: false), "keep, refuse noRoom"), Step(0, .body(10)),
                Step(0, .end, "answer refusal"),
            ]),
    ]

    private static let uploads = [
        Row(
            name: "one byte under what decides",
            steps: taken(.kept, file) + [
                Step(0, .body(held - 1), "keep"), Step(0, .body(1), "keep, decide"), Step(0, .staysCollected),
                Step(0, .body(1), "keep"), Step(0, .end, "answer"),
            ]),
        Row(
            name: "it goes on while it arrives, and is answered behind its end",
            steps: uploading + [
                Step(1, .body(7), "pass"), Step(2, .end, "end upload"), Step(3, .answerHead(), "kept"),
                Step(3, .answerEnded, "stay"),
            ]),
        Row(
            name: "its answer comes before its end, while nothing is read",
            steps: uploading + [
                Step(1, .body(7), "pass"), Step(1, .uploadFull), Step(2, .answerHead(), "connection: close"),
                Step(2, .answerEnded, "read, close after 2000"), Step(3, .body(7)), Step(3, .end),
            ]),
        Row(
            name: "it is not what was announced",
            steps: uploading + [
                Step(1, .body(7), "pass"), Step(1, .uploadBroke), Step(1, .body(7)),
                Step(1, .answerHead(), "connection: close"), Step(1, .answerEnded, "read, close after 2000"),
            ]),
        Row(
            name: "nobody takes it, and it announced more than is kept",
            steps: taken(.kept, .take(limit: 2 * held, declared: 2 * held + 1, mayStream: true)) + [
                Step(0, .body(held), "keep, decide"), Step(0, .staysCollected, "refuse needsUpload"),
                Step(0, .body(2 * held)), Step(0, .body(1), "answer refusal"),
            ]),
        Row(
            name: "nobody takes it, and it announced as much as is kept",
            steps: taken(.kept, .take(limit: 2 * held, declared: 2 * held, mayStream: true)) + [
                Step(0, .body(held), "keep, decide"), Step(0, .staysCollected), Step(0, .body(held), "keep"),
                Step(0, .end, "answer"),
            ]),
        Row(
            name: "a buyer is waited for, and then not any more",
            steps: uploading + [
                Step(29_999, .patrol(isStarving: true), "waiting"), Step(30_000, .patrol(), "waiting"),
                Step(30_000, .patrol(isStarving: true), "refuse upload"),
            ]),
    ]

    private static let deadlines = [
        Row(
            name: "an idle connection",
            steps: [Step(74_999, .patrol()), Step(75_000, .patrol(), "close")]),
        Row(
            name: "a buyer who takes a long answer slowly is not idle",
            steps: asked() + [
                Step(1, .answerHead(), "kept"), Step(2, .answerEnded, "stay"), Step(40_000, .patrol(unsent: 100)),
                Step(60_000, .patrol(unsent: 99)), Step(120_000, .patrol(unsent: 99)),
                Step(135_000, .patrol(unsent: 99), "close"),
            ]),
        Row(
            name: "a body that stops",
            steps: taken() + [
                Step(5_000, .body(1), "keep"), Step(14_999, .patrol()), Step(15_000, .patrol(), "408"),
                Step(15_000, .answerHead(), "connection: close"), Step(15_000, .answerEnded, "read, close after 2000"),
                Step(15_001, .body(1)), Step(90_000, .patrol()), Step(90_001, .patrol(), "close"),
            ]),
        Row(
            name: "a body that trickles",
            steps: taken()
                + (1...7).map { Step($0 * 8_000, .body(1), "keep") } + [
                    Step(59_999, .patrol()), Step(60_000, .patrol(), "408"),
                ]),
        Row(
            name: "a refused body that stops",
            steps: [
                Step(0, .head(), "judge"), Step(0, .judged(.refuse(limit: 10))), Step(10_000, .patrol(), "408"),
            ]),
        Row(
            name: "a quiet stream is looked after, an answer that is being made is not",
            steps: asked() + [
                Step(9_999, .patrol()), Step(10_000, .patrol(), "waiting"), Step(15_000, .patrol(), "waiting"),
                Step(15_000, .wrote), Step(24_999, .patrol()), Step(25_000, .patrol(), "waiting"),
                Step(26_000, .answerHead(), "kept"), Step(26_000, .answerEnded, "stay"),
            ] + taken(at: 27_000) + [Step(27_000, .end, "answer"), Step(600_000, .patrol())]),
    ]

    private static let ends = [
        Row(
            name: "the buyer leaves in the middle, and what comes of its request is nobody's",
            steps: asked() + [
                Step(1, .left), Step(1, .answerEnded, "stay"), Step(1, .patrol()), Step(1, .quiesce),
                Step(1, .answerBroke), Step(1, .head()),
            ]),
        Row(name: "a buyer who ends its half is as good as gone", steps: asked() + [Step(1, .inputClosed, "close")]),
        Row(
            name: "an answer breaks off in its middle",
            steps: asked() + [
                Step(1, .answerHead(), "kept"), Step(2, .answerBroke, "close"), Step(2, .answerBroke), Step(2, .head()),
            ]),
        Row(
            name: "a stream that is not read is the last",
            steps: asked() + [
                Step(1, .answerHead(), "kept"), Step(2, .slowReaderCut), Step(2, .answerEnded, "close after 0"),
            ]),
        Row(
            name: "who does not read is not read from, but between two answers only",
            steps: [Step(0, .writable(false), "stop reading"), Step(0, .writable(true), "read")] + asked() + [
                Step(1, .writable(false)), Step(1, .writable(true), "read"), Step(2, .answerEnded, "stay"),
                Step(2, .writable(false), "stop reading"),
            ]),
        Row(
            name: "the room of an upload counts more than that of the answer",
            steps: uploading + [Step(1, .uploadFull), Step(1, .writable(true), "stop reading")]),
        Row(
            name: "a stream of HTTP/2 is read as its connection is",
            steps: taken(.stream) + [Step(0, .writable(false)), Step(0, .writable(true))]),
        Row(name: "a node that stops closes what is idle", steps: [Step(0, .quiesce, "close")]),
        Row(
            name: "a node that stops lets an answer end",
            steps: asked() + [
                Step(1, .quiesce), Step(2, .answerHead(), "connection: close"), Step(3, .answerEnded, "close after 0"),
                Step(4, .head()),
            ]),
        Row(
            name: "a node that drains begins nothing",
            steps: taken() + [
                Step(0, .end, "answer"), Step(0, .exchange(isDraining: true), "no"),
                Step(0, .answerHead(isDraining: true), "connection: close"), Step(0, .answerEnded, "close after 0"),
            ]),
        Row(
            name: "what is under way when it begins to drain is the last of its connection",
            steps: asked() + [
                Step(1, .answerHead(isDraining: true), "connection: close"), Step(2, .answerEnded, "close after 0"),
            ]),
    ]

    @Test(
        arguments: [
            ("1.1", [], true, false), ("1.1", [("connection", "close")], false, false),
            ("1.1", [("connection", "Upgrade"), ("upgrade", "websocket")], false, false), ("1.0", [], false, false),
            ("1.0", [("connection", "keep-alive")], false, false), ("2.0", [("connection", "close")], true, false),
            ("1.1", [("expect", "100-Continue")], true, true), ("1.1", [("expect", "200-ok")], true, false),
        ] as [(String, [(String, String)], Bool, Bool)])
    func whatAHeadSaysOfItsConnection(
        version: String, fields: [(String, String)], keepsConnection: Bool, expectsContinue: Bool
    ) {
        let major = version.hasPrefix("2") ? 2 : 1
        let head = HTTPRequestHead(
            version: HTTPVersion(major: major, minor: version.hasSuffix("1") ? 1 : 0), method: .POST, uri: "/",
            headers: HTTPHeaders(fields))
        #expect(
            Machine.Request(head)
                == .init(majorVersion: major, keepsConnection: keepsConnection, expectsContinue: expectsContinue))
    }
}

extension GatewayHandler.StateMachine.Request {
    fileprivate static let kept = Self(majorVersion: 1, keepsConnection: true, expectsContinue: false)
    fileprivate static let last = Self(majorVersion: 1, keepsConnection: false, expectsContinue: false)
    fileprivate static let expecting = Self(majorVersion: 1, keepsConnection: true, expectsContinue: true)
    fileprivate static let stream = Self(majorVersion: 2, keepsConnection: true, expectsContinue: false)
}
