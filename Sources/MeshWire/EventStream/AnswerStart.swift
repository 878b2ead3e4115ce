/// What an answer is by its first bytes. Servers leave the content type out, or give one that is wrong, and what they
/// send is told from how it begins.
package enum AnswerStart: Hashable, Sendable {
    /// Too little has come to tell.
    case unknown
    /// Fields of server-sent events, or a comment.
    case events
    /// A JSON object or list.
    case document
    /// A page for a browser.
    case page
    case other

    private static let fields = ["data:", "event:", "id:", "retry:", "error:", ":"].map { Array($0.utf8) }
    private static let pages = ["<!doctype", "<html", "<head", "<body"].map { Array($0.utf8) }
    private static let mark: [UInt8] = [0xEF, 0xBB, 0xBF]

    /// - Parameter isWhole: whether nothing can follow `bytes`.
    package static func judge(_ bytes: [UInt8], isWhole: Bool = false) -> AnswerStart {
        // How nearly all begin.
        if let first = bytes.first, first == UInt8(ascii: "{") || first == UInt8(ascii: "[") { return .document }
        return judge(bytes[...], isWhole: isWhole)
    }

    package static func judge(_ bytes: ArraySlice<UInt8>, isWhole: Bool = false) -> AnswerStart {
        var rest = bytes
        let unknown: AnswerStart = isWhole ? .other : .unknown
        if rest.count < mark.count, mark.starts(with: rest) { return unknown }
        if rest.starts(with: mark) { rest = rest.dropFirst(mark.count) }
        rest = rest.drop { [0x20, 0x09, 0x0A, 0x0D].contains($0) }
        guard let first = rest.first else { return unknown }
        if first == UInt8(ascii: "{") || first == UInt8(ascii: "[") { return .document }
        let start = rest.prefix(16).map { (0x41...0x5A).contains($0) ? $0 | 0x20 : $0 }
        if pages.contains(where: { start.starts(with: $0) }) { return .page }
        let exact = Array(rest.prefix(16))
        if fields.contains(where: { exact.starts(with: $0) }) { return .events }
        let mayCome = fields.contains { $0.starts(with: exact) } || pages.contains { $0.starts(with: start) }
        return mayCome ? unknown : .other
    }
}
