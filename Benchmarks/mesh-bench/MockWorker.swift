import MeshWire
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOWebSocket

/// Where a worker attaches and as whom.
struct WorkerPlace: Sendable {
    var port: Int
    var providerID: String
    var username: String
    var token: String

    var path: String { username == "global" ? "/api/coderai/wss" : "/api/u/\(username)/coderai/wss" }
}

struct BenchFailure: Error, CustomStringConvertible {
    var description: String
    init(_ description: String) { self.description = description }
}

/// A worker as released clients speak (generation D): registers, answers at once in the wrapped form, streams chunks
/// at the pace the request asks for.
final class MockWorker: ChannelInboundHandler {
    typealias InboundIn = WebSocketFrame
    typealias OutboundOut = WebSocketFrame

    private var streams: [String: (pace: Pace, sent: Int, next: NIODeadline)] = [:]
    private let registered: EventLoopPromise<Void>
    private var isRegistered = false

    init(registered: EventLoopPromise<Void>) { self.registered = registered }

    /// Returns when the node has acknowledged the registration.
    static func attach(_ place: WorkerPlace, clientID: String, group: any EventLoopGroup) async throws -> any Channel {
        let loop = group.next()
        let registered = loop.makePromise(of: Void.self)
        let late = loop.scheduleTask(in: .seconds(20)) { registered.fail(BenchFailure("a worker was not registered")) }
        do {
            let upgrade = try await ClientBootstrap(group: loop)
                .channelOption(.socketOption(.tcp_nodelay), value: 1)
                .connect(host: "127.0.0.1", port: place.port) { channel in
                    channel.eventLoop.makeCompletedFuture { try configure(channel, place, clientID, registered) }
                }
            let channel = try await upgrade.get()
            // Not while the upgrade is under way: NIO refuses writes until it is over.
            channel.pipeline.fireUserInboundEventTriggered(Upgraded())
            try await registered.futureResult.get()
            late.cancel()
            return channel
        } catch {
            registered.fail(error)
            throw error
        }
    }

    private static func configure(
        _ channel: any Channel, _ place: WorkerPlace, _ clientID: String, _ registered: EventLoopPromise<Void>
    ) throws -> EventLoopFuture<any Channel> {
        let upgrader = NIOTypedWebSocketClientUpgrader<any Channel>(
            maxFrameSize: 1 << 20,
            upgradePipelineHandler: { channel, _ in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(MockWorker(registered: registered))
                    return channel
                }
            })
        var headers = HTTPHeaders([("host", "127.0.0.1:\(place.port)")])
        headers.add(name: "x-coderai-provider-id", value: place.providerID)
        headers.add(name: "x-coderai-client-id", value: clientID)
        headers.add(name: "x-coderai-username", value: place.username)
        headers.add(name: "x-coderai-registration-token", value: place.token)
        let head = HTTPRequestHead(version: .http1_1, method: .GET, uri: place.path, headers: headers)
        return try channel.pipeline.syncOperations.configureUpgradableHTTPClientPipeline(
            configuration: .init(
                upgradeConfiguration: .init(
                    upgradeRequestHead: head, upgraders: [upgrader],
                    notUpgradingCompletionHandler: { channel in
                        channel.eventLoop.makeFailedFuture(BenchFailure("the node refused the mock worker"))
                    })))
    }

    private static let register =
        #"{"v":1,"op":"register","request_id":"reg-1","payload":{"transport":"websocket","hardware":{"hostname":"bench","platform":"linux","gpus":[{"index":0,"name":"bench","vendor":"nvidia","total_vram_mb":24576,"available_vram_mb":20480}],"gpu_count":1},"studio_endpoints":[],"capabilities":{"server":"codai","version":"2.0.0","transports":["websocket"],"tunnel_only":true,"openai_compat":{"chat_completions":true,"models":true}}}}"#

    private struct Upgraded: Sendable {}

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is Upgraded { send(context, ByteBuffer(string: Self.register)) }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        registered.fail(BenchFailure("the node closed the mock worker's connection"))
        streams = [:]
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let frame = unwrapInboundIn(data)
        switch frame.opcode {
        case .text: frame.data.withUnsafeReadableBytes { read(context, $0) }
        case .ping: write(context, .pong, frame.data)
        case .connectionClose: context.close(promise: nil)
        default: break
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) { context.flush() }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    private func read(_ context: ChannelHandlerContext, _ bytes: UnsafeRawBufferPointer) {
        guard let fields = try? JSONScanner.fields(of: bytes) else { return }
        if !isRegistered, fields.string("event", in: bytes) == "registered" {
            isRegistered = true
            return registered.succeed()
        }
        guard let requestID = fields.string("request_id", in: bytes) else { return }
        switch fields.string("op", in: bytes) {
        case "models.list": whole(context, requestID, Self.wrappedModels)
        case "chat.completions": chat(context, requestID, fields, bytes)
        case "cancel":
            guard let payload = fields.value("payload", in: bytes),
                let inner = try? JSONScanner.fields(of: bytes, in: payload.range),
                let cancelled = inner.string("request_id", in: bytes)
            else { return }
            streams[cancelled] = nil
        default: break
        }
    }

    private func chat(
        _ context: ChannelHandlerContext, _ requestID: String, _ fields: [JSONField], _ bytes: UnsafeRawBufferPointer
    ) {
        guard let payload = fields.value("payload", in: bytes),
            let body = try? JSONScanner.fields(of: bytes, in: payload.range), let pace = Pace.asked(body, bytes)
        else { return whole(context, requestID, Self.wrappedAnswer) }
        streams[requestID] = (pace, 0, .now())
        sendChunk(context, requestID)
    }

    // MARK: Writing

    private static let wrappedAnswer = wrapped(Answers.whole)
    private static let wrappedModels = wrapped(Answers.models)

    private static func wrapped(_ body: [UInt8]) -> ByteBuffer {
        let text = JSONText.quoted(String(decoding: body, as: UTF8.self))
        return ByteBuffer(
            bytes: Array(
                #"","status":"ok","payload":{"status_code":200,"headers":{"content-type":"application/json"},"content_type":"application/json","body":"#
                    .utf8) + text + Array(#"},"metrics":{"elapsed_ms":1}}"#.utf8))
    }

    private static let front = ByteBuffer(string: #"{"v":1,"request_id":""#)
    private static let chunkFront = ByteBuffer(
        bytes: Array(#"","event":"chunk","status":"ok","payload":{"chunk":""#.utf8)
            + Answers.quotedInside(Answers.eventFront))
    private static let chunkBack = ByteBuffer(
        bytes: Answers.quotedInside(Answers.eventBack) + Array(#""}}"#.utf8))
    private static let lastChunk = ByteBuffer(
        bytes: Array(#"","event":"chunk","status":"ok","payload":{"chunk":""#.utf8)
            + Answers.quotedInside(Answers.done) + Array(#""}}"#.utf8))
    private static let streamEnd = ByteBuffer(
        string: #"","event":"done","status":"ok","payload":{},"metrics":{"elapsed_ms":1}}"#)

    private func whole(_ context: ChannelHandlerContext, _ requestID: String, _ rest: ByteBuffer) {
        send(context, frame(context, requestID, rest))
    }

    private func frame(_ context: ChannelHandlerContext, _ requestID: String, _ rest: ByteBuffer) -> ByteBuffer {
        var out = context.channel.allocator.buffer(capacity: 96 + rest.readableBytes)
        out.writeImmutableBuffer(Self.front)
        out.writeString(requestID)
        out.writeImmutableBuffer(rest)
        return out
    }

    private func sendChunk(_ context: ChannelHandlerContext, _ requestID: String) {
        guard var current = streams[requestID], context.channel.isActive else { return }
        guard current.sent < current.pace.chunks else {
            streams[requestID] = nil
            send(context, frame(context, requestID, Self.lastChunk))
            send(context, frame(context, requestID, Self.streamEnd))
            return context.flush()
        }
        var out = context.channel.allocator.buffer(capacity: 512)
        out.writeImmutableBuffer(Self.front)
        out.writeString(requestID)
        out.writeImmutableBuffer(Self.chunkFront)
        Stamp.append(Stamp.now, to: &out)
        out.writeImmutableBuffer(Self.chunkBack)
        send(context, out)
        context.flush()
        current.sent += 1
        current.next = current.next + .microseconds(Int64(current.pace.microseconds))
        streams[requestID] = current
        context.eventLoop.assumeIsolated().scheduleTask(deadline: current.next) { self.sendChunk(context, requestID) }
    }

    private func send(_ context: ChannelHandlerContext, _ text: ByteBuffer) {
        write(context, .text, text)
        if !isRegistered { context.flush() }
    }

    private func write(_ context: ChannelHandlerContext, _ opcode: WebSocketOpcode, _ data: ByteBuffer) {
        let frame = WebSocketFrame(fin: true, opcode: opcode, maskKey: .random(), data: data)
        context.write(wrapOutboundOut(frame), promise: nil)
    }
}
