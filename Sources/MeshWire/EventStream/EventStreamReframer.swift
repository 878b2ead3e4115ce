import MeshModel

/// Cuts a byte stream into server-sent events (WHATWG HTML, section 9.2): raw reads of a worker hold half an
/// event, several, or a split character, and nothing may be decided before an event is whole.
///
/// Events come out without their terminating blank line, and as soon as it is there: a CR ends a line whether or not an
/// LF follows it. Lines may end in LF, CRLF or CR; a byte order mark in front of the stream is dropped.
package struct EventStreamReframer: Sendable {
    /// What stands behind the last blank line when the stream has ended.
    package struct Rest: Hashable, Sendable {
        package var event: [UInt8]
        /// Whether its last line had an end: only then is the line known to be whole.
        package var endsLine: Bool
    }

    private var pending: [UInt8] = []
    /// How much of `pending` was looked at.
    private var searched = 0
    /// Where the last line of `pending` that is not empty ends.
    private var contentEnd = 0
    /// Whether nothing stands behind the last line end.
    private var isAtLineStart = true
    /// Whether an LF that comes now belongs to the CR before it.
    private var endsCR = false
    /// Whether no byte of the stream but those of a byte order mark has come.
    private var isAtStart = true

    private let eventBytes: Int

    /// - Parameter eventBytes: the longest event. A stream that lies in memory as a whole anyway may have longer ones.
    package init(eventBytes: Int = Limits.eventBytes) { self.eventBytes = eventBytes }

    /// Bytes of an event that is not whole.
    package var held: Int { pending.count }
    /// Whether nothing of an event is held.
    package var isEmpty: Bool { pending.isEmpty }

    /// What is held when it is no longer than `count`: an end marker whose blank line may never come.
    package func held(upTo count: Int) -> [UInt8]? { pending.isEmpty || pending.count > count ? nil : pending }

    package enum Overflow: Error, Hashable, Sendable {
        case eventTooLarge
        case tooManyEvents
    }

    /// Adds a read and returns the events it completes, in order. What is held, and each event, is bounded by
    /// `eventBytes`, their number by `Limits.eventsPerRead`.
    package mutating func append(_ bytes: [UInt8]) throws(Overflow) -> [[UInt8]] {
        if pending.isEmpty { pending = bytes } else { pending += bytes }
        if isAtStart, !passMark() { return [] }
        var events: [[UInt8]] = []
        var start = 0
        var index = searched
        while index < pending.count {
            if !endsCR {
                // Most of a stream is the inside of its lines.
                let lineEnd = Self.lineEnd(in: pending, from: index)
                if lineEnd > index { isAtLineStart = false }
                index = lineEnd
                guard index < pending.count else { break }
            }
            let byte = pending[index]
            index += 1
            if byte == 0x0A, endsCR {
                endsCR = false
                if start == index - 1 { start = index }
                continue
            }
            endsCR = byte == 0x0D
            guard byte == 0x0A || byte == 0x0D else {
                isAtLineStart = false
                continue
            }
            guard isAtLineStart else {
                isAtLineStart = true
                contentEnd = index - 1
                continue
            }
            if start < index - 1 {
                guard contentEnd - start <= eventBytes else { throw .eventTooLarge }
                guard events.count < Limits.eventsPerRead else { throw .tooManyEvents }
                events.append(Array(pending[start..<contentEnd]))
            }
            start = index
        }
        if start > 0 { pending.removeFirst(start) }
        searched = pending.count
        contentEnd = max(contentEnd - start, 0)
        guard (isAtLineStart ? contentEnd : pending.count) <= eventBytes else { throw .eventTooLarge }
        return events
    }

    /// What is left at the end of the stream: an event whose blank line never came.
    package mutating func finish() -> Rest? {
        let rest = isAtLineStart ? Array(pending.prefix(contentEnd)) : pending
        let endsLine = isAtLineStart
        self = EventStreamReframer(eventBytes: eventBytes)
        return rest.isEmpty ? nil : Rest(event: rest, endsLine: endsLine)
    }

    private static func lineEnd(in bytes: [UInt8], from start: Int) -> Int {
        bytes.withUnsafeBytes { $0.firstIndex(of: 0x0A, or: 0x0D, from: start, to: $0.count) }
    }

    private static let mark: [UInt8] = [0xEF, 0xBB, 0xBF]

    /// Drops the byte order mark.
    /// - Returns: false while it may still be on its way.
    private mutating func passMark() -> Bool {
        if pending.count < Self.mark.count, Self.mark.starts(with: pending) { return false }
        isAtStart = false
        if pending.starts(with: Self.mark) { pending.removeFirst(Self.mark.count) }
        return true
    }
}
