/// Why bytes are no frames of a WebSocket that this node takes; the connection is closed (RFC 6455, section 7.4.1).
package enum WebSocketFault: Error, Hashable, Sendable {
    /// What no WebSocket may say.
    case protocolError
    /// A message larger, or in more pieces, than is taken.
    case tooLarge
}

/// The bytes before a frame's payload (RFC 6455, section 5.2).
package struct WebSocketFrameHead: Hashable, Sendable {
    package enum Opcode: UInt8, CaseIterable, Sendable {
        case continuation = 0
        case text = 1
        case binary = 2
        case close = 8
        case ping = 9
        case pong = 10

        /// Never in pieces, and between those of a message.
        package var isControl: Bool { rawValue >= 8 }
    }

    /// The longest one, without a mask.
    package static let maximumBytes = 10
    private static let controlBytes = 125

    package let opcode: Opcode
    /// Whether its message ends with it.
    package let isLast: Bool
    /// Of the payload, bytes.
    package let length: Int
    package let mask: WebSocketMask
    /// Of the head itself.
    package let bytes: Int

    /// - Parameter limit: the longest payload that is taken, bytes.
    /// - Returns: nil when more of it has to come.
    /// - Throws: `WebSocketFault`, as soon as it shows.
    package static func read(
        _ bytes: UnsafeRawBufferPointer, limit: Int
    ) throws(WebSocketFault) -> WebSocketFrameHead? {
        guard bytes.count >= 2 else { return nil }
        let (first, second) = (bytes[0], bytes[1])
        // No extension is agreed on, so nobody may use the bits that are theirs.
        guard first & 0x70 == 0, let opcode = Opcode(rawValue: first & 0x0F) else { throw .protocolError }
        let isLast = first & 0x80 != 0
        let short = Int(second & 0x7F)
        if opcode.isControl, !isLast || short > controlBytes { throw .protocolError }
        let lengthBytes = short < 126 ? 0 : short == 126 ? 2 : 8
        guard bytes.count >= 2 + lengthBytes else { return nil }
        var length = UInt64(short)
        if lengthBytes > 0 {
            length = 0
            for place in 2..<(2 + lengthBytes) { length = length << 8 | UInt64(bytes[place]) }
        }
        guard length <= UInt64(clamping: limit) else { throw .tooLarge }
        var end = 2 + lengthBytes
        var mask = WebSocketMask.none
        // Masks protect proxies on the way from programs in browsers: who sends none is taken as it is.
        if second & 0x80 != 0 {
            guard bytes.count >= end + 4 else { return nil }
            mask = WebSocketMask(
                key: UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: end, as: UInt32.self)))
            end += 4
        }
        return WebSocketFrameHead(opcode: opcode, isLast: isLast, length: Int(length), mask: mask, bytes: end)
    }

    /// How many bytes stand before a payload of `length` bytes that is not masked.
    package static func bytes(before length: Int) -> Int { length < 126 ? 2 : length <= 0xFFFF ? 4 : 10 }

    /// Writes the head of a frame that is not masked, as servers send them.
    /// - Parameter room: at least `bytes(before:)`; nothing is written where it is less.
    /// - Returns: how many bytes were written.
    package static func write(
        _ opcode: Opcode, isLast: Bool = true, length: Int, into room: UnsafeMutableRawBufferPointer
    ) -> Int {
        let count = bytes(before: length)
        guard room.count >= count, length >= 0 else { return 0 }
        room[0] = opcode.rawValue | (isLast ? 0x80 : 0)
        room[1] = count == 2 ? UInt8(truncatingIfNeeded: length) : count == 4 ? 126 : 127
        for place in 2..<count { room[place] = UInt8(truncatingIfNeeded: length >> (8 * (count - 1 - place))) }
        return count
    }
}
