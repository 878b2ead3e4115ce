import MeshModel
import MeshWire

/// What of a chat's streamed answer has gone to its buyer, so that somebody else can go on where it broke off: the text of
/// its one choice. Whatever else an answer may hold cannot be told as the beginning of a message, and makes it impossible.
package struct StreamContinuation: Sendable {
    /// UTF-8.
    package private(set) var text: [UInt8] = []
    private var isOrdinary = true
    private var hasFinished = false

    package init() {}

    /// Whether somebody else can go on behind the text.
    package var isPossible: Bool { isOrdinary && !hasFinished && !text.isEmpty }

    /// - Parameter events: whole ones, as they go to the buyer.
    package mutating func append(_ events: [UInt8]) {
        guard isOrdinary else { return }
        for line in events.split(separator: 0x0A) where line.starts(with: "data:".utf8) {
            let data = Array(line.dropFirst(5).drop { $0 == 0x20 })
            guard data.first == UInt8(ascii: "{") else { continue }
            data.withUnsafeBytes { read($0) }
            guard isOrdinary, text.count <= Limits.resumeTextBytes else {
                (isOrdinary, text) = (false, [])
                return
            }
        }
    }

    private mutating func read(_ bytes: UnsafeRawBufferPointer) {
        guard let fields = try? JSONScanner.fields(of: bytes), let choices = fields.value("choices", in: bytes),
            choices.kind == .array,
            let elements = try? JSONScanner.elements(of: bytes, in: choices.range, limit: 2)
        else {
            isOrdinary = false
            return
        }
        guard let first = elements.first else { return }
        guard elements.count == 1, first.kind == .object,
            let choice = try? JSONScanner.fields(of: bytes, in: first.range),
            choice.integer("index", in: bytes) ?? 0 == 0
        else {
            isOrdinary = false
            return
        }
        if let reason = choice.value("finish_reason", in: bytes), reason.kind != .null { hasFinished = true }
        guard let delta = choice.value("delta", in: bytes), delta.kind == .object,
            let members = try? JSONScanner.fields(of: bytes, in: delta.range)
        else { return }
        for member in members {
            if JSONText.equals(member.name, "role", in: bytes) { continue }
            if JSONText.equals(member.name, "content", in: bytes), member.value.kind == .string {
                text += JSONText.unescaped(member.value, in: bytes)
            } else if !ChatCompletion.isEmpty(member.value, bytes) {
                isOrdinary = false
            }
        }
    }
}
