/// What the bytes of a client's frame are mixed with (RFC 6455, section 5.3), eight of them at a time: every byte of every
/// answer goes through here.
package struct WebSocketMask: Hashable, Sendable {
    /// The key twice, its first byte lowest.
    private var word: UInt64

    /// A frame that is not masked.
    package static let none = WebSocketMask(word: 0)

    private init(word: UInt64) { self.word = word }

    /// - Parameter key: its four bytes, the first one lowest.
    package init(key: UInt32) { word = UInt64(key) | UInt64(key) << 32 }

    /// The same for the bytes behind the first `count` of a payload.
    package func behind(_ count: Int) -> WebSocketMask {
        let bits = UInt64(8 * (count & 7))
        return bits == 0 ? self : WebSocketMask(word: word >> bits | word << (64 - bits))
    }

    /// Writes what `masked` is without its mask, or the other way round.
    /// - Parameter plain: as long as `masked`; shorter ones get what fits.
    package func unmask(_ masked: UnsafeRawBufferPointer, into plain: UnsafeMutableRawBufferPointer) {
        let count = min(masked.count, plain.count)
        var place = 0
        while place + 8 <= count {
            let eight = UInt64(littleEndian: masked.loadUnaligned(fromByteOffset: place, as: UInt64.self))
            plain.storeBytes(of: (eight ^ word).littleEndian, toByteOffset: place, as: UInt64.self)
            place += 8
        }
        while place < count {
            plain[place] = masked[place] ^ UInt8(truncatingIfNeeded: word >> UInt64(8 * (place & 7)))
            place += 1
        }
    }
}
