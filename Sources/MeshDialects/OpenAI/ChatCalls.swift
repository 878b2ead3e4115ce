import MeshModel
import MeshWire

/// The tool calls of a chat's stream, told apart and numbered: a worker that gives every call the same number, or none, is
/// understood by ids.
struct ChatCalls: Sendable {
    private struct Call: Sendable {
        var choice: Int64
        /// As the worker numbers it; nil where it does not.
        var said: Int64?
        var id: String
        /// Whether the worker has said its id.
        var isNamed: Bool
        var number: Int64
        /// The name that was told, as it stands in JSON.
        var name: [UInt8]
    }

    private var calls: [Call] = []

    /// Whether a choice has called anything.
    func has(_ choice: Int64) -> Bool { calls.contains { $0.choice == choice } }

    /// What the calls in a delta lack, and what is too much in them.
    mutating func edits(
        _ delta: [JSONField], of choice: Int64, chunkID: String?, _ bytes: UnsafeRawBufferPointer
    ) -> [TextEdit] {
        guard let list = delta.value("tool_calls", in: bytes), list.kind == .array,
            let pieces = try? JSONScanner.elements(of: bytes, in: list.range, limit: Limits.translatedCalls)
        else { return [] }
        var edits: [TextEdit] = []
        for piece in pieces where piece.kind == .object {
            edits += self.edits(piece, choice: choice, chunkID, bytes)
        }
        return edits
    }

    private mutating func edits(
        _ piece: JSONSlice, choice: Int64, _ chunkID: String?, _ bytes: UnsafeRawBufferPointer
    ) -> [TextEdit] {
        guard let members = try? JSONScanner.fields(of: bytes, in: piece.range) else { return [] }
        let said = members.integer("index", in: bytes)
        let id = members.string("id", in: bytes).flatMap { $0.isEmpty ? nil : $0 }
        let name = Self.name(members, in: bytes)
        var edits: [TextEdit] = []
        var missing: [String] = []
        let number: Int64
        if let known = known(choice, said, id, isNew: name != nil) {
            number = calls[known].number
            // Told once: some programs put the ids and the names of all pieces together, and others refuse a second one.
            if let slot = members.value("id", in: bytes), slot.kind != .null {
                edits.append(TextEdit(range: slot.range, text: TextEdit.null))
            }
            if let name {
                if calls[known].name.isEmpty {
                    calls[known].name = Array(bytes[name.range])
                } else if calls[known].name.elementsEqual(bytes[name.range]) {
                    edits.append(TextEdit(range: name.range, text: TextEdit.null))
                }
            }
        } else {
            guard calls.count < Limits.translatedCalls else { return [] }
            number = Int64(calls.count { $0.choice == choice })
            let given = id ?? Self.id(chunkID, choice, number)
            calls.append(
                Call(
                    choice: choice, said: said, id: given, isNamed: id != nil, number: number,
                    name: name.map { Array(bytes[$0.range]) } ?? []))
            if id == nil {
                if let slot = members.value("id", in: bytes) {
                    edits.append(TextEdit(range: slot.range, text: JSONText.quoted(given)))
                } else {
                    missing.append(#""id":"\#(given)""#)
                }
            }
            if members.value("type", in: bytes) == nil { missing.append(#""type":"function""#) }
        }
        if members.value("function", in: bytes) == nil { missing.append(#""function":{}"#) }
        if let slot = members.value("index", in: bytes) {
            if slot.kind != .number || said != number {
                edits.append(TextEdit(range: slot.range, text: Array(String(number).utf8)))
            }
        } else {
            missing.insert(#""index":\#(number)"#, at: 0)
        }
        if !missing.isEmpty {
            edits.append(.insertion(missing.joined(separator: ","), into: piece, isEmpty: members.isEmpty))
        }
        return edits
    }

    /// Which call a piece belongs to; nil where it begins one.
    private func known(_ choice: Int64, _ said: Int64?, _ id: String?, isNew: Bool) -> Int? {
        let known = calls.lastIndex { call in
            guard call.choice == choice else { return false }
            if let id { return call.id == id }
            return said == nil || call.said == said
        }
        guard known == nil, id != nil else { return known }
        // Without a name it is no new call: some workers give each piece of one an id of its own, and some the first one late.
        return calls.lastIndex {
            $0.choice == choice
                && (isNew ? !$0.isNamed && said != nil && $0.said == said : said == nil || $0.said == said)
        }
    }

    private static func id(_ chunkID: String?, _ choice: Int64, _ number: Int64) -> String {
        let mark = (chunkID ?? "").utf8.filter {
            (0x30...0x39).contains($0) || (0x61...0x7A).contains($0) || (0x41...0x5A).contains($0)
        }.suffix(16)
        return "call_\(String(decoding: mark, as: UTF8.self))_\(choice)_\(number)"
    }

    /// With its quotes; nil where there is none, or an empty one.
    private static func name(_ call: [JSONField], in bytes: UnsafeRawBufferPointer) -> JSONSlice? {
        guard let function = call.value("function", in: bytes), function.kind == .object,
            let members = try? JSONScanner.fields(of: bytes, in: function.range)
        else { return nil }
        return members.value("name", in: bytes).flatMap { $0.kind == .string && $0.range.count > 2 ? $0 : nil }
    }
}
