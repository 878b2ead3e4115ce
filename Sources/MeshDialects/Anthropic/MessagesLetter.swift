package import MeshModel
import MeshWire

/// A stream of Messages that passes, to the letter of what its programs take: one beginning; blocks one behind the other, with
/// numbers that have no gaps and pieces of their own type only; why it ended, and that it did. Blocks that a worker mixes go out one
/// after the other: the one that is open passes, and what comes of others waits (`Limits.translatedHeldBytes`).
package struct MessagesLetter: PassedStream, PassedEventTaker {
    private enum Phase: Hashable, Sendable {
        case before, inside
        /// It has said why it ended.
        case reasoned
        case over
    }

    private struct Block: Sendable {
        /// As the worker numbers it.
        var said: Int64
        /// Of the content block: text, thinking, tool_use and others.
        var kind: String
    }

    /// A block that waits until the one before it ends.
    private struct Waiting: Sendable {
        var block: Block
        var events: [[UInt8]]
        var hasEnded = false
    }

    private var events = PassedEvents()
    private var phase = Phase.before
    private var open: Block?
    /// Blocks that have begun so far.
    private var begun: Int64 = 0
    /// Their numbers as the worker says them.
    private var seen: [Int64] = []
    private var waiting: [Waiting] = []
    private var waitingBytes = 0
    private var hasCalls = false
    package internal(set) var failure: MeshError?

    package init() {}

    package mutating func mended(_ bytes: UnsafeRawBufferPointer) -> [UInt8]? {
        var walk = events
        defer { events = walk }
        return walk.mended(bytes) { mended(event: $0) }
    }

    package func flaw() -> MeshError? { phase == .over ? nil : PassedFault.unfinished }

    package mutating func failureEvent(_ error: MeshError, requestID: String?) -> [UInt8] {
        guard phase != .over else { return [] }
        phase = .over
        return Dialect.messages.failureEvent(error, requestID: requestID)
    }

    package mutating func keepAlive() -> [UInt8] { Dialect.messages.keepAlive(after: []) }

    // MARK: Events

    var isOver: Bool { phase == .over }

    mutating func take(_ event: PassedEvent) -> [UInt8]? {
        let asItIs: [UInt8]? = event.isNamed ? nil : event.event([])
        switch event.type {
        case "ping": return asItIs
        case "message_start": return start(event, asItIs)
        case _ where phase == .before: return fail(PassedFault.headless)
        case "content_block_start": return begin(event, asItIs)
        case "content_block_delta": return goOn(event, asItIs)
        case "content_block_stop": return stop(event, asItIs)
        case "message_delta": return reason(event, asItIs)
        case "message_stop":
            let before = endAll() + (phase == .reasoned ? [] : ownReason)
            phase = .over
            return before.isEmpty ? asItIs : before + event.event([])
        default: return asItIs
        }
    }

    private mutating func start(_ event: PassedEvent, _ asItIs: [UInt8]?) -> [UInt8]? {
        guard phase == .before else { return [] }
        guard let message = event.object("message") else { return fail(AnswerFailure.unreadable()) }
        phase = .inside
        let edits = event.counting("input_tokens", message.fields)
        return edits.isEmpty ? asItIs : event.event(edits)
    }

    private static func index(_ event: PassedEvent) -> (slice: JSONSlice, said: Int64)? {
        guard let slice = event.fields.value("index", in: event.document),
            let said = event.fields.integer("index", in: event.document)
        else { return nil }
        return (slice, said)
    }

    /// The event under the number of the block that is open.
    private func numbered(_ event: PassedEvent) -> [UInt8]? {
        guard let index = Self.index(event) else { return event.event([event.adding("\"index\":\(begun - 1)")]) }
        let number = begun - 1
        if index.said == number { return event.isNamed ? nil : event.event([]) }
        return event.event([TextEdit(range: index.slice.range, text: Array(String(number).utf8))])
    }

    // MARK: Blocks

    private mutating func begin(_ event: PassedEvent, _ asItIs: [UInt8]?) -> [UInt8]? {
        guard let block = event.object("content_block"),
            let kind = block.fields.string("type", in: event.document)
        else { return fail(AnswerFailure.unreadable()) }
        let begins = Block(said: Self.index(event)?.said ?? begun, kind: kind)
        if open?.said == begins.said || waiting.contains(where: { $0.block.said == begins.said && !$0.hasEnded }) {
            return []
        }
        guard open == nil else {
            waiting.append(Waiting(block: begins, events: []))
            return wait(event, at: waiting.count - 1)
        }
        return opened(begins, event)
    }

    private mutating func opened(_ block: Block, _ event: PassedEvent) -> [UInt8]? {
        guard become(block) else { return [] }
        return numbered(event)
    }

    /// - Returns: whether there may be one more.
    private mutating func become(_ block: Block) -> Bool {
        guard seen.count < Limits.translatedTurns else {
            _ = fail(AnswerFailure.unreadable())
            return false
        }
        open = block
        begun += 1
        seen.append(block.said)
        hasCalls = hasCalls || block.kind == "tool_use"
        return true
    }

    private mutating func wait(_ event: PassedEvent, at place: Int) -> [UInt8] {
        let bytes = Array(event.document)
        waitingBytes += bytes.count
        guard waitingBytes <= Limits.translatedHeldBytes, waiting.count <= Limits.translatedCalls else {
            return fail(MeshError(.workerBadAnswer, "the worker's blocks are too long to be told one after the other"))
        }
        waiting[place].events.append(bytes)
        return []
    }

    private mutating func goOn(_ event: PassedEvent, _ asItIs: [UInt8]?) -> [UInt8]? {
        guard let delta = event.object("delta"), let type = delta.fields.string("type", in: event.document) else {
            return fail(AnswerFailure.unreadable())
        }
        let said = Self.index(event)?.said ?? open?.said ?? begun
        if let place = waiting.firstIndex(where: { $0.block.said == said && !$0.hasEnded }) {
            return wait(event, at: place)
        }
        if let open, open.said == said, Self.fits(type, open.kind) { return numbered(event) }
        // Words of a block that nobody began, or of another type than its block: they get one of their own.
        guard let shape = Self.shape(of: type), open?.said == said || !seen.contains(said) else {
            return fail(PassedFault.disorder)
        }
        let before = close()
        guard become(Block(said: said, kind: shape.kind)) else { return before }
        let start = #"{"type":"content_block_start","index":\#(begun - 1),"content_block":\#(shape.block)}"#
        return before + EventText.event("content_block_start", Array(start.utf8)) + (numbered(event) ?? event.event([]))
    }

    /// Whether a piece is of the type of its block. Of kinds of blocks that this node does not know it may be any.
    private static func fits(_ delta: String, _ kind: String) -> Bool {
        switch kind {
        case "text": delta == "text_delta" || delta == "citations_delta"
        case "thinking": delta == "thinking_delta" || delta == "signature_delta"
        case "tool_use": delta == "input_json_delta"
        default: true
        }
    }

    private static func shape(of delta: String) -> (kind: String, block: String)? {
        switch delta {
        case "text_delta": ("text", #"{"type":"text","text":""}"#)
        case "thinking_delta": ("thinking", #"{"type":"thinking","thinking":"","signature":""}"#)
        default: nil
        }
    }

    private mutating func stop(_ event: PassedEvent, _ asItIs: [UInt8]?) -> [UInt8]? {
        let said = Self.index(event)?.said ?? open?.said
        if let place = waiting.firstIndex(where: { $0.block.said == said && !$0.hasEnded }) {
            waiting[place].hasEnded = true
            return []
        }
        guard let open, open.said == said else { return [] }
        let number = numbered(event)
        self.open = nil
        let next = tellWaiting()
        if next.isEmpty { return number }
        return (number ?? event.event([])) + next
    }

    private mutating func close() -> [UInt8] {
        guard open != nil else { return [] }
        open = nil
        let stop = #"{"type":"content_block_stop","index":\#(begun - 1)}"#
        return EventText.event("content_block_stop", Array(stop.utf8))
    }

    /// The blocks that waited, up to one that goes on.
    private mutating func tellWaiting() -> [UInt8] {
        var output: [UInt8] = []
        while open == nil, !waiting.isEmpty, failure == nil {
            let next = waiting.removeFirst()
            for document in next.events {
                waitingBytes -= document.count
                output += document.withUnsafeBytes { bytes -> [UInt8] in
                    guard let fields = try? JSONScanner.fields(of: bytes),
                        let type = fields.string("type", in: bytes)
                    else { return [] }
                    let event = PassedEvent(fields: fields, type: type, document: bytes, range: 0..<bytes.count)
                    let told = type == "content_block_start" ? opened(next.block, event) : goOn(event, nil)
                    return told ?? event.event([])
                }
            }
            if next.hasEnded { output += close() }
        }
        return output
    }

    private mutating func endAll() -> [UInt8] {
        var output: [UInt8] = []
        repeat { output += close() + tellWaiting() } while open != nil && failure == nil
        return output
    }

    // MARK: The end

    private var ownReason: [UInt8] {
        let reason = hasCalls ? "tool_use" : "end_turn"
        let delta =
            #"{"type":"message_delta","delta":{"stop_reason":"\#(reason)","stop_sequence":null},"usage":{"output_tokens":0}}"#
        return EventText.event("message_delta", Array(delta.utf8))
    }

    private mutating func reason(_ event: PassedEvent, _ asItIs: [UInt8]?) -> [UInt8]? {
        let before = endAll()
        if let delta = event.object("delta"), delta.fields.string("stop_reason", in: event.document) != nil {
            phase = .reasoned
        }
        let edits = event.counting("output_tokens", event.fields)
        if before.isEmpty, edits.isEmpty { return asItIs }
        return before + event.event(edits)
    }
}

extension PassedEvent {
    /// Programs add to these numbers: what the `usage` of an object lacks of them.
    fileprivate func counting(_ member: StaticString, _ fields: [JSONField]) -> [TextEdit] {
        let usage = "{\"\(member)\":0}"
        guard let slot = fields.value("usage", in: document) else {
            guard let first = fields.first?.name.range.lowerBound else { return [] }
            return [TextEdit(range: first..<first, text: Array("\"usage\":\(usage),".utf8))]
        }
        guard slot.kind == .object, let members = try? JSONScanner.fields(of: document, in: slot.range) else {
            return [TextEdit(range: slot.range, text: Array(usage.utf8))]
        }
        if members.integer(member, in: document) != nil { return [] }
        if let number = members.value(member, in: document) {
            return [TextEdit(range: number.range, text: Array("0".utf8))]
        }
        return [.insertion("\"\(member)\":0", into: slot, isEmpty: members.isEmpty)]
    }
}

/// Why a stream that passes cannot go on.
enum PassedFault {
    static let unfinished = MeshError(
        .streamInterrupted, "the worker's stream ended before it said that the answer is complete")
    static let headless = MeshError(.workerBadAnswer, "the worker's stream does not begin as one of this API does")
    static let disorder = MeshError(
        .workerBadAnswer, "the worker's stream tells of parts of the answer that had not begun")
}
