import DequeModule
package import NIOCore

/// Bytes that wait, in the buffers they came in. One buffer that is written to and read from would keep whatever went
/// through it for as long as it never runs empty: a whole file that a slow reader takes.
package struct ByteQueue: Sendable {
    private var buffers = Deque<ByteBuffer>()
    /// Bytes that wait.
    package private(set) var count = 0

    package init(_ bytes: ByteBuffer = ByteBuffer()) { append(bytes) }

    package var isEmpty: Bool { count == 0 }

    package mutating func append(_ bytes: ByteBuffer) {
        guard bytes.readableBytes > 0 else { return }
        count += bytes.readableBytes
        // Thousands of small events are a few buffers.
        if let last = buffers.last, last.readerIndex == 0, last.readableBytes + bytes.readableBytes <= Self.joined {
            var grown = buffers.removeLast()
            grown.writeImmutableBuffer(bytes)
            buffers.append(grown)
        } else if bytes.storageCapacity > 2 * (bytes.readableBytes + Self.joined) {
            // A small part of a large read would hold on to all of it.
            buffers.append(ByteBuffer(bytes: bytes.readableBytesView))
        } else {
            buffers.append(bytes)
        }
    }

    /// The next bytes, at most `limit` of them; nil when there are none.
    package mutating func take(_ limit: Int) -> ByteBuffer? {
        guard limit > 0, var first = buffers.popFirst() else { return nil }
        guard first.readableBytes > limit, let piece = first.readSlice(length: limit) else {
            count -= first.readableBytes
            return first
        }
        count -= limit
        buffers.prepend(first)
        return piece
    }

    package mutating func removeAll() { self = ByteQueue() }

    /// The largest buffer that pieces are joined into: small enough to be copied without anybody noticing, large enough
    /// that what it costs to keep a buffer is nothing beside it.
    private static let joined = 16_384
}
