/// Cuts what comes on a WebSocket into pieces of messages (RFC 6455, section 5.4), as a pure machine: it keeps no bytes.
/// A message under way goes on piece by piece, so that a large one need not be held twice.
package struct WebSocketCutter: Sendable {
    package struct Piece: Hashable, Sendable {
        /// Of its message; never `continuation`.
        package let opcode: WebSocketFrameHead.Opcode
        /// Where its payload stands in what was looked at.
        package let payload: Range<Int>
        package let mask: WebSocketMask
        /// Whether the message ends with it.
        package let endsMessage: Bool
    }

    /// A frame of which more is to come.
    private struct Frame {
        var left: Int
        var mask: WebSocketMask
        let isLast: Bool
    }

    private let limit: Int
    private let fragments: Int
    /// Of the message under way: what it is, its bytes and its frames so far.
    private var opcode: WebSocketFrameHead.Opcode?
    private var bytes = 0
    private var frames = 0
    private var frame: Frame?

    /// - Parameters:
    ///   - limit: the longest message that is taken, bytes.
    ///   - fragments: in how many frames one may come.
    package init(limit: Int, fragments: Int) {
        self.limit = limit
        self.fragments = fragments
    }

    /// The next piece of what came; the bytes before the end of its payload are dealt with, `used` of them.
    /// - Parameter bytes: all that came and was not dealt with.
    /// - Returns: nil when more has to come. A control frame is one piece.
    package mutating func next(
        in bytes: UnsafeRawBufferPointer
    ) throws(WebSocketFault) -> (piece: Piece, used: Int)? {
        if let frame { return more(of: frame, 0, bytes.count) }
        guard let head = try WebSocketFrameHead.read(bytes, limit: limit) else { return nil }
        guard !head.opcode.isControl else {
            let end = head.bytes + head.length
            guard bytes.count >= end else { return nil }
            let piece = Piece(
                opcode: head.opcode, payload: head.bytes..<end, mask: head.mask, endsMessage: true)
            return (piece, end)
        }
        // Counted once, when it is known that the head is whole and goes.
        try begin(head)
        return more(
            of: Frame(left: head.length, mask: head.mask, isLast: head.isLast), head.bytes, bytes.count)
    }

    private mutating func begin(_ head: WebSocketFrameHead) throws(WebSocketFault) {
        guard (opcode == nil) == (head.opcode != .continuation) else { throw .protocolError }
        opcode = opcode ?? head.opcode
        frames += 1
        bytes += head.length
        guard bytes <= limit, frames <= fragments, head.isLast || frames < fragments else { throw .tooLarge }
    }

    private mutating func more(of frame: Frame, _ start: Int, _ end: Int) -> (piece: Piece, used: Int)? {
        let count = min(frame.left, end - start)
        var rest = frame
        rest.left -= count
        rest.mask = frame.mask.behind(count)
        let isOver = rest.left == 0
        self.frame = isOver ? nil : rest
        // Without a byte of it there is nothing to say, but its head is read.
        guard let opcode, isOver || count > 0 || start > 0 else { return nil }
        let ends = isOver && frame.isLast
        if ends { (self.opcode, bytes, frames) = (nil, 0, 0) }
        let piece = Piece(
            opcode: opcode, payload: start..<(start + count), mask: frame.mask, endsMessage: ends)
        return (piece, start + count)
    }
}
