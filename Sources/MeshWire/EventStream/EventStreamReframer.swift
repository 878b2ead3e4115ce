import MeshModel

/// Cuts a byte stream into server-sent events (WHATWG HTML, section 9.2): raw reads of a worker hold half an
/// event, several, or a split character, and nothing may be decided before an event is whole.
///
/// Events come out without their terminating blank line. Lines may end in LF, CRLF or CR.
package struct EventStreamReframer: Sendable {
    private var pending: [UInt8] = []
    /// How far `pending` is known to hold no blank line.
    private var searched = 0

    private let eventBytes: Int

    /// - Parameter eventBytes: the longest event. A stream that lies in memory as a whole anyway may have longer ones.
    package init(eventBytes: Int = Limits.eventBytes) { self.eventBytes = eventBytes }

    /// Whether nothing of an event is held.
    package var isEmpty: Bool { pending.isEmpty }

    package enum Overflow: Error, Hashable, Sendable {
        case eventTooLarge
        case tooManyEvents
    }

    /// Adds a read and returns the events it completes, in order. What is held, and each event, is bounded by
    /// `eventBytes`, their number by `Limits.eventsPerRead`.
    package mutating func append(_ bytes: [UInt8]) throws(Overflow) -> [[UInt8]] {
        if pending.isEmpty { pending = bytes } else { pending += bytes }
        var events: [[UInt8]] = []
        var start = 0
        while let (end, next) = blankLine(from: max(start, searched)) {
            guard end - start <= eventBytes else { throw .eventTooLarge }
            if end > start {
                guard events.count < Limits.eventsPerRead else { throw .tooManyEvents }
                events.append(Array(pending[start..<end]))
            }
            start = next
            searched = next
        }
        if start > 0 { pending.removeFirst(start) }
        // A terminator may be split across reads: look again at its possible first bytes.
        searched = max(0, pending.count - 3)
        guard pending.count <= eventBytes else { throw .eventTooLarge }
        return events
    }

    /// What is left at the end of the stream: an event whose blank line never came.
    package mutating func finish() -> [UInt8]? {
        defer {
            pending = []
            searched = 0
        }
        while let last = pending.last, last == 0x0A || last == 0x0D { pending.removeLast() }
        return pending.isEmpty ? nil : pending
    }

    /// The next blank line at or after `from`: where the event ends and where the next one starts.
    private func blankLine(from: Int) -> (end: Int, next: Int)? {
        pending.withUnsafeBufferPointer { bytes in
            var index = from
            while index < bytes.count {
                let byte = bytes[index]
                guard byte == 0x0A || byte == 0x0D else {
                    index += 1
                    continue
                }
                let second = Self.lineEnd(bytes, at: index)
                // CR at the very end may be the first half of CRLF: wait for the next read.
                guard let second else { return nil }
                if second < bytes.count, bytes[second] == 0x0A || bytes[second] == 0x0D {
                    guard let next = Self.lineEnd(bytes, at: second) else { return nil }
                    return (index, next)
                }
                if index == 0 || (index == from && from > 0 && Self.isLineStart(bytes, index)) {
                    return (index, second)
                }
                index = second
            }
            return nil
        }
    }

    /// Whether the line that ends at `index` is empty because another line ended right before it.
    private static func isLineStart(_ bytes: UnsafeBufferPointer<UInt8>, _ index: Int) -> Bool {
        bytes[index - 1] == 0x0A || (bytes[index - 1] == 0x0D && bytes[index] != 0x0A)
    }

    /// Index after the line terminator at `index`; nil when a lone CR stands at the end of what is known.
    private static func lineEnd(_ bytes: UnsafeBufferPointer<UInt8>, at index: Int) -> Int? {
        if bytes[index] == 0x0A { return index + 1 }
        if index + 1 < bytes.count { return bytes[index + 1] == 0x0A ? index + 2 : index + 1 }
        return nil
    }
}
