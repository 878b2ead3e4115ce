import MeshModel
import Testing

@Suite struct DenseTableTests {
    @Test func itHoldsWhatADictionaryHolds() {
        var random = SeededGenerator(seed: 7)
        var table = DenseTable<Int, Int>()
        var model: [Int: Int] = [:]
        for step in 0..<5_000 {
            let key = Int(random.next() % 64)
            switch random.next() % 3 {
            case 0: #expect(table.remove(key) == model.removeValue(forKey: key))
            case 1:
                table.set(step, for: key)
                model[key] = step
            default:
                table.update(key, from: 0) { $0 += 1 }
                model[key, default: 0] += 1
            }
            #expect(table[key] == model[key])
            #expect(table.count == model.count)
        }
        #expect(Dictionary(uniqueKeysWithValues: zip(table.keys, table.values)) == model)
    }

    @Test func theOrderFollowsFromWhatWasDone() {
        var table = DenseTable<String, Int>()
        for (index, key) in ["a", "b", "c", "d"].enumerated() { table.set(index, for: key) }
        table.remove("b")
        #expect(table.keys == ["a", "d", "c"])
        #expect(table.update("b") { $0 += 1 } == nil)
        table.updateAll { $0 *= 10 }
        #expect(table.values == [0, 30, 20])
    }
}
