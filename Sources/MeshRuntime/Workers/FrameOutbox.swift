import DequeModule
import MeshModel
import MeshWire
import NIOCore

/// Messages on their way to a worker that are too large to go out at once, and whatever is said behind them. A large one
/// leaves in fragments (RFC 6455, section 5.4), and the next one only when the socket takes it: so pings, pongs and a
/// close, which may stand between fragments, do not wait for all of it.
struct FrameOutbox {
    /// What leaves at once.
    struct Frame {
        let opcode: WebSocketFrameHead.Opcode
        let isLast: Bool
        let data: ByteBuffer
        /// Told when it has left.
        let sent: EventLoopPromise<Void>?
    }

    private struct Message {
        let opcode: WebSocketFrameHead.Opcode
        /// What of it has not left, in order.
        var pieces: [ByteBuffer]
        var next = 0
        var isBegun = false
        let sent: EventLoopPromise<Void>?

        mutating func takeFragment() -> ByteBuffer {
            guard next < pieces.count else { return ByteBuffer() }
            let count = min(pieces[next].readableBytes, Limits.workerFragmentBytes)
            let fragment = pieces[next].readSlice(length: count) ?? ByteBuffer()
            if pieces[next].readableBytes == 0 { next += 1 }
            return fragment
        }
    }

    /// Takes no memory while it is empty: there is one for each worker.
    private var messages = Deque<Message>()
    /// Bytes that wait here.
    private(set) var bytes = 0

    var isEmpty: Bool { messages.isEmpty }

    /// Whether a message of so many bytes need not wait here.
    func passes(_ count: Int) -> Bool { messages.isEmpty && count <= Limits.workerFragmentBytes }

    mutating func add(
        _ opcode: WebSocketFrameHead.Opcode, _ pieces: [ByteBuffer], _ sent: EventLoopPromise<Void>? = nil
    ) {
        messages.append(Message(opcode: opcode, pieces: pieces, sent: sent))
        bytes += pieces.reduce(0) { $0 + $1.readableBytes }
    }

    /// The next frame; nil when nothing waits.
    mutating func next() -> Frame? {
        guard !messages.isEmpty else { return nil }
        let data = messages[0].takeFragment()
        let message = messages[0]
        let isLast = message.next == message.pieces.count
        bytes -= data.readableBytes
        messages[0].isBegun = true
        if isLast { messages.removeFirst() }
        return Frame(
            opcode: message.isBegun ? .continuation : message.opcode, isLast: isLast, data: data,
            sent: isLast ? message.sent : nil)
    }

    /// Nothing of it leaves any more.
    mutating func drop() {
        for message in messages { message.sent?.fail(ChannelError.ioOnClosedChannel) }
        self = FrameOutbox()
    }
}
