import MeshModel
import MeshSessions
import MeshWire
import Testing

@Suite struct BareNumbersTests {
    static func mended(_ text: String) -> String? {
        Array(text.utf8).withUnsafeBytes { BareNumbers.mended($0) }.map(SessionFixtures.text)
    }

    @Test(
        arguments: [
            (#"{"a":NaN}"#, #"{"a":null}"#), (#"[Infinity,-Infinity , NaN]"#, "[null,null , null]"),
            (#"{"NaN":"Infinity","b":NaN}"#, #"{"NaN":"Infinity","b":null}"#),
            (#"{"a\"NaN":"\\","b":NaN}"#, #"{"a\"NaN":"\\","b":null}"#), ("NaN", "null"),
            (#"{"a":"NaN"}"#, nil), (#"{"a":1}"#, nil), ("", nil), ("Na", nil), ("-Infinit", nil), (#"["NaN"#, nil),
            (#"["\"#, nil), (#"NaN"\"#, #"null"\"#),
        ] as [(String, String?)])
    func words(text: String, expected: String?) { #expect(Self.mended(text) == expected) }

    /// What was wrong otherwise stays wrong.
    @Test(arguments: [
        "[1NaN]", "[NaN1]", "{NaN:1}", "[nan]", "[NaNNaN]", "[+Infinity]", "[-NaN]", #"[NaN"]"#, "[NaN,]",
    ])
    func nothingElseIsMended(text: String) { #expect(BareNumbers.parse(Array(text.utf8)) == nil) }

    @Test func theTextIsBounded() {
        let text = "[" + String(repeating: " ", count: Limits.workerRegisterBytes - 5) + "NaN]"
        #expect(Self.mended(text)?.utf8.count == text.utf8.count + 1)
        #expect(Self.mended(text + " ") == nil)
        let many = String(repeating: "NaN", count: Limits.workerRegisterBytes / 3)
        #expect(Self.mended(many)?.utf8.count == many.utf8.count / 3 * 4)
    }

    @Test func tenThousandMutationsDoNotTrap() {
        var random = SeededGenerator(seed: 7)
        let pieces = ["NaN", "Infinity", "-", "\"", "\\", "{", "N", "Na", "\u{e4}", ",", "Infinit"]
        for _ in 0..<10_000 {
            let text = (0..<random.next() % 12).map { _ in pieces[Int(random.next() % UInt64(pieces.count))] }.joined()
            if let mended = Self.mended(text) { #expect(mended.utf8.count <= text.utf8.count * 2) }
        }
    }
}
