import MeshCrypto
import Testing

@Suite struct RandomPoolTests {
    @Test func nothingIsGivenTwice() {
        let pool = RandomPool()
        var seen: Set<[UInt8]> = []
        // Pages end in the middle of what is asked for, at its end, and are asked for whole.
        for count in Array(repeating: 12, count: 2_000) + [4_096, 4_096, 16, 4_080, 1, 4_096] {
            let bytes = pool.take(count)
            #expect(bytes.count == count)
            if count >= 12 { #expect(seen.insert(Array(bytes.prefix(12))).inserted) }
        }
        #expect(pool.take(0).isEmpty)
    }

    @Test func threadsShareIt() async {
        let pool = RandomPool()
        let all = await withTaskGroup(of: [[UInt8]].self) { group in
            for _ in 0..<8 { group.addTask { (0..<500).map { _ in pool.take(12) } } }
            return await group.reduce(into: Set<[UInt8]>()) { $0.formUnion($1) }
        }
        #expect(all.count == 4_000)
    }
}
