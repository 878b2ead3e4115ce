import MeshModel
import MeshWire
import Testing

/// What is read in one pass is what two passes read.
@Suite struct JSONOpeningTests {
    private func opened(_ text: String, _ name: StaticString = "payload") -> (fields: [JSONField], inner: [JSONField]?)?
    {
        Array(text.utf8).withUnsafeBytes { try? JSONScanner.fields(of: $0, opening: name) }
    }

    private func names(_ fields: [JSONField]?, _ text: String) -> [String]? {
        Array(text.utf8).withUnsafeBytes { bytes in fields?.map { JSONText.string($0.name, in: bytes) } }
    }

    @Test(arguments: [
        (#"{"a":1,"payload":{"x":1,"y":[2]},"b":3}"#, ["x", "y"]),
        (#"{"payload":{}}"#, []),
        (#"{"payload":[{"x":{"deep":[1]}},{"z":1}],"b":[]}"#, ["x"]),
        (#"{"payload": [ {"x" : "}]"} , 2 ] }"#, ["x"]),
        (#"{"pay\u006coad":{"x":1}}"#, ["x"]),
        (#"{"payload":{"x":1},"payload":{"y":1}}"#, ["x"]),
        (#"{"payload":[1,{"x":1}]}"#, nil),
        (#"{"payload":[]}"#, nil),
        (#"{"payload":"text","b":1}"#, nil),
        (#"{"payload":null,"payload":{"y":1}}"#, nil),
        (#"{"other":{"payload":{"x":1}}}"#, nil),
        (#"{}"#, nil),
    ])
    func theFirstOfThatNameIsOpened(_ text: String, _ inner: [String]?) throws {
        let found = try #require(opened(text))
        #expect(names(found.inner, text) == inner)
        let plain = Array(text.utf8).withUnsafeBytes { try? JSONScanner.fields(of: $0) }
        #expect(found.fields == plain)
    }

    @Test(arguments: [
        #"{"payload":{"x":1}"#, #"{"payload":{"x":}}"#, #"{"payload":[{"x":1},]}"#, #"{"payload":[{"x":1}}"#,
        #"{"payload":{"x":1},}"#,
        #"{"payload":{"x":1}}x"#, #"{"payload":[{"x":1}"#, #"["payload"]"#, #"{"payload":{"x":"#,
        #"{"payload":{"x" 1}}"#,
    ])
    func whatIsNoJSONIsRefused(_ text: String) {
        #expect(opened(text) == nil)
        #expect(Array(text.utf8).withUnsafeBytes { try? JSONScanner.fields(of: $0) } == nil)
    }

    @Test func everyCutAndEveryByteIsJudgedAlike() {
        let text = #"{"v":1,"payload":[{"a":"b\n","c":[{"d":null}],"e":-1.5e3},{"f":true}],"g":{"h":[]}}"#
        let bytes = Array(text.utf8)
        for end in 0...bytes.count {
            for byte: UInt8 in [0x22, 0x2C, 0x5B, 0x5D, 0x7B, 0x7D, 0x31, 0x00, 0xFF] {
                let changed = end < bytes.count ? bytes[..<end] + [byte] + bytes[(end + 1)...] : bytes[..<end]
                for sample in [Array(bytes[..<end]), Array(changed)] {
                    let one = sample.withUnsafeBytes { try? JSONScanner.fields(of: $0, opening: "payload").fields }
                    let other = sample.withUnsafeBytes { try? JSONScanner.fields(of: $0) }
                    #expect(one == other, "\(String(decoding: sample, as: UTF8.self))")
                }
            }
        }
    }

    @Test func theSameDepthIsTooDeep() {
        for depth in 1...6 {
            for nested in [String(repeating: "[", count: depth), String(repeating: #"{"a":"#, count: depth)] {
                let close = nested.hasPrefix("[") ? "]" : "}"
                let middle = nested.hasPrefix("[") ? "" : "1"
                let text = #"{"payload":"# + nested + middle + String(repeating: close, count: depth) + "}"
                let bytes = Array(text.utf8)
                for deepest in 1...7 {
                    let one = bytes.withUnsafeBytes {
                        try? JSONScanner.fields(of: $0, opening: "payload", depth: deepest).fields
                    }
                    let other = bytes.withUnsafeBytes { try? JSONScanner.fields(of: $0, depth: deepest) }
                    #expect(one == other, "\(text) at \(deepest)")
                }
            }
        }
    }

    @Test func tooManyFieldsInsideAreNotListed() throws {
        let many = (0..<513).map { #""f\#($0)":1"# }.joined(separator: ",")
        let inside = try #require(opened(#"{"payload":{"# + many + "}}"))
        #expect(inside.inner == nil)
        #expect(inside.fields.count == 1)
        #expect(opened("{" + many + "}") == nil)
    }
}

/// Strings are unescaped eight bytes at a time; every escape at every place, against one byte after the other.
@Suite struct JSONUnescapingTests {
    /// As the specification reads (RFC 8259, section 7).
    private func plainly(_ escaped: [UInt8]) -> [UInt8] {
        var units: [UInt16] = []
        var output: [UInt8] = []
        func flush() {
            output += Array(String(decoding: units, as: UTF16.self).utf8)
            units = []
        }
        var place = 0
        while place < escaped.count {
            guard escaped[place] == 0x5C else {
                flush()
                output.append(escaped[place])
                place += 1
                continue
            }
            if escaped[place + 1] == UInt8(ascii: "u") {
                let digits = String(decoding: escaped[(place + 2)..<(place + 6)], as: UTF8.self)
                units.append(UInt16(digits, radix: 16) ?? 0)
                place += 6
            } else {
                flush()
                let named: [UInt8: UInt8] = [0x62: 8, 0x66: 12, 0x6E: 10, 0x72: 13, 0x74: 9]
                output.append(named[escaped[place + 1]] ?? escaped[place + 1])
                place += 2
            }
        }
        flush()
        return output
    }

    @Test func asTheSpecificationReads() throws {
        let parts = [
            "a", "bc", "longer than eight bytes", #"\n"#, #"\""#, #"\\"#, #"\/"#, #"\b\f\r\t"#, #"\u0041"#, #"\u00e9"#,
            #"\u20AC"#,
            #"\ud83d\ude00"#, #"\ud83d"#, #"\ude00"#, #"\ud83d\ud83d\ude00"#, "é", "😀", #"\u0000"#,
        ]
        var random = SeededGenerator(seed: 5)
        for _ in 0..<4_000 {
            let inner = (0..<Int(random.next() % 9)).map { _ in parts[Int(random.next() % UInt64(parts.count))] }
                .joined()
            let text = Array("\"\(inner)\"".utf8)
            let unescaped = try text.withUnsafeBytes { bytes in
                JSONText.unescaped(try JSONScanner.value(of: bytes), in: bytes)
            }
            #expect(unescaped == plainly(Array(inner.utf8)), "\(inner)")
        }
    }

    @Test func quotingAndUnescapingIsNothing() throws {
        var random = SeededGenerator(seed: 6)
        for length in 0..<64 {
            for _ in 0..<40 {
                let text = String(decoding: (0..<length).map { _ in UInt8(random.next() % 128) }, as: UTF8.self)
                let quoted = JSONText.quoted(text)
                let back = try quoted.withUnsafeBytes { bytes in
                    JSONText.string(try JSONScanner.value(of: bytes), in: bytes)
                }
                #expect(back == text)
            }
        }
    }
}
