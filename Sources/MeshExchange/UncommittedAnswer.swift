import MeshDialects
import MeshModel
import MeshRouting
import MeshWire
import NIOCore

/// The beginning of an answer, as long as another place may still be asked instead: its head, events without content,
/// or the whole body of an error status.
struct UncommittedAnswer: Sendable {
    enum Step {
        case hold
        case commit
        case failed(MeshError)
    }

    enum Ending {
        case commit
        /// An error status, kept as a whole.
        case refusal(status: Int, retryAfterSeconds: Int?)
        /// The same: the prompt is too long for whoever answered.
        case overflow(status: Int)
        case failed(MeshError)
    }

    private enum Kind {
        case events(FirstContent)
        /// Its first byte is content.
        case plain
        /// An error of the worker's, which has to be whole before anything can be done with it.
        case error
        /// Events in the place of a document.
        case unasked
    }

    private var head: AnswerHead?
    private var kind = Kind.plain
    private var body = ByteQueue()
    private var isForeign = false
    /// Whether there has to be something in it.
    private var isDocument = false

    /// - Parameter isForeign: whether another node says that this is its worker's answer.
    mutating func begin(_ head: AnswerHead, form: AnswerForm, isForeign: Bool) {
        self.head = head
        self.isForeign = isForeign
        isDocument = form == .document && head.status < 400
        if Attempts.isRefusal(status: head.status) || Attempts.mayBeOverflow(status: head.status)
            || (isForeign && head.status >= 400)
        {
            kind = .error
        } else if head.isEventStream, head.status < 400 {
            switch form {
            case .events: kind = .events(FirstContent())
            case .document: kind = .unasked
            case .bytes: break
            }
        }
    }

    mutating func append(_ bytes: ByteBuffer) -> Step {
        guard head != nil else { return .failed(Self.headless) }
        guard bytes.readableBytes > 0 else { return .hold }
        switch kind {
        case .plain:
            body.append(bytes)
            return .commit
        case .unasked: return .failed(AnswerFailure.unreadable())
        case .error:
            body.append(bytes)
            guard body.count > Limits.refusalBytes else { return .hold }
            // Nobody can judge half of it, and another node's word for it is not enough.
            return isForeign ? .failed(Self.tooLong) : .commit
        case .events(var content):
            // Taken out so that it is unique and changes in place.
            kind = .plain
            let finding = content.append(Array(bytes.readableBytesView))
            switch finding {
            case .none:
                kind = .events(content)
                return .hold
            case .content:
                body.append(ByteBuffer(bytes: content.release()))
                return .commit
            case .failure(let error): return .failed(error)
            }
        }
    }

    mutating func finish(isChat: Bool) -> Ending {
        guard head != nil else { return .failed(Self.headless) }
        switch kind {
        case .plain: return isDocument && body.count == 0 ? .failed(AnswerFailure.unreadable()) : .commit
        case .unasked: return .failed(AnswerFailure.unreadable())
        case .events(var content):
            if case .failure(let error) = content.finish() { return .failed(error) }
            body.append(ByteBuffer(bytes: content.release()))
            return .commit
        case .error: break
        }
        if isForeign, let error = judge(isChat: isChat) { return .failed(error) }
        guard let head else { return .commit }
        if Attempts.mayBeOverflow(status: head.status), ContextWords.tellOfLength(words, status: head.status) {
            return .overflow(status: head.status)
        }
        guard Attempts.isRefusal(status: head.status) else { return .commit }
        return .refusal(status: head.status, retryAfterSeconds: retryAfter)
    }

    /// The same rule for an answer from another node as for one of a worker here.
    private mutating func judge(isChat: Bool) -> MeshError? {
        guard let head else { return Self.headless }
        var bytes: [UInt8] = []
        while let piece = body.take(Limits.refusalBytes) { bytes += piece.readableBytesView }
        switch AnswerFailure.answer(head, bytes, isChat: isChat) {
        case .failure(let error): return error
        case .success(let judged):
            self.head = judged.head
            self.head?.length = judged.body.count
            body.append(ByteBuffer(bytes: judged.body))
            return nil
        }
    }

    /// The beginning of its body.
    private var words: String {
        var body = body
        var beginning: [UInt8] = []
        while let piece = body.take(Limits.errorWordsBytes - beginning.count) { beginning += piece.readableBytesView }
        return String(decoding: beginning, as: UTF8.self)
    }

    /// Whether what was held is the beginning of a stream of events.
    var isEventStream: Bool { head.map { $0.isEventStream && $0.status < 400 } ?? false }

    private var retryAfter: Int? {
        head?.fields.value("retry-after").flatMap { Int($0) }
    }

    mutating func setRetryAfter(_ seconds: Int?) {
        guard let seconds, Attempts.isRefusal(status: head?.status ?? 0) else { return }
        head?.fields.removeAll { $0.name == "retry-after" }
        head?.fields.append(HeaderField("retry-after", String(seconds)))
    }

    /// What was held, to be passed on as it came: in pieces a large event would not be known for one, and its reader be
    /// taken for too slow.
    mutating func takeParts() -> [AnswerPart] {
        guard let head else { return [] }
        var parts: [AnswerPart] = []
        parts.reserveCapacity(2)
        parts.append(.head(head))
        while let piece = body.take(.max) { parts.append(.bytes(piece)) }
        return parts
    }

    private static let headless = MeshError(.workerBadAnswer, "the worker ended its answer before it began")
    private static let tooLong = MeshError(.workerBadAnswer, "the worker's error is longer than this node reads")
}
