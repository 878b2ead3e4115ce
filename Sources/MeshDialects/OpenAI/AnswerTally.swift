import MeshModel
package import MeshWire

/// Counts the tokens of an answer while it passes, without decoding it: the texts of the members that hold what a model
/// wrote, in events or in a whole document, cut anywhere. For answers whose backend does not tell how many there were.
package struct AnswerTally: Sendable {
    private enum Member {
        case text
        case id
        case other
    }

    private enum Place {
        case outside
        /// In a string: its hash and length so far.
        case string(UInt64, Int)
        case escape(UInt64, Int)
        /// Behind a string, which may be a name.
        case behind(Member)
        /// Behind the colon.
        case value(Member)
        case counted
        case countedEscape
        case id
    }

    private let names: [UInt64]
    private var place = Place.outside
    private var estimate = TokenEstimate()
    private var idBytes: [UInt8] = []
    /// How the answer calls itself: the first `id` in it.
    package private(set) var answerID: String?

    /// - Parameter isResponses: whether the answer is one of the Responses API, whose events say everything twice at
    ///   their end.
    package init(isResponses: Bool = false) { names = isResponses ? Self.ofResponses : Self.ofChat }

    /// Whether there is text to count in an answer that begins so.
    package static func counts(_ head: AnswerHead) -> Bool {
        head.status < 400 && (head.isEventStream || head.contentType.hasPrefix("application/json"))
    }

    package var tokens: Int64 { estimate.tokens }

    /// And of Messages.
    private static let ofChat = [
        "content", "text", "reasoning_content", "reasoning", "refusal", "arguments", "thinking", "partial_json",
    ].map(hash)
    private static let ofResponses = ["delta"].map(hash)
    private static let id = hash("id")

    private static let offset: UInt64 = 0xCBF2_9CE4_8422_2325
    private static func hash(_ name: String) -> UInt64 { name.utf8.reduce(offset) { mixed($0, $1) } }
    @inline(__always) private static func mixed(_ hash: UInt64, _ byte: UInt8) -> UInt64 {
        (hash ^ UInt64(byte)) &* 0x100_0000_01B3
    }

    package mutating func add(_ bytes: UnsafeRawBufferPointer) { read(bytes) { _ in false } }

    /// Reads on until the answer's `id` is known; what is read then no longer counts as a whole.
    package mutating func findID(_ bytes: UnsafeRawBufferPointer) { read(bytes) { $0.answerID != nil } }

    @inline(__always)
    private mutating func read(_ bytes: UnsafeRawBufferPointer, until isDone: (borrowing Self) -> Bool) {
        var position = 0
        while position < bytes.count, !isDone(self) {
            switch place {
            case .counted: position = count(bytes, from: position)
            case .outside:
                position = bytes.firstIndex(
                    of: UInt8(ascii: "\""), or: UInt8(ascii: "\""), from: position, to: bytes.count)
                guard position < bytes.count else { return }
                place = .string(Self.offset, 0)
                position += 1
            case .string(let hash, let length): position = passString(bytes, from: position, hash, length)
            case .escape, .behind, .value, .countedEscape, .id:
                step(bytes[position])
                position += 1
            }
        }
    }

    /// A string up to its end, an escape, or the end of these bytes.
    @inline(__always)
    private mutating func passString(
        _ bytes: UnsafeRawBufferPointer, from start: Int, _ hash: UInt64, _ length: Int
    ) -> Int {
        let end = bytes.firstIndex(of: UInt8(ascii: "\""), or: UInt8(ascii: "\\"), from: start, to: bytes.count)
        // Nothing that is longer is a name of ours: what it is called is of no interest then.
        let isName = length + end - start <= Self.longestName
        var hash = isName ? hash : 0
        if isName { for position in start..<end { hash = Self.mixed(hash, bytes[position]) } }
        let length = isName ? length + end - start : Self.longestName + 1
        guard end < bytes.count else {
            place = .string(hash, length)
            return end
        }
        place = bytes[end] == UInt8(ascii: "\\") ? .escape(hash, length) : .behind(member(hash, length))
        return end + 1
    }

    private static let longestName = 20

    /// The text up to its closing quote, or to the end of these bytes.
    private mutating func count(_ bytes: UnsafeRawBufferPointer, from start: Int) -> Int {
        var position = start
        while position < bytes.count {
            switch bytes[position] {
            case UInt8(ascii: "\""):
                estimate.addEscaped(bytes, start..<position)
                place = .outside
                return position + 1
            case UInt8(ascii: "\\"):
                guard position + 1 < bytes.count else {
                    estimate.addEscaped(bytes, start..<position)
                    place = .countedEscape
                    return bytes.count
                }
                position += 2
            default: position += 1
            }
        }
        estimate.addEscaped(bytes, start..<bytes.count)
        return bytes.count
    }

    @inline(__always)
    private mutating func step(_ byte: UInt8) {
        switch place {
        // A name with escapes is none of ours.
        case .escape: place = .string(0, 99)
        case .behind(let member):
            if byte == UInt8(ascii: ":") {
                place = .value(member)
            } else if !Self.isSpace(byte) {
                place = .outside
            }
        case .value(let member):
            if Self.isSpace(byte) { return }
            guard byte == UInt8(ascii: "\"") else {
                place = .outside
                return
            }
            switch member {
            case .text: place = .counted
            case .id: place = .id
            case .other: place = .string(0, 99)
            }
        case .id: readID(byte)
        case .countedEscape: place = .counted
        case .outside, .string, .counted: break
        }
    }

    private func member(_ hash: UInt64, _ length: Int) -> Member {
        if length == 2, hash == Self.id, answerID == nil { return .id }
        return length <= Self.longestName && names.contains(hash) ? .text : .other
    }

    /// One with escapes, or longer than ids are, is none.
    private mutating func readID(_ byte: UInt8) {
        guard byte != UInt8(ascii: "\"") else {
            if !idBytes.isEmpty { answerID = String(decoding: idBytes, as: UTF8.self) }
            place = .outside
            return
        }
        guard byte != UInt8(ascii: "\\"), idBytes.count < Limits.generationIDBytes else {
            idBytes = []
            place = byte == UInt8(ascii: "\\") ? .escape(0, 99) : .string(0, 99)
            return
        }
        idBytes.append(byte)
    }

    @inline(__always) private static func isSpace(_ byte: UInt8) -> Bool {
        byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09
    }
}
