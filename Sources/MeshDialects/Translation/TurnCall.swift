import MeshModel
import MeshWire

/// One tool call of a chat's stream, as far as it has come.
struct TurnCall: Sendable {
    let index: Int64?
    var id: String?
    /// As it stands in JSON.
    private(set) var name: [UInt8] = []
    /// Whether its block has begun.
    var isTold = false
    /// What of the arguments was not told, as it stands in a JSON string.
    private var arguments: [UInt8] = []
    private(set) var hasBegun = false
    private var depth = ObjectDepth()

    init(index: Int64?) { self.index = index }

    /// Whether the arguments are one object that has ended: nothing of it comes any more.
    var isWhole: Bool { depth.hasEnded }
    var heldBytes: Int { name.count + arguments.count }

    /// Names come in pieces, or again with each piece of the arguments.
    mutating func add(name piece: [UInt8]) {
        guard !hasBegun, piece != name else { return }
        name += piece
    }

    mutating func add(_ value: JSONSlice, in bytes: UnsafeRawBufferPointer) {
        switch value.kind {
        case .string:
            guard value.range.count > 2 else { return }
            // What repeats behind its end is nothing new.
            guard !depth.hasEnded else { return }
            hasBegun = true
            depth.add(JSONText.unescaped(value, in: bytes))
            arguments += bytes[value.range].dropFirst().dropLast()
        case .object:
            guard !hasBegun else { return }
            hasBegun = true
            depth.add(Array(bytes[value.range]))
            var quoted: [UInt8] = []
            JSONText.appendQuoted(bytes[value.range], to: &quoted)
            arguments += quoted.dropFirst().dropLast()
        case .array, .number, .boolean, .null: break
        }
    }

    mutating func takeArguments() -> [UInt8] {
        defer { arguments = [] }
        return arguments
    }
}

/// Whether a JSON object that comes in pieces has ended.
private struct ObjectDepth: Sendable {
    private var depth = 0
    private var isText = false
    private var isEscape = false
    private(set) var hasEnded = false

    mutating func add(_ bytes: [UInt8]) {
        for byte in bytes where !hasEnded {
            if isText {
                if isEscape {
                    isEscape = false
                } else if byte == UInt8(ascii: "\\") {
                    isEscape = true
                } else if byte == UInt8(ascii: "\"") {
                    isText = false
                }
                continue
            }
            switch byte {
            case UInt8(ascii: "\""): isText = true
            case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                depth -= 1
                if depth <= 0 { hasEnded = true }
            default: break
            }
        }
    }
}
