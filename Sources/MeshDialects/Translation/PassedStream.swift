package import MeshModel
import MeshWire

/// A stream of another API than chat that passes from whoever offers that API, as programs hold it to: events in order, each with
/// its name, and an end that is told. What has all of it passes as it came.
package protocol PassedStream: Sendable {
    /// The events with what they lack, and without what is too much; nil where they go out as they are.
    /// - Parameter events: whole ones, or a piece of a long one.
    mutating func mended(_ events: UnsafeRawBufferPointer) -> [UInt8]?
    /// What came cannot be passed on, and nothing may follow.
    var failure: MeshError? { get }
    /// The stream has ended, and its backend says that it was whole.
    /// - Returns: nil where it has told its end.
    func flaw() -> MeshError?
    /// The last event of a stream that breaks off.
    mutating func failureEvent(_ error: MeshError, requestID: String?) -> [UInt8]
    /// What shows that a quiet stream lives.
    mutating func keepAlive() -> [UInt8]
}

/// What of an event is read: its name, and its one document.
struct PassedEvent {
    /// Nil where it has none.
    var name: [UInt8]?
    var fields: [JSONField]
    var type: String
    let document: UnsafeRawBufferPointer
    /// Where the document stands in the event.
    let range: Range<Int>

    enum Reading {
        case event(PassedEvent)
        /// Comments, or nothing.
        case nothing
        /// Nothing that a program would read.
        case junk
        /// Half a document.
        case broken
    }

    static func read(_ event: UnsafeRawBufferPointer) -> Reading {
        var name: [UInt8]?
        var data: Range<Int>?
        var start = 0
        while start < event.count {
            var end = start
            while end < event.count, event[end] != 0x0A { end += 1 }
            let line = UnsafeRawBufferPointer(rebasing: event[start..<end])
            if line.starts(with: "data:".utf8) {
                // What stands in several lines was no document of one of these APIs.
                guard data == nil else { return .broken }
                data = (line.count > 5 && line[5] == 0x20 ? start + 6 : start + 5)..<end
            } else if line.starts(with: "event:".utf8) {
                name = Array(line.dropFirst(6).drop { $0 == 0x20 })
            }
            start = end + 1
        }
        // A name without a document is nothing that happened.
        guard let data else { return name == nil ? .nothing : .junk }
        let document = UnsafeRawBufferPointer(rebasing: event[data])
        guard let fields = try? JSONScanner.fields(of: document) else {
            return document.first == UInt8(ascii: "{") ? .broken : .junk
        }
        guard let type = fields.string("type", in: document) else { return .junk }
        return .event(PassedEvent(name: name, fields: fields, type: type, document: document, range: data))
    }

    /// Whether it is called what it is.
    var isNamed: Bool { name?.elementsEqual(type.utf8) ?? false }

    /// The event with changes in its document.
    func event(_ edits: [TextEdit]) -> [UInt8] { EventText.event(type, TextEdit.apply(edits, to: document)) }

    /// A member more, in front of the others.
    func adding(_ text: String) -> TextEdit {
        let start = fields.first?.name.range.lowerBound ?? 0
        return TextEdit(range: start..<start, text: Array((text + ",").utf8))
    }

    func object(_ member: StaticString) -> (slice: JSONSlice, fields: [JSONField])? {
        guard let slice = fields.value(member, in: document), slice.kind == .object,
            let members = try? JSONScanner.fields(of: document, in: slice.range)
        else { return nil }
        return (slice, members)
    }
}

/// A stream that passes, event by event.
protocol PassedEventTaker {
    var failure: MeshError? { get set }
    /// Whether its end was told: nothing follows.
    var isOver: Bool { get }
    /// Nil where it goes out as it is.
    mutating func take(_ event: PassedEvent) -> [UInt8]?
}

extension PassedEventTaker {
    /// Nil where it goes out as it is.
    mutating func mended(event: UnsafeRawBufferPointer) -> [UInt8]? {
        guard failure == nil, !isOver else { return [] }
        switch PassedEvent.read(event) {
        case .nothing: return nil
        case .junk: return []
        case .broken: return fail(AnswerFailure.unreadable())
        case .event(let read): return take(read)
        }
    }

    mutating func fail(_ error: MeshError) -> [UInt8] {
        failure = failure ?? error
        return []
    }
}

/// Cuts what comes into events; the pieces of one that is too long to come in one pass unread.
struct PassedEvents: Sendable {
    private var passing = PassingEvent()

    /// - Parameter mend: of a whole event; nil where it goes out as it is.
    mutating func mended(
        _ events: UnsafeRawBufferPointer, _ mend: (UnsafeRawBufferPointer) -> [UInt8]?
    ) -> [UInt8]? {
        var output: [UInt8] = []
        var copied = 0
        var position = passing.pass(events, from: 0)
        while position < events.count {
            var end = position + 1
            while end < events.count, events[end] != 0x0A || events[end - 1] != 0x0A { end += 1 }
            end = min(end + 1, events.count)
            let event = UnsafeRawBufferPointer(rebasing: events[position..<end])
            if event.last != 0x0A
                || event.count > 1 && event[event.count - 2] != 0x0A && event.first != UInt8(ascii: ":")
            {
                passing.begin(event)
            } else if let changed = mend(event) {
                output += events[copied..<position]
                output += changed
                copied = end
            }
            position = end
        }
        return copied == 0 && output.isEmpty ? nil : output + events[copied...]
    }
}
