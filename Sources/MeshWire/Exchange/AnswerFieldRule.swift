package import MeshModel

extension HeaderField {
    /// Says of an answer that it was given before, to the same request.
    package static let replayed = HeaderField("aisbf-idempotent-replay", "true")
}

/// Which of a worker's reply headers a buyer may see. A list of what passes, so that cookies, hop-by-hop fields,
/// lengths and encodings that the node sets itself, and whatever comes next year, do not.
package enum AnswerFieldRule {
    private static let names: Set<String> = [
        "accept-ranges", HeaderField.replayed.name, "content-disposition", "content-language", "content-range", "etag",
        "last-modified",
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
    package static func passing(_ fields: some Sequence<HeaderField>) -> [HeaderField] {
        var passed: [HeaderField] = []
        for field in fields where passed.count < 32 && passes(field.name) && HeaderRule.isValue(field.value) {
            if !passed.contains(where: { $0.name == field.name }) { passed.append(field) }
        }
        return passed
    }

    /// The fields that pass, at most 32.
    package static func fields(of headers: JSONSlice, in bytes: UnsafeRawBufferPointer) -> [HeaderField] {
        guard headers.kind == .object, let members = try? JSONScanner.fields(of: bytes, in: headers.range) else {
            return []
        }
        return passing(
            members.lazy.filter { $0.value.kind == .string }.map { member in
                HeaderField(
                    JSONText.string(member.name, in: bytes).lowercased(), JSONText.string(member.value, in: bytes))
            })
    }

    /// `content-disposition` for the file name a worker gives (RFC 6266): ASCII without quotes, path separators or
    /// control characters.
    package static func disposition(filename: String) -> HeaderField? {
        let plain = filename.utf8.suffix(128).filter { byte in
            (0x20..<0x7F).contains(byte) && ![0x22, 0x5C, 0x2F].contains(byte)
        }
        guard !plain.isEmpty else { return nil }
        return HeaderField("content-disposition", "attachment; filename=\"\(String(decoding: plain, as: UTF8.self))\"")
    }
}
