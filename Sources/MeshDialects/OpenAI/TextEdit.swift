import MeshWire

/// A change of a document that leaves all else as it stands, byte for byte.
struct TextEdit {
    var range: Range<Int>
    var text: [UInt8]

    static let null = Array("null".utf8)

    /// - Parameter edits: which do not overlap; where two stand at one place, in their order.
    static func apply(_ edits: [TextEdit], to bytes: UnsafeRawBufferPointer) -> [UInt8] {
        let sorted = edits.enumerated().sorted {
            ($0.element.range.lowerBound, $0.offset) < ($1.element.range.lowerBound, $1.offset)
        }
        var output: [UInt8] = []
        output.reserveCapacity(bytes.count + 128)
        var position = 0
        for (_, edit) in sorted {
            output += bytes[position..<edit.range.lowerBound]
            output += edit.text
            position = edit.range.upperBound
        }
        return output + bytes[position...]
    }

    /// Members at the beginning of an object.
    static func insertion(_ text: String, into object: JSONSlice, isEmpty: Bool) -> TextEdit {
        let start = object.range.lowerBound + 1
        return TextEdit(range: start..<start, text: Array((isEmpty ? text : text + ",").utf8))
    }

    /// A member with the comma that keeps it apart.
    static func removal(of place: Int, among members: [JSONField]) -> TextEdit {
        let member = members[place]
        if place > 0 {
            return TextEdit(range: members[place - 1].value.range.upperBound..<member.value.range.upperBound, text: [])
        }
        let end = members.count > 1 ? members[1].name.range.lowerBound : member.value.range.upperBound
        return TextEdit(range: member.name.range.lowerBound..<end, text: [])
    }
}
