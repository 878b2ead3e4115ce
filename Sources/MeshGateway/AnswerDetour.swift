import MeshDialects
import MeshModel
import MeshRouting
import MeshWire
import NIOCore

/// What becomes of the bytes of an answer that its buyer does not get as they come.
enum AnswerDetour {
    case none
    /// An error status, held until all of its words are here.
    case refusal(HeldRefusal)
    /// A stream of another API that passes.
    case passed(any PassedStream)
    /// A chat's stream, to the letter that programs hold it to.
    case letter(ChatLetter)
    /// A chat's stream that becomes one of the buyer's API.
    case events(any TranslatedStream)
    /// A chat completion that becomes an answer of the buyer's API, held until it is whole.
    case document(AnswerHead, ByteBuffer)

    /// Whether bytes are held or become others.
    var isTaken: Bool {
        switch self {
        case .none, .passed, .letter: false
        case .refusal, .events, .document: true
        }
    }
}

/// The answer of a worker's backend that says why there is no other.
struct HeldRefusal {
    let head: AnswerHead
    private(set) var body = ByteBuffer()

    init(_ head: AnswerHead) { self.head = head }

    mutating func append(_ bytes: ByteBuffer) { body.writeImmutableBuffer(bytes) }

    /// Words are never that long.
    var isTooLong: Bool { body.readableBytes > Limits.refusalBytes }

    /// In the words of `dialect`; as it came where it has them.
    func answer(in dialect: Dialect, requestID: String) -> (head: AnswerHead, body: ByteBuffer) {
        let bytes = Array(body.readableBytesView)
        let words = String(decoding: bytes.prefix(Limits.errorWordsBytes), as: UTF8.self)
        let said = dialect.answer(
            passed: bytes, status: head.status,
            isOverflow: Attempts.mayBeOverflow(status: head.status)
                && ContextWords.tellOfLength(words, status: head.status), requestID: requestID)
        guard let said else { return (head, body) }
        var head = head
        head.status = said.status
        head.contentType = "application/json"
        head.length = said.body.count
        head.fields.removeAll { $0.name.hasPrefix("content-") || $0.name == "etag" }
        return (head, ByteBuffer(bytes: said.body))
    }
}

extension Dialect {
    /// What looks after a stream that passes; nil where that is another's affair.
    func passed(_ requestID: String) -> (any PassedStream)? {
        switch self {
        case .chat: nil
        case .messages: MessagesLetter()
        case .responses: ResponsesLetter(requestID: requestID)
        }
    }

    /// Whether an answer of a backend with this status may have to be told in other words.
    func mayReword(status: Int) -> Bool {
        switch self {
        case .chat, .responses: Attempts.mayBeOverflow(status: status)
        case .messages: true
        }
    }
}
