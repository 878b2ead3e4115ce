import MeshModel
import MeshWire

/// Strict base64: what is read is written the same, and the reading agrees with the standard's plain words.
enum Base64Target {
    static func run(_ input: [UInt8]) {
        let decoded = Base64.bytes(input)
        expect(decoded == reference(input), "base64 differs from the plain reading")
        if let decoded { expect(Base64.text(decoded) == input, "two spellings of one value") }
        let text = Base64.text(input)
        expect(Base64.bytes(text) == input, "what is written is not read")
        expect(Base64.bytes(AnyCollection(text)) == input, "collections read differently")
        var appended = Array("x".utf8)
        Base64.append(input, to: &appended)
        expect(appended.dropFirst().elementsEqual(text), "appending writes something else")
    }

    private static func reference(_ text: [UInt8]) -> [UInt8]? {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        guard text.count % 4 == 0 else { return nil }
        var bits: [UInt8] = []
        var pads = 0
        for character in text {
            if character == UInt8(ascii: "=") {
                pads += 1
                continue
            }
            guard pads == 0, let value = alphabet.firstIndex(of: character) else { return nil }
            for bit in (0..<6).reversed() { bits.append(UInt8(value >> bit & 1)) }
        }
        guard pads <= 2 else { return nil }
        let count = bits.count / 8 * 8
        guard bits[count...].allSatisfy({ $0 == 0 }) else { return nil }
        return stride(from: 0, to: count, by: 8).map { start in
            bits[start..<(start + 8)].reduce(0) { $0 << 1 | $1 }
        }
    }
}

/// Whatever the split into reads, the events are the same.
enum EventStreamTarget {
    static func run(_ input: [UInt8]) {
        var reader = InputReader(input)
        let seed = reader.byte()
        let whole = events([Array(reader.rest)])
        expect(events(InputReader.reads(reader.rest, seed: seed)) == whole, "another split gives other events")
        expect(events(reader.rest.map { [$0] }) == whole, "byte by byte gives other events")
        for event in whole { expect(!event.isEmpty, "an event without content") }
        // A second byte order mark is the beginning of the first event, but not when it stands in front again.
        guard whole.first?.starts(with: [0xEF, 0xBB, 0xBF]) != true else { return }
        let joined: [UInt8] = whole.flatMap { event -> [UInt8] in event + [0x0A, 0x0A] }
        expect(events([joined]) == whole, "events written again are read differently")
    }

    private static func events(_ reads: [[UInt8]]) -> [[UInt8]] {
        var reframer = EventStreamReframer()
        var events: [[UInt8]] = []
        for read in reads {
            guard let new = try? reframer.append(read) else {
                expect(false, "inputs here are too short for that")
                return []
            }
            events += new
        }
        return events + (reframer.finish().map { [$0.event] } ?? [])
    }
}

/// The scanner's answer is a JSON value: its slices lie apart and inside, and the tree written again reads the same.
enum JSONTarget {
    static func run(_ input: [UInt8]) {
        input.withUnsafeBytes { bytes in
            guard let slice = try? JSONScanner.value(of: bytes) else {
                expect((try? JSONValue.parse(input)) == nil, "the tree takes what the scanner refuses")
                return
            }
            expect(slice.range.lowerBound >= 0 && slice.range.upperBound <= bytes.count, "a slice outside")
            expect(String(validating: input, as: UTF8.self) != nil, "broken UTF-8 was accepted")
            if slice.kind == .object, let fields = try? JSONScanner.fields(of: bytes) { check(fields, bytes) }
            guard let tree = try? JSONValue.parse(input) else { return }
            let written = tree.bytes
            expect((try? JSONValue.parse(written)) == tree, "a tree written again reads differently")
            if let number = tree.integer { expect(JSONValue.integer(number).integer == number, "a number changed") }
        }
    }

    private static func check(_ fields: [JSONField], _ bytes: UnsafeRawBufferPointer) {
        var end = 0
        for field in fields {
            expect(field.name.range.lowerBound > end, "fields overlap")
            expect(field.value.range.lowerBound > field.name.range.upperBound, "a value before its name")
            end = field.value.range.upperBound
            expect(end < bytes.count, "a value outside")
            let name = JSONText.unescaped(field.name, in: bytes)
            expect(String(validating: name, as: UTF8.self) != nil, "a name that is no text")
            var quoted: [UInt8] = []
            JSONText.appendQuoted(name, to: &quoted)
            let again = quoted.withUnsafeBytes { quoted in
                (try? JSONScanner.value(of: quoted)).map { JSONText.unescaped($0, in: quoted) }
            }
            expect(again == name, "a name quoted again reads differently")
        }
    }
}

/// The parts of a body lie in it, in order; written again they read the same.
enum MultipartTarget {
    static func run(_ input: [UInt8]) {
        var reader = InputReader(input)
        let boundary = Array("Boundary".utf8.prefix(1 + Int(reader.byte()) % 8))
        let body = Array(reader.rest)
        header(body)
        guard let parts = try? MultipartForm.parts(of: body, boundary: boundary) else { return }
        var end = 0
        for part in parts {
            expect(part.range.lowerBound > end && part.range.upperBound <= body.count, "parts overlap")
            end = part.range.upperBound
        }
        let items = parts.filter(isPlain).map {
            MultipartForm.Item(
                name: $0.name, filename: $0.filename, contentType: $0.contentType, bytes: Array(body[$0.range]))
        }
        let own = MultipartForm.boundary(for: items, seed: 1)
        let written = MultipartForm.body(items, boundary: own)
        let again = (try? MultipartForm.parts(of: written, boundary: own))?.map {
            MultipartForm.Item(
                name: $0.name, filename: $0.filename, contentType: $0.contentType, bytes: Array(written[$0.range]))
        }
        expect(again == items, "a form written again reads differently: \(items) \(String(describing: again))")
    }

    /// A tab, and `%22` that is no quote, cannot be written in a name.
    private static func isPlain(_ part: MultipartForm.Part) -> Bool {
        [part.name, part.filename ?? "", part.contentType ?? ""].allSatisfy { text in
            !text.utf8.contains(0x09) && !text.contains("%22")
        }
    }

    private static func header(_ bytes: [UInt8]) {
        let text = String(decoding: bytes.prefix(200), as: UTF8.self)
        guard let boundary = MultipartForm.boundary(contentType: "multipart/form-data; " + text) else { return }
        let quoted = "multipart/form-data; boundary=\"\(String(decoding: boundary, as: UTF8.self))\""
        expect(MultipartForm.boundary(contentType: quoted) == boundary, "a boundary that cannot be quoted")
    }
}

/// Decoded text is text without control characters.
enum PercentTarget {
    static func run(_ input: [UInt8]) {
        let text = String(decoding: input, as: UTF8.self)
        if let decoded = PercentEncoding.decode(text) {
            expect(decoded.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F }, "a control character came through")
        }
        let pairs = PercentEncoding.query(text)
        expect(pairs.count <= 64, "more pairs than the bound")
        for pair in pairs {
            expect((pair.name + pair.value).utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F }, "a control character")
        }
    }
}

/// A path that a worker is asked for can be read in one way only, and never leads to what is not for buyers.
enum PathTarget {
    static func run(_ input: [UInt8]) {
        let lines = input.split(separator: 0x0A, omittingEmptySubsequences: false)
        let text = String(decoding: lines.first ?? [], as: UTF8.self)
        let decoded = text.split(separator: "/", omittingEmptySubsequences: false).compactMap {
            PercentEncoding.decode($0)
        }
        let path = EndpointPath(text)
        expect(path == nil || path?.text == text, "a path that is not its text")
        for path in [path, EndpointPath(segments: decoded)].compactMap({ $0 }) {
            expect(path.text.hasPrefix("/v1/\(path.family.rawValue)"), "a path outside its family")
            expect(EndpointPath(path.text) == path, "a path that is refused the second time")
            let bytes = Array(path.text.utf8)
            expect(bytes.allSatisfy { $0 > 0x20 && $0 < 0x7F && !"%\\;?#\"".utf8.contains($0) }, "\(path)")
            let segments = path.text.split(separator: "/", omittingEmptySubsequences: false).dropFirst()
            expect(segments.allSatisfy { !["", ".", ".."].contains($0) }, "\(path)")
            let endpoints = lines.dropFirst().prefix(64).map { String(decoding: $0, as: UTF8.self) }
            _ = path.isOffered(by: endpoints)
            expect(path.isOffered(by: [path.text]), "a path that does not offer itself")
            expect(!path.isOffered(by: ["v1", "/v1/", "", "/", "*"]), "everything was offered")
        }
    }
}
