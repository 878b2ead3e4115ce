import MeshModel
import MeshWire

extension ChatLetter.Form {
    /// What chunks call themselves.
    var object: String { self == .text ? "text_completion" : "chat.completion.chunk" }
}

/// Choices of a chunk.
extension ChatLetter {
    /// Reads one, and notes what it lacks.
    mutating func read(
        _ element: JSONSlice, _ chunk: [JSONField], _ bytes: UnsafeRawBufferPointer, _ edits: inout [TextEdit]
    ) -> Choice? {
        guard element.kind == .object, let choice = try? JSONScanner.fields(of: bytes, in: element.range) else {
            return nil
        }
        var told = Choice(index: choice.integer("index", in: bytes) ?? 0)
        var missing: [String] = []
        if choice.integer("index", in: bytes) == nil, choice.value("index", in: bytes) == nil {
            missing.append(#""index":0"#)
        }
        switch form {
        case .chat: readDelta(choice, chunk, bytes, &told, &missing, &edits)
        case .text: readText(choice, bytes, &told, &missing, &edits)
        }
        if !missing.isEmpty {
            edits.append(.insertion(missing.joined(separator: ","), into: element, isEmpty: choice.isEmpty))
        }
        guard let reason = choice.value("finish_reason", in: bytes), reason.kind != .null else { return told }
        if reason.kind == .string, reason.range.count > 2 {
            told.reason = reason
        } else {
            edits.append(TextEdit(range: reason.range, text: TextEdit.null))
        }
        return told
    }

    private mutating func readDelta(
        _ choice: [JSONField], _ chunk: [JSONField], _ bytes: UnsafeRawBufferPointer, _ told: inout Choice,
        _ missing: inout [String], _ edits: inout [TextEdit]
    ) {
        let delta = choice.value("delta", in: bytes).flatMap { $0.kind == .object ? $0 : nil }
        let members = delta.flatMap { try? JSONScanner.fields(of: bytes, in: $0.range) } ?? []
        if let delta {
            mendRole(of: told.index, delta, members, bytes, &edits)
        } else if let slot = choice.value("delta", in: bytes) {
            edits.append(TextEdit(range: slot.range, text: Array("{}".utf8)))
        } else {
            missing.append(#""delta":{}"#)
        }
        if hasTools { edits += calls.edits(members, of: told.index, chunkID: chunk.string("id", in: bytes), bytes) }
        let said = members.filter {
            !JSONText.equals($0.name, "role", in: bytes) && !ChatCompletion.isEmpty($0.value, bytes)
        }
        told.says = !said.isEmpty
        told.onlyCalls = told.says && said.allSatisfy { JSONText.equals($0.name, "tool_calls", in: bytes) }
    }

    private mutating func readText(
        _ choice: [JSONField], _ bytes: UnsafeRawBufferPointer, _ told: inout Choice, _ missing: inout [String],
        _ edits: inout [TextEdit]
    ) {
        if !spoken.contains(told.index), spoken.count < Limits.translatedCalls { spoken.append(told.index) }
        let text = choice.value("text", in: bytes)
        if let text, text.kind != .string {
            edits.append(TextEdit(range: text.range, text: Array("\"\"".utf8)))
        } else if text == nil {
            missing.append(#""text":"""#)
        }
        let logs = choice.value("logprobs", in: bytes)
        told.says = [text, logs].contains { $0.map { !ChatCompletion.isEmpty($0, bytes) } ?? false }
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
