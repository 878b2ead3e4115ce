import MeshWire

/// Splits a byte stream where no character is cut, because a WebSocket text frame must be whole UTF-8.
package struct UTF8Carry: Sendable {
    private var carried: [UInt8] = []

    package init() {}

    /// The bytes that may be sent now; an unfinished character at the end waits for the next call. Bytes that can
    /// never be UTF-8 become U+FFFD.
    package mutating func take(_ bytes: some Collection<UInt8>) -> [UInt8] {
        let whole = carried + bytes
        let cut = Self.unfinishedTail(of: whole)
        carried = Array(whole.suffix(cut))
        return Self.repaired(Array(whole.dropLast(cut)))
    }

    package mutating func finish() -> [UInt8] {
        defer { carried = [] }
        return Self.repaired(carried)
    }

    package static func isWellFormed(_ bytes: [UInt8]) -> Bool {
        bytes.withUnsafeBytes { buffer in
            var position = 0
            while position < buffer.count {
                if buffer[position] < 0x80 {
                    position += 1
                    continue
                }
                let length = UTF8Rule.sequenceLength(buffer, at: position, end: buffer.count)
                guard length > 0 else { return false }
                position += length
            }
            return true
        }
    }

    private static func repaired(_ bytes: [UInt8]) -> [UInt8] {
        isWellFormed(bytes) ? bytes : Array(String(decoding: bytes, as: UTF8.self).utf8)
    }

    /// How many bytes at the end begin a character that is not finished: 0 to 3.
    private static func unfinishedTail(of bytes: [UInt8]) -> Int {
        for back in 1...3 where back <= bytes.count {
            let byte = bytes[bytes.count - back]
            if byte & 0xC0 == 0x80 { continue }
            let needed = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC0 ? 2 : 1
            return needed > back ? back : 0
        }
        return 0
    }
}
