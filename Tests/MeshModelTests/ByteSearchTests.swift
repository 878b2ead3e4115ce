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

    /// Every byte at every place within two words and behind them, beside neighbours that borrow and carry.
    @Test func whatIsPrintableASCII() {
        for length in 0..<20 {
            for place in 0..<max(length, 1) where place < length {
                for byte in UInt8.min...UInt8.max {
                    for neighbour: UInt8 in [0x20, 0x7E] {
                        var bytes = [UInt8](repeating: neighbour, count: length)
                        bytes[place] = byte
                        let isPrintable = (0x20...0x7E).contains(byte)
                        #expect(bytes.withUnsafeBytes { $0.isPrintableASCII } == isPrintable, "\(byte) at \(place)")
                    }
                }
            }
        }
        #expect(UnsafeRawBufferPointer(start: nil, count: 0).isPrintableASCII)
        for (text, isPrintable) in [("", true), ("a b~", true), ("a\tb", false), ("a long text with an ä", false)] {
            #expect(text.isPrintableASCII == isPrintable, "\(text)")
        }
    }

    @Test func whatIsTheSameIsSoToItsLastByte() {
        for length in 0..<20 {
            let bytes = (0..<length).map { UInt8($0) }
            bytes.withUnsafeBytes { mine in
                #expect(mine.isSame(as: mine))
                Array(bytes.dropLast()).withUnsafeBytes { #expect(mine.isSame(as: $0) == (length == 0)) }
                for place in 0..<length {
                    var other = bytes
                    other[place] ^= 0x80
                    other.withUnsafeBytes { #expect(!mine.isSame(as: $0)) }
                }
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
