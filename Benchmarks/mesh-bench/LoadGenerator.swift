import NIOCore
import NIOPosix

/// One closed-loop load: every connection sends its next request when the answer to the one before is complete.
struct LoadPlan: Sendable {
    var port: Int
    var request: ByteBuffer
    var connections = 1
    /// Requests per connection; nil until the time is over.
    var requests: Int?
    var warmUp = TimeAmount.milliseconds(500)
    var length = TimeAmount.seconds(4)
    /// Connections begin one after the other over this long, so that paced streams do not tick in step.
    var spread = TimeAmount.zero
    /// When what has not ended is given up, counted from the end of the measured time.
    var grace = TimeAmount.seconds(2)
    var expectedChunks = 0
    /// A chunk this late is counted as late.
    var lateNanoseconds: UInt64 = 20_000_000

    static func post(_ body: [UInt8], port: Int, path: String, key: String?) -> ByteBuffer {
        var head = "POST \(path) HTTP/1.1\r\nhost: 127.0.0.1:\(port)\r\ncontent-type: application/json\r\n"
        if let key { head += "authorization: Bearer \(key)\r\n" }
        head += "content-length: \(body.count)\r\n\r\n"
        return ByteBuffer(bytes: Array(head.utf8) + body)
    }

    static func get(_ path: String, port: Int) -> ByteBuffer {
        ByteBuffer(string: "GET \(path) HTTP/1.1\r\nhost: 127.0.0.1:\(port)\r\n\r\n")
    }
}

/// What one connection saw within the measured time; times in nanoseconds.
struct Tally: Sendable {
    var requests = 0
    var failures = 0
    var lastStatus = 0
    var latencies: [UInt64] = []
    var firstChunks: [UInt64] = []
    var chunkDelays: [UInt64] = []
    var lateChunks = 0
    var lostChunks = 0

    mutating func add(_ other: Tally) {
        requests += other.requests
        failures += other.failures
        lastStatus = max(lastStatus, other.lastStatus)
        latencies += other.latencies
        firstChunks += other.firstChunks
        chunkDelays += other.chunkDelays
        lateChunks += other.lateChunks
        lostChunks += other.lostChunks
    }
}

enum LoadGenerator {
    /// Runs `plan`; `during` is called at the beginning and at the end of the measured time.
    static func run(
        _ plan: LoadPlan, group: any EventLoopGroup, at moment: @escaping @Sendable (Bool) -> Void = { _ in }
    ) async throws -> Tally {
        let begin = NIODeadline.now() + plan.warmUp
        let end = begin + plan.length
        return try await withThrowingTaskGroup(of: Tally.self) { tasks in
            for index in 0..<plan.connections {
                let delay = TimeAmount.nanoseconds(plan.spread.nanoseconds * Int64(index) / Int64(plan.connections))
                tasks.addTask { try await connection(plan, group.next(), begin: begin, end: end, delay: delay) }
            }
            tasks.addTask {
                let clock = ContinuousClock()
                try await clock.sleep(for: .nanoseconds(max(0, (begin - .now()).nanoseconds)))
                moment(false)
                guard plan.requests == nil else { return Tally() }
                try await clock.sleep(for: .nanoseconds(max(0, (end - .now()).nanoseconds)))
                moment(true)
                return Tally()
            }
            var total = Tally()
            for try await tally in tasks { total.add(tally) }
            if plan.requests != nil { moment(true) }
            return total
        }
    }

    private static func connection(
        _ plan: LoadPlan, _ loop: any EventLoop, begin: NIODeadline, end: NIODeadline, delay: TimeAmount
    ) async throws -> Tally {
        let promise = loop.makePromise(of: Tally.self)
        do {
            _ = try await ClientBootstrap(group: loop)
                .channelOption(.socketOption(.tcp_nodelay), value: 1)
                .connectTimeout(.seconds(5))
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandler(
                            LoadConnection(plan, begin: begin, end: end, delay: delay, promise))
                    }
                }
                .connect(host: "127.0.0.1", port: plan.port).get()
        } catch {
            promise.fail(error)
        }
        return try await promise.futureResult.get()
    }
}

private final class LoadConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let plan: LoadPlan
    private let begin: NIODeadline
    private let end: NIODeadline
    private let delay: TimeAmount
    private var promise: EventLoopPromise<Tally>?
    private var parser = ResponseParser()
    private var tally = Tally()
    private var sentAt = NIODeadline.now()
    private var done = 0
    private var chunks = 0
    private var pending = ByteBuffer()

    init(
        _ plan: LoadPlan, begin: NIODeadline, end: NIODeadline, delay: TimeAmount, _ promise: EventLoopPromise<Tally>
    ) {
        self.plan = plan
        self.begin = begin
        self.end = end
        self.delay = delay
        self.promise = promise
    }

    func channelActive(context: ChannelHandlerContext) {
        let loop = context.eventLoop.assumeIsolated()
        if delay == .zero { send(context) } else { loop.scheduleTask(in: delay) { self.send(context) } }
        loop.scheduleTask(deadline: end + plan.grace) {
            if self.plan.requests != nil { self.tally.failures += 1 }
            self.finish(context)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        if promise != nil { tally.failures += 1 }
        finish(context)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    private func send(_ context: ChannelHandlerContext) {
        guard promise != nil else { return }
        sentAt = .now()
        chunks = 0
        context.writeAndFlush(wrapOutboundOut(plan.request), promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard promise != nil else { return }
        parser.feed(unwrapInboundIn(data))
        while let event = parser.next() {
            switch event {
            case .head(let status):
                tally.lastStatus = status
                pending.clear()
            case .body(let bytes): if plan.expectedChunks > 0 { chunksArrived(bytes) }
            case .end: responseEnded(context)
            }
        }
        if plan.requests == nil, NIODeadline.now() >= end { finish(context) }
    }

    private func chunksArrived(_ bytes: ByteBuffer) {
        if pending.readableBytes == 0 { pending = bytes } else { pending.writeImmutableBuffer(bytes) }
        let now = NIODeadline.now()
        let isMeasured = plan.requests != nil || (now >= begin && now < end)
        for sent in Stamp.take(from: &pending) {
            chunks += 1
            guard isMeasured else { continue }
            if chunks == 1 { tally.firstChunks.append(UInt64(max(0, (now - sentAt).nanoseconds))) }
            let late = now.uptimeNanoseconds > sent ? now.uptimeNanoseconds - sent : 0
            tally.chunkDelays.append(late)
            if late > plan.lateNanoseconds { tally.lateChunks += 1 }
        }
    }

    private func responseEnded(_ context: ChannelHandlerContext) {
        let now = NIODeadline.now()
        done += 1
        if tally.lastStatus != 200 { tally.failures += 1 }
        if plan.requests != nil || (now >= begin && now < end) {
            tally.requests += 1
            tally.latencies.append(UInt64(max(0, (now - sentAt).nanoseconds)))
            if plan.expectedChunks > 0 { tally.lostChunks += max(0, plan.expectedChunks - chunks) }
        }
        if let requests = plan.requests, done >= requests { return finish(context) }
        if plan.requests == nil, now >= end { return finish(context) }
        if tally.failures > 1_000 { return finish(context) }
        send(context)
    }

    private func finish(_ context: ChannelHandlerContext) {
        guard let promise else { return }
        self.promise = nil
        promise.succeed(tally)
        context.close(promise: nil)
    }
}
