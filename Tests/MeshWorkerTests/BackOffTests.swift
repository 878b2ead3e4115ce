import MeshWorker
import Testing

@Suite struct BackOffTests {
    @Test func `a busy broker is tried again when it says, jittered, and that is no failure`() {
        var waits: [Int64] = []
        for seed in UInt64(0)..<200 {
            var backOff = BackOff(seed: seed)
            for _ in 0..<10 { waits.append(backOff.next(after: .busy(afterSeconds: 2))) }
            // Nothing was counted: the next failure is the first.
            #expect(backOff.next(after: .lost) <= 1_000)
        }
        #expect(waits.allSatisfy { (2_000...3_000).contains($0) })
        #expect(Set(waits).count > 500)
    }

    @Test func `what a broker asks for is bounded`() {
        var backOff = BackOff(seed: 1)
        #expect((0...1_000).contains(backOff.next(after: .busy(afterSeconds: 0))))
        #expect((0...1_000).contains(backOff.next(after: .busy(afterSeconds: -7))))
        #expect((60_000...90_000).contains(backOff.next(after: .busy(afterSeconds: .max))))
    }

    @Test func `a refusal starts slower than a loss and both double`() {
        var refused = BackOff(seed: 2)
        var lost = BackOff(seed: 2)
        for cap in [4_000, 8_000, 16_000, 32_000, 60_000, 60_000] as [Int64] {
            #expect((cap / 2...cap).contains(refused.next(after: .refused)))
        }
        for cap in [1_000, 2_000, 4_000, 8_000] as [Int64] {
            #expect((cap / 2...cap).contains(lost.next(after: .lost)))
        }
    }
}
