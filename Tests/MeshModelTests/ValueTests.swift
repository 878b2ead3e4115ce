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
