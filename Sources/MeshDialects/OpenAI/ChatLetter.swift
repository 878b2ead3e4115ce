import MeshModel
import MeshWire

/// What programs hold a chat's stream to and some workers leave out: who speaks, in the first piece; and of each tool call
/// its number, its id and its type. What has all of it passes as it came: it is searched for names and not read, and where
/// no tools were given only its beginning is.
///
/// Numbers are dense: a worker that gives every call the same number, or none, is told apart by ids.
package struct ChatLetter: Sendable {
    private struct Call: Sendable {
        var choice: Int64
        /// As the worker numbers it; nil where it does not.
        var said: Int64?
        var id: String
        var number: Int64
    }

    private struct Edit {
        var range: Range<Int>
        var text: [UInt8]
    }

    private let hasTools: Bool
    private var hasRole = false
    private var calls: [Call] = []

    /// - Parameter hasTools: whether the request gives any.
    package init(hasTools: Bool) { self.hasTools = hasTools }

    /// Whether nothing can be lacking any more.
    package var isDone: Bool { hasRole && !hasTools }

    /// The events with what they lack; nil where they lack nothing.
    /// - Parameter events: whole ones.
    package mutating func mended(_ events: UnsafeRawBufferPointer) -> [UInt8]? {
        var needsRole = false
        if !hasRole, Self.names("\"delta\"", in: events) {
            hasRole = true
            needsRole = !Self.names("\"role\"", in: events)
        }
        guard needsRole || hasTools && Self.names("\"tool_calls\"", in: events) else { return nil }
        var output: [UInt8] = []
        output.reserveCapacity(events.count + 128)
        var isChanged = false
        for line in events.split(separator: 0x0A, omittingEmptySubsequences: false) {
            if line.startIndex > 0 { output.append(0x0A) }
            let text = UnsafeRawBufferPointer(rebasing: line)
            guard text.starts(with: "data:".utf8), let mended = mended(line: text, needsRole: needsRole) else {
                output += text
                continue
            }
            needsRole = false
            isChanged = true
            output += mended
        }
        return isChanged ? output : nil
    }

    private static func names(_ name: StaticString, in bytes: UnsafeRawBufferPointer) -> Bool {
        let count = name.utf8CodeUnitCount
        guard bytes.count >= count else { return false }
        let second = name.utf8Start[1]
        for start in 0...(bytes.count - count) where bytes[start] == 0x22 && bytes[start + 1] == second {
            var length = 2
            while length < count, bytes[start + length] == name.utf8Start[length] { length += 1 }
            if length == count { return true }
        }
        return false
    }

    private mutating func mended(line: UnsafeRawBufferPointer, needsRole: Bool) -> [UInt8]? {
        let start = line.count > 5 && line[5] == 0x20 ? 6 : 5
        let chunk = UnsafeRawBufferPointer(rebasing: line[start...])
        var edits = lacks(chunk, needsRole: needsRole)
        guard !edits.isEmpty else { return nil }
        edits.sort { $0.range.lowerBound < $1.range.lowerBound }
        var output = Array(line[..<start])
        var position = 0
        for edit in edits {
            output += chunk[position..<edit.range.lowerBound]
            output += edit.text
            position = edit.range.upperBound
        }
        return output + chunk[position...]
    }

    private mutating func lacks(_ bytes: UnsafeRawBufferPointer, needsRole: Bool) -> [Edit] {
        guard let fields = try? JSONScanner.fields(of: bytes), let choices = fields.value("choices", in: bytes),
            choices.kind == .array,
            let elements = try? JSONScanner.elements(of: bytes, in: choices.range, limit: Limits.translatedCalls)
        else { return [] }
        var edits: [Edit] = []
        for element in elements where element.kind == .object {
            guard let choice = try? JSONScanner.fields(of: bytes, in: element.range),
                let delta = choice.value("delta", in: bytes), delta.kind == .object,
                let members = try? JSONScanner.fields(of: bytes, in: delta.range)
            else { continue }
            if needsRole {
                edits.append(Self.insertion(#""role":"assistant""#, into: delta, isEmpty: members.isEmpty))
            }
            guard let list = members.value("tool_calls", in: bytes), list.kind == .array,
                let pieces = try? JSONScanner.elements(of: bytes, in: list.range, limit: Limits.translatedCalls)
            else { continue }
            let index = choice.integer("index", in: bytes) ?? 0
            for piece in pieces where piece.kind == .object {
                edits += lacks(piece, choice: index, fields.string("id", in: bytes), bytes)
            }
        }
        return edits
    }

    private mutating func lacks(
        _ piece: JSONSlice, choice: Int64, _ chunkID: String?, _ bytes: UnsafeRawBufferPointer
    ) -> [Edit] {
        guard let members = try? JSONScanner.fields(of: bytes, in: piece.range) else { return [] }
        let index = members.value("index", in: bytes).flatMap { $0.kind == .number ? $0 : nil }
        let said = members.integer("index", in: bytes)
        let id = members.string("id", in: bytes).flatMap { $0.isEmpty ? nil : $0 }
        var edits: [Edit] = []
        var known = calls.lastIndex { call in
            guard call.choice == choice else { return false }
            if let id { return call.id == id }
            return said == nil || call.said == said
        }
        // Without a name it is no new call: some workers give each piece of one an id of its own.
        if known == nil, id != nil, !Self.hasName(members, in: bytes), let slot = members.value("id", in: bytes) {
            known = calls.lastIndex { $0.choice == choice && (said == nil || $0.said == said) }
            if let known { edits.append(Edit(range: slot.range, text: JSONText.quoted(calls[known].id))) }
        }
        var missing: [String] = []
        let number: Int64
        if let known {
            number = calls[known].number
        } else {
            guard calls.count < Limits.translatedCalls else { return [] }
            number = Int64(calls.count { $0.choice == choice })
            let mark = (chunkID ?? "").utf8.filter { (0x30...0x39).contains($0) || ($0 | 0x20).isLetter }.suffix(16)
            let given = id ?? "call_\(String(decoding: mark, as: UTF8.self))_\(choice)_\(number)"
            calls.append(Call(choice: choice, said: said, id: given, number: number))
            if id == nil {
                if let slot = members.value("id", in: bytes) {
                    edits.append(Edit(range: slot.range, text: JSONText.quoted(given)))
                } else {
                    missing.append(#""id":"\#(given)""#)
                }
            }
            if members.value("type", in: bytes) == nil { missing.append(#""type":"function""#) }
        }
        if members.value("function", in: bytes) == nil { missing.append(#""function":{}"#) }
        if let index {
            if said != number { edits.append(Edit(range: index.range, text: Array(String(number).utf8))) }
        } else if let slot = members.value("index", in: bytes) {
            edits.append(Edit(range: slot.range, text: Array(String(number).utf8)))
        } else {
            missing.insert(#""index":\#(number)"#, at: 0)
        }
        if !missing.isEmpty {
            edits.append(Self.insertion(missing.joined(separator: ","), into: piece, isEmpty: members.isEmpty))
        }
        return edits
    }

    private static func hasName(_ call: [JSONField], in bytes: UnsafeRawBufferPointer) -> Bool {
        guard let function = call.value("function", in: bytes), function.kind == .object,
            let members = try? JSONScanner.fields(of: bytes, in: function.range)
        else { return false }
        return members.value("name", in: bytes).map { $0.kind == .string && $0.range.count > 2 } ?? false
    }

    private static func insertion(_ text: String, into object: JSONSlice, isEmpty: Bool) -> Edit {
        let start = object.range.lowerBound + 1
        return Edit(range: start..<start, text: Array((isEmpty ? text : text + ",").utf8))
    }
}

extension UInt8 {
    fileprivate var isLetter: Bool { (0x61...0x7A).contains(self) }
}
