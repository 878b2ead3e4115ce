/// What a search finds in a chunk of a completion, without reading it. A name in quotes cannot stand inside a JSON string, where
/// its quotes would be escaped.
struct ChatSearch {
    private struct Name {
        let text: StaticString
        /// Its first bytes, at most eight, and which of a word's bytes they are.
        let word: UInt64
        let mask: UInt64

        init(_ text: StaticString) {
            self.text = text
            let count = min(text.utf8CodeUnitCount, 8)
            mask = count == 8 ? .max : (1 << UInt64(count * 8)) - 1
            word = (0..<count).reduce(0) { $0 | UInt64(text.utf8Start[$1]) << UInt64($1 * 8) }
        }

        /// Whether it stands at the beginning of `rest`, of which `beginning` is the first word.
        @inline(__always)
        func begins(_ beginning: UInt64, _ rest: UnsafeRawBufferPointer) -> Bool {
            guard beginning & mask == word else { return false }
            guard text.utf8CodeUnitCount > 8 else { return true }
            guard rest.count >= text.utf8CodeUnitCount else { return false }
            return (8..<text.utf8CodeUnitCount).allSatisfy { rest[$0] == text.utf8Start[$0] }
        }
    }

    private static let choices = Name("choices\"")
    private static let delta = Name("delta\"")
    private static let text = Name("text\"")
    private static let index = Name("index\"")
    private static let role = Name("role\"")
    private static let calls = Name("tool_calls\"")
    private static let finish = Name("finish_reason\"")

    private(set) var hasCalls = false
    private var hasChoices = false
    private var hasDelta = false
    private var hasText = false
    private var hasIndex = false
    private var isSpecial = false

    /// Whether it is a piece of what a choice says, as nearly all are: with nothing in it that could be wrong.
    func isOrdinary(of form: ChatLetter.Form) -> Bool {
        hasChoices && hasIndex && !isSpecial && (form == .text ? hasText : hasDelta)
    }

    init(_ bytes: UnsafeRawBufferPointer) { _ = search(bytes, from: 0) }

    private init() {}

    /// The event that begins at `start`, where it is one line of data and a blank one; and where it ends.
    @inline(__always)
    static func ofEvent(_ bytes: UnsafeRawBufferPointer, from start: Int) -> (ChatSearch, Int)? {
        guard bytes.count - start > 8, bytes.loadUnaligned(fromByteOffset: start, as: UInt32.self) == data,
            bytes[start + 4] == UInt8(ascii: ":")
        else { return nil }
        var search = ChatSearch()
        let end = search.search(bytes, from: bytes[start + 5] == 0x20 ? start + 6 : start + 5)
        return end + 1 < bytes.count && bytes[end + 1] == 0x0A ? (search, end + 2) : nil
    }

    private static let data = UInt32(littleEndian: 0x6174_6164)

    /// - Returns: where its line ends.
    @inline(__always)
    private mutating func search(_ bytes: UnsafeRawBufferPointer, from start: Int) -> Int {
        // Braces in words count as well: who has an odd number of them is read.
        var depth = 0
        var at = start
        search: while at < bytes.count {
            let byte = bytes[at]
            at += 1
            switch byte {
            case 0x22: if at + 5 < bytes.count { read(UnsafeRawBufferPointer(rebasing: bytes[at...])) }
            case UInt8(ascii: "{"): depth += 1
            case UInt8(ascii: "}"): depth -= 1
            case 0x0A:
                at -= 1
                break search
            default: break
            }
        }
        if depth != 0 || at == start || bytes[start] != UInt8(ascii: "{") || bytes[at - 1] != UInt8(ascii: "}") {
            isSpecial = true
        }
        return at
    }

    @inline(__always)
    private mutating func read(_ rest: UnsafeRawBufferPointer) {
        let word: UInt64
        if rest.count >= 8 {
            word = UInt64(littleEndian: rest.loadUnaligned(as: UInt64.self))
        } else {
            word = rest.indices.reduce(0) { $0 | UInt64(rest[$1]) << UInt64($1 * 8) }
        }
        switch UInt8(truncatingIfNeeded: word) {
        case UInt8(ascii: "c"): if Self.choices.begins(word, rest) { hasChoices = true }
        case UInt8(ascii: "d"): if Self.delta.begins(word, rest) { hasDelta = true }
        case UInt8(ascii: "i"): if Self.index.begins(word, rest) { hasIndex = true }
        case UInt8(ascii: "r"): if Self.role.begins(word, rest) { isSpecial = true }
        case UInt8(ascii: "t"):
            if Self.text.begins(word, rest) { hasText = true }
            if Self.calls.begins(word, rest) { hasCalls = true }
        case UInt8(ascii: "f"):
            guard Self.finish.begins(word, rest) else { return }
            let value = rest.dropFirst(14).first { $0 != 0x20 && $0 != 0x3A }
            if value != UInt8(ascii: "n") { isSpecial = true }
        default: break
        }
    }
}
