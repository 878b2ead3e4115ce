import MeshModel
import MeshWire
import Testing

@Suite struct MultipartScannerTests {
    typealias Event = MultipartScanner.Event

    private static func form(_ parts: [(headers: String, content: String)], boundary: String = "Bo") -> [UInt8] {
        let text = parts.map { "--\(boundary)\r\n\($0.headers)\r\n\r\n\($0.content)\r\n" }.joined()
        return Array((text + "--\(boundary)--\r\n").utf8)
    }

    private static func field(_ name: String) -> String { "content-disposition: form-data; name=\"\(name)\"" }
    private static func file(_ name: String) -> String { field("file") + "; filename=\"\(name)\"" }

    static let body = form([
        (field("model"), "whisper-1"), (field("prompt"), ""),
        (file("a.wav"), "\r\n--B\r--Bo\n\r\n-\r\n--B" + String(repeating: "x\r\n--", count: 40)),
        (field("stream"), "true"),
    ])

    private static func scan(_ pieces: [ArraySlice<UInt8>], boundary: [UInt8] = Array("Bo".utf8)) throws -> [Event] {
        var scanner = try MultipartScanner(boundary: boundary, watching: ["model", "stream"])
        var events: [Event] = []
        for piece in pieces { events += try piece.withUnsafeBytes { try scanner.feed($0) } }
        try scanner.finish()
        return events
    }

    private static func pieces(_ body: [UInt8], of size: Int) -> [ArraySlice<UInt8>] {
        stride(from: 0, to: body.count, by: size).map { body[$0..<min($0 + size, body.count)] }
    }

    @Test(arguments: 1..<64) func anySplitGivesTheSame(size: Int) throws {
        let parts = try MultipartForm.parts(of: Self.body, boundary: Array("Bo".utf8))
        let events = try Self.scan(Self.pieces(Self.body, of: size))
        #expect(
            events == [
                .field(name: "model", value: Array("whisper-1".utf8), range: parts[0].range),
                .field(name: "prompt", value: nil, range: parts[1].range),
                .fileBegan(name: "file", filename: "a.wav"),
                .fileEnded(name: "file", filename: "a.wav", range: parts[2].range),
                .field(name: "stream", value: Array("true".utf8), range: parts[3].range),
            ])
    }

    /// Random forms, cut at random places: the same parts at the same places as the reader of whole forms finds.
    @Test(arguments: 0..<200) func randomFormsAreReadAlike(seed: Int) throws {
        var dice = SeededGenerator(seed: UInt64(seed))
        let alphabet = Array("\r\n--Bo\r\n-B ox".utf8)
        let items = (0..<Int.random(in: 1...6, using: &dice)).map { index in
            MultipartForm.Item(
                name: ["model", "n\(index)"].randomElement(using: &dice) ?? "",
                filename: Bool.random(using: &dice) ? "f" : nil,
                bytes: (0..<Int.random(in: 0...90, using: &dice)).map { _ in alphabet.randomElement(using: &dice) ?? 0 }
            )
        }
        let boundary = MultipartForm.boundary(for: items, seed: UInt64(seed))
        let body = MultipartForm.body(items, boundary: boundary)
        let parts = try MultipartForm.parts(of: body, boundary: boundary)
        var pieces: [ArraySlice<UInt8>] = []
        var start = 0
        while start < body.count {
            let end = min(start + Int.random(in: 1...40, using: &dice), body.count)
            pieces.append(body[start..<end])
            start = end
        }
        let ranges = try Self.scan(pieces, boundary: boundary).compactMap { event -> Range<Int>? in
            switch event {
            case .field(_, _, let range), .fileEnded(_, _, let range): range
            case .fileBegan: nil
            }
        }
        #expect(ranges == parts.map(\.range))
    }

    private static let opened = "--Bo\r\n" + field("a") + "\r\n\r\n"
    private static let spaces = String(repeating: " ", count: 300)
    private static let longHeader = "--Bo\r\nx: " + String(repeating: "y", count: 9_000)
    private static let longModel =
        "--Bo\r\n" + field("model") + "\r\n\r\n" + String(repeating: "m", count: 5_000) + "\r\n--Bo--"
    private static let manyParts = String(repeating: opened + "1\r\n", count: 257) + "--Bo--\r\n"

    static let refused: [(text: String, error: MultipartError)] = [
        ("", .noBoundary), ("preamble\r\n--Bo\r\n", .noBoundary), ("--Bo", .notClosed),
        ("--Bo--x", .badBoundaryLine), ("--Bo--\r\nmore", .trailingBytes), ("--Bo--\r\n\r\n--Bo\r\n", .trailingBytes),
        ("--Bo\r\n\r\nx\r\n--Bo--", .noDisposition), ("--Bo\nx", .bareLineFeed), (opened + "x", .notClosed),
        (opened + "x\r\n--Bo\r\n", .notClosed), ("--Bo" + spaces + "\r\n", .badBoundaryLine),
        (longHeader, .headersTooLong), (longModel, .fieldTooLong), (manyParts, .tooManyParts),
    ]

    @Test(arguments: refused)
    func refusesWhatCouldBeReadInTwoWays(text: String, error: MultipartError) {
        for size in [1, 7, 100_000] {
            #expect(throws: error, "in pieces of \(size)") { try Self.scan(Self.pieces(Array(text.utf8), of: size)) }
        }
    }

    @Test func aFieldIsBoundedAndAFileIsNot() throws {
        var scanner = try MultipartScanner(boundary: Array("Bo".utf8), watching: [])
        let block = [UInt8](repeating: 0x2D, count: 1 << 20)
        func feed(_ text: String) throws { _ = try Array(text.utf8).withUnsafeBytes { try scanner.feed($0) } }
        try feed("--Bo\r\n\(Self.file("f"))\r\n\r\n")
        for _ in 0..<8 { _ = try block.withUnsafeBytes { try scanner.feed($0) } }
        try feed("\r\n--Bo\r\n\(Self.field("a"))\r\n\r\n")
        #expect(throws: MultipartError.fieldTooLong) {
            for _ in 0..<2 { _ = try block.withUnsafeBytes { try scanner.feed($0) } }
        }
    }

    /// Whatever comes, nothing traps, and what is refused byte by byte is refused whole.
    @Test(arguments: 0..<300) func mutatedFormsAreReadAlikeOrRefused(seed: Int) {
        var dice = SeededGenerator(seed: UInt64(seed))
        var body = Self.body
        for _ in 0..<Int.random(in: 1...4, using: &dice) {
            let at = Int.random(in: 0..<body.count, using: &dice)
            switch Int.random(in: 0..<3, using: &dice) {
            case 0: body[at] = UInt8.random(in: 0...255, using: &dice)
            case 1: body.remove(at: at)
            default: body.insert(contentsOf: Array("\r\n--Bo".utf8), at: at)
            }
        }
        let whole = try? Self.scan([body[...]])
        let bytes = try? Self.scan(Self.pieces(body, of: 1))
        #expect(whole == bytes)
    }
}
