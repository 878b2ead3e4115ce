import MeshWire
import Testing

@Suite struct BodyKindTests {
    @Test(arguments: [
        (nil, BodyKind.json), ("", .json), ("application/json", .json), ("Application/JSON; charset=utf-8", .json),
        (" application/json", .json), ("application/vnd.api+json", .json), ("text/json", .json),
        ("multipart/form-data; boundary=b", .form), ("Multipart/Form-Data", .form), ("multipart/form-dataX", .form),
        ("application/x-www-form-urlencoded", .urlencoded), ("APPLICATION/x-www-form-urlencoded;a=b", .urlencoded),
        ("audio/wav", .bytes), ("application/jsonl", .bytes), ("text/plain", .bytes), ("multipart/mixed", .bytes),
    ])
    func aTypeSaysWhatItIs(type: String?, kind: BodyKind) { #expect(BodyKind(contentType: type) == kind) }

    @Test(arguments: ["application/x-www-form-urlencoded", "text/plain", "audio/wav", "nonsense", "application/jsonl"])
    func jsonIsJSONUnderAnyType(type: String) {
        for text in [#"{"model":"a"}"#, " \r\n\t{", "\u{FEFF}{}"] {
            #expect(BodyKind(contentType: type, beginning: text.utf8) == .json, "\(text)")
        }
        for unit in [[0x7B, 0], [0, 0x7B], [0xFF, 0xFE, 0x7B, 0], [0xFE, 0xFF, 0, 0x7B], [0, 0, 0, 0x7B]] as [[UInt8]] {
            #expect(BodyKind(contentType: type, beginning: unit) == .json, "\(unit)")
        }
        for text in ["model=a", "[1]", "RIFF{", "   ", "", "\"{\""] {
            #expect(BodyKind(contentType: type, beginning: text.utf8) == BodyKind(contentType: type), "\(text)")
        }
    }

    @Test func aFormIsHeldToItsType() {
        #expect(BodyKind(contentType: "multipart/form-data; boundary=b", beginning: "{".utf8) == .form)
    }

    @Test func spaceAloneDoesNotTell() {
        #expect(BodyKind.beginsAsJSON([0x20, 0x0A]) == nil)
        #expect(BodyKind.beginsAsJSON([0x20, 0x0A, 0x7B]) == true)
        #expect(BodyKind.beginsAsJSON([0xFF, 0xD8, 0x7B]) == false)
    }
}
