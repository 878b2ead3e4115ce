import MeshModel
import MeshSessions
import MeshWire
import Testing

/// Requests in the hands of one worker, with no socket and no waiting: which frame is for which, what is late, when the
/// worker is told to stop, and how each request ends.
@Suite struct WorkerRequestsTests {
    enum Event: Sendable {
        case begin(AnswerForm = .events, hasUpload: Bool = false)
        /// A reply frame for the request of this number, from 0.
        case frame(Int, String)
        /// So many bytes in a binary frame.
        case binary(Int, Int)
        case cancel(Int)
        case consumed(Int, Int)
        case asked(Int, Int)
        case uploaded(Int, Int)
        case uploadEnded(Int)
        /// - Parameter unsent: what the worker has not taken.
        case tick(unsent: Int = 0)
        case lost
    }

    typealias Step = MachineStep<Event>

    struct Row: Sendable, CustomTestStringConvertible {
        var name: String
        var steps: [Step]
        var testDescription: String { name }
    }

    private static let deadlines = AnswerDeadlines(firstContentMs: 10_000, idleMs: 5_000, totalMs: 60_000)
    private static let first = BrokerSession.firstRequestNumber

    private static func played(_ row: Row) -> [[String]] {
        var requests = WorkerRequests(now: SessionFixtures.start)
        return row.steps.map { step in
            let now = SessionFixtures.now(step.at).instant
            switch step.event {
            case .begin(let form, let hasUpload):
                let subject: AnswerExchange.Subject = form == .bytes ? .files : .completions
                let exchange = AnswerExchange(
                    form: form, subject: subject, deadlines: deadlines, isUploading: hasUpload, now: now)
                return ["q\(requests.begin(exchange, hasUpload: hasUpload) - first)"]
            case .frame(let place, let text):
                return Array("{\(text)}".utf8).withUnsafeBytes { bytes in
                    guard let frame = try? WorkerFrame.scan(bytes), case .reply(let event) = frame.kind else {
                        return ["no reply"]
                    }
                    return words(requests.replied(first + UInt64(place), event, frame, in: bytes, now: now))
                }
            case .binary(let place, let count):
                return [UInt8](repeating: 7, count: count).withUnsafeBytes {
                    words(requests.binaryArrived(first + UInt64(place), $0, now: now))
                }
            case .cancel(let place):
                return requests.cancelled(first + UInt64(place), now: now).map(words) ?? ["nobody"]
            case .consumed(let place, let count):
                return requests.consumed(count, of: first + UInt64(place)).map { ["credit \($0)"] } ?? []
            case .asked(let place, let count):
                requests.uploadAsked(count, of: first + UInt64(place))
                return []
            case .uploaded(let place, let count):
                return requests.uploadArrived(count, of: first + UInt64(place), now: now) ? ["pass"] : ["nobody"]
            case .uploadEnded(let place):
                return requests.uploadEnded(first + UInt64(place), now: now) ? ["tell"] : ["nobody"]
            case .tick(let unsent):
                let due = requests.tick(unsent: unsent, now: now)
                return (due.isBlocked ? ["blocked"] : []) + due.late.flatMap(words)
            case .lost: return requests.lost(now: now).flatMap(words)
            }
        }
    }

    private static func words(_ ended: WorkerRequests.Ended) -> [String] {
        ["q\(ended.number - first)"] + words(ended.outcome)
    }

    private static func words(_ outcome: WorkerRequests.Outcome?) -> [String] {
        guard let outcome else { return ["nobody"] }
        let told = outcome.told.map { action in
            switch action {
            case .head(let head): "head \(head.status)"
            case .bytes(let bytes): "bytes \(bytes.count)"
            case .end(let totals): "end \(totals.completionTokens ?? 0)"
            case .fail(let error): "fail \(error.code.rawValue)"
            }
        }
        return told + (outcome.passes ? ["pass"] : []) + (outcome.isPending ? ["pending"] : [])
            + (outcome.credit.map { ["credit \($0)"] } ?? []) + (outcome.room.map { ["room \($0)"] } ?? [])
            + (outcome.doubtsModels ? ["doubt models"] : []) + (outcome.end.map(words) ?? [])
    }

    private static func words(_ end: WorkerRequests.End) -> [String] {
        (end.isCancelled ? ["cancel"] : []) + ["over" + (end.sample.map { $0.isSuccess ? " good" : " bad" } ?? "")]
    }

    @Test(arguments: answers + ends + times + uploads) func theLifeOfRequests(row: Row) {
        for (step, done) in zip(row.steps, Self.played(row)) {
            #expect(done == step.done, "\(row.name), at \(step.at): \(step.event)")
        }
    }

    // MARK: Frames

    private static let word =
        ##""event":"chunk","payload":"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n""##
    private static let half = ##""event":"chunk","payload":"data: {\"choices\":""##
    private static let last = ##""event":"chunk","payload":"data: [DONE]\n\n""##
    private static let done = ##""event":"done","payload":{}"##
    private static let pending = ##""event":"pending","payload":{}"##
    private static let whole =
        ##""payload":{"status_code":200,"body":{"choices":[{"message":{"content":"a"}}],"usage":{"completion_tokens":3}}}"##
    private static let unknown = ##""payload":{"status_code":404,"body":{"error":{"message":"model 'x' not found"}}}"##
    private static let begun = ##""event":"start","payload":{"status_code":200,"content_type":"image/png"}"##
    private static func room(_ bytes: Int) -> String { ##""event":"credit","payload":{"bytes":\##(bytes)}"## }

    // MARK: The table

    private static let answers = [
        Row(
            name: "a document",
            steps: [
                Step(0, .begin(.document), "q0"), Step(1, .frame(0, pending), "pending"),
                Step(2, .frame(0, whole), "head 200", "bytes 73", "end 3", "over good"),
            ]),
        Row(
            name: "a stream, whose end is no reason to stop it",
            steps: [
                Step(0, .begin(), "q0"), Step(1, .frame(0, word), "head 200", "bytes 47"),
                Step(2, .frame(0, word), "bytes 47"), Step(3, .frame(0, half), "pending"),
                Step(
                    4, .frame(0, ##""event":"chunk","payload":"[{\"delta\":{\"content\":\"b\"}}]}\n\n""##), "bytes 47"),
                Step(5, .frame(0, last), "pending"), Step(6, .frame(0, done), "end 0", "over good"),
            ]),
        Row(
            name: "two at once, and each frame to its own",
            steps: [
                Step(0, .begin(.document), "q0"), Step(0, .begin(.document), "q1"),
                Step(1, .frame(1, whole), "head 200", "bytes 73", "end 3", "over good"),
                Step(2, .frame(0, whole), "head 200", "bytes 73", "end 3", "over good"),
            ]),
        Row(
            name: "bytes pass, and are paid for when they have gone on",
            steps: [
                Step(0, .begin(.bytes), "q0"), Step(1, .frame(0, begun), "head 200"),
                Step(2, .binary(0, 200_000), "pass"),
                Step(3, .consumed(0, 200_000)), Step(4, .binary(0, 100_000), "pass"),
                Step(5, .consumed(0, 100_000), "credit 300000"), Step(6, .frame(0, done), "end 0", "over good"),
                Step(7, .consumed(0, 1)),
            ]),
        Row(
            name: "more bytes than it was given room for cost the request",
            steps: [
                Step(0, .begin(.bytes), "q0"), Step(1, .frame(0, begun), "head 200"),
                Step(2, .binary(0, Limits.answerWindowBytes), "pass"),
                Step(3, .binary(0, 1), "fail worker_bad_answer", "cancel", "over bad"),
                Step(4, .binary(0, 1), "nobody"),
            ]),
        Row(
            name: "an answer without such a model casts doubt on the list",
            steps: [
                Step(0, .begin(.document), "q0"),
                Step(1, .frame(0, unknown), "head 404", "bytes 43", "end 0", "doubt models", "over"),
            ]),
    ]

    private static let ends = [
        Row(
            name: "what was never asked is for nobody",
            steps: [
                Step(0, .frame(0, word), "nobody"), Step(0, .binary(3, 5), "nobody"), Step(0, .cancel(0), "nobody"),
            ]),
        Row(
            name: "a second end is for nobody",
            steps: [
                Step(0, .begin(.document), "q0"),
                Step(1, .frame(0, whole), "head 200", "bytes 73", "end 3", "over good"),
                Step(2, .frame(0, whole), "nobody"), Step(2, .frame(0, done), "nobody"), Step(3, .cancel(0), "nobody"),
                Step(4, .tick()), Step(5, .lost),
            ]),
        Row(
            name: "it is cancelled once, and what still comes is dropped",
            steps: [
                Step(0, .begin(), "q0"), Step(1, .frame(0, word), "head 200", "bytes 47"),
                Step(2, .cancel(0), "cancel", "over"), Step(2, .cancel(0), "nobody"),
                Step(3, .frame(0, word), "nobody"),
                Step(4, .frame(0, done), "nobody"),
            ]),
        Row(
            name: "a buyer who gave up a worker that hangs says so of the worker",
            steps: [
                Step(0, .begin(), "q0"), Step(0, .begin(), "q1"), Step(29_999, .cancel(0), "cancel", "over"),
                Step(30_000, .cancel(1), "cancel", "over bad"),
            ]),
        Row(
            name: "a frame that cannot be read costs its request, and the worker may still be at it",
            steps: [
                Step(0, .begin(), "q0"), Step(0, .begin(), "q1"),
                Step(
                    1, .frame(0, ##""event":"start","payload":{"status_code":99}"##), "fail worker_bad_answer",
                    "cancel", "over bad"),
                Step(2, .frame(1, word), "head 200", "bytes 47"),
            ]),
        Row(
            name: "the worker is gone: all end, and nobody can be told to stop",
            steps: [
                Step(0, .begin(), "q0"), Step(0, .begin(.document), "q1"), Step(0, .begin(), "q2"),
                Step(1, .frame(0, word), "head 200", "bytes 47"), Step(2, .cancel(1), "cancel", "over"),
                Step(
                    3, .lost, "q0", "fail stream_interrupted", "over bad", "q2", "fail worker_lost", "over bad"),
                Step(4, .lost), Step(4, .frame(0, word), "nobody"),
            ]),
        Row(
            name: "numbers are not used again",
            steps: [
                Step(0, .begin(), "q0"), Step(1, .cancel(0), "cancel", "over"), Step(2, .begin(), "q1"),
                Step(3, .frame(0, word), "nobody"), Step(3, .frame(1, word), "head 200", "bytes 47"),
            ]),
    ]

    private static let times = [
        Row(
            name: "nothing comes in time",
            steps: [
                Step(0, .begin(), "q0"), Step(9_999, .tick()),
                Step(10_000, .tick(), "q0", "fail worker_timeout", "cancel", "over bad"),
                Step(10_001, .frame(0, word), "nobody"), Step(10_500, .tick()),
            ]),
        Row(
            name: "several are late at once, in their order",
            steps: [
                Step(0, .begin(), "q0"), Step(1, .begin(), "q1"), Step(2, .begin(), "q2"), Step(3, .begin(), "q3"),
                Step(4, .cancel(0), "cancel", "over"), Step(5, .frame(2, word), "head 200", "bytes 47"),
                Step(6_000, .frame(2, word), "bytes 47"),
                Step(
                    10_003, .tick(), "q1", "fail worker_timeout", "cancel", "over bad", "q3", "fail worker_timeout",
                    "cancel", "over bad"),
            ]),
        Row(
            name: "a worker that said it is at work and says nothing more is overdue",
            steps: [
                Step(0, .begin(), "q0"), Step(1_000, .frame(0, pending), "pending"), Step(60_000 - 1, .tick()),
                Step(60_000, .tick(), "q0", "fail worker_timeout", "cancel", "over bad"),
            ]),
        Row(
            name: "a stream that stops is cut",
            steps: [
                Step(0, .begin(), "q0"), Step(1_000, .frame(0, word), "head 200", "bytes 47"), Step(5_999, .tick()),
                Step(6_000, .tick(), "q0", "fail stream_interrupted", "cancel", "over bad"),
            ]),
        Row(
            name: "a stream that is complete does not wait for its worker's end",
            steps: [
                Step(0, .begin(), "q0"), Step(1_000, .frame(0, word), "head 200", "bytes 47"),
                Step(1_001, .frame(0, last), "pending"),
                Step(1_500, .tick()), Step(1_501, .tick(), "q0", "end 0", "cancel", "over good"),
            ]),
        Row(
            name: "a worker that takes nothing for 30 s is gone, whatever it sends, and all is lost with it",
            steps: [
                Step(0, .begin(.bytes), "q0"), Step(1_000, .tick()), Step(1_500, .tick(unsent: 500)),
                Step(9_000, .frame(0, begun), "head 200"),
                Step(20_000, .tick(unsent: 900), "q0", "fail stream_interrupted", "cancel", "over bad"),
                Step(30_999, .tick(unsent: 900)), Step(31_000, .tick(unsent: 900), "blocked"),
            ]),
        Row(
            name: "one that takes a little is not",
            steps: [
                Step(1_000, .tick(unsent: 500)), Step(30_000, .tick(unsent: 499)), Step(59_999, .tick(unsent: 499)),
                Step(60_000, .tick(unsent: 499), "blocked"), Step(60_001, .tick()), Step(60_002, .tick(unsent: 9)),
                Step(90_000, .tick(unsent: 9)),
            ]),
        Row(
            name: "what is late is lost with a worker that does not read",
            steps: [
                Step(0, .tick(unsent: 1)), Step(20_000, .begin(), "q0"), Step(30_000, .tick(unsent: 1), "blocked"),
                Step(30_000, .lost, "q0", "fail worker_lost", "over bad"),
            ]),
    ]

    private static let uploads = [
        Row(
            name: "room is for those that have an upload",
            steps: [
                Step(0, .begin(.bytes, hasUpload: true), "q0"), Step(0, .begin(.bytes), "q1"),
                Step(1, .frame(0, room(65_536)), "room 65536"), Step(1, .frame(1, room(65_536)), "nobody"),
                Step(1, .frame(0, room(0)), "nobody"), Step(1, .frame(0, room(-1)), "nobody"),
                Step(2, .uploaded(0, 10), "pass"), Step(2, .uploaded(1, 10), "nobody"),
                Step(3, .uploadEnded(0), "tell"),
                Step(3, .uploadEnded(1), "nobody"), Step(4, .cancel(0), "cancel", "over"),
                Step(5, .frame(0, room(5)), "nobody"), Step(5, .uploaded(0, 5), "nobody"),
                Step(5, .uploadEnded(0), "nobody"),
            ]),
        Row(
            name: "as long as bytes go to the worker nobody waits for an answer",
            steps: [
                Step(0, .begin(.bytes, hasUpload: true), "q0"), Step(0, .asked(0, 100)),
                Step(9_000, .uploaded(0, 50), "pass"), Step(18_000, .uploaded(0, 50), "pass"),
                Step(18_500, .uploadEnded(0), "tell"),
                Step(28_499, .tick()), Step(28_500, .tick(), "q0", "fail worker_timeout", "cancel", "over bad"),
            ]),
        Row(
            name: "a buyer who does not send is not the worker's fault",
            steps: [
                Step(0, .begin(.bytes, hasUpload: true), "q0"), Step(0, .asked(0, 100)),
                Step(10_000, .tick(), "q0", "fail worker_timeout", "cancel", "over"),
            ]),
        Row(
            name: "one who sends crumbs is given up",
            steps: [Step(0, .begin(.bytes, hasUpload: true), "q0"), Step(0, .asked(0, 1_000)), Step(0, .tick())]
                + (1...10).map { Step(Int64($0) * 5_900, .uploaded(0, 1), "pass") }
                + [Step(59_999, .tick()), Step(60_000, .tick(), "q0", "fail worker_timeout", "cancel", "over")]),
    ]

    // MARK: Beginning

    @Test func whatAWorkerCannotBeGivenNow() {
        var requests = WorkerRequests(now: SessionFixtures.start)
        func refusal(unsent: Int = 0, bytes: Int = 10, limit: Int = 10) -> ErrorCode? {
            requests.refusal(unsent: unsent, frame: (bytes, limit))?.code
        }
        #expect(refusal() == nil)
        #expect(refusal(bytes: 11) == .frameLimit)
        #expect(refusal(unsent: Limits.workerUnsentBytes) == nil)
        #expect(refusal(unsent: Limits.workerUnsentBytes + 1) == .workerBusy)
        for _ in 0..<Limits.workerRequestsAtOnce {
            #expect(refusal() == nil)
            _ = requests.begin(AnswerExchange(stream: true), hasUpload: false)
        }
        #expect(refusal() == .workerBusy && requests.count == Limits.workerRequestsAtOnce)
        _ = requests.cancelled(Self.first, now: SessionFixtures.start)
        #expect(refusal() == nil)
    }

    /// Half an event each: together they may hold no more than one worker's share.
    @Test func unfinishedAnswersAreBoundedTogether() {
        var requests = WorkerRequests(now: SessionFixtures.start)
        let piece = String(repeating: "x", count: 8 << 20)
        var failed: [UInt64] = []
        for _ in 0...(Limits.workerHeldBytes / (8 << 20)) {
            let number = requests.begin(AnswerExchange(stream: false), hasUpload: false)
            let outcome = Array(#"{"event":"chunk","payload":"\#(piece)"}"#.utf8).withUnsafeBytes { bytes in
                (try? WorkerFrame.scan(bytes)).flatMap {
                    requests.replied(number, .chunk, $0, in: bytes, now: SessionFixtures.start)
                }
            }
            if let end = outcome?.end {
                #expect(end.isCancelled && end.sample?.isSuccess == false)
                failed.append(number)
            }
        }
        #expect(failed == [Self.first + UInt64(Limits.workerHeldBytes / (8 << 20))])
        #expect(!requests.isOutstanding(failed[0]) && requests.isOutstanding(Self.first))
    }
}
