import MeshModel
import Testing

@Suite struct Base64Tests {
    /// RFC 4648 section 10, and the two characters that differ between alphabets.
    static let pairs: [(bytes: [UInt8], text: String)] = [
        ([], ""), (Array("f".utf8), "Zg=="), (Array("fo".utf8), "Zm8="), (Array("foo".utf8), "Zm9v"),
        (Array("foob".utf8), "Zm9vYg=="), (Array("fooba".utf8), "Zm9vYmE="), (Array("foobar".utf8), "Zm9vYmFy"),
        ([0xFB, 0xFF, 0xBF], "+/+/"), ([0, 0, 0, 0], "AAAAAA=="), ([0xFF, 0xFF], "//8="),
    ]

    @Test(arguments: pairs) func published(bytes: [UInt8], text: String) {
        #expect(Base64.text(bytes) == Array(text.utf8))
        #expect(Base64.bytes(text.utf8) == bytes)
        var output = Array("x".utf8)
        Base64.append(bytes, to: &output)
        #expect(output == Array("x".utf8) + Array(text.utf8))
    }

    @Test(arguments: [
        "Z", "Zg", "Zg=", "Zg===", "Z===", "====", "=", "==", "=Zg=", "Zg==Zg==", "Zh==", "Zm9=", "Zm8=\n", "Zm 8",
        "Zm-_",
        "Zm9v\n\n\n\n", "Zm9v=AAA", "Zm\u{E9}9", "Zg=A", "\0\0\0\0", "Zm9v!AAA", "AAA\u{7F}",
    ])
    func otherSpellingsAreRefused(text: String) {
        #expect(Base64.bytes(text.utf8) == nil)
        #expect(Base64.bytes(AnyCollection(Array(text.utf8))) == nil)
    }

    @Test func everyByteInEveryPlaceIsACharacterOrRefused() {
        let characters = Set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        for place in 0..<4 {
            for byte in UInt8.min ... .max {
                var text = Array("AAAABBBBAAAA".utf8)
                text[4 + place] = byte
                #expect((Base64.bytes(text) != nil) == characters.contains(byte))
            }
        }
    }

    @Test func anyLengthComesBack() {
        var random = SeededGenerator(seed: 64)
        for length in Array(0..<200) + [3_071, 3_072, 3_073, 3_074, 6_144, 10_000] {
            let bytes = (0..<length).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            let text = Base64.text(bytes)
            #expect(text.count == (length + 2) / 3 * 4)
            #expect(Base64.bytes(text) == bytes)
            #expect(Base64.bytes(text[...]) == bytes)
            #expect(Base64.bytes(AnyCollection(text)) == bytes)
            var appended: [UInt8] = []
            Base64.append(bytes, to: &appended)
            #expect(appended == text)
        }
    }

    /// Padding that hides bits would give one value several spellings.
    @Test func onlyTheSpellingThatIsWrittenIsRead() {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        for last in alphabet {
            for text in [[0x41, last, 0x3D, 0x3D], [0x41, 0x41, last, 0x3D]] {
                guard let bytes = Base64.bytes(text) else { continue }
                #expect(Base64.text(bytes) == text)
            }
        }
    }

    /// A quadratic reading would take hours here.
    @Test(.timeLimit(.minutes(1))) func aWholeFrameIsLinear() {
        let bytes = [UInt8](repeating: 0xA5, count: Limits.workerFrameBytes / 4 * 3)
        let text = Base64.text(bytes)
        #expect(text.count == Limits.workerFrameBytes)
        #expect(Base64.bytes(text) == bytes)
    }
}
