import MeshCrypto
import Testing

@Suite struct RandomPoolTests {
    /// No eight bytes in a row come again, wherever they stand.
    @Test func nothingIsGivenTwice() {
        let pool = RandomPool()
        var all: [UInt8] = []
        // Pages end in the middle of what is asked for, at its end, and are asked for whole.
        for count in Array(repeating: 12, count: 800) + [4_096, 4_096, 16, 4_080, 1, 4_096, 0, 4_095, 1] {
            let bytes = pool.take(count)
            #expect(bytes.count == count)
            all += bytes
        }
        let windows = Set((0...(all.count - 8)).map { all[$0..<($0 + 8)] })
        #expect(windows.count == all.count - 7)
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
