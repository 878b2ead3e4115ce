internal import DequeModule
internal import MeshGossip
internal import MeshModel
internal import MeshWire
internal import NIOCore

/// A link's streams in frames of their own on one TLS connection (`aisbf-link/2`, Docs/Protocol/links.md): either side opens
/// streams, each has its own credit, and small frames overtake large bodies. Lives on the connection's event loop.
final class FrameCarrier: ChannelInboundHandler, LinkCarrier {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    let way = LinkProtocol.frames
    private let connection: LinkConnection
    private var context: ChannelHandlerContext?
    private var streams: [UInt64: FrameStream] = [:]
    private var nextStream: UInt64
    private var lastPeerStream: UInt64 = 0
    /// Streams of the peer that are open.
    private var peerStreams = 0
    private var refusesStreams = false
    /// The beginning of a frame whose end has not come.
    private var partial = ByteBuffer()
    /// What leaves at the end of this turn.
    private var output = ByteBuffer()
    private var line: Deque<FrameStream> = []
    private var isFlushDue = false
    private var isOver = false
    private var cancels = Tally(limit: Limits.linkStreamResetsPer30s)
    private var pings = Tally(limit: Limits.linkControlFramesPer30s)

    /// How often in 30 s.
    private struct Tally {
        let limit: Int
        var since = NIODeadline.uptimeNanoseconds(0)
        var count = 0

        /// False: too often.
        mutating func add(_ now: NIODeadline) -> Bool {
            if now - since >= .seconds(30) {
                since = now
                count = 0
            }
            count += 1
            return count <= limit
        }
    }

    init(connection: LinkConnection) {
        self.connection = connection
        nextStream = connection.dialled ? 1 : 2
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        let stream = FrameStream(0, StreamLedger(.link), carrier: self)
        streams[0] = stream
        connection.begin(on: context.channel, self)
        stream.begin(LinkStream(connection: connection))
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        loseStreams()
        connection.ended()
        self.context = nil
    }

    func channelInactive(context: ChannelHandlerContext) {
        loseStreams()
        connection.ended()
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        connection.broken(connection.link == nil ? .closed : .linkLost)
    }

    private func loseStreams() {
        isOver = true
        let lost = streams.values.sorted { $0.number < $1.number }
        for stream in lost { stream.lost() }
    }

    // MARK: What comes

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        if partial.readableBytes > 0 {
            partial.writeBuffer(&bytes)
            swap(&partial, &bytes)
        }
        do {
            while !isOver, try readFrame(&bytes) {}
        } catch {
            connection.broken(.malformed)
        }
        // Copied: it must not hold on to all that was read with it.
        partial = isOver || bytes.readableBytes == 0 ? ByteBuffer() : ByteBuffer(bytes: bytes.readableBytesView)
    }

    private func readFrame(_ bytes: inout ByteBuffer) throws(StreamFault) -> Bool {
        guard let raw = bytes.getInteger(at: bytes.readerIndex, as: UInt64.self) else { return false }
        let head = try StreamFrameHead(raw: raw)
        guard bytes.readableBytes >= StreamFrameHead.bytes + head.length else { return false }
        bytes.moveReaderIndex(forwardBy: StreamFrameHead.bytes)
        guard let payload = bytes.readSlice(length: head.length) else { return false }
        try read(head, payload)
        return true
    }

    private func read(_ head: StreamFrameHead, _ payload: ByteBuffer) throws(StreamFault) {
        switch head.kind {
        case .open: try open(head, payload)
        case .fields:
            // Read before it is known whose they are: nothing malformed passes.
            let fields = try Self.fields(payload)
            try stream(of: head)?.arrived(fields, isLast: head.isLast)
        case .data:
            try stream(of: head)?.arrived(Self.compact(payload), isLast: head.isLast)
        case .credit:
            try stream(of: head)?.arrived(credit: Int(Self.number(payload)))
        case .cancel:
            guard cancels.add(.now()) else { return connection.broken(.flooding) }
            // The link's own stream ends with the link.
            guard head.stream > 0 else { throw .stream }
            try stream(of: head)?.cancelled(Self.number(payload))
        case .ping:
            guard pings.add(.now()) else { return connection.broken(.flooding) }
            put(StreamFrameHead(.pong, length: 8))
            output.writeImmutableBuffer(payload)
            scheduleFlush()
        case .pong: connection.ponged(payload.getInteger(at: payload.readerIndex) ?? 0)
        case .leave: connection.peerRefusesStreams()
        }
    }

    /// Nil: it is over, and frames that crossed its end are passed over.
    private func stream(of head: StreamFrameHead) throws(StreamFault) -> FrameStream? {
        if let stream = streams[head.stream] { return stream }
        let isOwn = head.stream % 2 == nextStream % 2
        guard isOwn ? head.stream < nextStream : head.stream <= lastPeerStream else { throw .stream }
        return nil
    }

    private func open(_ head: StreamFrameHead, _ payload: ByteBuffer) throws(StreamFault) {
        guard head.stream > lastPeerStream, head.stream % 2 != nextStream % 2 else { throw .stream }
        let fields = try Self.fields(payload)
        guard fields.status == 0, !fields.path.isEmpty else { throw .fields }
        lastPeerStream = head.stream
        guard connection.link != nil else { return connection.strangerStreamOpened() }
        let ledger = StreamLedger(.answerer, isWhole: head.isLast)
        // The body waits, in the peer's window, until somebody asks for it.
        let stream = FrameStream(head.stream, ledger, carrier: self, isReading: false)
        guard peerStreams < Limits.linkStreams - 1, !refusesStreams else {
            guard cancels.add(.now()) else { return connection.broken(.flooding) }
            return cancel(stream, .refused)
        }
        peerStreams += 1
        streams[head.stream] = stream
        let request = RequestStream(connection: connection)
        stream.begin(request)
        request.read(fields, isLast: head.isLast)
    }

    private static func fields(_ payload: ByteBuffer) throws(StreamFault) -> StreamFields {
        let read = payload.withUnsafeReadableBytes { bytes -> Result<StreamFields, StreamFault> in
            do throws(StreamFault) {
                return .success(try StreamFields(bytes))
            } catch {
                return .failure(error)
            }
        }
        return try read.get()
    }

    private static func number(_ payload: ByteBuffer) -> UInt32 { payload.getInteger(at: payload.readerIndex) ?? 0 }

    /// A small piece of a large read is copied: whoever keeps it, for a slow buyer, must not keep all that came with it.
    private static func compact(_ payload: ByteBuffer) -> ByteBuffer {
        payload.storageCapacity > 4 * payload.readableBytes ? ByteBuffer(bytes: payload.readableBytesView) : payload
    }

    // MARK: What goes

    func open(_ reader: any StreamReader) {
        guard context != nil, nextStream <= StreamFrameHead.lastStream - 2 else { return reader.closed(.linkLost) }
        // What the link's own stream was given before comes before: this side's proof, without which nothing may be opened.
        while let own = streams[0], own.sendNext() {}
        let stream = FrameStream(nextStream, StreamLedger(.opener), carrier: self)
        nextStream += 2
        streams[stream.number] = stream
        stream.begin(reader)
    }

    /// - Returns: false when they are more than a peer takes.
    func send(_ fields: StreamFields, isLast: Bool, on stream: FrameStream) -> Bool {
        guard let bytes = fields.bytes else { return false }
        let kind: StreamFrameHead.Kind = fields.path.isEmpty ? .fields : .open
        put(StreamFrameHead(kind, stream: stream.number, length: bytes.count, isLast: isLast))
        output.writeBytes(bytes)
        scheduleFlush()
        return true
    }

    func send(_ bytes: ByteBuffer, isLast: Bool, on stream: FrameStream) {
        put(StreamFrameHead(.data, stream: stream.number, length: bytes.readableBytes, isLast: isLast))
        output.writeImmutableBuffer(bytes)
    }

    func grant(_ credit: Int, on stream: FrameStream) {
        put(StreamFrameHead(.credit, stream: stream.number, length: 4))
        output.writeInteger(UInt32(clamping: credit))
        scheduleFlush()
    }

    func cancel(_ stream: FrameStream, _ code: StreamCode) {
        guard stream.number > 0 else { return }
        put(StreamFrameHead(.cancel, stream: stream.number, length: 4))
        output.writeInteger(code.rawValue)
        scheduleFlush()
    }

    func ping(_ number: UInt64) {
        put(StreamFrameHead(.ping, length: 8))
        output.writeInteger(number)
        scheduleFlush()
    }

    func refuseStreams() {
        refusesStreams = true
        put(StreamFrameHead(.leave, length: 0))
        scheduleFlush()
    }

    private func put(_ head: StreamFrameHead) { output.writeInteger(head.raw) }

    func close() {
        flush()
        isOver = true
        context?.close(promise: nil)
    }

    func forget(_ stream: FrameStream) {
        guard streams.removeValue(forKey: stream.number) != nil else { return }
        if stream.ledger.role == .answerer { peerStreams -= 1 }
    }

    /// `stream` has bytes to send and credit for some.
    func line(_ stream: FrameStream) {
        enqueue(stream)
        scheduleFlush()
    }

    private func enqueue(_ stream: FrameStream) {
        guard !stream.isInLine else { return }
        stream.isInLine = true
        line.append(stream)
    }

    /// One flush per turn of the event loop, however many streams wrote.
    private func scheduleFlush() {
        guard !isFlushDue, let context else { return }
        isFlushDue = true
        let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
        context.eventLoop.execute { bound.value.flush() }
    }

    private func flush() {
        isFlushDue = false
        guard let context else { return }
        // A frame of each in turn, and no more at once than the socket's buffer is worth.
        while context.channel.isWritable, output.readableBytes < Limits.linkTurnBytes, let stream = line.popFirst() {
            stream.isInLine = false
            if stream.sendNext() { enqueue(stream) }
        }
        guard output.readableBytes > 0 else { return }
        let bytes = output
        output = ByteBuffer()
        context.writeAndFlush(wrapOutboundOut(bytes), promise: nil)
        if !line.isEmpty, context.channel.isWritable { scheduleFlush() }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable, !line.isEmpty { scheduleFlush() }
        context.fireChannelWritabilityChanged()
    }
}
