package import MeshModel
import MeshWire

/// What programs hold a stream of completions to, whatever the worker sends: who speaks, in the first piece and nowhere else; of
/// each tool call its number, its id, its type and its name, which never change; one reason to finish for each choice, behind all
/// that it says; and what was used behind that. What has all of it passes as it came: it is searched for names and not read.
///
/// A reason to finish is held until its choice goes on or the stream ends: some workers tell one with every call, and some go on
/// behind it. So is the beginning of a call until its arguments begin: some send its name in pieces.
package struct ChatLetter: Sendable {
    /// What the choices are made of.
    package enum Form: Hashable, Sendable {
        case chat(hasTools: Bool)
        /// Of the older API, whose choices are nothing but text.
        case text
    }

    /// An event that says why its choice finished.
    private struct Finish: Sendable {
        var choice: Int64
        /// As it stands in JSON.
        var reason: [UInt8]
        var event: [UInt8]
        /// The same without the reason; nil where nothing else stands in it.
        var unfinished: [UInt8]?
    }

    /// One choice of a chunk.
    struct Choice {
        var index: Int64
        /// Why it finished, where it says so.
        var reason: JSONSlice?
        /// Whether it says something beside that.
        var says = false
        /// Whether that is calls and nothing else.
        var onlyCalls = false
    }

    /// What becomes of an event.
    private struct Change {
        /// Events in front of it.
        var before: [UInt8] = []
        /// Nil where it is left out.
        var document: [UInt8]?
        /// Whether it waits for what comes behind it.
        var waits = false

        var isNothing: Bool { before.isEmpty && document == nil }
    }

    let form: Form
    let choices: Int
    /// Choices that have spoken, and those whose reason to finish was told.
    var spoken: [Int64] = []
    private var finished: [Int64] = []
    var calls = ChatCalls()
    /// What waits for the names of the calls in it.
    private var waiting = WaitingCalls()
    private var held: Finish?
    /// Reasons of choices that were followed by others.
    private var reasons: [Finish] = []
    /// What was used: an event that stands behind the last reason.
    private var usage: [UInt8] = []
    /// How the chunks call their answer, as it stands in one.
    private var marks: [UInt8] = []
    private var hasEnded = false
    private var passing = PassingEvent()
    /// Whether an event has passed unread: it may have said anything.
    private var hasPassed = false
    /// What came cannot be read, and nothing may follow.
    package private(set) var failure: MeshError?

    /// - Parameter choices: how many are asked for.
    package init(_ form: Form, choices: Int = 1) {
        self.form = form
        self.choices = min(max(choices, 1), Limits.translatedCalls)
    }

    /// - Parameter hasTools: whether the request gives any.
    package init(hasTools: Bool, choices: Int = 1) { self.init(.chat(hasTools: hasTools), choices: choices) }

    /// Whether nothing can be lacking any more before the end.
    package var isDone: Bool { spoken.count >= choices && !hasTools }

    var hasTools: Bool { form == .chat(hasTools: true) }

    /// The events with what they lack, and without what is too much; nil where they go out as they are.
    /// - Parameter events: whole ones, or a piece of a long one.
    package mutating func mended(_ events: UnsafeRawBufferPointer) -> [UInt8]? {
        var output: [UInt8] = []
        var isChanged = false
        var position = passing.pass(events, from: 0)
        while position < events.count, failure == nil {
            // Nearly all are in order, and are looked at once.
            if let (search, end) = ChatSearch.ofEvent(events, from: position), !needsReading(search) {
                if isChanged { output += UnsafeRawBufferPointer(rebasing: events[position..<end]) }
                position = end
                continue
            }
            let end = Self.end(ofEventIn: events, from: position)
            let event = UnsafeRawBufferPointer(rebasing: events[position..<end])
            if !Self.isWhole(event) {
                let begun = release()
                if !begun.isEmpty, !isChanged { output += events[..<position] }
                isChanged = isChanged || !begun.isEmpty
                output += begun
                if isChanged { output += event }
                passing.begin(event)
                hasPassed = true
            } else if let changed = mended(event: event) {
                if !isChanged {
                    isChanged = true
                    output.reserveCapacity(events.count + 256)
                    output += events[..<position]
                }
                output += changed
            } else if isChanged {
                output += event
            }
            position = end
        }
        return isChanged ? output : nil
    }

    /// The stream is whole: what was held of it, and a reason for each choice that never said why it finished.
    package mutating func end() -> [UInt8] {
        var output = release()
        for choice in spoken where !finished.contains(choice) && !hasPassed {
            finished.append(choice)
            output += finish(of: choice, Array((calls.has(choice) ? #""tool_calls""# : #""stop""#).utf8))
        }
        defer { usage = [] }
        return output + usage
    }

    /// An event that says why a choice finished, and nothing else.
    private func finish(of choice: Int64, _ reason: [UInt8]) -> [UInt8] {
        var chunk = Array("{\"object\":\"\(form.object)\",".utf8)
        chunk += marks
        let nothing = form == .text ? #""text":"""# : #""delta":{}"#
        chunk += #""choices":[{"index":\#(choice),\#(nothing),"finish_reason":"#.utf8
        chunk += reason
        chunk += "}]}".utf8
        return EventText.event(chunk)
    }

    /// The stream has broken off: what was held of it, for in front of the failure.
    package mutating func release() -> [UInt8] {
        let output = tellCalls() + reasons.flatMap(\.event) + (held?.event ?? [])
        finished += reasons.map(\.choice) + (held.map { [$0.choice] } ?? [])
        (reasons, held) = ([], nil)
        return output
    }

    /// Another choice goes on: what stands beside the reason that is held is told now.
    private mutating func postpone() -> [UInt8] {
        guard var finish = held else { return [] }
        held = nil
        let told = finish.unfinished ?? []
        let held = reasons.reduce(finish.event.count) { $0 + $1.event.count }
        if finish.unfinished != nil || held > Limits.translatedHeldBytes {
            finish.event = self.finish(of: finish.choice, finish.reason)
            finish.unfinished = nil
        }
        if reasons.count < Limits.translatedCalls { reasons.append(finish) }
        return told
    }

    /// The calls that waited, with their names.
    private mutating func tellCalls() -> [UInt8] {
        defer { calls.told() }
        return waiting.isEmpty ? [] : waiting.take(naming: calls)
    }

    // MARK: Events

    /// Whether a blank line ends it; comments need none.
    private static func isWhole(_ event: UnsafeRawBufferPointer) -> Bool {
        if event.last == UInt8(ascii: "}"), event.starts(with: "data:".utf8) {
            return (try? JSONScanner.value(of: UnsafeRawBufferPointer(rebasing: event[5...]))) != nil
        }
        guard event.last == 0x0A else { return false }
        return event.count > 1 && event[event.count - 2] == 0x0A || event.first == UInt8(ascii: ":")
    }

    private static func end(ofEventIn bytes: UnsafeRawBufferPointer, from start: Int) -> Int {
        var position = start + 1
        while position < bytes.count {
            if bytes[position] == 0x0A, bytes[position - 1] == 0x0A { return position + 1 }
            position += 1
        }
        return bytes.count
    }

    /// Nil where it goes out as it is.
    private mutating func mended(event: UnsafeRawBufferPointer) -> [UInt8]? {
        var data: Range<Int>?
        var start = 0
        while start < event.count {
            var end = start
            while end < event.count, event[end] != 0x0A { end += 1 }
            if end - start >= 5, UnsafeRawBufferPointer(rebasing: event[start..<end]).starts(with: "data:".utf8) {
                guard data == nil else { return mended(joining: event) }
                data = (end - start > 5 && event[start + 5] == 0x20 ? start + 6 : start + 5)..<end
            }
            start = end + 1
        }
        guard let data else { return nil }
        let document = UnsafeRawBufferPointer(rebasing: event[data])
        // A node that does not tell an end apart writes it into the stream.
        if document.elementsEqual("[DONE]".utf8) {
            defer { hasEnded = true }
            return hasEnded ? [] : end() + event
        }
        guard needsReading(ChatSearch(document)) else { return nil }
        let render: ([UInt8]) -> [UInt8] = { event[..<data.lowerBound] + $0 + event[data.upperBound...] }
        let change = change(document, render)
        if let change, change.waits {
            waiting.add(change.before)
            waiting.add(
                change.document ?? Array(document), head: Array(event[..<data.lowerBound]),
                tail: Array(event[data.upperBound...]))
            return waiting.heldBytes > Limits.translatedHeldBytes ? tellCalls() : []
        }
        // What is left out is nothing that a name could end before.
        let told = change?.isNothing ?? false ? [] : tellCalls()
        guard let change else { return told.isEmpty ? nil : told + event }
        return told + change.before + (change.document.map(render) ?? Self.comments(of: event))
    }

    private func needsReading(_ search: ChatSearch) -> Bool {
        spoken.count < choices || held != nil || !reasons.isEmpty || !finished.isEmpty || !waiting.isEmpty
            || !search.isOrdinary(of: form) || search.hasCalls && hasTools
    }

    /// Data in several lines are one document.
    private mutating func mended(joining event: UnsafeRawBufferPointer) -> [UInt8] {
        var data: [UInt8] = []
        var others: [UInt8] = []
        for line in event.split(separator: 0x0A) {
            if line.starts(with: "data:".utf8) {
                data += line.dropFirst(5)
                data.append(0x20)
            } else {
                others += line + [0x0A]
            }
        }
        let joined = others + Array("data:".utf8) + data + [0x0A, 0x0A]
        return joined.withUnsafeBytes { mended(event: $0) } ?? joined
    }

    private static func comments(of event: UnsafeRawBufferPointer) -> [UInt8] {
        event.split(separator: 0x0A).filter { $0.first == UInt8(ascii: ":") }.flatMap { $0 + [0x0A] }
    }

    // MARK: Chunks

    /// - Parameter render: a document as this event.
    private mutating func change(
        _ bytes: UnsafeRawBufferPointer, _ render: ([UInt8]) -> [UInt8]
    ) -> Change? {
        guard let fields = try? JSONScanner.fields(of: bytes) else { return changeOfOther(bytes) }
        let hasUsage = fields.value("usage", in: bytes)?.kind == .object
        var edits: [TextEdit] = []
        var elements: [JSONSlice] = []
        if let list = fields.value("choices", in: bytes), list.kind == .array {
            elements = (try? JSONScanner.elements(of: bytes, in: list.range, limit: Limits.translatedCalls)) ?? []
        } else {
            guard hasUsage || fields.string("object", in: bytes) == form.object,
                let first = fields.first?.name.range.lowerBound, fields.value("choices", in: bytes) == nil
            else { return nil }
            edits.append(TextEdit(range: first..<first, text: Array(#""choices":[],"#.utf8)))
        }
        if elements.isEmpty {
            let document = edits.isEmpty ? nil : TextEdit.apply(edits, to: bytes)
            guard hasUsage else { return document.map { Change(document: $0) } }
            usage = render(document ?? Array(bytes))
            return Change()
        }
        if marks.isEmpty { note(fields, bytes) }
        let told = elements.compactMap { read($0, fields, bytes, &edits) }
        guard told.count == 1 else { return change(told, edits, bytes) }
        let change = change(told[0], hasUsage: hasUsage, edits, bytes, render)
        guard told[0].onlyCalls, told[0].reason == nil, !hasUsage, calls.areNamesOpen(of: told[0].index) else {
            return change
        }
        var waiting = change ?? Change(document: Array(bytes))
        waiting.waits = true
        return waiting
    }

    /// What is no JSON object: half of one fails the stream, and a word that is no JSON shows only that the worker is at it.
    private mutating func changeOfOther(_ bytes: UnsafeRawBufferPointer) -> Change? {
        if bytes.first(where: { $0 != 0x20 }) == UInt8(ascii: "{") {
            failure = AnswerFailure.unreadable()
            return Change()
        }
        return bytes.count <= 64 && (try? JSONScanner.value(of: bytes)) == nil ? Change() : nil
    }

    private mutating func note(_ fields: [JSONField], _ bytes: UnsafeRawBufferPointer) {
        for name: StaticString in ["id", "created", "model"] {
            guard let value = fields.value(name, in: bytes), value.range.count <= Limits.generationIDBytes else {
                continue
            }
            marks += "\"\(name)\":".utf8
            marks += bytes[value.range]
            marks.append(UInt8(ascii: ","))
        }
    }

    private mutating func change(
        _ choice: Choice, hasUsage: Bool, _ edits: [TextEdit], _ bytes: UnsafeRawBufferPointer,
        _ render: ([UInt8]) -> [UInt8]
    ) -> Change? {
        var change = Change()
        let isHeld = held?.choice == choice.index
        let isFinished = isHeld || reasons.contains { $0.choice == choice.index }
        guard let reason = choice.reason else {
            if isFinished, !choice.says {
                // An empty piece behind the end is nothing, unless it tells what was used.
                if hasUsage { usage = render(TextEdit.apply(edits, to: bytes)) }
                return Change()
            }
            change.before = goOn(choice.index)
            if change.before.isEmpty, edits.isEmpty { return nil }
            change.document = TextEdit.apply(edits, to: bytes)
            return change
        }
        let unfinished =
            choice.says ? TextEdit.apply(edits + [TextEdit(range: reason.range, text: TextEdit.null)], to: bytes) : nil
        if finished.contains(choice.index) { return Change(document: unfinished) }
        if isFinished, !choice.says {
            if hasUsage {
                let edit = TextEdit(range: reason.range, text: TextEdit.null)
                usage = render(TextEdit.apply(edits + [edit], to: bytes))
            }
            return Change()
        }
        change.before = goOn(choice.index)
        held = Finish(
            choice: choice.index, reason: Array(bytes[reason.range]),
            event: render(TextEdit.apply(edits, to: bytes)), unfinished: unfinished.map(render))
        return change
    }

    /// A choice has more to say: its reason to finish was none, and what stood beside it is told.
    private mutating func goOn(_ choice: Int64) -> [UInt8] {
        reasons.removeAll { $0.choice == choice }
        guard let finish = held, finish.choice == choice else { return postpone() }
        held = nil
        return finish.unfinished ?? []
    }

    /// Several choices in one chunk.
    private mutating func change(
        _ told: [Choice], _ edits: [TextEdit], _ bytes: UnsafeRawBufferPointer
    ) -> Change? {
        var change = Change(before: postpone())
        var edits = edits
        for choice in told {
            if choice.says { reasons.removeAll { $0.choice == choice.index } }
            guard let reason = choice.reason else { continue }
            edits.append(TextEdit(range: reason.range, text: TextEdit.null))
            guard !finished.contains(choice.index), !reasons.contains(where: { $0.choice == choice.index }),
                reasons.count < Limits.translatedCalls
            else { continue }
            let said = Array(bytes[reason.range])
            reasons.append(
                Finish(choice: choice.index, reason: said, event: finish(of: choice.index, said), unfinished: nil))
        }
        if change.before.isEmpty, edits.isEmpty { return nil }
        change.document = TextEdit.apply(edits, to: bytes)
        return change
    }
}
