import NIOCore
import NIOPosix
import Synchronization
import Testing

/// A plain TCP connection to a node under test: says exactly what it is told to and keeps what comes back.
final class RawConnection: Sendable {
    private final class Collector: ChannelInboundHandler, Sendable {
        typealias InboundIn = ByteBuffer

        struct State {
            var bytes: [UInt8] = []
            var total = 0
            var isClosed = false
        }

        let state = Mutex(State())

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let bytes = Array(unwrapInboundIn(data).readableBytesView)
            state.withLock {
                $0.bytes += bytes
                $0.total += bytes.count
            }
        }

        func channelInactive(context: ChannelHandlerContext) { state.withLock { $0.isClosed = true } }

        func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
            if event as? ChannelEvent == .inputClosed { state.withLock { $0.isClosed = true } }
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
    }

    private let channel: any Channel
    private let collector: Collector

    private init(channel: any Channel, collector: Collector) {
        self.channel = channel
        self.collector = collector
    }

    static func open(port: Int, receiveBuffer: Int? = nil) async throws -> RawConnection {
        let collector = Collector()
        var bootstrap = ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelOption(.allowRemoteHalfClosure, value: true)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(collector) }
            }
        if let receiveBuffer {
            bootstrap = bootstrap.channelOption(.socketOption(.so_rcvbuf), value: .init(receiveBuffer))
        }
        let channel = try await bootstrap.connect(host: "127.0.0.1", port: port).get()
        return RawConnection(channel: channel, collector: collector)
    }

    /// Bytes not taken yet.
    var pending: [UInt8] { collector.state.withLock { $0.bytes } }
    /// Bytes received in all.
    var received: Int { collector.state.withLock { $0.total } }
    /// Whether the node closed its side.
    var isClosed: Bool { collector.state.withLock { $0.isClosed } }

    func drop(_ count: Int) { collector.state.withLock { $0.bytes.removeFirst(min(count, $0.bytes.count)) } }

    /// Failures to write show in what comes back, or does not.
    func send(_ text: String) { send(Array(text.utf8)) }

    func send(_ bytes: [UInt8]) { channel.writeAndFlush(ByteBuffer(bytes: bytes), promise: nil) }

    /// Bytes that the node has not taken yet.
    func unsent() async throws -> Int { try await channel.getOption(.bufferedWritableBytes).get() }

    /// The same, once the node takes no more for a while.
    func unsentAtRest() async throws -> Int {
        var (last, since) = (try await unsent(), ContinuousClock.now)
        return try await eventually("the node takes no more") {
            let now = try await unsent()
            if now != last { (last, since) = (now, .now) }
            return since.duration(to: .now) > .milliseconds(300) ? now : nil
        }
    }

    func readNothing() async throws { try await channel.setOption(.autoRead, value: false).get() }
    func readAgain() async throws { try await channel.setOption(.autoRead, value: true).get() }

    /// Ends our side only; the node may go on sending.
    func closeOutput() { channel.close(mode: .output, promise: nil) }
    func close() { channel.close(promise: nil) }
}

struct NotSeen: Error, CustomStringConvertible {
    let description: String
}

/// Polls `body` until it gives a value.
@discardableResult
func eventually<Value>(
    _ what: String, within seconds: Int = 10, _ body: () async throws -> Value?
) async throws -> Value {
    let deadline = ContinuousClock.now.advanced(by: .seconds(seconds))
    while ContinuousClock.now < deadline {
        if let value = try await body() { return value }
        try await Task.sleep(for: .milliseconds(10))
    }
    throw NotSeen(description: "not seen within \(seconds) s: \(what)")
}

/// Runs `body` for all rows of a table at the same time: what takes its time by waiting takes it once.
func atOnce<Row: Sendable>(_ rows: [Row], _ body: @escaping @Sendable (Row) async throws -> Void) async throws {
    await withTaskGroup(of: Void.self) { group in
        for row in rows {
            group.addTask { do { try await body(row) } catch { Issue.record(error, "\(row)") } }
        }
    }
}

func eventually(_ what: String, within seconds: Int = 10, _ body: () async throws -> Bool) async throws {
    let _: Bool = try await eventually(what, within: seconds) { try await body() ? true : nil }
}
