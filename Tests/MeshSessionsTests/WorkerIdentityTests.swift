import MeshModel
import MeshSessions
import Testing

@Suite struct WorkerIdentityTests {
    /// Not a hash, but as different as the texts of these tests.
    static func hash(_ bytes: [UInt8]) -> String {
        let sum = bytes.reduce(UInt64(14_695_981_039_346_656_037)) { ($0 ^ UInt64($1)) &* 1_099_511_628_211 }
        let digits = String(sum, radix: 16)
        return String(repeating: "0", count: 32 - digits.count) + digits
    }

    static func id(_ text: String) -> String? { WorkerIdentity.clientID(presented: text, hash: hash) }

    @Test(arguments: [
        "gpu-1", "ü", "ö", "rig 7 \"left\"", "a\\b", "日本", String(repeating: "x", count: 128), "x~", "é", "e\u{301}",
    ])
    func plainTextsStayWhatTheyAre(text: String) { #expect(Self.id(text)?.utf8.elementsEqual(text.utf8) == true) }

    @Test func differentTextsAreDifferentWorkers() {
        let long = String(repeating: "x", count: 128)
        let texts = [
            long, long + "1", long + "2", "a\nb", "ab", "a\u{202E}b", "a\u{0}b", "\u{1}", "\u{2}", "a\u{FFFD}",
            "a\u{2028}b", String(repeating: "ä", count: 65), String(repeating: "ä", count: 66),
        ]
        let ids = texts.compactMap(Self.id)
        #expect(ids.count == texts.count && Set(ids.map { Array($0.utf8) }).count == texts.count)
        #expect(ids.allSatisfy { $0.utf8.count <= Limits.workerClientIDBytes })
        #expect(ids.allSatisfy { id in !id.unicodeScalars.contains { $0.value < 0x20 || $0 == "\u{202E}" } })
        // Nobody takes a name for the id that was made of another one.
        for id in ids where id.contains("~") { #expect(Self.id(id) != id) }
    }

    @Test func noTextIsNoID() { #expect(Self.id("") == nil) }
}
