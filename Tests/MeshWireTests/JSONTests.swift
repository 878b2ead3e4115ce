import Foundation
import MeshModel
import MeshWire
import Testing

@Suite struct JSONTests {
    static func accepts(_ bytes: [UInt8]) -> Bool { bytes.withUnsafeBytes { (try? JSONScanner.value(of: $0)) != nil } }

    @Test(arguments: [
        "null", " true ", "false", "0", "-0", "1.5e+10", "1E-2", "\"\"", "\"\\u00e4\\ud83d\\ude00\"",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
        "[]", "[ ]", "[1,[2]]", "{}", "{ }", "{\"a\":{\"b\":[null]}}", "\t\r\n1", "\"\\ud800\"", "{\"a\":1,\"a\":2}",
        "\"ä€😀\"", "\"\u{7F}\"",
    ])
    func valid(text: String) { #expect(Self.accepts(Array(text.utf8))) }

    @Test(arguments: [
        "", " ", "nul", "truE", "01", "-", "+1", ".5", "1.", "1e", "1e+", "0x1", "NaN", "Infinity", "\"", "\"\\\"",
        "\"\\x\"", "\"\\u12g4\"", "\"\n\"",
        "\"\u{0}\"", "[", "]", "[1", "[1,]", "[,1]", "[1 2]", "{", "{a:1}", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{,}",
        "{1:2}", "1 2", "{}{}", "[]]",
        "'a'", "\u{FEFF}1", "// x\n1",
    ])
    func invalid(text: String) { #expect(!Self.accepts(Array(text.utf8))) }

    @Test(
        arguments: [
            [0x80], [0xC0, 0x80], [0xC1, 0xBF], [0xC3], [0xE0, 0x80, 0x80], [0xED, 0xA0, 0x80],
            [0xF0, 0x80, 0x80, 0x80], [0xF4, 0x90, 0x80, 0x80],
            [0xF5, 0x80, 0x80, 0x80], [0xFF], [0xE2, 0x82], [0xF0, 0x9F, 0x98],
        ] as [[UInt8]])
    func invalidUTF8(bytes: [UInt8]) { #expect(!Self.accepts([0x22] + bytes + [0x22])) }

    @Test func depthIsBounded() {
        func nested(_ depth: Int) -> [UInt8] {
            [UInt8](repeating: 0x5B, count: depth) + [UInt8](repeating: 0x5D, count: depth)
        }
        let depth = Limits.jsonScanDepth
        #expect(Self.accepts(nested(depth)) && !Self.accepts(nested(depth + 1)))
        #expect(!Self.accepts([UInt8](repeating: 0x5B, count: 1_000_000)))
        // A tree is built by recursion.
        #expect((try? JSONValue.parse(nested(Limits.jsonDepth))) != nil)
        #expect((try? JSONValue.parse(nested(Limits.jsonDepth + 1))) == nil)
        let body = Array(#"{"a":"#.utf8) + nested(Limits.jsonDepth - 1) + Array("}".utf8)
        body.withUnsafeBytes { body in
            #expect((try? JSONScanner.fields(of: body, depth: Limits.jsonDepth)) != nil)
            #expect((try? JSONScanner.fields(of: body, depth: Limits.jsonDepth - 1)) == nil)
        }
    }

    /// Around the edges of the words in which the scanner keeps what is open.
    @Test(arguments: [1, 2, 62, 63, 64, 65, 66, 127, 128, 129, 200]) func whatIsOpenIsClosedByItsOwn(depth: Int) {
        var random = SeededGenerator(seed: UInt64(depth))
        for _ in 0..<20 {
            let isObject = (0..<depth).map { _ in random.next() % 2 == 0 }
            let opened = isObject.map { $0 ? #"{"a":"# : "[1," }.joined()
            let closed = isObject.reversed().map { $0 ? "}" : "]" }
            #expect(Self.accepts(Array((opened + "2" + closed.joined()).utf8)))
            for wrong in [0, depth / 2, depth - 1] {
                var other = closed
                other[wrong] = other[wrong] == "}" ? "]" : "}"
                #expect(!Self.accepts(Array((opened + "2" + other.joined()).utf8)))
            }
            #expect(!Self.accepts(Array((opened + "2" + closed.dropLast().joined()).utf8)))
        }
    }

    static let sample = Array(#" {"a":[1,-2.5e3,true,null,"x\u00e4\n\ud83d\ude00ä"],"b":{"c":{}},"id":"q1"} "#.utf8)

    @Test func truncationsAndMutationsAgreeWithTheTree() {
        for count in 0..<Self.sample.count - 1 { #expect(!Self.accepts(Array(Self.sample[..<count]))) }
        var disagreements = 0
        for index in Self.sample.indices {
            for byte in UInt8.min...UInt8.max {
                var bytes = Self.sample
                bytes[index] = byte
                let tree = try? JSONValue.parse(bytes)
                if (tree != nil) != Self.accepts(bytes) { disagreements += 1 }
                if let tree, (try? JSONValue.parse(tree.bytes)) != tree { disagreements += 1 }
            }
        }
        #expect(disagreements == 0)
    }

    @Test func everyScalarRoundTrips() throws {
        for value in stride(from: UInt32(0), to: 0x11_0000, by: 7) {
            guard let scalar = Unicode.Scalar(value) else { continue }
            let text = String(Character(scalar))
            guard try JSONValue.parse(JSONText.quoted(text)) != .string(text) else { continue }
            Issue.record("U+\(String(value, radix: 16))")
        }
    }

    @Test(arguments: [
        (#""\ud800""#, "\u{FFFD}"), (#""\udc00x""#, "\u{FFFD}x"), (#""\ud800\ud800\udc00""#, "\u{FFFD}\u{10000}"),
        (#""\ud83d\n""#, "\u{FFFD}\n"),
        (#""\u0000\/""#, "\u{0}/"),
    ])
    func escapes(text: String, expected: String) throws {
        #expect(try JSONValue.parse(Array(text.utf8)) == .string(expected))
    }

    @Test(
        arguments: [
            ("0", Int64(0)), ("-0", 0), ("-12.9", -12), ("9223372036854775807", .max), ("9223372036854775808", nil),
            ("1e3", nil), ("-0.5", 0),
        ] as [(String, Int64?)])
    func integers(text: String, expected: Int64?) { #expect(JSONValue.number(text).integer == expected) }

    static func document(_ random: inout SeededGenerator, depth: Int) -> JSONValue {
        switch random.next() % (depth > 4 ? 5 : 7) {
        case 0: return .null
        case 1: return .boolean(random.next() % 2 == 0)
        case 2: return .integer(Int64(truncatingIfNeeded: random.next() >> (random.next() % 64)))
        case 3, 4:
            let words = ["", "a", "\"\\", "\n\t\u{1}", "ä€😀", "\u{2028}", "/"]
            return .string((0..<random.next() % 4).map { _ in words[Int(random.next() % 7)] }.joined())
        case 5: return .array((0..<random.next() % 5).map { _ in document(&random, depth: depth + 1) })
        default:
            return .object((0..<random.next() % 5).map { .init("k\($0)", document(&random, depth: depth + 1)) })
        }
    }

    static func matches(_ value: JSONValue, _ other: Any) -> Bool {
        switch value {
        case .null: return other is NSNull
        case .boolean(let flag): return (other as? NSNumber)?.boolValue == flag
        case .number: return (other as? NSNumber)?.int64Value == value.integer
        case .string(let text): return (other as? String).map { $0.utf8.elementsEqual(text.utf8) } ?? false
        case .array(let elements):
            guard let others = other as? [Any], others.count == elements.count else { return false }
            return zip(elements, others).allSatisfy { matches($0, $1) }
        case .object(let members):
            guard let others = other as? [String: Any], others.count == members.count else { return false }
            return members.allSatisfy { member in others[member.name].map { matches(member.value, $0) } ?? false }
        }
    }

    @Test func generatedDocumentsReadAsFoundationReadsThem() throws {
        var random = SeededGenerator(seed: 5)
        for round in 0..<2_000 {
            let value = Self.document(&random, depth: 0)
            let bytes = value.bytes
            #expect(try JSONValue.parse(bytes) == value, "round \(round)")
            let other = try JSONSerialization.jsonObject(with: Data(bytes), options: .fragmentsAllowed)
            #expect(Self.matches(value, other), "round \(round)")
        }
    }
}
