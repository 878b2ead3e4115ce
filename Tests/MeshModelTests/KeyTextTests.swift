import MeshModel
import Testing

@Suite struct KeyTextTests {
    @Test(arguments: KeyText.allCases) func comesBack(kind: KeyText) {
        let payload = (0..<kind.payloadLength).map { UInt8($0 &* 7 & 0xFF) }
        let text = kind.text(payload)
        #expect(text.hasPrefix(kind.rawValue))
        #expect(kind.parse(text) == .success(payload))
    }

    @Test(arguments: KeyText.allCases) func anyChangedCharacterIsNoticed(kind: KeyText) {
        let text = Array(kind.text(Array(repeating: 5, count: kind.payloadLength)))
        for index in kind.rawValue.count..<text.count {
            var changed = text
            changed[index] = changed[index] == "a" ? "b" : "a"
            #expect(kind.parse(String(changed)) == .failure(.damaged))
        }
        #expect(kind.parse(String(text.dropLast())) == .failure(.damaged))
    }

    @Test func anotherKindIsNamed() {
        let text = KeyText.registrationToken.text(Array(repeating: 1, count: 32))
        #expect(KeyText.node.parse(text) == .failure(.otherKind(.registrationToken)))
        #expect(KeyText.node.parse("hello") == .failure(.unknownPrefix))
        #expect(KeyText.ParseError.damaged.message(expected: .apiKey).contains("checksum"))
    }

    @Test func base32MatchesRFC4648() {
        #expect(Base32.text(Array("foobar".utf8)) == "mzxw6ytboi")
        #expect(Base32.bytes("mzxw6ytboi".utf8) == Array("foobar".utf8))
        #expect(CRC32.checksum(Array("123456789".utf8)) == 0xCBF4_3926)
    }
}
