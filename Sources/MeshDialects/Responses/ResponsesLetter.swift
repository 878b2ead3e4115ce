package import MeshModel
import MeshWire

/// A stream of Responses that passes, to the letter of what its programs take: a beginning; of each item that it begins, what comes
/// of it, and its end, all under one id; numbers that rise; and an end.
package struct ResponsesLetter: PassedStream, PassedEventTaker {
    private enum Phase: Hashable, Sendable {
        case before, inside, over
    }

    private struct Item: Sendable {
        /// As the worker numbers it.
        var said: Int64
        var id: String
        var type: String
        var callID: String?
        /// Parts of its content that have begun.
        var parts: Int64 = 0
        var isDone = false
    }

    private var events = PassedEvents()
    private var numbers = ResponsesNumbers()
    private var phase = Phase.before
    private var items: [Item] = []
    package internal(set) var failure: MeshError?

    private let mark: String

    package init(requestID: String) { mark = AnswerMark(requestID: requestID).text }

    package mutating func mended(_ bytes: UnsafeRawBufferPointer) -> [UInt8]? {
        var walk = events
        defer { events = walk }
        guard let mended = walk.mended(bytes, { mended(event: $0) }) else { return numbers.mended(bytes) }
        return mended.withUnsafeBytes { numbers.mended($0) } ?? mended
    }

    package func flaw() -> MeshError? { phase == .over ? nil : PassedFault.unfinished }

    package mutating func failureEvent(_ error: MeshError, requestID: String?) -> [UInt8] {
        guard phase != .over else { return [] }
        phase = .over
        return numbers.failure(error, requestID: requestID)
    }

    package mutating func keepAlive() -> [UInt8] { numbers.keepAlive() }

    // MARK: Events

    var isOver: Bool { phase == .over }

    mutating func take(_ event: PassedEvent) -> [UInt8]? {
        // Programs of this API go by the document, whatever it is called.
        switch event.type {
        case "keepalive": return nil
        case "response.created":
            guard phase == .before else { return [] }
            phase = .inside
            noteItems(event)
            return event.object("response") == nil ? event.event([event.adding("\"response\":\(own)")]) : nil
        case "response.failed": return end(event)
        case _ where phase == .before:
            let created = begin(event)
            return created + (take(event) ?? event.event([]))
        case "response.completed", "response.incomplete": return end(event)
        case "response.output_item.added": return add(event)
        case "response.output_item.done": return finish(event)
        default: return event.fields.value("output_index", in: event.document) == nil ? nil : goOn(event)
        }
    }

    /// What is known of a response of which its worker says nothing.
    private var own: String {
        #"{"id":"resp_\#(mark)","object":"response","created_at":0,"status":"in_progress","model":"","output":[]}"#
    }

    /// Whoever does not say that the response was created says later what it is, or never.
    private mutating func begin(_ event: PassedEvent) -> [UInt8] {
        phase = .inside
        var said = Array(own.utf8)
        if event.type == "response.in_progress" || event.type == "response.queued",
            let response = event.object("response")
        {
            said = Array(event.document[response.slice.range])
            noteItems(event)
        }
        let created = Array(#"{"type":"response.created","response":"#.utf8) + said + Array("}".utf8)
        return EventText.event("response.created", created)
    }

    /// The items of a response that has some at its beginning: programs have them from there.
    private mutating func noteItems(_ event: PassedEvent) {
        for slice in event.object("response").map({ Self.output($0.fields, event) }) ?? [] {
            guard let fields = try? JSONScanner.fields(of: event.document, in: slice.range) else { continue }
            let number = Int64(items.count)
            let id = fields.string("id", in: event.document) ?? ""
            var item = Item(said: number, id: id, type: fields.string("type", in: event.document) ?? "")
            item.isDone = true
            items.append(item)
        }
    }

    private static func output(_ response: [JSONField], _ event: PassedEvent) -> [JSONSlice] {
        guard let output = response.value("output", in: event.document), output.kind == .array else { return [] }
        return (try? JSONScanner.elements(of: event.document, in: output.range, limit: Limits.translatedTurns)) ?? []
    }

    private mutating func end(_ event: PassedEvent) -> [UInt8]? {
        guard let response = event.object("response") else { return fail(AnswerFailure.unreadable()) }
        let isFailed = event.type == "response.failed"
        let before = isFailed ? [] : endItems(response.fields, event)
        guard failure == nil else { return before }
        phase = .over
        return before.isEmpty ? nil : before + event.event([])
    }

    /// Programs go by the end of each item: who tells an item only in the whole response has not told it.
    private mutating func endItems(_ response: [JSONField], _ event: PassedEvent) -> [UInt8] {
        var output: [UInt8] = []
        for (number, item) in Self.output(response, event).enumerated()
        where number >= items.count || !items[number].isDone {
            let said = number < items.count ? items[number].said : Int64(number)
            let head = #"{"type":"response.output_item.done","output_index":\#(said),"item":"#
            let done = Array(head.utf8) + event.document[item.range] + Array("}".utf8)
            output += done.withUnsafeBytes { bytes -> [UInt8] in
                guard let fields = try? JSONScanner.fields(of: bytes) else { return [] }
                let event = PassedEvent(
                    fields: fields, type: "response.output_item.done", document: bytes, range: 0..<bytes.count)
                return finish(event) ?? event.event([])
            }
        }
        return items.allSatisfy(\.isDone) ? output : fail(PassedFault.disorder)
    }

    // MARK: Items

    private static func item(_ event: PassedEvent) -> (slice: JSONSlice, fields: [JSONField], type: String)? {
        guard let item = event.object("item"), let type = item.fields.string("type", in: event.document) else {
            return nil
        }
        return (item.slice, item.fields, type)
    }

    private func number(_ event: PassedEvent) -> Int? {
        let said = event.fields.integer("output_index", in: event.document)
        return items.lastIndex { $0.said == said }
    }

    /// - Parameter said: how the worker numbers it, where that does not stand in the event.
    private mutating func add(_ event: PassedEvent, said: Int64? = nil) -> [UInt8]? {
        guard let item = Self.item(event) else { return fail(AnswerFailure.unreadable()) }
        let number = Int64(items.count)
        let place = said ?? event.fields.integer("output_index", in: event.document) ?? number
        guard !items.contains(where: { $0.said == place }) else { return [] }
        guard items.count < Limits.translatedTurns else { return fail(AnswerFailure.unreadable()) }
        let name = item.fields.string("id", in: event.document) ?? ""
        let isOwn = name.isEmpty || items.contains { $0.id == name }
        var added = Item(said: place, id: isOwn ? "item_\(items.count)" : name, type: item.type)
        added.callID = item.fields.string("call_id", in: event.document)
        if added.callID?.isEmpty ?? true {
            // What the buyer answers is named by it.
            let isAnswered = ["function_call", "custom_tool_call"].contains(item.type)
            added.callID = isAnswered ? "call_\(items.count)" : nil
        }
        items.append(added)
        let edits = edits(event, named(added, item.slice, item.fields, event), to: number)
        return edits.isEmpty ? nil : event.event(edits)
    }

    private func named(
        _ item: Item, _ slice: JSONSlice, _ fields: [JSONField], _ event: PassedEvent
    ) -> [TextEdit] {
        let names: [(name: StaticString, value: String?)] = [("id", item.id), ("call_id", item.callID)]
        return names.compactMap { name, value in
            guard let value, fields.string(name, in: event.document) != value else { return nil }
            if let slot = fields.value(name, in: event.document) {
                return TextEdit(range: slot.range, text: JSONText.quoted(value))
            }
            return .insertion("\"\(name)\":\"\(value)\"", into: slice, isEmpty: fields.isEmpty)
        }
    }

    /// And the number under which the item was told: they have no gaps.
    private func edits(_ event: PassedEvent, _ edits: [TextEdit], to number: Int64) -> [TextEdit] {
        edits + Self.edit("output_index", event.fields.integer("output_index", in: event.document), number, event)
    }

    private mutating func finish(_ event: PassedEvent) -> [UInt8]? {
        guard let item = Self.item(event) else { return fail(AnswerFailure.unreadable()) }
        guard let said = event.fields.integer("output_index", in: event.document) else {
            return fail(AnswerFailure.unreadable())
        }
        guard let number = number(event) else {
            // Its end is all that came of it.
            let head = #"{"type":"response.output_item.added","output_index":\#(items.count),"item":"#
            let begins = Array(head.utf8) + event.document[item.slice.range] + Array("}".utf8)
            let before = begins.withUnsafeBytes { bytes -> [UInt8] in
                guard let fields = try? JSONScanner.fields(of: bytes) else { return [] }
                let event = PassedEvent(
                    fields: fields, type: "response.output_item.added", document: bytes, range: 0..<bytes.count)
                return add(event, said: said) ?? event.event([])
            }
            return failure == nil ? before + (finish(event) ?? event.event([])) : before
        }
        guard !items[number].isDone else { return [] }
        guard items[number].type == item.type else { return fail(PassedFault.disorder) }
        items[number].isDone = true
        let names = named(items[number], item.slice, item.fields, event)
        let changes = edits(event, names, to: Int64(number))
        return changes.isEmpty ? nil : event.event(changes)
    }

    private func begunPart(_ number: Int) -> [UInt8] {
        let added =
            #"{"type":"response.content_part.added","item_id":"\#(items[number].id)","output_index":\#(number),"content_index":\#(items[number].parts - 1),"part":{"type":"output_text","text":"","annotations":[],"logprobs":[]}}"#
        return EventText.event("response.content_part.added", Array(added.utf8))
    }

    private static func edit(
        _ name: StaticString, _ said: Int64?, _ number: Int64, _ event: PassedEvent
    ) -> [TextEdit] {
        if said == number { return [] }
        if let slot = event.fields.value(name, in: event.document) {
            return [TextEdit(range: slot.range, text: Array(String(number).utf8))]
        }
        return [event.adding("\"\(name)\":\(number)")]
    }

    /// Something of an item.
    private mutating func goOn(_ event: PassedEvent) -> [UInt8]? {
        guard let number = number(event) else { return fail(PassedFault.disorder) }
        // Behind its end it is what came before once more.
        guard !items[number].isDone else { return [] }
        var before: [UInt8] = []
        var changes: [TextEdit] = []
        if ["response.content_part", "response.output_text", "response.refusal"].contains(where: event.type.hasPrefix) {
            let said = event.fields.integer("content_index", in: event.document)
            let part = items[number].parts
            if event.type == "response.content_part.added" {
                if let said, said < part { return [] }
                items[number].parts += 1
                changes += Self.edit("content_index", said, part, event)
            } else if part == 0 || said == part, event.type == "response.output_text.delta" {
                items[number].parts += 1
                before = begunPart(number)
                changes += Self.edit("content_index", said, part, event)
            } else if said ?? part >= part {
                changes += Self.edit("content_index", said, max(part - 1, 0), event)
            }
        }
        if event.fields.string("item_id", in: event.document) != items[number].id {
            if let slot = event.fields.value("item_id", in: event.document) {
                changes.append(TextEdit(range: slot.range, text: JSONText.quoted(items[number].id)))
            } else {
                changes.append(event.adding("\"item_id\":\"\(items[number].id)\""))
            }
        }
        changes = edits(event, changes, to: Int64(number))
        if before.isEmpty, changes.isEmpty { return nil }
        return before + event.event(changes)
    }
}
