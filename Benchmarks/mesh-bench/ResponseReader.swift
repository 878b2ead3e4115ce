import NIOCore

/// Reads HTTP/1.1 responses from a byte stream: content-length or chunked bodies.
struct ResponseReader {
    enum Event {
        case needsMore
        case body(ByteBuffer)
        case end(status: Int)
        case failed(String)
    }

    private enum State {
        case head
        case length(Int)
        case chunkSize
        case chunk(Int)
        case trailer
    }

    private var state = State.head
    private var status = 0
    private var pending = ByteBuffer()

    mutating func feed(_ bytes: inout ByteBuffer) {
        if pending.readableBytes == 0 {
            pending = bytes
        } else {
            pending.writeBuffer(&bytes)
        }
    }

    mutating func next() -> Event {
        while true {
            switch state {
            case .head:
                guard let event = readHead() else { return .needsMore }
                if case .failed = event { return event }
            case .length(0):
                state = .head
                return .end(status: status)
            case .length(let left):
                guard let part = take(upTo: left) else { return .needsMore }
                state = .length(left - part.readableBytes)
                return .body(part)
            case .chunkSize:
                guard let line = takeLine() else { return .needsMore }
                guard let size = Int(line.split(separator: ";").first ?? "", radix: 16) else {
                    return .failed("chunk size \(line)")
                }
                state = size == 0 ? .trailer : .chunk(size)
            case .chunk(0):
                guard takeLine() != nil else { return .needsMore }
                state = .chunkSize
            case .chunk(let left):
                guard let part = take(upTo: left) else { return .needsMore }
                state = .chunk(left - part.readableBytes)
                return .body(part)
            case .trailer:
                guard let line = takeLine() else { return .needsMore }
                if line.isEmpty {
                    state = .head
                    return .end(status: status)
                }
            }
        }
    }

    private mutating func readHead() -> Event? {
        let head: (end: Int, status: Int, length: Int?)? = pending.withUnsafeReadableBytes { bytes in
            guard let end = bytes.offset(of: Payloads.headEnd) else { return nil }
            return (end + 4, Int(bytes.number(at: 9)), bytes.headerNumber("content-length: ", end: end))
        }
        guard let head else { return nil }
        pending.moveReaderIndex(forwardBy: head.end)
        status = head.status
        guard status >= 200 else { return .failed("status \(status)") }
        state = head.length.map { .length($0) } ?? .chunkSize
        return .needsMore
    }

    private mutating func take(upTo limit: Int) -> ByteBuffer? {
        guard pending.readableBytes > 0 else { return nil }
        return pending.readSlice(length: min(limit, pending.readableBytes))
    }

    private mutating func takeLine() -> String? {
        let end = pending.withUnsafeReadableBytes { $0.offset(of: [13, 10]) }
        guard let end, let line = pending.readString(length: end) else { return nil }
        pending.moveReaderIndex(forwardBy: 2)
        return line
    }
}
