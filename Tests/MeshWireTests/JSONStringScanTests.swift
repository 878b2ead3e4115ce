import MeshWire
import Testing

/// Strings are scanned eight bytes at a time; what ends a run must be found at every offset within the eight.
@Suite struct JSONStringScanTests {
    private func scan(_ bytes: [UInt8]) -> JSONSlice? {
        bytes.withUnsafeBytes { try? JSONScanner.value(of: $0) }
    }

    private func quoted(_ inner: [UInt8]) -> [UInt8] { [0x22] + inner + [0x22] }

    @Test(arguments: 0..<40)
    func findsWhatEndsARunAtEveryOffset(_ position: Int) {
        let plain = [UInt8](repeating: 0x61, count: 40)
        func with(_ bytes: [UInt8]) -> [UInt8] { Array(plain[..<position]) + bytes + Array(plain[position...]) }

        let whole = scan(quoted(plain))
        #expect(whole?.range == 0..<42)
        #expect(whole?.hasEscapes == false)
        #expect(scan(quoted(with([0x22]))) == nil, "a quote ends the string, and what follows is too much")
        #expect(scan(quoted(with([0x1F]))) == nil, "a control character")
        #expect(scan(quoted(with([0x00]))) == nil, "a zero byte")
        #expect(scan(quoted(with([0xFF]))) == nil, "a byte that is never UTF-8")
        #expect(scan(quoted(with([0x80]))) == nil, "a continuation without a beginning")
        #expect(scan(quoted(with([0xC3, 0xA9])))?.range == 0..<44)
        #expect(scan(quoted(with([0x5C, 0x6E])))?.hasEscapes == true)
        #expect(scan(quoted(with([0x5C, 0x22])))?.range == 0..<44)
        #expect(scan(quoted(with([0x5C]))) == nil || position == 40, "a backslash before an 'a'")
        #expect(scan(quoted(with([0x7F, 0x20, 0x21, 0x23, 0x5B, 0x5D, 0x7E])))?.range == 0..<49)
    }

    @Test(arguments: 0..<24)
    func anUnfinishedStringIsRefused(_ length: Int) {
        #expect(scan([0x22] + [UInt8](repeating: 0x61, count: length)) == nil)
    }

    @Test func everyPairOfBytesIsJudgedAsOneByOne() {
        // The second byte of a pair must be found where the first one's arithmetic borrows.
        for first in UInt8(0x20)..<0x80 where first != 0x22 && first != 0x5C {
            for second in UInt8(0)..<0x80 where second != 0x22 && second != 0x5C {
                let bytes = quoted([0x61, first, second] + [UInt8](repeating: 0x62, count: 9))
                #expect((scan(bytes) != nil) == (second >= 0x20))
            }
        }
    }
}
