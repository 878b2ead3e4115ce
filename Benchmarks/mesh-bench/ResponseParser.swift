import NIOCore

/// The least of HTTP/1.1 that a load generator needs: where one response ends, and its body without framing.
/// It reads only answers of programs this benchmark started itself.
struct ResponseParser {
    enum Event {
        case head(status: Int)
        case body(ByteBuffer)
        case end
    }

    private enum State {
        case head
        case fixed(Int)
        case chunkSize
        case chunk(Int)
        case chunkEnd
        case trailer
    }

    private var state = State.head
    private var buffer = ByteBuffer()

    mutating func feed(_ bytes: ByteBuffer) {
        if buffer.readableBytes == 0 {
            buffer = bytes
        } else {
            buffer.discardReadBytes()
            buffer.writeImmutableBuffer(bytes)
        }
    }

    /// The next event, nil when more bytes are needed.
    mutating func next() -> Event? {
        while true {
            switch state {
            case .head:
                guard let length = Self.headLength(buffer), let head = buffer.readString(length: length) else {
                    return nil
                }
                return headEvent(head)
            case .fixed(0):
                state = .head
                return .end
            case .fixed(let left):
                guard let slice = buffer.readSlice(length: min(left, buffer.readableBytes)), slice.readableBytes > 0
                else { return nil }
                state = .fixed(left - slice.readableBytes)
                return .body(slice)
            case .chunkSize:
                guard let line = readLine() else { return nil }
                let size = Int(line.prefix { $0.isHexDigit }, radix: 16) ?? 0
                state = size == 0 ? .trailer : .chunk(size)
            case .chunk(0): state = .chunkEnd
            case .chunk(let left):
                guard let slice = buffer.readSlice(length: min(left, buffer.readableBytes)), slice.readableBytes > 0
                else { return nil }
                state = .chunk(left - slice.readableBytes)
                return .body(slice)
            case .chunkEnd:
                guard readLine() != nil else { return nil }
                state = .chunkSize
            case .trailer:
                guard let line = readLine() else { return nil }
                guard line.isEmpty else { continue }
                state = .head
                return .end
            }
        }
    }

    private mutating func headEvent(_ head: String) -> Event {
        let lowered = head.lowercased()
        if lowered.contains("transfer-encoding: chunked") {
            state = .chunkSize
        } else {
            state = .fixed(Self.contentLength(lowered))
        }
        return .head(status: Int(head.dropFirst(9).prefix(3)) ?? 0)
    }

    private mutating func readLine() -> String? {
        guard let end = buffer.readableBytesView.firstIndex(of: 0x0A) else { return nil }
        let line = buffer.readString(length: end - buffer.readerIndex + 1) ?? ""
        return line.filter { !$0.isNewline }
    }

    static func contentLength(_ loweredHead: String) -> Int {
        let name = "\ncontent-length:"
        // A CRLF is one Character: lines are found on the bytes.
        let bytes = Array(loweredHead.utf8)
        let wanted = Array(name.utf8)
        guard bytes.count > wanted.count else { return 0 }
        for start in 0..<(bytes.count - wanted.count) where bytes[start] == 0x0A {
            guard bytes[start..<(start + wanted.count)].elementsEqual(wanted) else { continue }
            var value = 0
            for byte in bytes[(start + wanted.count)...] where byte != 0x20 {
                guard (0x30...0x39).contains(byte), value < 1 << 40 else { break }
                value = value * 10 + Int(byte - 0x30)
            }
            return value
        }
        return 0
    }

    /// Bytes up to and with the empty line; nil when it is not there yet.
    static func headLength(_ buffer: ByteBuffer) -> Int? {
        buffer.withUnsafeReadableBytes { bytes in
            guard bytes.count >= 4 else { return nil }
            for index in 0...(bytes.count - 4)
            where bytes[index] == 0x0D && bytes[index + 2] == 0x0D && bytes[index + 1] == 0x0A
                && bytes[index + 3] == 0x0A
            {
                return index + 4
            }
            return nil
        }
    }
}
