import MeshWire
import NIOCore
import NIOPosix
import Synchronization

/// How many mock workers have been registered and asked for their models.
final class WorkerCount: Sendable {
    private let state = Mutex<(ready: Int, lost: Int)>((0, 0))
    private let cancelled = Mutex<[UInt64]>([])
    /// When each request was cancelled.
    var cancels: [UInt64] { cancelled.withLock { $0 } }
    func forgetCancels() { cancelled.withLock { $0 = [] } }
    func addCancel() {
        let now = Clock.now()
        cancelled.withLock { $0.append(now) }
    }
    var ready: Int { state.withLock { $0.ready } }
    var lost: Int { state.withLock { $0.lost } }
    func addReady() { state.withLock { $0.ready += 1 } }
    func addLost() { state.withLock { $0.lost += 1 } }
}

/// A worker as the broker protocol has it, reduced to what the figures need: it registers, lists one model and answers
/// at once or in paced chunks. Frames are masked with key 0, which is a valid mask and costs the worker nothing.
final class MockWorker: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private static let models = Array(#"","status":"ok","payload":{"data":[{"id":"m"}]}}"#.utf8)
    private static let answer: [UInt8] = {
        var bytes = Array(
            #"","status":"ok","payload":{"status_code":200,"headers":{},"content_type":"application/json","body":"#.utf8
        )
        JSONText.appendQuoted(Payloads.answer, to: &bytes)
        return bytes + Array("}}".utf8)
    }()
    private static let chunkHead =
        Array(#"","event":"chunk","payload":{"chunk":"#.utf8) + JSONText.quoted(Payloads.eventHead).dropLast()
    private static let chunkTail = Array(JSONText.quoted(Payloads.eventTail).dropFirst()) + Array("}}".utf8)
    private static let done = Array(#"","event":"done","status":"ok","payload":{}}"#.utf8)
    private static let envelope = Array(#"{"v":1,"request_id":""#.utf8)

    private let upgrade: ByteBuffer
    private let pacer: Pacer
    private let chunks: Int
    private let count: WorkerCount
    private var pending = ByteBuffer()
    private var output = ByteBuffer()
    private var upgraded = false
    private var ready = false
    private var streams: [String: PacedStream] = [:]

    init(upgrade: ByteBuffer, pacer: Pacer, chunks: Int, count: WorkerCount) {
        self.upgrade = upgrade
        self.pacer = pacer
        self.chunks = chunks
        self.count = count
    }

    struct Address: Sendable {
        var port: Int
        var provider: String
        var token: String
    }

    static func connect(
        to address: Address, client: String, on loop: any EventLoop, pacer: NIOLoopBound<Pacer>, chunks: Int,
        count: WorkerCount
    ) async throws -> any Channel {
        let upgrade = ByteBuffer(
            string: "GET /api/coderai/wss HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                + "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                + "x-coderai-provider-id: \(address.provider)\r\nx-coderai-client-id: \(client)\r\n"
                + "x-coderai-username: global\r\nx-coderai-registration-token: \(address.token)\r\n\r\n")
        let bootstrap = ClientBootstrap(group: loop)
            .connectTimeout(.seconds(10))
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        MockWorker(upgrade: upgrade, pacer: pacer.value, chunks: chunks, count: count))
                }
            }
        return try await bootstrap.connect(host: "127.0.0.1", port: address.port).get()
    }

    /// Attaches a thousand workers as fast as a node admits them.
    static func connectInTurn(
        to address: Address, clients: Range<Int>, on loop: any EventLoop, pacer: NIOLoopBound<Pacer>, chunks: Int,
        count: WorkerCount
    ) async throws -> [any Channel] {
        var channels: [any Channel] = []
        for index in clients {
            channels.append(
                try await connect(
                    to: address, client: "mock-\(index)", on: loop, pacer: pacer, chunks: chunks, count: count))
            // Below the rate at which a node tells the others to come back later.
            if index >= 300 { try await Task.sleep(for: .milliseconds(8)) }
        }
        return channels
    }

    func channelActive(context: ChannelHandlerContext) {
        context.writeAndFlush(wrapOutboundOut(upgrade), promise: nil)
        let channel = context.channel
        let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
        pacer.flushes.append { if channel.isActive { bound.value.flush(channel) } }
    }

    func channelInactive(context: ChannelHandlerContext) {
        for stream in streams.values { stream.remaining = 0 }
        count.addLost()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        pending.writeBuffer(&bytes)
        if !upgraded {
            guard let end = pending.withUnsafeReadableBytes({ $0.offset(of: Payloads.headEnd) }) else { return }
            pending.moveReaderIndex(forwardBy: end + 4)
            upgraded = true
            append(Array(#"{"v":1,"op":"register","request_id":"r1","payload":{"capabilities":{}}}"#.utf8))
        }
        while takeFrame() {}
        if pending.readableBytes == 0 { pending.clear() }
    }

    func channelReadComplete(context: ChannelHandlerContext) { flush(context.channel) }

    private func flush(_ channel: any Channel) {
        guard output.readableBytes > 0 else { return }
        channel.writeAndFlush(output, promise: nil)
        // Taken anew when it is needed: a thousand buffers that wait would be a thousand that no cache holds.
        output = ByteBuffer()
    }

    /// Reads one frame (RFC 6455 section 5.2; a server's frames are not masked); false when it is not complete.
    private func takeFrame() -> Bool {
        let frame: (head: Int, length: Int, opcode: UInt8)? = pending.withUnsafeReadableBytes { bytes in
            guard bytes.count >= 2 else { return nil }
            var length = Int(bytes[1] & 0x7F)
            var head = 2
            if length >= 126 {
                let size = length == 126 ? 2 : 8
                guard bytes.count >= 2 + size else { return nil }
                length = bytes[2..<(2 + size)].reduce(0) { $0 << 8 | Int($1) }
                head += size
            }
            return bytes.count >= head + length ? (head, length, bytes[0] & 0x0F) : nil
        }
        guard let frame else { return false }
        pending.moveReaderIndex(forwardBy: frame.head)
        if frame.opcode == 1 {
            let request = pending.withUnsafeReadableBytes { Self.request($0, length: frame.length) }
            if let request { answer(request) }
        } else if frame.opcode == 9 {
            let echo = pending.getBytes(at: pending.readerIndex, length: frame.length) ?? []
            append(echo, opcode: 0x8A)
        }
        pending.moveReaderIndex(forwardBy: frame.length)
        return true
    }

    private struct Request {
        var operation: String
        var id: String
        var streams: Bool
        var bursts: Bool
        var target: String?
    }

    private static func request(_ bytes: UnsafeRawBufferPointer, length: Int) -> Request? {
        let bytes = UnsafeRawBufferPointer(rebasing: bytes[..<length])
        guard let fields = try? JSONScanner.fields(of: bytes), let operation = fields.string("op", in: bytes),
            let id = fields.string("request_id", in: bytes)
        else { return nil }
        var target: String?
        if operation == "cancel", let payload = fields.value("payload", in: bytes),
            let inner = try? JSONScanner.fields(of: bytes, in: payload.range)
        {
            target = inner.string("request_id", in: bytes)
        }
        let streams = bytes.offset(of: Payloads.streamMarker) != nil
        let bursts = bytes.offset(of: Payloads.burstMarker) != nil
        return Request(operation: operation, id: id, streams: streams, bursts: bursts, target: target)
    }

    private func answer(_ request: Request) {
        let head = Self.envelope + Array(request.id.utf8)
        switch request.operation {
        case "models.list":
            append(head, Self.models)
            if !ready { count.addReady() }
            ready = true
        case "chat.completions" where request.bursts: burst(head: head)
        case "chat.completions" where request.streams: stream(request.id, head: head)
        case "chat.completions": append(head, Self.answer)
        case "cancel":
            count.addCancel()
            request.target.flatMap { streams.removeValue(forKey: $0) }?.remaining = 0
        default: break
        }
    }

    /// A whole stream without a pause between its chunks.
    private func burst(head: [UInt8]) {
        let chunk = Array(Payloads.burstChunk.utf8)
        for _ in 0..<Payloads.burstChunks { append(head, Self.chunkHead, chunk, Self.chunkTail) }
        append(head, Self.done)
    }

    private func stream(_ id: String, head: [UInt8]) {
        let chunkHead = head + Self.chunkHead
        let stream = PacedStream(chunks: chunks) { [unowned self] in
            append(chunkHead, Array(String(Clock.now()).utf8), Self.chunkTail)
        } finish: { [unowned self] in
            append(head, Self.done)
            streams[id] = nil
        }
        streams[id] = stream
        pacer.add(stream)
    }

    /// Queues one text frame; `flush` sends what has gathered.
    private func append(_ parts: [UInt8]..., opcode: UInt8 = 0x81) {
        let length = parts.reduce(0) { $0 + $1.count }
        if output.readableBytes == 0 { output.reserveCapacity(length + 14) }
        output.writeInteger(opcode)
        if length < 126 {
            output.writeInteger(UInt8(length) | 0x80)
        } else if length < 65_536 {
            output.writeInteger(UInt8(0xFE))
            output.writeInteger(UInt16(length))
        } else {
            output.writeInteger(UInt8(0xFF))
            output.writeInteger(UInt64(length))
        }
        output.writeInteger(UInt32(0))
        for part in parts { output.writeBytes(part) }
    }
}
