import MeshModel
import Testing

/// Against the plain search, at every place within eight bytes and behind them.
@Suite struct ByteSearchTests {
    @Test func theFirstOfTwoBytesIsFoundWhereItStands() {
        var random = SeededGenerator(seed: 11)
        for length in 0..<40 {
            for _ in 0..<200 {
                // Few values, so that there is nearly always something to find, and neighbours that borrow.
                let bytes = (0..<length).map { _ in
                    [0x21, 0x22, 0x23, 0x5B, 0x5C, 0x00, 0x80, 0xA2][Int(random.next() % 8)] as UInt8
                }
                let start = length == 0 ? 0 : Int(random.next() % UInt64(length))
                let expected = bytes[start...].firstIndex { $0 == 0x22 || $0 == 0x5C } ?? length
                let found = bytes.withUnsafeBytes { $0.firstIndex(of: 0x22, or: 0x5C, from: start, to: length) }
                #expect(found == expected)
            }
        }
    }

    @Test func aWordIsFoundOnlyWhereItIsWhole() {
        Array("data: x".utf8).withUnsafeBytes { bytes in
            #expect(bytes.begins(with: "data:"))
            #expect(bytes.begins(with: "data: x"))
            #expect(!bytes.begins(with: "data: xy"))
            #expect(bytes.begins(with: "x", at: 6))
            #expect(!bytes.begins(with: "x", at: 7))
            #expect(!bytes.begins(with: "d", at: -1))
            #expect(bytes.begins(with: "", at: 7))
        }
        let none = UnsafeRawBufferPointer(start: nil, count: 0)
        #expect(!none.begins(with: "a"))
        #expect(none.firstIndex(of: 1, or: 2, from: 0, to: 0) == 0)
    }
}
