import NIOCore

/// The moment a chunk was sent, written into the chunk: `@` and 19 digits of nanoseconds. Sender and reader are one
/// process, so that they share a clock.
enum Stamp {
    static let digits = 19

    static var now: UInt64 { NIODeadline.now().uptimeNanoseconds }

    static func append(_ value: UInt64, to buffer: inout ByteBuffer) {
        var rest = value
        var text = [UInt8](repeating: 0x30, count: digits)
        for index in stride(from: digits - 1, through: 0, by: -1) {
            text[index] = 0x30 + UInt8(rest % 10)
            rest /= 10
        }
        buffer.writeInteger(UInt8(ascii: "@"))
        buffer.writeBytes(text)
    }

    /// Every stamp in `buffer`; what may be the beginning of one more stays in it.
    static func take(from buffer: inout ByteBuffer) -> [UInt64] {
        var found: [UInt64] = []
        while let at = buffer.readableBytesView.firstIndex(of: UInt8(ascii: "@")) {
            buffer.moveReaderIndex(to: at)
            guard buffer.readableBytes > digits else { return found }
            buffer.moveReaderIndex(forwardBy: 1)
            let value = (buffer.readBytes(length: digits) ?? []).reduce(UInt64(0)) { $0 &* 10 &+ UInt64($1 &- 0x30) }
            found.append(value)
        }
        buffer.clear()
        return found
    }
}
