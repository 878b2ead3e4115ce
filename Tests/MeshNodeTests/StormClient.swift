import MeshWire
import NIOCore
import NIOPosix
import Synchronization

/// What a thousand workers have in common: how many are where, and what they were told on the way.
final class Storm: Sendable {
    struct Counts {
        /// The registered ones.
        var live: [String: any Channel] = [:]
        var deferrals = 0
        /// Refusals that did not say when to come back, and answers that were neither refusal nor upgrade.
        var unexpected: [String] = []
        var isOver = false
    }

    let port: Int
    private let headers: @Sendable (String) -> [String]
    private let state = Mutex(Counts())

    init(port: Int, headers: @escaping @Sendable (String) -> [String]) {
        self.port = port
        self.headers = headers
    }

    var counts: Counts { state.withLock { $0 } }

    func change(_ body: (inout Counts) -> Void) { state.withLock { body(&$0) } }

    /// Dials as `client` until it is registered, coming back when it was told to, a little later each time.
    func dial(_ client: String, after delay: TimeAmount = .zero) {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        loop.scheduleTask(in: delay) { [self] in
            guard !counts.isOver else { return }
            let lines =
                [
                    "GET /api/coderai/wss HTTP/1.1", "host: node", "connection: upgrade", "upgrade: websocket",
                    "sec-websocket-version: 13", "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
                ] + headers(client)
            let handler = StormClient(self, client: client, hello: lines.joined(separator: "\r\n") + "\r\n\r\n")
            ClientBootstrap(group: loop)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(handler) }
                }
                .connect(host: "127.0.0.1", port: port)
                .whenFailure { error in
                    self.change { if !$0.isOver { $0.unexpected.append("\(client): \(error)") } }
                }
        }
    }

    /// Everybody loses the connection at the same moment.
    func closeAll() {
        let live = state.withLock { state in
            defer { state.live = [:] }
            return state.live
        }
        for channel in live.values { channel.close(promise: nil) }
    }
}

/// One worker of a storm, without a task or a test of its own: registers, lists one model, answers whatever it is
/// asked and every ping.
private final class StormClient: ChannelInboundHandler, Sendable {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private struct State {
        var bytes: [UInt8] = []
        var isUpgraded = false
    }

    private let storm: Storm
    private let client: String
    private let hello: String
    private let state = Mutex(State())

    init(_ storm: Storm, client: String, hello: String) {
        self.storm = storm
        self.client = client
        self.hello = hello
    }

    func channelActive(context: ChannelHandlerContext) { send(Array(hello.utf8), context) }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = state.withLock { state in
            defer { state.bytes = [] }
            return state.bytes + Array(unwrapInboundIn(data).readableBytesView)
        }
        if !state.withLock({ $0.isUpgraded }) {
            guard let length = upgraded(bytes, context) else { return state.withLock { $0.bytes = bytes } }
            bytes.removeFirst(length)
        }
        while let (frame, length) = ScriptedWorker.decode(bytes) {
            bytes.removeFirst(length)
            arrived(frame, context)
        }
        state.withLock { $0.bytes = bytes }
    }

    /// Whoever lost its connection without having been told to dials again.
    func channelInactive(context: ChannelHandlerContext) {
        let (client, channel) = (client, context.channel)
        var isLost = false
        storm.change { counts in
            guard counts.live[client] === channel else { return }
            counts.live[client] = nil
            isLost = true
        }
        if isLost { storm.dial(client, after: .milliseconds(.random(in: 100...600))) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    /// - Returns: the length of the answer that upgraded the connection; nil while there is none, or another one.
    private func upgraded(_ bytes: [UInt8], _ context: ChannelHandlerContext) -> Int? {
        guard let (reply, length) = (try? Reply.parse(bytes)) ?? nil else { return nil }
        if reply.status == 101 {
            state.withLock { $0.isUpgraded = true }
            say(#"{"v":1,"op":"register","request_id":"reg-1","payload":{"capabilities":{"server":"storm"}}}"#, context)
            return length
        }
        context.close(promise: nil)
        guard reply.status == 503, let seconds = reply["retry-after"].flatMap({ Int64($0) }) else {
            storm.change { $0.unexpected.append("\(client): \(reply.status) \(reply.text)") }
            return nil
        }
        storm.change { $0.deferrals += 1 }
        storm.dial(client, after: .milliseconds(seconds * 1_000 + .random(in: 0...500)))
        return nil
    }

    private func arrived(_ frame: ScriptedWorker.Frame, _ context: ChannelHandlerContext) {
        if frame.opcode == 9 { return send(ScriptedWorker.encode(10, frame.payload), context) }
        guard frame.opcode == 1, let document = frame.document else { return }
        if document["event"]?.text == "registered" {
            // Who is slow to register is greeted before, and told a second time.
            let (client, channel) = (client, context.channel)
            return storm.change { $0.live[client] = channel }
        }
        switch document["op"]?.text {
        case "models.list": say(#"{"request_id":"\#(document.id)","status":"ok","payload":["m1"]}"#, context)
        case "chat.completions":
            say(#"{"request_id":"\#(document.id)","status":"ok","payload":{"by":"\#(client)"}}"#, context)
        default: break
        }
    }

    private func say(_ text: String, _ context: ChannelHandlerContext) {
        send(ScriptedWorker.encode(1, Array(text.utf8)), context)
    }

    private func send(_ bytes: [UInt8], _ context: ChannelHandlerContext) {
        context.writeAndFlush(wrapOutboundOut(ByteBuffer(bytes: bytes)), promise: nil)
    }
}
