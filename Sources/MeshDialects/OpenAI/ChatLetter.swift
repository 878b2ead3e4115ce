package import MeshModel
import MeshWire

/// What programs hold a chat's stream to, whatever the worker sends: who speaks, in the first piece and nowhere else; of each tool
/// call its number, its id and its type, which never change; one reason to finish for each choice, behind all that it says; and
/// what was used behind that. What has all of it passes as it came: it is searched for names and not read.
///
/// A reason to finish is held until something comes behind it or the stream ends: some workers tell one with every call, and
/// some go on behind it.
package struct ChatLetter: Sendable {
    /// An event that says why its choice finished.
    private struct Finish: Sendable {
        var choice: Int64
        var event: [UInt8]
        /// The same without the reason; nil where nothing else stands in it.
        var unfinished: [UInt8]?
    }

    /// One choice of a chunk.
    private struct Choice {
        var index: Int64
        /// Why it finished, where it says so.
        var reason: JSONSlice?
        /// Whether it says something beside that.
        var says = false
    }

    /// What becomes of an event.
    private struct Change {
        /// Events in front of it.
        var before: [UInt8] = []
        /// Nil where it is left out.
        var document: [UInt8]?
    }

    private let hasTools: Bool
    private let choices: Int
    /// Choices that have spoken, and those whose reason to finish was told.
    private var spoken: [Int64] = []
    private var finished: [Int64] = []
    private var calls = ChatCalls()
    private var held: Finish?
    /// What was used: an event that stands behind the last reason.
    private var usage: [UInt8] = []
    /// How the chunks call their answer, as it stands in one.
    private var marks: [UInt8] = []
    private var hasEnded = false
    /// The last byte of an event that is too long to come in one piece, and passes unread.
    private var passing: UInt8?
    /// Whether one has: it may have said anything.
    private var hasPassed = false
    /// What came cannot be read, and nothing may follow.
    package private(set) var failure: MeshError?

    /// - Parameters:
    ///   - hasTools: whether the request gives any.
    ///   - choices: how many it asks for.
    package init(hasTools: Bool, choices: Int = 1) {
        self.hasTools = hasTools
        self.choices = min(max(choices, 1), Limits.translatedCalls)
    }

    /// Whether nothing can be lacking any more before the end.
    package var isDone: Bool { spoken.count >= choices && !hasTools }

    /// The events with what they lack, and without what is too much; nil where they go out as they are.
    /// - Parameter events: whole ones, or a piece of a long one.
    package mutating func mended(_ events: UnsafeRawBufferPointer) -> [UInt8]? {
        var output: [UInt8] = []
        var isChanged = false
        var position = pass(events, from: 0)
        while position < events.count, failure == nil {
            let end = Self.end(ofEventIn: events, from: position)
            let event = UnsafeRawBufferPointer(rebasing: events[position..<end])
            if !Self.isWhole(event) {
                let begun = release()
                if !begun.isEmpty, !isChanged { output += events[..<position] }
                isChanged = isChanged || !begun.isEmpty
                output += begun
                if isChanged { output += event }
                (passing, hasPassed) = (event.last, true)
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
            var chunk = Array(#"{"object":"chat.completion.chunk","#.utf8)
            chunk += marks
            let reason = calls.has(choice) ? "tool_calls" : "stop"
            chunk += #""choices":[{"index":\#(choice),"delta":{},"finish_reason":"\#(reason)"}]}"#.utf8
            output += EventText.event(chunk)
        }
        defer { usage = [] }
        return output + usage
    }

    /// The stream has broken off: what was held of it, for in front of the failure.
    package mutating func release() -> [UInt8] {
        guard let finish = held else { return [] }
        held = nil
        finished.append(finish.choice)
        return finish.event
    }

    // MARK: Events

    /// The rest of an event that is passing; where it ends.
    private mutating func pass(_ bytes: UnsafeRawBufferPointer, from start: Int) -> Int {
        guard var last = passing else { return start }
        var position = start
        while position < bytes.count {
            let byte = bytes[position]
            position += 1
            if byte == 0x0A, last == 0x0A {
                passing = nil
                return position
            }
            last = byte
        }
        passing = last
        return position
    }

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
        guard let change = change(document, render) else { return nil }
        return change.before + (change.document.map(render) ?? Self.comments(of: event))
    }

    private func needsReading(_ search: ChatSearch) -> Bool {
        spoken.count < choices || held != nil || !finished.isEmpty || !search.isOrdinary
            || hasTools && search.hasCalls
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
            guard hasUsage || fields.string("object", in: bytes) == "chat.completion.chunk",
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
        return told.count == 1
            ? change(told[0], hasUsage: hasUsage, edits, bytes, render) : change(told, edits, bytes)
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
        let isSame = held?.choice == choice.index
        guard let reason = choice.reason else {
            // An empty piece behind the end is nothing, unless it tells what was used.
            if isSame, !choice.says, !hasUsage { return Change() }
            if isSame, choice.says {
                change.before = held?.unfinished ?? []
                held = nil
            } else {
                change.before = release()
            }
            if change.before.isEmpty, edits.isEmpty { return nil }
            change.document = TextEdit.apply(edits, to: bytes)
            return change
        }
        let unfinished =
            choice.says ? TextEdit.apply(edits + [TextEdit(range: reason.range, text: TextEdit.null)], to: bytes) : nil
        if finished.contains(choice.index) { return Change(document: unfinished) }
        if isSame {
            if !choice.says, !hasUsage { return Change() }
            change.before = held?.unfinished ?? []
            held = nil
        } else {
            change.before = release()
        }
        held = Finish(
            choice: choice.index, event: render(TextEdit.apply(edits, to: bytes)), unfinished: unfinished.map(render))
        return change
    }

    /// Several choices in one chunk.
    private mutating func change(
        _ told: [Choice], _ edits: [TextEdit], _ bytes: UnsafeRawBufferPointer
    ) -> Change? {
        var change = Change(before: release())
        var edits = edits
        for choice in told {
            guard let reason = choice.reason else { continue }
            if finished.contains(choice.index) {
                edits.append(TextEdit(range: reason.range, text: TextEdit.null))
            } else {
                finished.append(choice.index)
            }
        }
        if change.before.isEmpty, edits.isEmpty { return nil }
        change.document = TextEdit.apply(edits, to: bytes)
        return change
    }

    /// Reads one choice, and notes what it lacks.
    private mutating func read(
        _ element: JSONSlice, _ chunk: [JSONField], _ bytes: UnsafeRawBufferPointer, _ edits: inout [TextEdit]
    ) -> Choice? {
        guard element.kind == .object, let choice = try? JSONScanner.fields(of: bytes, in: element.range) else {
            return nil
        }
        let delta = choice.value("delta", in: bytes).flatMap { $0.kind == .object ? $0 : nil }
        let members = delta.flatMap { try? JSONScanner.fields(of: bytes, in: $0.range) } ?? []
        var told = Choice(index: choice.integer("index", in: bytes) ?? 0)
        var missing: [String] = []
        if choice.integer("index", in: bytes) == nil, choice.value("index", in: bytes) == nil {
            missing.append(#""index":0"#)
        }
        if let delta {
            mendRole(of: told.index, delta, members, bytes, &edits)
        } else if let slot = choice.value("delta", in: bytes) {
            edits.append(TextEdit(range: slot.range, text: Array("{}".utf8)))
        } else {
            missing.append(#""delta":{}"#)
        }
        if !missing.isEmpty {
            edits.append(.insertion(missing.joined(separator: ","), into: element, isEmpty: choice.isEmpty))
        }
        if hasTools { edits += calls.edits(members, of: told.index, chunkID: chunk.string("id", in: bytes), bytes) }
        told.says = members.contains {
            !JSONText.equals($0.name, "role", in: bytes) && !ChatCompletion.isEmpty($0.value, bytes)
        }
        guard let reason = choice.value("finish_reason", in: bytes), reason.kind != .null else { return told }
        if reason.kind == .string, reason.range.count > 2 {
            told.reason = reason
        } else {
            edits.append(TextEdit(range: reason.range, text: TextEdit.null))
        }
        return told
    }

    /// Programs put the roles of all pieces together as they do with words.
    private mutating func mendRole(
        of choice: Int64, _ delta: JSONSlice, _ members: [JSONField], _ bytes: UnsafeRawBufferPointer,
        _ edits: inout [TextEdit]
    ) {
        let place = members.firstIndex { JSONText.equals($0.name, "role", in: bytes) }
        if spoken.contains(choice) {
            if let place, members[place].value.kind != .null { edits.append(.removal(of: place, among: members)) }
            return
        }
        guard spoken.count < Limits.translatedCalls else { return }
        let isAsked = spoken.count < choices
        spoken.append(choice)
        guard isAsked else { return }
        if let place {
            let role = members[place].value
            guard role.kind != .string || role.range.count == 2 else { return }
            edits.append(TextEdit(range: role.range, text: Array(#""assistant""#.utf8)))
        } else {
            edits.append(.insertion(#""role":"assistant""#, into: delta, isEmpty: members.isEmpty))
        }
    }
}
