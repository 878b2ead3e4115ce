package import MeshModel
package import MeshWire

/// Reads what is known of a prompt from the bytes of a request: in one pass over its messages, in whichever of the dialects
/// they are, and without building anything. Only for requests for which somebody asks.
package struct PromptReading {
    private let bytes: UnsafeRawBufferPointer
    private var estimate = TokenEstimate()
    private var facts = PromptFacts()
    /// What is wished of the pictures; `low` costs little.
    private var lowPictures: Int64 = 0
    private var knownPictures: Int64 = 0

    /// - Parameter fields: of the request's outermost object, as scanned in `bytes`.
    package static func facts(_ fields: [JSONField], in bytes: UnsafeRawBufferPointer) -> PromptFacts {
        var reading = PromptReading(bytes: bytes)
        for field in fields { reading.read(field) }
        return reading.finished()
    }

    private init(bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    private mutating func read(_ field: JSONField) {
        // A name with escapes is one of those that nobody asks for.
        guard !field.name.hasEscapes else { return }
        let name = String(decoding: bytes[field.name.range.dropFirst().dropLast()], as: UTF8.self)
        switch name {
        case "messages", "input", "prompt", "system", "instructions":
            walk(field.value.range)
            estimate.breakOff()
        case "tools", "functions", "response_format", "text":
            // As JSON: how a model's template writes them, nobody knows.
            estimate.add(bytes, field.value.range)
            estimate.breakOff()
        case "max_tokens", "max_completion_tokens", "max_output_tokens":
            guard field.value.kind == .number else { break }
            let most = JSONValue.integer(ofNumberText: bytes[field.value.range]) ?? 0
            if most > 0 { facts.longestAnswer = max(facts.longestAnswer ?? 0, most) }
        default: break
        }
        guard field.value.kind != .null else { return }
        if let parameter = RequestParameter(rawValue: name) { facts.parameters.insert(parameter) }
        if name == "response_format", asksForSchema(field.value) { facts.parameters.insert(.structuredOutputs) }
    }

    private func asksForSchema(_ value: JSONSlice) -> Bool {
        guard value.kind == .object, let members = try? JSONScanner.fields(of: bytes, in: value.range) else {
            return false
        }
        return members.string("type", in: bytes) == "json_schema"
    }

    private mutating func finished() -> PromptFacts {
        let flat = max(facts.images - lowPictures - knownPictures, 0)
        estimate.add(tokens: lowPictures * Self.lowPicture + flat * Self.flatPicture)
        facts.tokens = estimate.tokens
        return facts
    }

    // MARK: One pass

    /// What a member's text is.
    private enum Member {
        case text
        case type
        case detail
        /// Where a picture, a sound or a file stands, or its bytes.
        case source
        /// Names and marks that no model reads.
        case silent
    }

    /// What a message adds beside its text, and a picture: whose size is known, at a dot for 750 of its own; else flat.
    private static let message: Int64 = 4
    private static let lowPicture: Int64 = 85
    private static let flatPicture: Int64 = 1_000
    private static let picture: ClosedRange<Int64> = 85...1_600

    /// The values in `range`, which was validated before: texts count, each object in a list of messages adds to them.
    private mutating func walk(_ range: Range<Int>) {
        var position = range.lowerBound
        var depth = 0
        var member = Member.text
        while position < range.upperBound {
            switch bytes[position] {
            case UInt8(ascii: "{"):
                if depth == 1 { estimate.add(tokens: Self.message) }
                depth += 1
                position += 1
            case UInt8(ascii: "["):
                depth += 1
                position += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                depth -= 1
                position += 1
            case UInt8(ascii: "\""):
                let text = position + 1..<end(ofStringAt: position, before: range.upperBound)
                position = min(text.upperBound + 1, range.upperBound)
                if isName(behind: position, before: range.upperBound) {
                    member = self.member(text)
                } else {
                    read(text, as: member)
                }
            default: position += 1
            }
        }
    }

    /// Where the closing quote is.
    private func end(ofStringAt start: Int, before end: Int) -> Int {
        var position = start + 1
        while position < end {
            let byte = bytes[position]
            if byte == UInt8(ascii: "\"") { return position }
            position += byte == UInt8(ascii: "\\") ? 2 : 1
        }
        return end
    }

    private func isName(behind start: Int, before end: Int) -> Bool {
        var position = start
        while position < end, [0x20, 0x09, 0x0A, 0x0D].contains(bytes[position]) { position += 1 }
        return position < end && bytes[position] == UInt8(ascii: ":")
    }

    private func member(_ name: Range<Int>) -> Member {
        if equals(name, "type") { return .type }
        if equals(name, "detail") { return .detail }
        for source in ["url", "data", "image_url", "file_data", "file_url", "b64_json"] as [StaticString]
        where equals(name, source) {
            return .source
        }
        for silent in [
            "role", "id", "tool_call_id", "tool_use_id", "call_id", "file_id", "media_type", "format", "signature",
            "encrypted_content", "filename",
        ] as [StaticString] where equals(name, silent) {
            return .silent
        }
        return .text
    }

    private mutating func read(_ text: Range<Int>, as member: Member) {
        switch member {
        case .text:
            if starts(text, with: "data:") { return }
            estimate.addEscaped(bytes, text)
            estimate.breakOff()
        case .type: readType(text)
        case .detail: if equals(text, "low") { lowPictures += 1 }
        case .source: readPicture(text)
        case .silent: break
        }
    }

    private mutating func readType(_ text: Range<Int>) {
        let kinds: [(StaticString, Modalities)] = [
            ("image_url", .image), ("input_image", .image), ("image", .image), ("input_audio", .audio),
            ("audio", .audio), ("input_file", .file), ("file", .file), ("document", .file), ("video_url", .video),
            ("input_video", .video), ("video", .video),
        ]
        for (name, modality) in kinds where equals(text, name) {
            facts.modalities.insert(modality)
            if modality == .image { facts.images += 1 }
        }
    }

    /// A PNG tells its size in its first bytes; what it is told by is not looked at.
    private mutating func readPicture(_ text: Range<Int>) {
        var start = text.lowerBound
        let comma = text.prefix(64).first { bytes[$0] == UInt8(ascii: ",") }
        if starts(text, with: "data:"), let comma { start = comma + 1 }
        guard text.upperBound - start >= 32, starts(start..<text.upperBound, with: "iVBORw0KGgo") else { return }
        guard let head = Base64.bytes(bytes[start..<start + 32]), head.count == 24 else { return }
        let (width, height) = (Int64(bigEndian: head[16..<20]), Int64(bigEndian: head[20..<24]))
        guard width > 0, height > 0, width < 1 << 20, height < 1 << 20 else { return }
        knownPictures += 1
        estimate.add(tokens: min(max(width * height / 750, Self.picture.lowerBound), Self.picture.upperBound))
    }

    private func equals(_ range: Range<Int>, _ name: StaticString) -> Bool {
        range.count == name.utf8CodeUnitCount && starts(range, with: name)
    }

    private func starts(_ range: Range<Int>, with name: StaticString) -> Bool {
        guard range.count >= name.utf8CodeUnitCount else { return false }
        for offset in 0..<name.utf8CodeUnitCount where bytes[range.lowerBound + offset] != name.utf8Start[offset] {
            return false
        }
        return true
    }
}
