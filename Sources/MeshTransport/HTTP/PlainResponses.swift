import MeshModel
import MeshWire
import NIOCore
import NIOHTTP1

/// Frames answers as HTTP/1.1 (RFC 9112, sections 4 to 7): by their length where it is known, else in chunks. Small parts
/// are joined to one buffer, which leaves with `take`; large ones go out as they are.
struct PlainResponses {
    /// What goes out for a part, in order.
    enum Piece {
        case bytes(ByteBuffer)
        case file(FileRegion)
    }

    /// From here on a part's bytes are not worth copying.
    private static let copiedBytes = 4 << 10
    /// What is joined at most.
    private static let joinedBytes = 16 << 10

    private enum Framing {
        /// By its length, or an answer without a body.
        case known
        case chunks
        /// It has no body whatever its parts are.
        case none
    }

    private var framing = Framing.known
    private var joined = ByteBuffer()

    /// What has to leave before the part is all written; the rest is joined.
    mutating func add(_ part: HTTPServerResponsePart, _ allocator: ByteBufferAllocator) -> [Piece] {
        switch part {
        case .head(let head): add(head.status, head.headers.map { HeaderField($0.name, $0.value) }, allocator)
        case .body(let data): return add(data, allocator)
        case .end(let trailers): if case .chunks = framing { end(trailers, allocator) }
        }
        return joined.readableBytes > Self.joinedBytes ? take().map { [.bytes($0)] } ?? [] : []
    }

    /// All that was joined.
    mutating func take() -> ByteBuffer? {
        guard joined.readableBytes > 0 else { return nil }
        defer { joined = ByteBuffer() }
        return joined
    }

    private mutating func room(_ allocator: ByteBufferAllocator) {
        if joined.capacity == 0 { joined = allocator.buffer(capacity: 1_024) }
    }

    /// The head of an answer. Of their own framing its fields say `content-length` only.
    mutating func add(
        _ status: HTTPResponseStatus, _ fields: [HeaderField], _ allocator: ByteBufferAllocator
    ) {
        room(allocator)
        let code = status.code
        // Interim answers have no end of their own.
        if !(100..<200 ~= code) {
            framing =
                code == 204 || code == 304
                ? .none : fields.contains { Self.isSame($0.name, "content-length") } ? .known : .chunks
        }
        if code == 200 {
            joined.writeStaticString("HTTP/1.1 200 OK\r\n")
        } else {
            joined.writeString("HTTP/1.1 \(code) \(status.reasonPhrase)\r\n")
        }
        write(fields)
        if case .chunks = framing { joined.writeStaticString("transfer-encoding: chunked\r\n") }
        joined.writeStaticString("\r\n")
    }

    /// All lines in one piece of the buffer: to ask it for room for each name and value costs more than they do.
    private mutating func write(_ fields: [HeaderField]) {
        var size = 0
        for field in fields { size += field.name.utf8.count + field.value.utf8.count + 4 }
        joined.writeWithUnsafeMutableBytes(minimumWritableBytes: size) { room in
            var writer = TextWriter(room)
            for field in fields {
                if case .none = framing, Self.isSame(field.name, "content-length") { continue }
                if Self.isSame(field.name, "transfer-encoding") { continue }
                writer.line(field.name, field.value)
            }
            return writer.count
        }
    }

    /// - Parameter word: in lower case.
    private static func isSame(_ name: String, _ word: String) -> Bool {
        name.utf8.count == word.utf8.count && (name == word || name.lowercased() == word)
    }

    private mutating func add(_ data: IOData, _ allocator: ByteBufferAllocator) -> [Piece] {
        if case .none = framing { return [] }
        let count = data.readableBytes
        guard count > 0 else { return [] }
        room(allocator)
        if case .chunks = framing {
            joined.writeString(String(count, radix: 16))
            joined.writeStaticString("\r\n")
        }
        var pieces: [Piece] = []
        switch data {
        case .byteBuffer(let bytes) where count <= Self.copiedBytes: joined.writeImmutableBuffer(bytes)
        case .byteBuffer(let bytes): pieces = (take().map { [.bytes($0)] } ?? []) + [.bytes(bytes)]
        case .fileRegion(let region): pieces = (take().map { [.bytes($0)] } ?? []) + [.file(region)]
        }
        if case .chunks = framing {
            room(allocator)
            joined.writeStaticString("\r\n")
        }
        if joined.readableBytes > Self.joinedBytes, let rest = take() { pieces.append(.bytes(rest)) }
        return pieces
    }

    private mutating func end(_ trailers: HTTPHeaders?, _ allocator: ByteBufferAllocator) {
        room(allocator)
        joined.writeStaticString("0\r\n")
        for (name, value) in trailers ?? [:] { joined.writeString("\(name): \(value)\r\n") }
        joined.writeStaticString("\r\n")
    }
}

extension TextWriter {
    fileprivate mutating func line(_ name: String, _ value: String) {
        put(name)
        put(0x3A, 0x20)
        put(value)
        put(0x0D, 0x0A)
    }
}
