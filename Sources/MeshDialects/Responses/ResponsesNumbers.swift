package import MeshModel

/// The numbers of the events of a Responses stream that passes: programs want one on each, and want them to rise. What this node
/// puts between them (`keepalive`) has one too, and what comes behind it counts on from there; until then nothing is
/// changed in a stream that is in order.
package struct ResponsesNumbers: Sendable {
    private var last: Int64 = -1
    /// How much higher than the worker's the numbers are.
    private var offset: Int64 = 0

    /// Whether what comes goes on with a line of before.
    private var isInside = false

    package init() {}

    /// - Parameter events: whole ones, or a piece of a long one.
    /// - Returns: nil where they go out as they are.
    package mutating func mended(_ events: UnsafeRawBufferPointer) -> [UInt8]? {
        var output: [UInt8] = []
        var copied = 0
        var start = isInside ? (events.firstIndex(of: 0x0A) ?? events.count) : 0
        if let last = events.last { isInside = last != 0x0A }
        while start < events.count {
            var end = start
            while end < events.count, events[end] != 0x0A { end += 1 }
            if end - start > 6, UnsafeRawBufferPointer(rebasing: events[start..<end]).starts(with: "data:".utf8) {
                let data = (events[start + 5] == 0x20 ? start + 6 : start + 5)..<end
                if let edit = edit(events, data) {
                    output += events[copied..<edit.range.lowerBound]
                    output += edit.text
                    copied = edit.range.upperBound
                }
            }
            start = end + 1
        }
        return copied == 0 ? nil : output + events[copied...]
    }

    package mutating func keepAlive() -> [UInt8] {
        last += 1
        return EventText.event("keepalive", Array(#"{"type":"keepalive","sequence_number":\#(last)}"#.utf8))
    }

    package func failure(_ error: MeshError, requestID: String?) -> [UInt8] {
        Dialect.responses.failureEvent(
            error, requestID: requestID, after: last < 0 ? [] : Self.name + String(last).utf8)
    }

    private static let name = Array("\"sequence_number\":".utf8)

    private mutating func edit(_ bytes: UnsafeRawBufferPointer, _ data: Range<Int>) -> TextEdit? {
        guard data.count >= 2, bytes[data.lowerBound] == UInt8(ascii: "{") else { return nil }
        if let place = Self.number(in: bytes, data) {
            let said = Int64(String(decoding: bytes[place].prefix(18), as: UTF8.self)) ?? 0
            let number = max(said + offset, last + 1)
            (last, offset) = (number, number - said)
            return number == said ? nil : TextEdit(range: place, text: Array(String(number).utf8))
        }
        // Half a document, of one in several lines, has its number elsewhere.
        guard bytes[data.upperBound - 1] == UInt8(ascii: "}") else { return nil }
        last += 1
        let isEmpty = bytes[data.lowerBound + 1] == UInt8(ascii: "}")
        let text = "\"sequence_number\":\(last)" + (isEmpty ? "" : ",")
        return TextEdit(range: data.lowerBound + 1..<data.lowerBound + 1, text: Array(text.utf8))
    }

    /// Where the digits stand.
    private static func number(in bytes: UnsafeRawBufferPointer, _ data: Range<Int>) -> Range<Int>? {
        var at = data.lowerBound
        while at + name.count < data.upperBound {
            if bytes[at] == 0x22, bytes[at + 1] == UInt8(ascii: "s"),
                UnsafeRawBufferPointer(rebasing: bytes[at..<data.upperBound]).starts(with: name)
            {
                var begin = at + name.count
                while begin < data.upperBound, bytes[begin] == 0x20 { begin += 1 }
                var end = begin
                while end < data.upperBound, (0x30...0x39).contains(bytes[end]) { end += 1 }
                return begin < end ? begin..<end : nil
            }
            at += 1
        }
        return nil
    }
}
