import MeshModel
package import MeshWire

/// What a model thought, as it goes to a buyer and comes back.
///
/// The buyer gets the thought in the clear and, where its API has signatures or encrypted content, a mark of this mesh's own
/// that says where it came from: in which member of a chat, by which model. On the way back the same model gets it in the same
/// member, and no other one: a foreign signature would cost the whole request. The mark proves nothing, and need not: a buyer
/// may write such a member into a chat as well.
package enum Thought {
    /// Where a worker of chat completions puts it.
    package enum Field: String, CaseIterable, Hashable, Sendable {
        case reasoningContent = "reasoning_content"
        case reasoning
    }

    private static let prefix = "aisbf-thought-1."

    /// - Parameter model: as its worker calls it.
    static func mark(_ field: Field, by model: String) -> String {
        let name = String(decoding: Base64.text(Array(model.utf8)), as: UTF8.self)
        return "\(prefix)\(field == .reasoning ? "r" : "c").\(name)"
    }

    /// Whether a signature, or encrypted content, is a mark of this mesh's, which nobody else would take.
    package static func isMark(_ text: String) -> Bool { text.hasPrefix(prefix) }

    /// The member in which `model` is given its thought again; nil where it is not its own.
    static func field(of mark: String, for model: String?) -> Field? {
        guard let model, isMark(mark) else { return nil }
        return Field.allCases.first { Self.mark($0, by: model) == mark }
    }

    /// Whether a body may hold a thought that no other API takes: a mark, or a signature that nobody wrote.
    private static func mayStand(in bytes: UnsafeRawBufferPointer) -> Bool {
        let needles = [Array(prefix.utf8), Array(#""signature""#.utf8)]
        return needles.contains { needle in
            var position = 0
            while position + needle.count <= bytes.count {
                if bytes[position] == needle[0], bytes[position...].starts(with: needle) { return true }
                position += 1
            }
            return false
        }
    }

    // MARK: Requests that pass

    /// Bytes of a request of Messages, or of Responses, that go to nobody: thoughts that no vendor has signed. What remains is
    /// JSON as before.
    /// - Parameters:
    ///   - fields: of the request's outermost object, as scanned in `bytes`.
    ///   - list: the member in which the turns stand.
    package static func unsigned(
        _ fields: [JSONField], in bytes: UnsafeRawBufferPointer, list: StaticString
    ) -> [Range<Int>] {
        guard mayStand(in: bytes), let turns = fields.value(list, in: bytes), turns.kind == .array,
            let elements = try? JSONScanner.elements(of: bytes, in: turns.range, limit: Limits.translatedTurns)
        else { return [] }
        var cuts = Self.cuts(of: elements, in: bytes)
        for element in elements where element.kind == .object && !isUnsigned(element, in: bytes) {
            guard let members = try? JSONScanner.fields(of: bytes, in: element.range),
                let content = members.value("content", in: bytes), content.kind == .array,
                let blocks = try? JSONScanner.elements(of: bytes, in: content.range, limit: Limits.translatedTurns)
            else { continue }
            cuts += Self.cuts(of: blocks, in: bytes)
        }
        return cuts.sorted { $0.lowerBound < $1.lowerBound }
    }

    /// The elements that are such thoughts, each with the comma that keeps it apart.
    private static func cuts(of elements: [JSONSlice], in bytes: UnsafeRawBufferPointer) -> [Range<Int>] {
        let isCut = elements.map { isUnsigned($0, in: bytes) }
        var cuts: [Range<Int>] = []
        // With the comma behind it as long as nothing stays in front of it, then with the one before.
        var last: Int?
        for (number, element) in elements.enumerated() {
            guard isCut[number] else {
                last = number
                continue
            }
            if let last {
                let start = cuts.last.map { max($0.upperBound, elements[last].range.upperBound) }
                cuts.append((start ?? elements[last].range.upperBound)..<element.range.upperBound)
            } else {
                let isLast = number == elements.count - 1
                let end = isLast ? element.range.upperBound : elements[number + 1].range.lowerBound
                cuts.append(element.range.lowerBound..<end)
            }
        }
        return cuts
    }

    private static func isUnsigned(_ element: JSONSlice, in bytes: UnsafeRawBufferPointer) -> Bool {
        guard element.kind == .object, let members = try? JSONScanner.fields(of: bytes, in: element.range) else {
            return false
        }
        switch members.string("type", in: bytes) {
        case "thinking":
            return members.string("signature", in: bytes).map { $0.isEmpty || isMark($0) } ?? false
        case "reasoning": return members.string("encrypted_content", in: bytes).map(isMark) ?? false
        default: return false
        }
    }
}
