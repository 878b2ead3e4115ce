import MeshModel
package import MeshWire
package import NIOCore

/// What comes on a WebSocket, as whole messages without their masks. Holds one message at most, and of what follows it what
/// came with it.
package struct WebSocketReader {
    package struct Message: Hashable, Sendable {
        /// Never `continuation`.
        package let opcode: WebSocketFrameHead.Opcode
        package let data: ByteBuffer
    }

    private var cutter: WebSocketCutter
    private var held = ByteBuffer()
    /// What came of the message under way.
    private var begun = ByteBuffer()

    package init(limit: Int = Limits.workerFrameBytes, fragments: Int = Limits.workerFragments) {
        cutter = WebSocketCutter(limit: limit, fragments: fragments)
    }

    /// Bytes that came and are part of no message yet.
    var heldBytes: Int { held.readableBytes }

    package mutating func append(_ bytes: ByteBuffer) {
        if held.readableBytes == 0 { held = bytes } else { held.writeImmutableBuffer(bytes) }
    }

    /// The next whole message; nil when more has to come.
    package mutating func next() throws(WebSocketFault) -> Message? {
        while held.readableBytes > 0 {
            let came = held
            let cut = came.withUnsafeReadableBytes { bytes in
                Result { () throws(WebSocketFault) in try cutter.next(in: bytes) }
            }
            guard let (piece, used) = try cut.get() else { return nil }
            held.moveReaderIndex(forwardBy: used)
            if let message = take(piece, of: came) { return message }
        }
        // What was read from the socket is not held on to.
        held = ByteBuffer()
        return nil
    }

    private mutating func take(_ piece: WebSocketCutter.Piece, of bytes: ByteBuffer) -> Message? {
        if piece.opcode.isControl {
            var data = ByteBuffer()
            data.write(piece, of: bytes)
            return Message(opcode: piece.opcode, data: data)
        }
        begun.write(piece, of: bytes)
        guard piece.endsMessage else { return nil }
        defer { begun = ByteBuffer() }
        return Message(opcode: piece.opcode, data: begun)
    }
}

extension ByteBuffer {
    /// A piece's payload without its mask.
    fileprivate mutating func write(_ piece: WebSocketCutter.Piece, of bytes: ByteBuffer) {
        bytes.withUnsafeReadableBytes {
            write(UnsafeRawBufferPointer(rebasing: $0[piece.payload]), without: piece.mask)
        }
    }

    mutating func write(_ masked: UnsafeRawBufferPointer, without mask: WebSocketMask) {
        guard !masked.isEmpty else { return }
        _ = writeWithUnsafeMutableBytes(minimumWritableBytes: masked.count) { plain in
            mask.unmask(masked, into: plain)
            return masked.count
        }
    }

    /// The head of a frame as servers send it; its payload has to follow.
    package mutating func writeWebSocketHead(
        _ opcode: WebSocketFrameHead.Opcode, isLast: Bool = true, length: Int
    ) {
        _ = writeWithUnsafeMutableBytes(minimumWritableBytes: WebSocketFrameHead.maximumBytes) {
            WebSocketFrameHead.write(opcode, isLast: isLast, length: length, into: $0)
        }
    }
}
