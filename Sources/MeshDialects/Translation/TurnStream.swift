import MeshModel
import MeshWire

/// The events of a streamed chat completion as the parts of one turn: bytes in, cut anywhere; what a writer makes of them out.
///
/// States: before the start; between two parts; in one of them; over. Parts do not overlap, though the calls of a chat may: the
/// one that is open is passed on as it comes, and what comes of others is held until its arguments are whole or the stream
/// ends. So is text behind a call that is not whole. What is held is bounded (`Limits.translatedHeldBytes`).
struct TurnStream<Writer: TurnWriter>: Sendable {
    private enum Open: Hashable, Sendable {
        case none, text, refusal, thought
        case call(Int)
    }

    var writer: Writer
    private(set) var isOver = false
    private var reframer = EventStreamReframer()
    private var hasStarted = false
    private var open = Open.none
    private var hasParts = false
    private var calls: [TurnCall] = []
    /// Text behind a call that is not whole, as it stands in JSON.
    private var lateText: [UInt8] = []
    private var usage = UsageReading()
    private var finishReason: String?
    private var stopSequence: String?
    private var isRefusal = false

    init(_ writer: Writer) { self.writer = writer }

    /// The next bytes of the chat's stream.
    /// - Throws: `MeshError` when they cannot be translated; nothing may follow.
    mutating func append(_ bytes: [UInt8]) throws(MeshError) -> [UInt8] {
        var output: [UInt8] = []
        guard !isOver else { return output }
        let events: [[UInt8]]
        do throws(EventStreamReframer.Overflow) { events = try reframer.append(bytes) } catch {
            throw AnswerFailure.unreadable()
        }
        output.reserveCapacity(bytes.count + 256)
        for event in events { try take(event, &output) }
        return output
    }

    /// The stream has ended, and was whole.
    mutating func end(_ totals: AnswerTotals, _ output: inout [UInt8]) throws(MeshError) -> TurnEnd {
        if let rest = reframer.finish() { try take(rest.event, &output) }
        isOver = true
        start(&output)
        try closeAll(isCut: TurnEnd.isCut(finishReason ?? totals.finishReason), &output)
        usage.promptTokens = usage.promptTokens ?? totals.promptTokens
        usage.cachedTokens = usage.cachedTokens ?? totals.cachedTokens
        usage.completionTokens = usage.completionTokens ?? totals.completionTokens
        return TurnEnd(
            usage: usage, reason: finishReason ?? totals.finishReason, stopSequence: stopSequence,
            isRefusal: isRefusal, hasCalls: calls.contains { $0.isTold }, isEmpty: !hasParts)
    }

    /// Nothing may follow.
    mutating func breakOff() { isOver = true }

    // MARK: Chunks

    private mutating func take(_ event: [UInt8], _ output: inout [UInt8]) throws(MeshError) {
        let read = StreamEvent(event)
        guard !read.data.isEmpty else { return }
        try take(document: Array(read.data), &output)
    }

    /// One chunk.
    mutating func take(document: [UInt8], _ output: inout [UInt8]) throws(MeshError) {
        try document.reading { bytes throws(MeshError) in
            // What is no chunk is nothing that a turn could tell.
            guard let fields = try? JSONScanner.fields(of: bytes) else { return }
            // A node that does not tell an end apart writes it into the stream.
            if let failure = AnswerFailure(fields, in: bytes) { throw failure.lateError() }
            if let told = fields.value("usage", in: bytes) { usage.read(told, in: bytes) }
            guard let choices = fields.value("choices", in: bytes), choices.kind == .array,
                let elements = try? JSONScanner.elements(of: bytes, in: choices.range, limit: Limits.translatedCalls),
                let first = elements.first, first.kind == .object,
                let choice = try? JSONScanner.fields(of: bytes, in: first.range),
                choice.integer("index", in: bytes) ?? 0 == 0
            else { return }
            start(&output)
            if let delta = choice.value("delta", in: bytes), delta.kind == .object,
                let members = try? JSONScanner.fields(of: bytes, in: delta.range)
            {
                try take(members, bytes, &output)
            }
            finishReason = choice.string("finish_reason", in: bytes) ?? finishReason
            stopSequence = choice.string("stop_reason", in: bytes) ?? stopSequence
        }
    }

    private mutating func take(
        _ delta: [JSONField], _ bytes: UnsafeRawBufferPointer, _ output: inout [UInt8]
    ) throws(MeshError) {
        if let thought = Self.text(delta.value("reasoning_content", in: bytes), bytes) {
            try think(thought, .reasoningContent, &output)
        } else if let thought = Self.text(delta.value("reasoning", in: bytes), bytes) {
            try think(thought, .reasoning, &output)
        }
        for text in Self.texts(delta.value("content", in: bytes), bytes) { try say(text, .text, &output) }
        if let text = Self.text(delta.value("refusal", in: bytes), bytes) {
            isRefusal = true
            try say(text, .refusal, &output)
        }
        guard let list = delta.value("tool_calls", in: bytes), list.kind == .array,
            let elements = try? JSONScanner.elements(of: bytes, in: list.range, limit: Limits.translatedCalls)
        else { return }
        for element in elements where element.kind == .object {
            guard let call = try? JSONScanner.fields(of: bytes, in: element.range) else { continue }
            try take(call: call, bytes, &output)
        }
    }

    /// The inside of a string that is not empty, with its escapes.
    private static func text(_ slice: JSONSlice?, _ bytes: UnsafeRawBufferPointer) -> ArraySlice<UInt8>? {
        guard let slice, slice.kind == .string, slice.range.count > 2 else { return nil }
        return Array(bytes[slice.range].dropFirst().dropLast())[...]
    }

    /// The same of a content, which may be a list of parts.
    private static func texts(_ slice: JSONSlice?, _ bytes: UnsafeRawBufferPointer) -> [ArraySlice<UInt8>] {
        guard let slice, slice.kind == .array else { return text(slice, bytes).map { [$0] } ?? [] }
        let parts = (try? JSONScanner.elements(of: bytes, in: slice.range, limit: Limits.translatedCalls)) ?? []
        return parts.compactMap { part in
            guard part.kind == .object, let members = try? JSONScanner.fields(of: bytes, in: part.range) else {
                return nil
            }
            return text(members.value("text", in: bytes), bytes)
        }
    }

    // MARK: Text

    private mutating func say(
        _ text: ArraySlice<UInt8>, _ part: TurnPart, _ output: inout [UInt8]
    ) throws(MeshError) {
        if case .call(let number) = open {
            // Space between calls is nothing that was said.
            if lateText.isEmpty, Self.isSpace(text) { return }
            guard calls[number].isWhole, !calls.contains(where: { !$0.isTold && $0.hasBegun }) else {
                lateText += text
                return try bound()
            }
        }
        enter(part == .refusal ? .refusal : .text, part, &output)
        try writer.write(text, &output)
    }

    private mutating func think(
        _ text: ArraySlice<UInt8>, _ field: Thought.Field, _ output: inout [UInt8]
    ) throws(MeshError) {
        // Behind a call nobody reads it any more.
        if case .call = open { return }
        enter(.thought, .thought(field), &output)
        try writer.write(text, &output)
    }

    private static func isSpace(_ text: ArraySlice<UInt8>) -> Bool {
        var rest = text
        while let byte = rest.first {
            if byte == 0x20 {
                rest = rest.dropFirst()
            } else if byte == UInt8(ascii: "\\"), rest.count >= 2, "nrt".utf8.contains(rest[rest.startIndex + 1]) {
                rest = rest.dropFirst(2)
            } else {
                return false
            }
        }
        return true
    }

    // MARK: Calls

    private mutating func take(
        call: [JSONField], _ bytes: UnsafeRawBufferPointer, _ output: inout [UInt8]
    ) throws(MeshError) {
        let id = call.string("id", in: bytes).flatMap { $0.isEmpty ? nil : $0 }
        let function = call.value("function", in: bytes).flatMap { $0.kind == .object ? $0 : nil }
        let members = function.flatMap { try? JSONScanner.fields(of: bytes, in: $0.range) }
        let name = members.flatMap { Self.text($0.value("name", in: bytes), bytes) }
        guard let number = number(of: call.integer("index", in: bytes), id, hasName: name != nil) else {
            throw MeshError(.workerBadAnswer, "the worker calls more tools at once than this node translates")
        }
        calls[number].id = calls[number].id ?? id
        if let members {
            if let name { calls[number].add(name: Array(name)) }
            if let arguments = members.value("arguments", in: bytes) { calls[number].add(arguments, in: bytes) }
        }
        try goOn(&output)
        try bound()
    }

    /// Which of the calls a piece belongs to: by its index, else by its id, else the one before.
    private mutating func number(of index: Int64?, _ id: String?, hasName: Bool) -> Int? {
        if let index, let known = calls.lastIndex(where: { $0.index == index }) {
            // Some workers give every call the same number: another id beside a name is another call.
            guard hasName, let id, let other = calls[known].id, id != other, calls[known].isWhole else { return known }
        }
        if index == nil {
            if let id, let known = calls.firstIndex(where: { $0.id == id }) { return known }
            if id == nil, !calls.isEmpty { return calls.count - 1 }
        }
        guard calls.count < Limits.translatedCalls else { return nil }
        calls.append(TurnCall(index: index))
        return calls.count - 1
    }

    /// Tells what can be told of the calls now, in their order.
    private mutating func goOn(_ output: inout [UInt8]) throws(MeshError) {
        while true {
            if case .call(let number) = open {
                try tell(number, &output)
                guard calls[number].isWhole, let next = nextCall else { return }
                try begin(next, &output)
            } else {
                guard let next = nextCall else { return }
                try begin(next, &output)
            }
        }
    }

    /// The next call whose name is known to be whole: its arguments have begun.
    private var nextCall: Int? { calls.firstIndex { !$0.isTold }.flatMap { calls[$0].hasBegun ? $0 : nil } }

    private mutating func begin(_ number: Int, _ output: inout [UInt8]) throws(MeshError) {
        guard !calls[number].name.isEmpty else {
            throw MeshError(.workerBadAnswer, "the worker calls a tool without its name")
        }
        let id = writer.callID(calls[number].id, number: number, taken: calls.filter(\.isTold).compactMap(\.id))
        calls[number].id = id
        calls[number].isTold = true
        enter(.call(number), .call(id: id, name: calls[number].name), &output)
        try tell(number, &output)
    }

    private mutating func tell(_ number: Int, _ output: inout [UInt8]) throws(MeshError) {
        let arguments = calls[number].takeArguments()
        if !arguments.isEmpty { try writer.write(arguments[...], &output) }
    }

    /// At the end every call is whole that has a name.
    private mutating func closeAll(isCut: Bool, _ output: inout [UInt8]) throws(MeshError) {
        try goOn(&output)
        for number in calls.indices where !calls[number].isTold && !calls[number].name.isEmpty {
            close(&output)
            try begin(number, &output)
        }
        if !lateText.isEmpty {
            enter(.text, .text, &output)
            try writer.write(lateText[...], &output)
            lateText = []
        }
        close(isCut: isCut, &output)
    }

    private func bound() throws(MeshError) {
        guard lateText.count + calls.reduce(0, { $0 + $1.heldBytes }) <= Limits.translatedHeldBytes else {
            throw MeshError(.workerBadAnswer, "the worker's calls are too long to be told one after the other")
        }
    }

    // MARK: Parts

    private mutating func start(_ output: inout [UInt8]) {
        guard !hasStarted else { return }
        hasStarted = true
        writer.start(usage, &output)
    }

    private mutating func enter(_ next: Open, _ part: TurnPart, _ output: inout [UInt8]) {
        guard open != next else { return }
        close(&output)
        open = next
        hasParts = true
        writer.open(part, &output)
    }

    private mutating func close(isCut: Bool = false, _ output: inout [UInt8]) {
        guard open != .none else { return }
        open = .none
        writer.close(isCut: isCut, &output)
    }
}
