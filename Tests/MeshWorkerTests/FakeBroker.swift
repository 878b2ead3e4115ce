import MeshWire
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOWebSocket
import Synchronization

/// A scripted broker on loopback: a real WebSocket server that records what a worker says.
final class FakeBroker: Sendable {
    struct State {
        var heads: [HTTPRequestHead] = []
        var channels: [any Channel] = []
        var frames: [JSONValue] = []
        var pongs = 0
        var pings = 0
        var closes: [Int] = []
        var refuses = false
        /// The status of a refusal, and its `retry-after` in seconds.
        var refusal = (status: 403, retryAfter: Int?.none)
        var answersRegister = true
        /// Whether it asks for the models after each `register`, as a node does.
        var asksForModels = false
    }
    let state = Mutex(State())
    private let group: any EventLoopGroup
    private let server = Mutex<(any Channel)?>(nil)

    init(group: any EventLoopGroup) { self.group = group }

    func start(port: Int = 0) async throws {
        let channel = try await ServerBootstrap(group: group)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                let upgrader = NIOWebSocketServerUpgrader(
                    maxFrameSize: 32 << 20,
                    shouldUpgrade: { channel, head in
                        let refuses = self.state.withLock { state in
                            state.heads.append(head)
                            return state.refuses
                        }
                        return channel.eventLoop.makeSucceededFuture(refuses ? nil : HTTPHeaders())
                    },
                    upgradePipelineHandler: { channel, _ in
                        channel.eventLoop.makeCompletedFuture {
                            self.state.withLock { $0.channels.append(channel) }
                            let pipeline = channel.pipeline.syncOperations
                            pipeline.removeHandler(try pipeline.handler(type: Refuser.self), promise: nil)
                            try pipeline.addHandler(BrokerSide(self))
                        }
                    })
                return channel.pipeline.configureHTTPServerPipeline(
                    withServerUpgrade: (upgraders: [upgrader], completionHandler: { _ in })
                ).flatMapThrowing { try channel.pipeline.syncOperations.addHandler(Refuser(self)) }
            }
            .bind(host: "127.0.0.1", port: port).get()
        server.withLock { $0 = channel }
    }

    var port: Int { server.withLock { $0?.localAddress?.port ?? 0 } }

    func stop() async {
        let channel = server.withLock { $0 }
        try? await channel?.close().get()
        for channel in state.withLock({ $0.channels }) { try? await channel.close().get() }
    }

    func send(_ text: String) {
        let channel = state.withLock { $0.channels.last }
        channel?.writeAndFlush(
            WebSocketFrame(fin: true, opcode: .text, data: ByteBuffer(string: text)), promise: nil)
    }

    func send(_ opcode: WebSocketOpcode, _ data: ByteBuffer) {
        let channel = state.withLock { $0.channels.last }
        channel?.writeAndFlush(WebSocketFrame(fin: true, opcode: opcode, data: data), promise: nil)
    }

    func dropLast() { state.withLock { $0.channels.last }?.close(promise: nil) }

    func frames(of requestID: String) -> [JSONValue] {
        state.withLock { $0.frames.filter { $0["request_id"]?.text == requestID } }
    }

    func events(of requestID: String) -> [String] {
        frames(of: requestID).map { $0["event"]?.text ?? $0["status"]?.text ?? "" }
    }

    /// The models of the last list; nil before there was one.
    var listed: [String]? {
        let body = state.withLock { state in
            state.frames.last { $0["request_id"]?.text?.hasPrefix("list-") == true }?["payload"]?["body"]?.text
        }
        let document = body.flatMap { try? JSONValue.parse(Array($0.utf8)) }
        return document?["data"]?.elements?.compactMap { $0["id"]?.text }
    }

    var registrations: Int { state.withLock { $0.frames.count { $0["op"]?.text == "register" } } }

    func received(_ frame: JSONValue, on channel: any Channel) {
        let (answers, asks) = state.withLock { state in
            state.frames.append(frame)
            return (state.answersRegister, state.asksForModels)
        }
        guard answers, frame["op"]?.text == "register" else { return }
        let text =
            #"{"v":1,"event":"registered","status":"ok","accepted":true,"session_id":"s1","request_id":"register-1"}"#
        channel.writeAndFlush(
            WebSocketFrame(fin: true, opcode: .text, data: ByteBuffer(string: text)), promise: nil)
        guard asks else { return }
        let question = #"{"v":1,"op":"models.list","request_id":"list-\#(registrations)","payload":{}}"#
        channel.writeAndFlush(
            WebSocketFrame(fin: true, opcode: .text, data: ByteBuffer(string: question)), promise: nil)
    }
}

private final class BrokerSide: ChannelInboundHandler {
    typealias InboundIn = WebSocketFrame
    private let broker: FakeBroker
    init(_ broker: FakeBroker) { self.broker = broker }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let frame = unwrapInboundIn(data)
        var bytes = frame.unmaskedData
        switch frame.opcode {
        case .text:
            guard frame.maskKey != nil, let value = try? JSONValue.parse(Array(bytes.readableBytesView)) else { return }
            broker.received(value, on: context.channel)
        case .ping:
            broker.state.withLock { $0.pings += 1 }
            let pong = WebSocketFrame(fin: true, opcode: .pong, data: bytes)
            context.writeAndFlush(NIOAny(pong), promise: nil)
        case .pong: broker.state.withLock { $0.pongs += 1 }
        case .connectionClose:
            let code = bytes.readWebSocketErrorCode().map { Int(UInt16(webSocketErrorCode: $0)) } ?? 0
            broker.state.withLock { $0.closes.append(code) }
            context.close(promise: nil)
        default: break
        }
    }
}

/// What a refused upgrade meets.
private final class Refuser: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart
    private let broker: FakeBroker

    init(_ broker: FakeBroker) { self.broker = broker }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard case .end = unwrapInboundIn(data) else { return }
        let body = "no such provider or wrong token"
        let refusal = broker.state.withLock { $0.refusal }
        var head = HTTPResponseHead(
            version: .http1_1, status: .init(statusCode: refusal.status),
            headers: ["content-length": "\(body.utf8.count)"])
        if let seconds = refusal.retryAfter { head.headers.add(name: "retry-after", value: "\(seconds)") }
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: body)))), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
    }
}

struct TimedOut: Error {}

/// Polls until `condition` holds.
func eventually(seconds: Double = 10, _ condition: () -> Bool) async throws {
    let deadline = ContinuousClock.now + .seconds(seconds)
    while !condition() {
        guard ContinuousClock.now < deadline else { throw TimedOut() }
        try await Task.sleep(for: .milliseconds(5))
    }
}
