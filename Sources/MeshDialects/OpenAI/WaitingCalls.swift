import MeshModel
import MeshWire

/// Events that wait because the name of a call in them may go on.
struct WaitingCalls: Sendable {
    private struct Event: Sendable {
        var head: [UInt8] = []
        /// A chunk; nil where the event goes out as it stands in `head`.
        var document: [UInt8]?
        var tail: [UInt8] = []
    }

    private var events: [Event] = []
    private(set) var heldBytes = 0

    var isEmpty: Bool { events.isEmpty }

    /// - Parameter events: whole ones, with nothing in them that waits.
    mutating func add(_ events: [UInt8]) {
        guard !events.isEmpty else { return }
        heldBytes += events.count
        self.events.append(Event(head: events))
    }

    /// - Parameters:
    ///   - head: what stands in its event before the chunk.
    ///   - tail: what stands behind it.
    mutating func add(_ chunk: [UInt8], head: [UInt8], tail: [UInt8]) {
        heldBytes += head.count + chunk.count + tail.count
        events.append(Event(head: head, document: chunk, tail: tail))
    }

    /// All of them, each call with its whole name where it begins.
    mutating func take(naming calls: ChatCalls) -> [UInt8] {
        defer { self = WaitingCalls() }
        return events.flatMap { $0.head + ($0.document.map(calls.named) ?? []) + $0.tail }
    }
}
