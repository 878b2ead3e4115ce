import MeshModel
import Testing

@Suite struct NearNameTests {
    /// The whole table, to compare with.
    private static func reference(_ left: [UInt8], _ right: [UInt8]) -> Int {
        var row = Array(0...right.count)
        for (above, byte) in left.enumerated() {
            var diagonal = row[0]
            row[0] = above + 1
            for (column, other) in right.enumerated() {
                let replaced = diagonal + (byte == other ? 0 : 1)
                diagonal = row[column + 1]
                row[column + 1] = min(replaced, row[column] + 1, row[column + 1] + 1)
            }
        }
        return row[right.count]
    }

    @Test func theBandHoldsWhatTheWholeTableSays() {
        var random = SeededGenerator(seed: 11)
        for _ in 0..<3_000 {
            let left = (0..<Int(random.next() % 14)).map { _ in UInt8(97 + random.next() % 3) }
            let right = (0..<Int(random.next() % 14)).map { _ in UInt8(97 + random.next() % 3) }
            let whole = Self.reference(left, right)
            for limit in -1...15 {
                #expect(
                    NearName.distance(left, right, atMost: limit) == (whole <= limit ? whole : nil),
                    "\(left) \(right) \(limit)")
            }
        }
    }

    @Test(
        arguments: [
            ("debg", "debug"), ("debug", "debug"), ("wran", "warn"), ("xyzzy", nil), ("", nil),
        ] as [(String, String?)])
    func theNearestIsNamed(typed: String, near: String?) {
        #expect(NearName.of(typed, among: ["trace", "debug", "info", "warn", "error"]) == near)
    }
}
