import MeshDialects
import MeshModel
import MeshSessions
import MeshWire

/// What the tests of this target share: a worker's frames as text, and what the machines make of them.
enum SessionFixtures {
    static let start = Instant(nanoseconds: 1_000_000_000)

    static func now(_ milliseconds: Int64) -> Now {
        Now(
            instant: start.advanced(byMilliseconds: milliseconds),
            wall: Timestamp(milliseconds: 1_746_960_000_000 + milliseconds))
    }

    static func identity(_ scope: OwnerScope = .user("ada")) -> WorkerIdentity {
        WorkerIdentity(
            provider: RecordKey([UInt8](repeating: 7, count: 16)) ?? RecordKey(.zero), providerID: "coderai",
            scope: scope, clientID: "gpu-1")
    }

    static func session(_ scope: OwnerScope = .user("ada")) -> BrokerSession {
        BrokerSession(
            identity: identity(scope), sessionID: "s-1", tokenText: "secret", greetingGraceMs: 1_500,
            now: now(0))
    }

    static func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }
}

extension BrokerSession {
    mutating func receive(_ frame: String, at milliseconds: Int64) -> [Action] {
        receive(Array(frame.utf8), at: milliseconds)
    }

    mutating func receive(_ frame: [UInt8], at milliseconds: Int64) -> [Action] {
        frame.withUnsafeBytes { bytes in
            let scanned: Result<WorkerFrame, JSONScanError>
            do throws(JSONScanError) { scanned = .success(try WorkerFrame.scan(bytes)) } catch {
                scanned = .failure(error)
            }
            return textArrived(scanned, in: bytes, now: SessionFixtures.now(milliseconds))
        }
    }

    mutating func tick(at milliseconds: Int64) -> [Action] { tick(now: SessionFixtures.now(milliseconds).instant) }
}

extension AnswerExchange {
    init(stream: Bool, deadlines: AnswerDeadlines = AnswerDeadlines()) {
        self.init(form: stream ? .events : .document, deadlines: deadlines, now: SessionFixtures.start)
    }

    /// The actions on a reply frame; nil when the frame is none.
    mutating func receive(_ frame: String, at milliseconds: Int64 = 0) -> [Action]? {
        receive(Array(frame.utf8), at: milliseconds)
    }

    mutating func receive(_ frame: [UInt8], at milliseconds: Int64 = 0) -> [Action]? {
        frame.withUnsafeBytes { bytes in
            guard let scanned = try? WorkerFrame.scan(bytes), case .reply(let event) = scanned.kind else { return nil }
            return replied(event, scanned, in: bytes, now: SessionFixtures.now(milliseconds).instant)
        }
    }
}

/// What a buyer has seen of one exchange.
struct Outcome: Equatable, Sendable, CustomStringConvertible {
    var heads: [String] = []
    var body = ""
    var ends = 0
    var failures: [ErrorCode] = []
    private var isInStream = false

    /// - Parameter isInStream: whether the beginning of a stream of events was delivered before.
    init(_ actions: [AnswerExchange.Action], isInStream: Bool = false) {
        self.isInStream = isInStream
        add(actions, isStream: true)
    }

    /// A buyer reads how a stream of events ended in the stream itself.
    mutating func add(_ actions: [AnswerExchange.Action], isStream: Bool = false) {
        for action in actions {
            switch action {
            case .head(let head): heads.append("\(head.status) \(head.contentType)")
            case .bytes(let bytes): body += SessionFixtures.text(bytes)
            case .end:
                if isStream, isEventStream { body += SessionFixtures.text(OpenAIStream.done) }
                ends += 1
            case .fail(let error) where isStream && isEventStream:
                body += SessionFixtures.text(OpenAIStream.failure(error, requestID: nil))
                ends += 1
            case .fail(let error): failures.append(error.code)
            }
        }
    }

    private var isEventStream: Bool { heads.last.map { $0.hasPrefix("200 text/event-stream") } ?? isInStream }

    static func == (left: Outcome, right: Outcome) -> Bool {
        left.heads == right.heads && left.body == right.body && left.ends == right.ends
            && left.failures == right.failures
    }

    init(form: AnswerForm, _ frames: [String]) {
        var exchange = AnswerExchange(form: form, deadlines: .init(), now: SessionFixtures.start)
        for frame in frames { add(exchange.receive(frame) ?? [], isStream: form == .events) }
    }

    init(stream: Bool, _ frames: [String]) {
        var exchange = AnswerExchange(stream: stream)
        for frame in frames { add(exchange.receive(frame) ?? [], isStream: stream) }
    }

    init(head: String, body: String) {
        heads = [head]
        self.body = body
        ends = 1
    }

    init(failure: ErrorCode) { failures = [failure] }

    var description: String { "\(heads) \(body.debugDescription) ends \(ends) failures \(failures)" }
}
