package import NIOCore
package import NIOWebSocket

extension WebSocketFrame {
    /// The payload without its mask (RFC 6455, section 5.3), eight bytes at a time: every byte of every answer goes through
    /// here.
    package var plainData: ByteBuffer {
        guard let key = maskKey else { return data }
        var word: UInt64 = 0
        for place in 0..<8 { word |= UInt64(key[place & 3]) << UInt64(8 * place) }
        let count = data.readableBytes
        // What came is part of a buffer that others hold: to change it would copy all of it first.
        var plain = ByteBufferAllocator().buffer(capacity: count)
        data.withUnsafeReadableBytes { masked in
            plain.writeWithUnsafeMutableBytes(minimumWritableBytes: count) { bytes in
                var place = 0
                while place + 8 <= count {
                    let eight = UInt64(littleEndian: masked.loadUnaligned(fromByteOffset: place, as: UInt64.self))
                    bytes.storeBytes(of: (eight ^ word).littleEndian, toByteOffset: place, as: UInt64.self)
                    place += 8
                }
                while place < count {
                    bytes[place] = masked[place] ^ UInt8(truncatingIfNeeded: word >> UInt64(8 * (place & 7)))
                    place += 1
                }
                return count
            }
        }
        return plain
    }
}
