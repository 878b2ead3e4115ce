import MeshModel
package import MeshWire

/// A whole chat completion as one event of a stream. Some workers answer a streamed request with it, and buyers'
/// programs read nothing in an event but `delta`.
package enum ChatCompletion {
    private struct Edit {
        var range: Range<Int>
        var text: [UInt8]
    }

    /// Choices and tool calls that are looked at; a document with more passes as it is.
    private static let listed = 128

    /// Whether a chunk of a completion says nothing yet: a role, empty texts, no reason to finish. Servers send one
    /// before they know whether they can answer.
    static func isWordless(_ fields: [JSONField], in bytes: UnsafeRawBufferPointer) -> Bool {
        guard let choices = fields.value("choices", in: bytes), choices.kind == .array,
            let elements = try? JSONScanner.elements(of: bytes, in: choices.range, limit: listed)
        else { return false }
        return elements.allSatisfy { element in
            guard element.kind == .object, let choice = try? JSONScanner.fields(of: bytes, in: element.range)
            else { return false }
            return choice.allSatisfy { field in
                let silent: [StaticString] = ["index", "logprobs"]
                if silent.contains(where: { JSONText.equals(field.name, $0, in: bytes) }) { return true }
                guard JSONText.equals(field.name, "delta", in: bytes), field.value.kind == .object,
                    let delta = try? JSONScanner.fields(of: bytes, in: field.value.range)
                else { return isEmpty(field.value, bytes) }
                return delta.allSatisfy { JSONText.equals($0.name, "role", in: bytes) || isEmpty($0.value, bytes) }
            }
        }
    }

    /// Whether a value is `null`, or a text, list or object with nothing in it.
    static func isEmpty(_ value: JSONSlice, _ bytes: UnsafeRawBufferPointer) -> Bool {
        switch value.kind {
        case .null: true
        case .string: value.range.count == 2
        case .array, .object:
            bytes[value.range].dropFirst().dropLast().allSatisfy { [0x20, 0x0A, 0x0D, 0x09].contains($0) }
        case .number, .boolean: false
        }
    }

    /// Why a choice of a completion ended, in a plain word of the backend's.
    package static func finishReason(ofChoice choice: [JSONField], in bytes: UnsafeRawBufferPointer) -> String? {
        guard let word = choice.string("finish_reason", in: bytes), AnswerTotals.isWord(word) else { return nil }
        return word
    }

    /// `document` as a `chat.completion.chunk`: every choice's `message` is called `delta`, its tool calls are numbered,
    /// and all else stays byte for byte. Nil when it is no chat completion.
    package static func chunk(_ document: [UInt8]) -> [UInt8]? {
        document.withUnsafeBytes { bytes in
            guard let edits = edits(bytes) else { return nil }
            var output: [UInt8] = []
            output.reserveCapacity(bytes.count + 64)
            var position = 0
            for edit in edits {
                output.append(contentsOf: bytes[position..<edit.range.lowerBound])
                output += edit.text
                position = edit.range.upperBound
            }
            output.append(contentsOf: bytes[position...])
            return output
        }
    }

    private static func edits(_ bytes: UnsafeRawBufferPointer) -> [Edit]? {
        guard let fields = try? JSONScanner.fields(of: bytes),
            let choices = fields.value("choices", in: bytes), choices.kind == .array,
            let elements = try? JSONScanner.elements(of: bytes, in: choices.range, limit: listed), !elements.isEmpty
        else { return nil }
        var edits: [Edit] = []
        if let object = fields.value("object", in: bytes) {
            guard object.kind == .string, JSONText.equals(object, "chat.completion", in: bytes) else { return nil }
            edits.append(Edit(range: object.range, text: Array(#""chat.completion.chunk""#.utf8)))
        } else if let first = fields.first {
            let start = first.name.range.lowerBound
            edits.append(Edit(range: start..<start, text: Array(#""object":"chat.completion.chunk","#.utf8)))
        }
        for element in elements {
            guard element.kind == .object, let choice = try? JSONScanner.fields(of: bytes, in: element.range),
                choice.value("delta", in: bytes) == nil,
                let message = choice.first(where: { JSONText.equals($0.name, "message", in: bytes) }),
                message.value.kind == .object
            else { return nil }
            edits.append(Edit(range: message.name.range, text: Array(#""delta""#.utf8)))
            edits += numbers(message.value, bytes)
        }
        return edits.sorted { $0.range.lowerBound < $1.range.lowerBound }
    }

    /// In a message the order of tool calls is their number; in a delta each has to say it.
    private static func numbers(_ message: JSONSlice, _ bytes: UnsafeRawBufferPointer) -> [Edit] {
        guard let fields = try? JSONScanner.fields(of: bytes, in: message.range),
            let calls = fields.value("tool_calls", in: bytes), calls.kind == .array,
            let elements = try? JSONScanner.elements(of: bytes, in: calls.range, limit: listed)
        else { return [] }
        var edits: [Edit] = []
        for (number, element) in elements.enumerated() {
            guard element.kind == .object, let call = try? JSONScanner.fields(of: bytes, in: element.range),
                let first = call.first, call.value("index", in: bytes) == nil
            else { continue }
            let start = first.name.range.lowerBound
            edits.append(Edit(range: start..<start, text: Array(#""index":\#(number),"#.utf8)))
        }
        return edits
    }
}
