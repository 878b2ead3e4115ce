/// What a search finds in a chunk of a chat, without reading it. A name in quotes cannot stand inside a JSON string, where its
/// quotes would be escaped.
struct ChatSearch {
    private(set) var hasCalls = false
    private var hasChoices = false
    private var hasDelta = false
    private var hasIndex = false
    private var isSpecial = false

    /// Whether it is a piece of what a choice says, as nearly all are: with nothing in it that could be wrong.
    var isOrdinary: Bool { hasChoices && hasDelta && hasIndex && !isSpecial }

    init(_ bytes: UnsafeRawBufferPointer) {
        // Braces in words count as well: who has an odd number of them is read.
        var depth = 0
        var at = 0
        while at < bytes.count {
            let byte = bytes[at]
            at += 1
            switch byte {
            case 0x22: if at + 5 < bytes.count { read(UnsafeRawBufferPointer(rebasing: bytes[at...])) }
            case UInt8(ascii: "{"): depth += 1
            case UInt8(ascii: "}"): depth -= 1
            default: break
            }
        }
        if depth != 0 || bytes.first != UInt8(ascii: "{") || bytes.last != UInt8(ascii: "}") { isSpecial = true }
    }

    @inline(__always)
    private mutating func read(_ rest: UnsafeRawBufferPointer) {
        switch rest[0] {
        case UInt8(ascii: "c"): if rest.starts(with: "choices\"".utf8) { hasChoices = true }
        case UInt8(ascii: "d"): if rest.starts(with: "delta\"".utf8) { hasDelta = true }
        case UInt8(ascii: "i"): if rest.starts(with: "index\"".utf8) { hasIndex = true }
        case UInt8(ascii: "r"): if rest.starts(with: "role\"".utf8) { isSpecial = true }
        case UInt8(ascii: "t"): if rest.starts(with: "tool_calls\"".utf8) { hasCalls = true }
        case UInt8(ascii: "f"):
            guard rest.starts(with: "finish_reason\"".utf8) else { return }
            let value = rest.dropFirst(14).first { $0 != 0x20 && $0 != 0x3A }
            if value != UInt8(ascii: "n") { isSpecial = true }
        default: break
        }
    }
}
