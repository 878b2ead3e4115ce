package import MeshModel
package import MeshWire

/// The events of a streamed chat completion as those of a message: bytes in, cut anywhere, and bytes out.
///
/// States: before `message_start`; between two blocks; in a block of text, of thinking or of one tool call; over. Blocks do
/// not overlap, though the calls of a chat may: the one that is open is passed on as it comes, and what comes of others is
/// held until its arguments are whole or the stream ends. So is text behind a call that is not whole. What is held is bounded
/// (`Limits.translatedHeldBytes`).
package struct MessagesStream: Sendable {
    private enum Open: Hashable, Sendable {
        case none, text, thinking
        case call(Int)
    }

    private let context: MessagesContext
    private var reframer = EventStreamReframer()
    private var hasStarted = false
    private var isOver = false
    private var open = Open.none
    private var blocks = 0
    private var calls: [MessagesCall] = []
    /// Text behind a call that is not whole, as it stands in JSON.
    private var lateText: [UInt8] = []
    private var usage = UsageReading()
    private var finishReason: String?
    private var stopSequence: String?
    private var isRefusal = false

    package init(_ context: MessagesContext) { self.context = context }

    /// The next bytes of the chat's stream.
    /// - Throws: `MeshError` when they cannot be translated; nothing may follow.
    package mutating func append(_ bytes: [UInt8]) throws(MeshError) -> [UInt8] {
        var output: [UInt8] = []
        guard !isOver else { return output }
        let events: [[UInt8]]
        do throws(EventStreamReframer.Overflow) { events = try reframer.append(bytes) } catch {
            throw AnswerFailure.unreadable()
        }
        output.reserveCapacity(bytes.count + 128)
        for event in events { try take(event, &output) }
        return output
    }

    /// The stream has ended, and was whole.
    /// - Parameter outputTokens: as this node counts them, for where the worker does not tell.
    package mutating func finish(_ totals: AnswerTotals, outputTokens: Int64) -> [UInt8] {
        var output: [UInt8] = []
        guard !isOver else { return output }
        if let rest = reframer.finish() {
            do throws(MeshError) { try take(rest.event, &output) } catch { return output + failure(error) }
        }
        isOver = true
        start(&output)
        closeAll(&output)
        usage.promptTokens = usage.promptTokens ?? totals.promptTokens
        usage.cachedTokens = usage.cachedTokens ?? totals.cachedTokens
        usage.completionTokens = usage.completionTokens ?? totals.completionTokens
        let (reason, sequence) = context.stop(
            finishReason ?? totals.finishReason, stopSequence, hasCalls: calls.contains { $0.isTold })
        if blocks == 0, reason == "end_turn" { return output + Self.event(MessagesContext.empty, context) }
        let delta: JSONValue = [
            "type": "message_delta",
            "delta": ["stop_reason": .string(isRefusal ? "refusal" : reason), "stop_sequence": .optional(sequence)],
            "usage": context.usage(usage, outputTokens: outputTokens),
        ]
        output += EventText.event("message_delta", delta.bytes)
        output += EventText.event("message_stop", Array(#"{"type":"message_stop"}"#.utf8))
        return output
    }

    /// The stream broke off: blocks that have ended are kept by programs, the one that is open is not.
    package mutating func failure(_ error: MeshError) -> [UInt8] {
        isOver = true
        return Self.event(error, context)
    }

    private static func event(_ error: MeshError, _ context: MessagesContext) -> [UInt8] {
        Dialect.messages.failureEvent(error, requestID: context.requestID)
    }

    // MARK: Chunks

    private mutating func take(_ event: [UInt8], _ output: inout [UInt8]) throws(MeshError) {
        let read = StreamEvent(event)
        guard !read.data.isEmpty else { return }
        try Array(read.data).reading { bytes throws(MeshError) in
            // What is no chunk is nothing that a message could tell.
            guard let fields = try? JSONScanner.fields(of: bytes) else { return }
            // A node that does not tell an end apart writes it into the stream.
            if let failure = AnswerFailure(fields, in: bytes) { throw failure.lateError() }
            if let told = fields.value("usage", in: bytes) { usage.read(told, in: bytes) }
            guard let choices = fields.value("choices", in: bytes), choices.kind == .array,
                let elements = try? JSONScanner.elements(of: bytes, in: choices.range, limit: 128),
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
        let thought = ["reasoning_content", "reasoning"].lazy.compactMap { (name: StaticString) in
            Self.text(delta.value(name, in: bytes), bytes)
        }.first
        if let thought { think(thought, &output) }
        if let text = Self.text(delta.value("content", in: bytes), bytes) { try say(text, &output) }
        if let text = Self.text(delta.value("refusal", in: bytes), bytes) {
            isRefusal = true
            try say(text, &output)
        }
        guard let list = delta.value("tool_calls", in: bytes), list.kind == .array,
            let elements = try? JSONScanner.elements(of: bytes, in: list.range, limit: 128)
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

    // MARK: Text

    private mutating func say(_ text: ArraySlice<UInt8>, _ output: inout [UInt8]) throws(MeshError) {
        if case .call(let number) = open {
            // Space between calls is nothing that was said.
            if lateText.isEmpty, Self.isSpace(text) { return }
            guard calls[number].isWhole, !calls.contains(where: { !$0.isTold && $0.hasBegun }) else {
                lateText += text
                return try bound()
            }
        }
        enter(.text, opening: #"{"type":"text","text":""}"#, &output)
        write(delta: "text_delta", member: "text", text, &output)
    }

    private mutating func think(_ text: ArraySlice<UInt8>, _ output: inout [UInt8]) {
        // Behind a call nobody reads it any more.
        if case .call = open { return }
        enter(.thinking, opening: #"{"type":"thinking","thinking":"","signature":""}"#, &output)
        write(delta: "thinking_delta", member: "thinking", text, &output)
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
        guard let number = number(of: call.integer("index", in: bytes), id) else {
            throw MeshError(.workerBadAnswer, "the worker calls more tools at once than this node translates")
        }
        calls[number].id = calls[number].id ?? id
        if let function = call.value("function", in: bytes), function.kind == .object,
            let members = try? JSONScanner.fields(of: bytes, in: function.range)
        {
            if let name = Self.text(members.value("name", in: bytes), bytes) { calls[number].add(name: Array(name)) }
            if let arguments = members.value("arguments", in: bytes) { calls[number].add(arguments, in: bytes) }
        }
        goOn(&output)
        try bound()
    }

    /// Which of the calls a piece belongs to: by its index, else by its id, else the one before.
    private mutating func number(of index: Int64?, _ id: String?) -> Int? {
        if let index, let known = calls.firstIndex(where: { $0.index == index }) { return known }
        if index == nil {
            if let id, let known = calls.firstIndex(where: { $0.id == id }) { return known }
            if id == nil, !calls.isEmpty { return calls.count - 1 }
        }
        guard calls.count < Limits.translatedCalls else { return nil }
        calls.append(MessagesCall(index: index))
        return calls.count - 1
    }

    /// Tells what can be told of the calls now, in their order.
    private mutating func goOn(_ output: inout [UInt8]) {
        while true {
            if case .call(let number) = open {
                tell(number, &output)
                guard calls[number].isWhole, let next = nextCall else { return }
                begin(next, &output)
            } else {
                guard let next = nextCall else { return }
                begin(next, &output)
            }
        }
    }

    /// The next call whose name is known to be whole: its arguments have begun.
    private var nextCall: Int? { calls.firstIndex { !$0.isTold }.flatMap { calls[$0].hasBegun ? $0 : nil } }

    private mutating func begin(_ number: Int, _ output: inout [UInt8]) {
        let id = context.callID(calls[number].id, number: number, taken: calls.filter(\.isTold).compactMap(\.id))
        calls[number].id = id
        calls[number].isTold = true
        var opening = Array(#"{"type":"tool_use","id":"#.utf8)
        JSONText.appendQuoted(id.utf8, to: &opening)
        opening += Array(#","name":""#.utf8) + calls[number].name + Array(#"","input":{}}"#.utf8)
        enter(.call(number), opening: opening, &output)
        tell(number, &output)
    }

    private mutating func tell(_ number: Int, _ output: inout [UInt8]) {
        let arguments = calls[number].takeArguments()
        if !arguments.isEmpty { write(delta: "input_json_delta", member: "partial_json", arguments[...], &output) }
    }

    /// At the end every call is whole that has a name.
    private mutating func closeAll(_ output: inout [UInt8]) {
        goOn(&output)
        for number in calls.indices where !calls[number].isTold && !calls[number].name.isEmpty {
            close(&output)
            begin(number, &output)
        }
        close(&output)
        guard !lateText.isEmpty else { return }
        enter(.text, opening: #"{"type":"text","text":""}"#, &output)
        write(delta: "text_delta", member: "text", lateText[...], &output)
        lateText = []
        close(&output)
    }

    private func bound() throws(MeshError) {
        guard lateText.count + calls.reduce(0, { $0 + $1.heldBytes }) <= Limits.translatedHeldBytes else {
            throw MeshError(.workerBadAnswer, "the worker's calls are too long to be told one after the other")
        }
    }

    // MARK: Events

    private mutating func start(_ output: inout [UInt8]) {
        guard !hasStarted else { return }
        hasStarted = true
        let message: JSONValue = [
            "type": "message_start",
            "message": [
                "id": .string(context.messageID), "type": "message", "role": "assistant",
                "model": .string(context.model), "content": [], "stop_reason": nil, "stop_sequence": nil,
                "usage": context.usage(usage, outputTokens: 0),
            ],
        ]
        output += EventText.event("message_start", message.bytes)
        output += Dialect.messages.keepAlive(after: [])
    }

    private mutating func enter(_ next: Open, opening: String, _ output: inout [UInt8]) {
        enter(next, opening: Array(opening.utf8), &output)
    }

    private mutating func enter(_ next: Open, opening: [UInt8], _ output: inout [UInt8]) {
        guard open != next else { return }
        close(&output)
        open = next
        output += Array("event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":\(blocks),".utf8)
        output += Array(#""content_block":"#.utf8) + opening + Array("}\n\n".utf8)
    }

    private mutating func close(_ output: inout [UInt8]) {
        guard open != .none else { return }
        open = .none
        output += Array(
            "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":\(blocks)}\n\n".utf8)
        blocks += 1
    }

    /// - Parameter text: as it stands in JSON: it is not taken to pieces.
    private func write(delta: String, member: String, _ text: ArraySlice<UInt8>, _ output: inout [UInt8]) {
        output += "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":".utf8
        output += String(blocks).utf8
        output += ",\"delta\":{\"type\":\"".utf8
        output += delta.utf8
        output += "\",\"".utf8
        output += member.utf8
        output += "\":\"".utf8
        output += text
        output += "\"}}\n\n".utf8
    }
}
