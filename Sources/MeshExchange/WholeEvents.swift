import MeshModel
import NIOCore

/// Passes a stream of events on in whole events. The pieces of another node end anywhere, and between half an event and
/// its other half nothing of this node's own may stand: neither a keep-alive nor the error that takes its place.
struct WholeEvents {
    private var rest = ByteBuffer()

    /// Whether half an event waits for its other half.
    var hasRest: Bool { rest.readableBytes > 0 }

    /// Adds the next piece.
    /// - Returns: what ends with an event; nil while there is none. An event longer than any node makes goes on as it is.
    mutating func take(_ piece: ByteBuffer) -> ByteBuffer? {
        let known = max(rest.readableBytes - 3, 0)
        var all = piece
        if rest.readableBytes > 0 {
            rest.writeImmutableBuffer(piece)
            all = rest
        }
        rest = ByteBuffer()
        if let end = all.withUnsafeReadableBytes({ Self.lastEnd($0, after: known) }) {
            let whole = all.readSlice(length: end)
            rest = all
            return whole
        }
        if all.readableBytes > Limits.eventBytes + 64 { return all }
        rest = all
        return nil
    }

    /// Index behind the first blank line that this node wrote.
    static func firstEnd(_ bytes: ByteBuffer) -> Int? {
        let view = bytes.readableBytesView
        var before: UInt8 = 0
        for (index, byte) in view.enumerated() {
            if byte == 0x0A, before == 0x0A { return index + 1 }
            before = byte
        }
        return nil
    }

    /// Index behind the last blank line.
    private static func lastEnd(_ bytes: UnsafeRawBufferPointer, after known: Int) -> Int? {
        var end = bytes.count
        while end >= known + 2 {
            let last = bytes[end - 1]
            let before = bytes[end - 2]
            if last == 0x0A || last == 0x0D {
                if before == last { return end }
                if end >= known + 3, last == 0x0A, before == 0x0D, bytes[end - 3] == 0x0A { return end }
            }
            end -= 1
        }
        return nil
    }
}
