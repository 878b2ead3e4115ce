import MeshModel

enum RequestID {
    /// Unguessable enough not to collide; it names a request in logs and to support, and authorises nothing.
    static func make(_ generator: inout SeededGenerator) -> String {
        let high = generator.next() as UInt64
        let low = generator.next() as UInt64
        return String(unsafeUninitializedCapacity: 28) { text in
            for (index, byte) in "req_".utf8.enumerated() { text[index] = byte }
            for digit in 0..<24 {
                let word = digit < 16 ? high : low
                let value = UInt8(truncatingIfNeeded: word >> UInt64((digit & 15) * 4)) & 15
                text[4 + digit] = value < 10 ? 0x30 + value : 0x57 + value
            }
            return 28
        }
    }
}
