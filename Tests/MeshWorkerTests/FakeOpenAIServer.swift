import MeshWire
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization

/// A small OpenAI-compatible server: echoes JSON, streams slowly, cuts characters, fails on demand by model name.
final class FakeOpenAIServer: Sendable {
    struct State {
        var bodies: [String] = []
        var headers: [HTTPHeaders] = []
        var paths: [String] = []
        var closedStreams = 0
    }
    let state = Mutex(State())
    private let channel: Mutex<(any Channel)?> = Mutex(nil)

    func start(group: any EventLoopGroup) async throws {
        let bound = try await ServerBootstrap(group: group)
            .childChannelInitializer { channel in
                channel.pipeline.configureHTTPServerPipeline().flatMapThrowing {
                    try channel.pipeline.syncOperations.addHandler(Handler(self))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        channel.withLock { $0 = bound }
    }

    var port: Int { channel.withLock { $0?.localAddress?.port ?? 0 } }
    func stop() async { try? await channel.withLock { $0 }?.close().get() }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = HTTPServerRequestPart
        typealias OutboundOut = HTTPServerResponsePart
        private let server: FakeOpenAIServer
        private var head: HTTPRequestHead?
        private var body = ByteBuffer()
        private var streaming = false

        init(_ server: FakeOpenAIServer) { self.server = server }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            switch unwrapInboundIn(data) {
            case .head(let head): (self.head, body) = (head, ByteBuffer())
            case .body(var part): body.writeBuffer(&part)
            case .end: answer(context)
            }
        }

        func channelInactive(context: ChannelHandlerContext) {
            if streaming { server.state.withLock { $0.closedStreams += 1 } }
        }

        private func answer(_ context: ChannelHandlerContext) {
            let text = String(buffer: body)
            // The worker looks at the models by itself.
            if head?.uri != "/v1/models" {
                server.state.withLock { state in
                    state.bodies.append(text)
                    state.headers.append(head?.headers ?? [:])
                    state.paths.append(head?.uri ?? "")
                }
            }
            if text.contains("\"hang\"") {
                streaming = true
                start(context, .ok, "text/event-stream")
                write(context, Array("data: {\"choices\":[]}\n\n".utf8))
            } else if text.contains("\"split\"") {
                start(context, .ok, "text/event-stream")
                let bytes = Array("data: {\"t\":\"h€llo 🦊\"}\n\n".utf8)
                send(bytes[...], context)
            } else if text.contains("\"teapot\"") {
                start(context, .imATeapot, "application/json")
                write(context, Array(#"{"error":{"message":"short and stout"}}"#.utf8))
                context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
            } else if head?.uri.hasPrefix("/v1/audio") == true {
                start(context, .ok, "audio/wav")
                write(context, [0, 255, 254, 1])
                context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
            } else {
                start(context, .ok, "application/json")
                write(context, Array(#"{"object":"list","data":[{"id":"real-model"}]}"#.utf8))
                context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
            }
        }

        /// One byte per read on the other side: every multi-byte character is cut.
        private func send(_ bytes: ArraySlice<UInt8>, _ context: ChannelHandlerContext) {
            guard let byte = bytes.first else {
                context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
                return
            }
            write(context, [byte])
            let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
            context.eventLoop.scheduleTask(in: .milliseconds(1)) {
                bound.value.0.send(bytes.dropFirst(), bound.value.1)
            }
        }

        private func start(_ context: ChannelHandlerContext, _ status: HTTPResponseStatus, _ type: String) {
            let head = HTTPResponseHead(
                version: .http1_1, status: status, headers: ["content-type": type, "x-probe": "1"])
            context.writeAndFlush(wrapOutboundOut(.head(head)), promise: nil)
        }

        private func write(_ context: ChannelHandlerContext, _ bytes: [UInt8]) {
            context.writeAndFlush(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: bytes)))), promise: nil)
        }
    }
}
