package import NIOCore
package import NIOWebSocket

extension WebSocketFrame {
    /// The payload without its mask (RFC 6455, section 5.3), eight bytes at a time: every byte of every answer goes through
    /// here.
    package var plainData: ByteBuffer {
        guard let key = maskKey else { return data }
        var plain = data
        let pattern = Array(key) + Array(key)
        plain.withUnsafeMutableReadableBytes { bytes in
            let word = pattern.withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) }
            var place = 0
            while place + 8 <= bytes.count {
                let masked = bytes.loadUnaligned(fromByteOffset: place, as: UInt64.self)
                bytes.storeBytes(of: masked ^ word, toByteOffset: place, as: UInt64.self)
                place += 8
            }
            while place < bytes.count {
                bytes[place] ^= pattern[place & 7]
                place += 1
            }
        }
        return plain
    }
}
