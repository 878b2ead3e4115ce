import NIOCore
import NIOPosix
import Synchronization

/// A backend that says byte for byte what a test wants, at the moment it wants. What it is asked is kept.
package final class RawBackend: Sendable {
    package struct Request: Sendable {
        package var method: String
        package var target: String
        package var headers: [String: String]
        package var body: [UInt8]
        /// How many this connection has had, this one included.
        package var onConnection: Int
        /// How many requests there were before, over all connections.
        package var before: Int
    }

    package enum Step: Sendable {
        case send([UInt8])
        case wait(milliseconds: Int64)
        /// The end of what it says; it goes on reading.
        case endOutput
        case close
    }

    /// When a request is answered.
    package enum Moment: Sendable { case head, body }

    private struct State {
        var requests: [Request] = []
        var channels: [any Channel] = []
    }
    private let state = Mutex(State())
    private let channel = Mutex<(any Channel)?>(nil)
    private let moment: Moment
    private let script: @Sendable (Request) -> [Step]

    package init(answering moment: Moment = .body, _ script: @escaping @Sendable (Request) -> [Step]) {
        self.moment = moment
        self.script = script
    }

    package func start(port: Int = 0) async throws {
        let bound = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    self.state.withLock { $0.channels.append(channel) }
                    try channel.pipeline.syncOperations.addHandler(RawConversation(self))
                }
            }
            .bind(host: "127.0.0.1", port: port).get()
        channel.withLock { $0 = bound }
    }

    /// Closes the connections too.
    package func stop() async {
        try? await channel.withLock { $0 }?.close().get()
        for channel in state.withLock({ $0.channels }) { try? await channel.close().get() }
    }

    package var port: Int { channel.withLock { $0?.localAddress?.port ?? 0 } }
    package var url: String { "http://127.0.0.1:\(port)/v1" }
    /// How many connections came, used or not.
    package var connections: Int { state.withLock { $0.channels.count } }
    package var requests: [Request] { state.withLock { $0.requests } }

    fileprivate func steps(for request: Request) -> [Step] {
        var request = request
        state.withLock { state in
            request.before = state.requests.count
            state.requests.append(request)
        }
        return script(request)
    }
    fileprivate var answersHead: Bool { moment == .head }

    /// An answer with a length.
    package static func answer(
        _ status: Int, _ body: [UInt8], type: String? = "application/json", _ headers: [(String, String)] = []
    ) -> [UInt8] {
        var head = "HTTP/1.1 \(status) X\r\ncontent-length: \(body.count)\r\n"
        if let type { head += "content-type: \(type)\r\n" }
        for (name, value) in headers { head += "\(name): \(value)\r\n" }
        return Array("\(head)\r\n".utf8) + body
    }

    package static func answer(
        _ status: Int, _ body: String, type: String? = "application/json", _ headers: [(String, String)] = []
    ) -> [UInt8] {
        answer(status, Array(body.utf8), type: type, headers)
    }
}

/// One connection of it.
private final class RawConversation: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    private let backend: RawBackend
    private var buffer = ByteBuffer()
    private var count = 0
    private var isDeaf = false

    init(_ backend: RawBackend) { self.backend = backend }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isDeaf else { return }
        var bytes = unwrapInboundIn(data)
        buffer.writeBuffer(&bytes)
        while let request = next() { run(backend.steps(for: request)[...], context) }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .inputClosed? = event as? ChannelEvent { context.close(promise: nil) }
    }

    /// The next request, when as much of it is here as the backend wants.
    private func next() -> RawBackend.Request? {
        let view = buffer.readableBytesView
        guard !isDeaf, let end = view.firstRange(of: Array("\r\n\r\n".utf8)) else { return nil }
        let lines = String(decoding: view[..<end.lowerBound], as: UTF8.self).split(separator: "\r\n")
        let words = lines.first?.split(separator: " ") ?? []
        guard words.count == 3 else { return nil }
        var headers: [String: String] = [:]
        for line in lines.dropFirst() {
            let parts = line.split(separator: ":", maxSplits: 1)
            headers[parts[0].lowercased()] = parts.last.map { String($0.drop { $0 == " " }) }
        }
        let length = headers["content-length"].flatMap { Int($0) } ?? 0
        var body: [UInt8] = []
        if backend.answersHead {
            // Whatever follows is not read as anything.
            isDeaf = true
            buffer.clear()
        } else {
            guard view.distance(from: end.upperBound, to: view.endIndex) >= length else { return nil }
            body = Array(view[end.upperBound...].prefix(length))
            buffer.moveReaderIndex(forwardBy: view.distance(from: view.startIndex, to: end.upperBound) + length)
        }
        count += 1
        return RawBackend.Request(
            method: String(words[0]), target: String(words[1]), headers: headers, body: body, onConnection: count,
            before: 0)
    }

    private func run(_ steps: ArraySlice<RawBackend.Step>, _ context: ChannelHandlerContext) {
        guard let step = steps.first else { return }
        let rest = steps.dropFirst()
        switch step {
        case .send(let bytes):
            context.writeAndFlush(NIOAny(ByteBuffer(bytes: bytes)), promise: nil)
            run(rest, context)
        case .wait(let milliseconds):
            let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
            context.eventLoop.scheduleTask(in: .milliseconds(milliseconds)) { bound.value.0.run(rest, bound.value.1) }
        case .endOutput:
            context.close(mode: .output, promise: nil)
            run(rest, context)
        case .close: context.close(promise: nil)
        }
    }
}
