import MeshModel
import MeshWire
import NIOCore
import NIOHTTP1

/// The short way of an HTTP/1.1 connection, past the library's decoder, pipelining and encoder: as long as every request
/// is a `PlainRequest`, the connection's bytes are read and written here. The first one that is odd goes with all that
/// follows to the library, for good: what comes behind it is cut by whoever read it.
///
/// It has no clock: deadlines are `HeadWatch`'s. Lives on the connection's event loop.
final class PlainLane: AnswerPartWriter {
    private enum Stage {
        /// Between two requests, or in the middle of a head.
        case idle
        /// So many bytes of the body are to come.
        case body(left: Int, isAnswered: Bool)
        case answering
        /// The library has the connection.
        case left
    }

    /// How often a head may grow before somebody else waits for the rest of it.
    private static let attempts = 32

    private var stage: Stage
    private var held = ByteBuffer()
    private var incomplete = 0
    private var responses = PlainResponses()
    private var isReading = false
    /// A read was asked for while there was no room.
    private var owesRead = false
    private let watch: HeadWatch
    private let allocator = ByteBufferAllocator()
    /// Who answers the requests, behind `back`; nil where only the pipeline knows.
    weak var receiver: (any RequestPartReceiver)?
    /// In front of the library's decoder, and behind it.
    var front: ChannelHandlerContext?
    var back: ChannelHandlerContext?

    /// - Parameter isOpen: false: every request takes the library's way.
    init(_ watch: HeadWatch, isOpen: Bool) {
        self.watch = watch
        stage = isOpen ? .idle : .left
    }

    /// Whether the connection's bytes are read and written here.
    var isOpen: Bool { if case .left = stage { false } else { true } }

    // MARK: Reading

    /// Whether what waits here is as much as may wait.
    private var isFull: Bool {
        guard case .answering = stage else { return false }
        return held.readableBytes >= Limits.readAheadBytes
    }

    func mayRead() -> Bool {
        owesRead = isOpen && isFull
        return !owesRead
    }

    func arrived(_ bytes: ByteBuffer) {
        if held.readableBytes == 0 { held = bytes } else { held.writeImmutableBuffer(bytes) }
        readOn()
    }

    private func readOn() {
        guard !isReading else { return }
        isReading = true
        while step() {}
        isReading = false
        if held.readableBytes == 0 { held = ByteBuffer() }
    }

    /// - Returns: whether there may be more to do.
    private func step() -> Bool {
        switch stage {
        case .idle:
            guard held.readableBytes > 0 else { return false }
            return readHead()
        case .body(0, let isAnswered):
            stage = isAnswered ? .idle : .answering
            incomplete = 0
            watch.requestArrived()
            pass(.end(nil))
            return true
        case .body(let left, let isAnswered):
            guard let piece = held.readSlice(length: min(left, held.readableBytes)), piece.readableBytes > 0 else {
                return false
            }
            stage = .body(left: left - piece.readableBytes, isAnswered: isAnswered)
            pass(.body(piece))
            return true
        case .answering: return false
        case .left:
            // The connection was left in the middle of what came.
            let rest = held
            held = ByteBuffer()
            if rest.readableBytes > 0 { handOver(rest) }
            return false
        }
    }

    private func readHead() -> Bool {
        switch PlainRequest.read(held) {
        case .incomplete where incomplete < Self.attempts:
            incomplete += 1
            watch.headBegan()
            return false
        case .incomplete, .odd:
            stage = .left
            flush()
            return true
        case .head(let request):
            held.moveReaderIndex(forwardBy: request.length)
            stage = .body(left: request.bodyBytes, isAnswered: false)
            watch.headArrived()
            pass(.head(request.head))
            return true
        }
    }

    private func pass(_ part: HTTPServerRequestPart) {
        guard let back else { return }
        if let receiver { receiver.received(part) } else { back.fireChannelRead(NIOAny(part)) }
    }

    private func handOver(_ bytes: ByteBuffer) {
        watch.bytesBegan(bytes.readableBytes)
        front?.fireChannelRead(NIOAny(bytes))
        watch.bytesSeen()
    }

    // MARK: Writing

    func write(_ part: HTTPServerResponsePart, promise: EventLoopPromise<Void>?) {
        guard let front else { return promise?.fail(ChannelError.ioOnClosedChannel) ?? () }
        for piece in responses.add(part, allocator) {
            switch piece {
            case .bytes(let bytes): front.write(NIOAny(IOData.byteBuffer(bytes)), promise: nil)
            case .file(let region): front.write(NIOAny(IOData.fileRegion(region)), promise: nil)
            }
        }
        // Whoever wants to know when it has left, hears of the last byte of it.
        if let promise { front.write(NIOAny(IOData.byteBuffer(responses.take() ?? ByteBuffer())), promise: promise) }
        if case .end = part { answered() }
    }

    func writeHead(status: HTTPResponseStatus, _ fields: [HeaderField]) {
        if front != nil { responses.add(status, fields, allocator) }
    }

    func flush() {
        guard let front else { return }
        if let bytes = responses.take() { front.write(NIOAny(IOData.byteBuffer(bytes)), promise: nil) }
        front.flush()
    }

    private func answered() {
        watch.answered()
        switch stage {
        case .body(let left, _): stage = .body(left: left, isAnswered: true)
        case .answering:
            stage = .idle
            guard held.readableBytes > 0 || owesRead, let front else { break }
            // Not now: whoever writes the answer has not finished with it.
            if held.readableBytes > 0 { watch.headBegan() }
            let bound = NIOLoopBound(self, eventLoop: front.eventLoop)
            front.eventLoop.execute { bound.value.goOn() }
        case .idle, .left: break
        }
    }

    private func goOn() {
        guard let front else { return }
        readOn()
        if !isOpen { front.fireChannelReadComplete() }
        if owesRead, mayRead() { front.read() }
    }
}
