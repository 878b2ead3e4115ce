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
        /// Its name as far as it has come, as it stands in JSON without its quotes.
        var name: [UInt8]
        /// Whether some of it came behind its first piece.
        var isInPieces = false
        /// Whether its arguments have begun: no more of its name comes.
        var hasBegun = false
        /// Whether it went out.
        var isTold = false
    }

    private var calls: [Call] = []

    /// Whether a choice has called anything.
    func has(_ choice: Int64) -> Bool { calls.contains { $0.choice == choice } }

    /// Whether more may come of the name of a call that has not gone out.
    func areNamesOpen(of choice: Int64) -> Bool {
        calls.contains { $0.choice == choice && !$0.hasBegun && !$0.isTold }
    }

    /// All that is known of them has gone out.
    mutating func told() {
        for place in calls.indices where !calls[place].isTold { calls[place].isTold = true }
    }

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
            if let name { edits += add(name: name, to: known, bytes) }
            if Self.hasArguments(members, in: bytes) { calls[known].hasBegun = true }
        } else {
            guard calls.count < Limits.translatedCalls else { return [] }
            number = Int64(calls.count { $0.choice == choice })
            let given = id ?? Self.id(chunkID, choice, number)
            calls.append(
                Call(
                    choice: choice, said: said, id: given, isNamed: id != nil, number: number,
                    name: name.map { Array(bytes[$0.range].dropFirst().dropLast()) } ?? [],
                    hasBegun: Self.hasArguments(members, in: bytes)))
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

    /// A piece of a name behind the first: told where the call begins. What comes behind that stays where it is, for programs that
    /// put names together.
    private mutating func add(name: JSONSlice, to known: Int, _ bytes: UnsafeRawBufferPointer) -> [TextEdit] {
        let text = bytes[name.range].dropFirst().dropLast()
        let nothing = [TextEdit(range: name.range, text: TextEdit.null)]
        if calls[known].name.elementsEqual(text) { return nothing }
        guard !calls[known].isTold else {
            calls[known].name += text
            return []
        }
        guard !calls[known].hasBegun else { return nothing }
        calls[known].name += text
        calls[known].isInPieces = true
        return nothing
    }

    /// A chunk that waited, with the whole names of calls that begin in it.
    func named(_ chunk: [UInt8]) -> [UInt8] {
        guard calls.contains(where: \.isInPieces) else { return chunk }
        return chunk.withUnsafeBytes { bytes in TextEdit.apply(names(in: bytes), to: bytes) }
    }

    private func names(in bytes: UnsafeRawBufferPointer) -> [TextEdit] {
        guard let choice = bytes.objects("choices", in: 0..<bytes.count)?.first,
            let delta = choice.value("delta", in: bytes), let pieces = bytes.objects("tool_calls", in: delta.range)
        else { return [] }
        let index = choice.integer("index", in: bytes) ?? 0
        return pieces.compactMap { piece in
            guard piece.value("id", in: bytes)?.kind == .string, let number = piece.integer("index", in: bytes),
                let call = calls.first(where: { $0.choice == index && $0.number == number && $0.isInPieces }),
                let function = piece.value("function", in: bytes), function.kind == .object,
                let members = try? JSONScanner.fields(of: bytes, in: function.range)
            else { return nil }
            let name = [0x22] + call.name + [0x22]
            if let slot = members.value("name", in: bytes) { return TextEdit(range: slot.range, text: name) }
            let start = function.range.lowerBound + 1
            let rest = members.isEmpty ? "" : ","
            return TextEdit(range: start..<start, text: Array("\"name\":".utf8) + name + Array(rest.utf8))
        }
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

    private static func hasArguments(_ call: [JSONField], in bytes: UnsafeRawBufferPointer) -> Bool {
        guard let function = call.value("function", in: bytes), function.kind == .object,
            let members = try? JSONScanner.fields(of: bytes, in: function.range),
            let arguments = members.value("arguments", in: bytes)
        else { return false }
        return arguments.kind == .object || !ChatCompletion.isEmpty(arguments, bytes)
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

extension UnsafeRawBufferPointer {
    /// The members of each object in the list of that name.
    fileprivate func objects(_ name: StaticString, in range: Range<Int>) -> [[JSONField]]? {
        guard let fields = try? JSONScanner.fields(of: self, in: range), let list = fields.value(name, in: self),
            list.kind == .array
        else { return nil }
        let elements = (try? JSONScanner.elements(of: self, in: list.range, limit: Limits.translatedCalls)) ?? []
        return elements.compactMap { $0.kind == .object ? try? JSONScanner.fields(of: self, in: $0.range) : nil }
    }
}
