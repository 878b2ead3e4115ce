import MeshModel
import MeshWire
import Testing

@Suite struct MultipartRoundTripTests {
    typealias Item = MultipartForm.Item

    static let items = [
        Item(name: "model", bytes: Array("whisper-1".utf8)),
        Item(
            name: "fi\"le\\", filename: "a \"b\" ä€😀;=.wav", contentType: "audio/wav", bytes: Array(UInt8.min ... .max)),
        Item(name: "", filename: "", bytes: []),
        Item(name: "x", contentType: "text/plain; charset=\"utf-8\"", bytes: Array("\r\n--\r\n--B\r--\r\n\r\n".utf8)),
    ]

    static func read(_ body: [UInt8], _ boundary: [UInt8]) throws(MultipartError) -> [Item] {
        try MultipartForm.parts(of: body, boundary: boundary).map {
            Item(name: $0.name, filename: $0.filename, contentType: $0.contentType, bytes: Array(body[$0.range]))
        }
    }

    @Test func whatIsWrittenIsRead() throws {
        let boundary = MultipartForm.boundary(for: Self.items, seed: 1)
        let type = "multipart/form-data; boundary=\(String(decoding: boundary, as: UTF8.self))"
        #expect(MultipartForm.boundary(contentType: type) == boundary)
        #expect(try Self.read(MultipartForm.body(Self.items, boundary: boundary), boundary) == Self.items)
        #expect(try Self.read(MultipartForm.body([], boundary: boundary), boundary) == [])
    }

    /// A name must not be able to add a header or a part.
    @Test(arguments: ["a\r\nX: y", "a\r\n\r\n--B--", "a\nb", "\0", "\u{7F}", "\"; filename=\"x"])
    func namesCannotBreakOut(name: String) throws {
        let item = Item(name: name, filename: name, contentType: "a/b\r\nX: y", bytes: [1])
        let read = try Self.read(MultipartForm.body([item], boundary: Array("B".utf8)), Array("B".utf8))
        let escaped = String(
            name.unicodeScalars.map {
                $0.value < 0x20 || $0.value == 0x7F ? "%\(hexText([UInt8($0.value)]))" : String($0)
            }
            .joined())
        #expect(read == [Item(name: escaped, filename: escaped, contentType: nil, bytes: [1])])
    }

    @Test func aBoundaryStandsInNoContent() {
        let first = MultipartForm.boundary(for: [], seed: 7)
        for content in [[0x2D, 0x2D] + first, [0x0D, 0x0A, 0x2D, 0x2D] + first + [0x0D, 0x0A]] {
            let second = MultipartForm.boundary(for: [Item(name: "a", bytes: content)], seed: 7)
            #expect(second != first)
        }
        // In the middle of a line it is no boundary.
        #expect(MultipartForm.boundary(for: [Item(name: "a", bytes: [1] + first)], seed: 7) == first)
    }

    /// Cutting a body anywhere leaves a whole form or a refusal, never other fields.
    @Test func everyCutIsRefusedOrTheSame() throws {
        let boundary = Array("Bo".utf8)
        let body = MultipartForm.body(Self.items, boundary: boundary)
        for length in 0..<body.count {
            let read = try? Self.read(Array(body[..<length]), boundary)
            #expect(read == nil || read == Self.items, "cut at \(length)")
            #expect(length >= body.count - 2 || read == nil, "cut at \(length)")
        }
    }

    @Test func theDelimiterIsFoundAtEveryOffset() throws {
        for length in 0..<40 {
            for fill: UInt8 in [0x00, 0x0A, 0x0C, 0x0E, 0x2D, 0x8D, 0xFF] {
                let item = Item(name: "a", bytes: [UInt8](repeating: fill, count: length))
                let body = MultipartForm.body([item, item], boundary: Array("B".utf8))
                #expect(try Self.read(body, Array("B".utf8)) == [item, item])
            }
        }
    }

    /// What is read after any change is within the body, in order and apart; and read again it is the same.
    @Test func changedBodiesNeverLeadOutside() throws {
        var random = SeededGenerator(seed: 2046)
        let boundary = Array("Bo".utf8)
        let body = MultipartForm.body(Self.items, boundary: boundary)
        let grains = ["\r\n", "--Bo", "\r\n--Bo\r\n", "--", "\"", ";", "\\", "%22", ":", "\n", "\0", "name="].map {
            Array($0.utf8)
        }
        var accepted = 0
        for _ in 0..<20_000 {
            var changed = body
            for _ in 0...Int(random.next() % 3) {
                let place = Int(random.next() % UInt64(changed.count))
                switch random.next() % 4 {
                case 0: changed[place] = UInt8(truncatingIfNeeded: random.next())
                case 1: changed.remove(at: place)
                case 2: changed.insert(contentsOf: grains[Int(random.next() % UInt64(grains.count))], at: place)
                default: changed.removeSubrange(place..<min(changed.count, place + Int(random.next() % 9)))
                }
                if changed.isEmpty { changed = [0] }
            }
            guard let parts = try? MultipartForm.parts(of: changed, boundary: boundary) else { continue }
            accepted += 1
            var end = 0
            for part in parts {
                #expect(part.range.lowerBound >= end && part.range.upperBound <= changed.count)
                end = part.range.upperBound
            }
        }
        #expect(accepted > 1_000)
    }

    /// Each would take hours if a byte were looked at once per boundary, header or part before it.
    @Test(
        .timeLimit(.minutes(1)),
        arguments: ["\r", "\r\n", "\r\n--", "\r\n--B", "\r\n--Bo-", "-", "\n", "\r\n-"])
    func hostileContentsAreLinear(grain: String) throws {
        let size = 4 << 20
        let content = Array(String(repeating: grain, count: size / grain.utf8.count).utf8)
        let boundary = Array("Bo-x".utf8)
        let item = Item(name: "a", bytes: content)
        #expect(try Self.read(MultipartForm.body([item], boundary: boundary), boundary) == [item])
        #expect(throws: MultipartError.noBoundary) { try MultipartForm.parts(of: content, boundary: boundary) }
    }

    @Test(.timeLimit(.minutes(1))) func hostileHeadersAreLinear() throws {
        let lines = String(repeating: "a:\r\n", count: Limits.multipartHeaderBytes / 4 - 20)
        let part = "--B\r\n\(lines)Content-Disposition: form-data; name=a\r\n\r\n\r\n"
        let body = Array((String(repeating: part, count: Limits.multipartParts) + "--B--").utf8)
        #expect(try MultipartForm.parts(of: body, boundary: Array("B".utf8)).count == Limits.multipartParts)
    }
}
