import MeshModel

extension SeededGenerator {
    /// A stream as reads of 1 to 200 bytes.
    mutating func cut(_ stream: [UInt8]) -> [[UInt8]] {
        var reads: [[UInt8]] = []
        var rest = stream[...]
        while !rest.isEmpty {
            let count = Int.random(in: 1...200, using: &self)
            reads.append(Array(rest.prefix(count)))
            rest = rest.dropFirst(count)
        }
        return reads
    }
}
