import MeshModel

/// A part of a model's turn: a block of a message, an item of a response. Parts stand one behind the other.
enum TurnPart: Hashable, Sendable {
    case text, refusal
    case thought(Thought.Field)
    /// - Parameter name: as it stands in JSON, without its quotes.
    case call(id: String, name: [UInt8])
}

/// Tells the parts of a turn in the words of one API. Texts come as they stand in JSON, without their quotes.
protocol TurnWriter: Sendable {
    /// The first content is there.
    mutating func start(_ usage: UsageReading, _ output: inout [UInt8])
    mutating func open(_ part: TurnPart, _ output: inout [UInt8])
    /// More of the part that is open.
    mutating func write(_ text: ArraySlice<UInt8>, _ output: inout [UInt8]) throws(MeshError)
    mutating func close(isCut: Bool, _ output: inout [UInt8])
    /// The id of a call, of which a worker may say none, or one that it said before.
    func callID(_ said: String?, number: Int, taken: [String]) -> String
}

/// How a turn ended.
struct TurnEnd: Sendable {
    var usage: UsageReading
    /// The worker's own word.
    var reason: String?
    var stopSequence: String?
    var isRefusal = false
    var hasCalls = false
    /// Whether nothing was said, and no tool called.
    var isEmpty = false

    /// An answer in which nothing stands is none: programs would wait for the rest of it, or pay for it again.
    static let nothing = MeshError(
        .workerBadAnswer, "the worker ended its turn without a word and without a call",
        retries: .init(shouldRetry: false))

    /// Whether it ended because there was no room for more.
    static func isCut(_ reason: String?) -> Bool { reason == "length" || reason == "content_filter" }
}

/// Ids of an answer and of what stands in it: of the request's own.
struct AnswerMark: Hashable, Sendable {
    let text: String

    init(requestID: String) { text = requestID.split(separator: "_").last.map(String.init) ?? requestID }

    /// The id of a tool call: the worker's own where programs take it.
    func callID(_ prefix: String, _ said: String?, number: Int, taken: [String]) -> String {
        if let said, !said.isEmpty, said.utf8.count <= 256, !taken.contains(said), said.utf8.allSatisfy(Self.isPlain) {
            return said
        }
        return "\(prefix)_\(text)_\(number)"
    }

    private static func isPlain(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte) || byte == 0x5F
            || byte == 0x2D
    }
}
