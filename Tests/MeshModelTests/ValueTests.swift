import MeshModel
import Testing

@Suite struct ValueTests {
    @Test func fixedBytesKeepOrderAndLength() {
        let low = Bytes16(high: 0, low: 1)
        let high = Bytes16(high: 1, low: 0)
        #expect(low < high)
        #expect(Bytes16(low.bytes) == low)
        #expect(Bytes16(Array(repeating: 0, count: 15)) == nil)
        #expect(Bytes32(Array(repeating: 0, count: 33)) == nil)
        #expect(bytesOfHex(hexText([0, 0xAB, 0xFF])) == [0, 0xAB, 0xFF])
        #expect(bytesOfHex("abc") == nil && bytesOfHex("zz") == nil)
    }

    /// However the bytes lie, and whether or not their type is known.
    @Test func fixedBytesAreReadFromAnyCollection() {
        let bytes = (1...64).map { UInt8($0) }
        let short = Bytes16(high: 0x0203_0405_0607_0809, low: 0x0a0b_0c0d_0e0f_1011)
        func read16(_ bytes: some Collection<UInt8>) -> Bytes16? { Bytes16(bytes) }
        func read32(_ bytes: some Collection<UInt8>) -> Bytes32? { Bytes32(bytes) }
        let long = Bytes32(high: short, low: Bytes16(high: 0x1213_1415_1617_1819, low: 0x1a1b_1c1d_1e1f_2021))
        #expect(read16(bytes[1...16]) == short && read16(Array(bytes[1...16])) == short)
        #expect(read16((2...17).lazy.map { UInt8($0) }) == short)
        #expect(read32(bytes[1...32]) == long && read32((2...33).lazy.map { UInt8($0) }) == long)
        bytes.withUnsafeBytes { raw in
            #expect(read16(raw[1...16]) == short && read32(UnsafeRawBufferPointer(rebasing: raw[1...32])) == long)
        }
        #expect(short.bytes == Array(bytes[1...16]) && long.bytes == Array(bytes[1...32]))
        #expect(PublicKey(bytes[1...32])?.raw == long && RecordKey(Array(bytes[1...16]))?.raw == short)
        for count in [0, 1, 15, 17, 31, 33, 64] {
            let some = bytes.prefix(count)
            #expect(read16(some) == nil && Bytes16(Array(some)) == nil && NetworkID(some) == nil)
            #expect(read32(some) == nil && Bytes32(Array(some)) == nil && PublicKey(Array(some)) == nil)
        }
    }

    /// A collection that holds fewer than it says is read no further than it goes.
    @Test func aCollectionThatMiscountsIsNone() {
        struct Miscounted: Collection {
            let bytes: [UInt8]
            var startIndex: Int { 0 }
            var endIndex: Int { bytes.count }
            var count: Int { 16 }
            func index(after index: Int) -> Int { index + 1 }
            subscript(index: Int) -> UInt8 { bytes[index] }
            func withContiguousStorageIfAvailable<R>(_ body: (UnsafeBufferPointer<UInt8>) throws -> R) rethrows -> R? {
                try bytes.withContiguousStorageIfAvailable(body)
            }
        }
        #expect(Bytes16(Miscounted(bytes: [1, 2, 3])) == nil)
    }

    /// Once each, up to the first that is something: also of what answers otherwise the second time.
    @Test func theFirstResultIsAskedForOnce() {
        var asked: [Int] = []
        let first = (0..<9).firstResult { number -> String? in
            defer { asked.append(number) }
            return number == 3 && !asked.contains(3) ? "found" : nil
        }
        #expect(first == "found" && asked == [0, 1, 2, 3])
        #expect([1, 2].firstResult { _ in nil as Int? } == nil)
        #expect([Int?]([nil, 7, 8]).firstResult(\.self) == 7)
        #expect(throws: CancellationError.self) { try [1].firstResult { _ -> Int? in throw CancellationError() } }
    }

    @Test func textsAreWrittenOneBehindTheOther() {
        let written = [UInt8](size: 40) { text in
            text.put("a ")
            text.put(0x3A, 0x20)
            text.put("")
            text.put("thirty bytes and an ä in them.")
            [UInt8]([1, 2]).withUnsafeBytes { text.put($0) }
            #expect(text.count == 37)
        }
        #expect(written == Array("a : thirty bytes and an ä in them.".utf8) + [1, 2])
        #expect([UInt8](size: 0) { _ in } == [])
    }

    @Test func versionsOrderByEpochThenSequence() {
        let old = RecordVersion(epoch: 1, sequence: 1 << 39)
        let new = RecordVersion(epoch: 2, sequence: 0)
        #expect(old < new)
        #expect(old.epoch == 1 && old.sequence == 1 << 39)
        #expect(RecordVersion.epoch(at: RecordVersion.epochOrigin.advanced(byMilliseconds: 61_000)) == 1)
        #expect(RecordVersion.epoch(at: Timestamp(milliseconds: 0)) == 0)
    }

    @Test func timeSaturates() {
        #expect(Instant(nanoseconds: .max).advanced(byMilliseconds: 1).nanoseconds == .max)
        #expect(Timestamp(milliseconds: .max).advanced(byMilliseconds: 1).milliseconds == .max)
        #expect(Timestamp(milliseconds: .min).advanced(byMilliseconds: -1).milliseconds == .min)
    }

    @Test func theGeneratorIsItsSeed() {
        var one = SeededGenerator(seed: 0)
        // First output of SplitMix64 for seed 0, as in its authors' reference.
        #expect(one.next() == 0xE220_A839_7B1D_CDAF)
        var jitter = SeededGenerator(seed: 9)
        for _ in 0..<1_000 { #expect((80...120).contains(jitter.jittered(100, percent: 20))) }
    }

    @Test(arguments: [("a", true), ("a.b_c-9", true), ("", false), ("A", false), ("-a", false), ("a/b", false)])
    func names(name: String, isValid: Bool) { #expect(NameRule.isValid(name) == isValid) }

    @Test func longNamesAreRefused() {
        #expect(NameRule.isValid(String(repeating: "a", count: 64)))
        #expect(!NameRule.isValid(String(repeating: "a", count: 65)))
    }

    @Test(arguments: ErrorCode.allCases) func everyErrorHasAStatus(code: ErrorCode) {
        #expect((400..<600).contains(code.status))
        #expect(!code.type.isEmpty)
    }
}
