import MeshModel
package import MeshWire

/// Status and header fields of an answer, as the buyer will see them.
package struct AnswerHead: Hashable, Sendable {
    package var status: Int
    package var contentType: String
    /// Size of the body where it is known before the body.
    package var length: Int?
    /// Other fields that may pass, names in lower case.
    package var fields: [AnswerField]

    package init(status: Int, contentType: String, length: Int? = nil, fields: [AnswerField] = []) {
        self.status = status
        self.contentType = contentType
        self.length = length
        self.fields = fields
    }

    package var isEventStream: Bool { Self.isEventStream(contentType) }

    /// Whether the type says that the body is JSON (RFC 6839, section 3.1, included).
    package var isJSON: Bool {
        let type = contentType.prefix { $0 != ";" && $0 != " " }.lowercased()
        return type == "application/json" || type.hasSuffix("+json")
    }

    /// Whether the type says that the body is a page for a browser.
    package var isPage: Bool {
        let type = contentType.prefix { $0 != ";" && $0 != " " }.lowercased()
        return type == "text/html" || type == "application/xhtml+xml"
    }

    /// Whether the type says that the body is nothing to read: a type that is wrong by mistake is another one.
    package var isMedia: Bool {
        let type = contentType.lowercased()
        return ["image/", "audio/", "video/"].contains { type.hasPrefix($0) }
    }

    package var isText: Bool { contentType.lowercased().hasPrefix("text/") }

    /// The same without `accept-ranges`, for an answer of a worker that may not pass a range on: what it announces is
    /// what its backend could do.
    package func withoutRanges() -> AnswerHead {
        guard status != 206 else { return self }
        var head = self
        head.fields.removeAll { $0.name == "accept-ranges" }
        return head
    }

    package static func isEventStream(_ contentType: String) -> Bool {
        contentType.utf8.count >= 17
            && zip(contentType.utf8, "text/event-stream".utf8).allSatisfy { $0 | 0x20 == $1 || $0 == $1 }
    }
}

package struct AnswerField: Hashable, Sendable {
    package var name: String
    package var value: String

    package init(_ name: String, _ value: String) {
        self.name = name
        self.value = value
    }
}

/// Which of a worker's reply headers a buyer may see. A list of what passes, so that cookies, hop-by-hop fields,
/// lengths and encodings that the node sets itself, and whatever comes next year, do not.
package enum AnswerFieldRule {
    private static let names: Set<String> = [
        "accept-ranges", "content-disposition", "content-language", "content-range", "etag", "last-modified",
        "retry-after", "retry-after-ms", "x-job-id", "x-task-id", "x-progress", "x-seed", "x-should-retry",
    ]

    /// - Parameter name: in lower case. What follows a prefix is checked too: a name goes into the answer as it is.
    package static func passes(_ name: String) -> Bool {
        if names.contains(name) { return true }
        guard name.hasPrefix("openai-") || name.hasPrefix("x-ratelimit-") else { return false }
        return name.utf8.count <= 64
            && name.utf8.allSatisfy { (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) || $0 == 0x2D }
    }

    /// Those of `fields` that pass, each once, at most 32.
    package static func passing(_ fields: some Sequence<(String, String)>) -> [AnswerField] {
        var passed: [AnswerField] = []
        for (name, value) in fields where passed.count < 32 && passes(name) && HeaderRule.isValue(value) {
            if !passed.contains(where: { $0.name == name }) { passed.append(AnswerField(name, value)) }
        }
        return passed
    }

    /// The fields that pass, at most 32.
    package static func fields(of headers: JSONSlice, in bytes: UnsafeRawBufferPointer) -> [AnswerField] {
        guard headers.kind == .object, let members = try? JSONScanner.fields(of: bytes, in: headers.range) else {
            return []
        }
        return passing(
            members.lazy.filter { $0.value.kind == .string }.map { member in
                (
                    String(decoding: JSONText.unescaped(member.name, in: bytes), as: UTF8.self).lowercased(),
                    String(decoding: JSONText.unescaped(member.value, in: bytes), as: UTF8.self)
                )
            })
    }

    /// `content-disposition` for the file name a worker gives (RFC 6266): ASCII without quotes, path separators or
    /// control characters.
    package static func disposition(filename: String) -> AnswerField? {
        let plain = filename.utf8.suffix(128).filter { byte in
            (0x20..<0x7F).contains(byte) && ![0x22, 0x5C, 0x2F].contains(byte)
        }
        guard !plain.isEmpty else { return nil }
        return AnswerField("content-disposition", "attachment; filename=\"\(String(decoding: plain, as: UTF8.self))\"")
    }
}
