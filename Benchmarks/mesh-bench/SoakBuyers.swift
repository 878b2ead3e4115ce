import NIOCore
import NIOPosix

/// A buyer of the soak: asks plain and streamed, reads slowly or not at all, and sometimes just goes away.
struct Shopper: Sendable {
    enum Manner: CaseIterable, Sendable {
        case plain, streamed, slow, leaving
        /// Asks for more at once than the kernel holds for it, and does not read for longer than a node waits.
        case stalled
    }

    let port: Int
    let key: String
    let model: String
    let tally: Tally
    let loop: any EventLoop
    let seed: UInt64

    /// The longest wait for an answer's end before it counts as silence.
    private static let patience: TimeAmount = .seconds(60)

    func shop(for seconds: Int) async throws {
        let end = Clock.now() + UInt64(seconds) * 1_000_000_000
        var dice = Dice(seed: seed)
        while Clock.now() < end {
            let roll = dice.next(below: 100)
            let manner: Manner =
                roll < 50 ? .plain : roll < 84 ? .streamed : roll < 88 ? .slow : roll < 90 ? .stalled : .leaving
            let leaveAfter = Int64(dice.next(below: 1_500))
            try await ask(manner, leaveAfter: .milliseconds(leaveAfter))
        }
    }

    private func ask(_ manner: Manner, leaveAfter: TimeAmount) async throws {
        let request = Payloads.request(
            model: model, key: key, stream: manner != .plain, burst: manner == .stalled)
        let tally = tally
        let done = loop.makePromise(of: Void.self)
        var bootstrap = ClientBootstrap(group: loop)
            .connectTimeout(.seconds(10))
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        ShopperConnection(
                            request: request, manner: manner, leaveAfter: leaveAfter, patience: Self.patience,
                            tally: tally, done: done))
                }
            }
        if manner == .stalled { bootstrap = bootstrap.channelOption(.socketOption(.so_rcvbuf), value: 16_384) }
        let channel = try await bootstrap.connect(host: "127.0.0.1", port: port).get()
        try await done.futureResult.get()
        try? await channel.close().get()
    }
}

private final class ShopperConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let request: ByteBuffer
    private let manner: Shopper.Manner
    private let leaveAfter: TimeAmount
    private let patience: TimeAmount
    private let tally: Tally
    private let done: EventLoopPromise<Void>
    private var reader = ResponseReader()
    private var tail = ByteBuffer()
    private var isOver = false

    init(
        request: ByteBuffer, manner: Shopper.Manner, leaveAfter: TimeAmount, patience: TimeAmount, tally: Tally,
        done: EventLoopPromise<Void>
    ) {
        self.request = request
        self.manner = manner
        self.leaveAfter = leaveAfter
        self.patience = patience
        self.tally = tally
        self.done = done
    }

    func channelActive(context: ChannelHandlerContext) {
        context.writeAndFlush(wrapOutboundOut(request), promise: nil)
        let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
        let channel = context.channel
        context.eventLoop.scheduleTask(in: patience) { bound.value.over { $0.silently() } }
        switch manner {
        case .plain, .streamed: break
        case .leaving: context.eventLoop.scheduleTask(in: leaveAfter) { bound.value.over { $0.left() } }
        case .stalled:
            channel.setOption(.autoRead, value: false).whenFailure { _ in }
            context.eventLoop.scheduleTask(in: .seconds(15)) {
                channel.setOption(.autoRead, value: true).whenFailure { _ in }
            }
        case .slow:
            channel.setOption(.autoRead, value: false).whenFailure { _ in }
            context.eventLoop.scheduleRepeatedTask(initialDelay: .milliseconds(200), delay: .milliseconds(200)) {
                task in
                if bound.value.isOver { task.cancel() } else { channel.read() }
            }
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        reader.feed(&bytes)
        while !isOver {
            switch reader.next() {
            case .needsMore: return
            case .body(var part):
                // The last event is enough to tell how a stream ended.
                tail.writeBuffer(&part)
                if tail.readableBytes > 8_192 { tail.moveReaderIndex(forwardBy: tail.readableBytes - 4_096) }
                if tail.readerIndex > 65_536 { tail.discardReadBytes() }
            case .end(let status): ended(status)
            case .failed: over { $0.silently() }
            }
        }
    }

    private func ended(_ status: Int) {
        let text = String(buffer: tail)
        if status >= 400 || manner == .plain { return over { $0.answered(status) } }
        if text.contains("data: [DONE]") { return over { $0.answered(status) } }
        if text.contains("stream_consumer_too_slow") { return over { $0.cut() } }
        if text.contains("\"error\"") { return over { $0.interrupted() } }
        over { $0.silently() }
    }

    func channelInactive(context: ChannelHandlerContext) {
        over { if manner == .slow || manner == .stalled { $0.cut() } else { $0.silently() } }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    /// Counts the request once, whatever else happens to its connection.
    private func over(_ count: (Tally) -> Void) {
        guard !isOver else { return }
        isOver = true
        count(tally)
        done.succeed(())
    }
}

/// A small repeatable generator (SplitMix64).
struct Dice: Sendable {
    private var state: UInt64
    init(seed: UInt64) { state = seed }

    mutating func next(below bound: Int) -> Int {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return Int((value ^ (value >> 31)) % UInt64(bound))
    }
}
