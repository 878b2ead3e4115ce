import MeshModel

/// What a search finds in the data of one event, without reading it: the names by which streams tell what they are and
/// that they are complete. A name in quotes cannot stand inside a JSON string, where its quotes would be escaped.
struct StreamMarks {
    /// Kinds of streams that have a mark of completeness of their own.
    enum Kind: Hashable, Sendable {
        case completions, responses, messages
    }

    /// Whether something is called `error`.
    private(set) var error = false
    /// Where the object of the last `usage` begins.
    private(set) var usage: Int?
    /// The last reason to finish that is a plain word.
    private(set) var finishReason: String?
    private var kinds: [Kind] = []
    private var finished: [Kind] = []

    /// What kind of stream an event like this belongs to; nil for none of them.
    var kind: Kind? { kinds.contains(.completions) ? .completions : kinds.first }

    /// Whether the event says that a stream of this kind is complete.
    func finishes(_ kind: Kind) -> Bool { finished.contains(kind) }

    init(_ data: ArraySlice<UInt8>) {
        let start = data.startIndex
        data.withUnsafeBytes { bytes in
            var at = 0
            while at + 7 <= bytes.count {
                at = bytes.firstIndex(of: 0x22, or: 0x22, from: at, to: bytes.count) + 1
                if at + 6 <= bytes.count { read(UnsafeRawBufferPointer(rebasing: bytes[at...]), at: start + at) }
            }
        }
    }

    private static let responseEnds: [StaticString] = [
        "response.completed\"", "response.incomplete\"", "response.failed\"",
    ]

    /// - Parameter rest: the data behind a quote.
    private mutating func read(_ rest: UnsafeRawBufferPointer, at start: Int) {
        switch rest[0] {
        case UInt8(ascii: "e"):
            if rest.begins(with: "error\"") { error = true }
        case UInt8(ascii: "c"):
            if rest.begins(with: "choices\""), Self.value(rest, behind: 8) != nil { kinds.append(.completions) }
        case UInt8(ascii: "f"):
            guard rest.begins(with: "finish_reason\""), let value = Self.value(rest, behind: 14) else { return }
            // `null`, and what some servers write in its place.
            guard value.first != UInt8(ascii: "n"), !value.begins(with: "\"\"") else { return }
            finished.append(.completions)
            finishReason = Self.word(value) ?? finishReason
        case UInt8(ascii: "m"):
            if rest.begins(with: "message_start\"") { kinds.append(.messages) }
            if rest.begins(with: "message_stop\"") { finished.append(.messages) }
        case UInt8(ascii: "r"):
            guard rest.begins(with: "response.") else { return }
            kinds.append(.responses)
            if Self.responseEnds.contains(where: { rest.begins(with: $0) }) { finished.append(.responses) }
        case UInt8(ascii: "u"):
            guard rest.begins(with: "usage\""), let value = Self.value(rest, behind: 6) else { return }
            if value.first == UInt8(ascii: "{") { usage = start + rest.count - value.count }
        default: break
        }
    }

    /// A string that is one plain word.
    private static func word(_ value: UnsafeRawBufferPointer) -> String? {
        guard value.first == UInt8(ascii: "\"") else { return nil }
        let text = value.dropFirst().prefix(33)
        guard let end = text.firstIndex(of: UInt8(ascii: "\"")) else { return nil }
        let word = String(decoding: text[..<end], as: UTF8.self)
        return AnswerTotals.isWord(word) ? word : nil
    }

    /// The bytes from the value on whose name ends at `end`; nil when no value follows, and it is no name.
    private static func value(_ rest: UnsafeRawBufferPointer, behind end: Int) -> UnsafeRawBufferPointer? {
        var at = end
        while at < rest.count, rest[at] == 0x20 { at += 1 }
        guard at < rest.count, rest[at] == 0x3A else { return nil }
        at += 1
        while at < rest.count, rest[at] == 0x20 { at += 1 }
        return at < rest.count ? UnsafeRawBufferPointer(rebasing: rest[at...]) : nil
    }
}
