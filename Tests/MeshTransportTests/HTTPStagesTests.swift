import MeshModel
import MeshTransport
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import Synchronization
import Testing

/// Answers every request at once, and `/slow` never.
private final class EchoHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private var uri = ""

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head): uri = head.uri
        case .body: break
        case .end:
            guard uri != "/slow" else { return }
            let head = HTTPResponseHead(version: .http1_1, status: .ok, headers: ["content-length": "0"])
            context.write(wrapOutboundOut(.head(head)), promise: nil)
            context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
        }
    }
}

/// A client that says what it is told to, over TCP or TLS, and keeps what it hears.
private final class PlainClient: Sendable {
    private final class Ear: ChannelInboundHandler, Sendable {
        typealias InboundIn = ByteBuffer
        let heard = Mutex<[UInt8]>([])
        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let bytes = Array(unwrapInboundIn(data).readableBytesView)
            heard.withLock { $0 += bytes }
        }
        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
    }

    private let channel: any Channel
    private let ear = Ear()

    init(_ port: Int, protocols: [String]? = nil) async throws {
        let ear = ear
        var tls: NIOSSLContext?
        if let protocols {
            var configuration = TLSConfiguration.makeClientConfiguration()
            configuration.certificateVerification = .none
            configuration.applicationProtocols = protocols
            tls = try NIOSSLContext(configuration: configuration)
        }
        let context = tls
        channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    if let context {
                        try channel.pipeline.syncOperations.addHandler(
                            NIOSSLClientHandler(context: context, serverHostname: nil))
                    }
                    try channel.pipeline.syncOperations.addHandler(ear)
                }
            }.connect(host: "127.0.0.1", port: port).get()
    }

    var heard: [UInt8] { ear.heard.withLock { $0 } }
    var text: String { String(decoding: heard, as: UTF8.self) }
    var isOpen: Bool { channel.isActive }
    func say(_ bytes: [UInt8]) { channel.writeAndFlush(ByteBuffer(bytes: bytes), promise: nil) }
    func say(_ text: String) { say(Array(text.utf8)) }
    func close() { channel.close(promise: nil) }

    /// How long the other side keeps the connection, with `pulse` said again and again.
    func secondsOpen(atMost limit: Double, every: Int = 200, pulse: [UInt8] = []) async throws -> Double {
        let start = ContinuousClock.now
        while isOpen, start.duration(to: .now) < .milliseconds(Int(limit * 1_000)) {
            if !pulse.isEmpty { say(pulse) }
            try await Task.sleep(for: .milliseconds(every))
        }
        let spent = start.duration(to: .now)
        return Double(spent.components.seconds) + Double(spent.components.attoseconds) / 1e18
    }
}

private enum Frames {
    static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + frame(4, 0, 0, [])
    static let ping = frame(6, 0, 0, [UInt8](repeating: 7, count: 8))

    static func frame(_ type: UInt8, _ flags: UInt8, _ stream: UInt8, _ payload: [UInt8]) -> [UInt8] {
        [0, UInt8(payload.count >> 8), UInt8(payload.count & 255), type, flags, 0, 0, 0, stream] + payload
    }

    /// `:method GET`, `:scheme https`, and a path; whole, and the end of its stream, with flags 5.
    static func get(_ path: String, stream: UInt8, flags: UInt8 = 5) -> [UInt8] {
        let block: [UInt8] =
            [0x82, 0x87, 0x04, UInt8(path.utf8.count)] + Array(path.utf8) + [0x01, 0x01] + Array("n".utf8)
        return frame(1, flags, stream, block)
    }
}

@Suite(.serialized) struct HTTPStagesTests {
    private static let timing = HTTPListener.Timing(tls: .seconds(2), head: .seconds(2), idle: .seconds(3))

    private static func listen(
        tls: Bool, places: ConnectionPlaces.Bounds = .buyersAndWorkers(),
        onPlace: @escaping @Sendable (ConnectionPlace) -> Void = { _ in }
    ) async throws -> HTTPListener {
        var current: (@Sendable () -> NIOSSLContext)?
        if tls {
            let identity = try TLSIdentity.ephemeral()
            var configuration = TLSConfiguration.makeServerConfiguration(
                certificateChain: [.certificate(identity.certificate)], privateKey: .privateKey(identity.privateKey))
            configuration.applicationProtocols = ["h2", "http/1.1"]
            let context = try NIOSSLContext(configuration: configuration)
            current = { context }
        }
        return try await HTTPListener.bind(
            group: MultiThreadedEventLoopGroup.singleton, host: "127.0.0.1", port: 0, tls: current,
            upgrade: { channel, _ in channel.eventLoop.makeSucceededFuture(.notOffered) },
            places: places, timing: timing
        ) { carrier in
            onPlace(carrier.place)
            return EchoHandler()
        }
    }

    /// What a client does, and whether the listener is to end its connection.
    private struct Row: Sendable {
        var name: String
        var protocols: [String]?
        var isTLS: Bool { protocols != nil }
        var says: [UInt8] = []
        var pulse: [UInt8] = []
        var every = 200
        var isClosed: Bool
    }

    private static let rows = [
        Row(name: "nothing", isClosed: true),
        Row(name: "a head that trickles", says: Array("GET / HTTP/1.1\r\nx: ".utf8), pulse: [0x61], isClosed: true),
        Row(
            name: "a second head that trickles", says: Array("GET / HTTP/1.1\r\nhost: n\r\n\r\n".utf8),
            pulse: Array("GET / HTTP/1.1\r\nx:".utf8), every: 5_000, isClosed: true),
        Row(
            name: "an answer that takes long", says: Array("GET /slow HTTP/1.1\r\nhost: n\r\n\r\n".utf8),
            isClosed: false),
        Row(
            name: "a body that takes long", says: Array("POST / HTTP/1.1\r\ncontent-length: 99\r\n\r\n".utf8),
            isClosed: false),
        Row(
            name: "requests with pauses", says: [], pulse: Array("GET / HTTP/1.1\r\nhost: n\r\n\r\n".utf8),
            every: 1_500, isClosed: false),
        Row(name: "TLS and nothing", protocols: ["http/1.1"], isClosed: true),
        Row(name: "HTTP/2 without a preface", protocols: ["h2"], isClosed: true),
        Row(name: "a preface that trickles", protocols: ["h2"], says: Array("PRI * HTT".utf8), isClosed: true),
        Row(name: "a preface only", protocols: ["h2"], says: Frames.preface, isClosed: true),
        Row(name: "pings only", protocols: ["h2"], says: Frames.preface, pulse: Frames.ping, isClosed: true),
        Row(
            name: "pings behind a request", protocols: ["h2"], says: Frames.preface + Frames.get("/", stream: 1),
            pulse: Frames.ping, isClosed: true),
        Row(
            name: "headers without end", protocols: ["h2"],
            says: Frames.preface + Frames.get("/", stream: 1, flags: 1), isClosed: true),
        Row(
            name: "continuations without end beside an open stream", protocols: ["h2"],
            says: Frames.preface + Frames.get("/slow", stream: 1) + Frames.get("/", stream: 3, flags: 1)
                + Frames.frame(9, 0, 3, []), isClosed: true),
        Row(
            name: "a stream that takes long", protocols: ["h2"], says: Frames.preface + Frames.get("/slow", stream: 1),
            isClosed: false),
        Row(
            name: "pings beside a stream that takes long", protocols: ["h2"],
            says: Frames.preface + Frames.get("/slow", stream: 1), pulse: Frames.ping, every: 500, isClosed: false),
    ]

    @Test func everyStageHasItsDeadlineAndNothingElseIsEnded() async throws {
        let plain = try await Self.listen(tls: false)
        let secure = try await Self.listen(tls: true)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for row in Self.rows {
                group.addTask {
                    let listener = row.isTLS ? secure : plain
                    let client = try await PlainClient(listener.port, protocols: row.protocols)
                    if !row.says.isEmpty { client.say(row.says) }
                    let seconds = try await client.secondsOpen(atMost: 7, every: row.every, pulse: row.pulse)
                    #expect(client.isOpen != row.isClosed, "\(row.name): \(seconds) s, \(client.text)")
                    if row.isClosed { #expect(seconds > 1, "\(row.name): closed at once") }
                    client.close()
                }
            }
            // A handshake that does not go on.
            group.addTask {
                let client = try await PlainClient(secure.port)
                client.say([0x16, 0x03, 0x01, 0x02])
                _ = try await client.secondsOpen(atMost: 6)
                #expect(!client.isOpen)
            }
            try await group.waitForAll()
        }
        await eventually("all places are given back") { plain.connections.count + secure.connections.count == 0 }
        for listener in [plain, secure] { try await listener.channel.close().get() }
    }

    @Test func whoHasBegunAHeadIsToldWhyItEnds() async throws {
        let listener = try await Self.listen(tls: false)
        let client = try await PlainClient(listener.port)
        client.say("GET / HTTP/1.1\r\n")
        await eventually("the end") { !client.isOpen }
        #expect(client.text.hasPrefix("HTTP/1.1 408 "))
        try await listener.channel.close().get()
    }

    @Test func aStoppingListenerSaysGoodbyeOverHTTP2() async throws {
        let listener = try await Self.listen(tls: true)
        let idle = try await PlainClient(listener.port, protocols: ["h2"])
        let busy = try await PlainClient(listener.port, protocols: ["h2"])
        idle.say(Frames.preface + Frames.get("/", stream: 1))
        busy.say(Frames.preface + Frames.get("/slow", stream: 1))
        await eventually("an answer") { idle.heard.count > 60 }
        await eventually("a settings frame") { busy.heard.count > 9 }
        listener.connections.quiesce()
        await eventually("the end of the idle one", seconds: 3) { !idle.isOpen }
        // GOAWAY, on stream 0.
        let goAway: [UInt8] = [0, 0, 8, 7, 0, 0, 0, 0, 0]
        await eventually("the busy one is told") {
            busy.heard.indices.contains { busy.heard[$0...].starts(with: goAway) }
        }
        #expect(busy.isOpen)
        listener.connections.closeAll()
        try await listener.channel.close().get()
    }

    /// Whoever fills the places of its address pushes out itself; who has proven itself stays, and is not counted.
    @Test func aCrowdOfStrangersPushesOutItsOwnAndNobodyWhoIsKnown() async throws {
        let places = Mutex<[ConnectionPlace]>([])
        let listener = try await Self.listen(
            tls: false, places: .init(connections: 20, newcomers: 16, newcomersPerAddress: 8)
        ) { place in places.withLock { $0.append(place) } }
        var farm: [PlainClient] = []
        for number in 1...10 {
            farm.append(try await PlainClient(listener.port))
            await eventually("worker \(number)") { places.withLock { $0.count } == number }
            places.withLock { $0.last }?.prove()
            farm[number - 1].say("GET /slow HTTP/1.1\r\nhost: n\r\n\r\n")
        }
        #expect(listener.connections.newcomers == 0)
        var crowd: [PlainClient] = []
        for number in 1...30 {
            crowd.append(try await PlainClient(listener.port))
            await eventually("stranger \(number)") { places.withLock { $0.count } == 10 + number }
        }
        #expect(listener.connections.newcomers <= 8)
        let strangers = crowd
        await eventually("all but the last eight leave") { strangers.filter(\.isOpen).count == 8 }
        #expect(crowd.suffix(8).allSatisfy { $0.isOpen })
        #expect(farm.allSatisfy { $0.isOpen })
        let honest = try await PlainClient(listener.port)
        honest.say("GET / HTTP/1.1\r\nhost: n\r\n\r\n")
        await eventually("an answer") { honest.text.hasPrefix("HTTP/1.1 200 ") }
        // Where even the known ones fill the listener, nobody is pushed out for one more.
        for place in places.withLock({ $0 }) { place.prove() }
        crowd.forEach { $0.close() }
        listener.connections.closeAll()
        try await listener.channel.close().get()
    }

    @Test func addressesAreCountedAsTheirNetworks() throws {
        func text(_ address: String) throws -> String {
            ClientAddress.text(try SocketAddress(ipAddress: address, port: 1))
        }
        #expect(try text("192.0.2.7") == "192.0.2.7")
        #expect(try text("2001:db8:1:2:3:4:5:6") == text("2001:db8:1:2::1"))
        #expect(try text("2001:db8:1:2::1") == "2001:db8:1:2::/64")
        #expect(try text("2001:db8:1:3::1") != text("2001:db8:1:2::1"))
        #expect(try text("::ffff:192.0.2.7") == "192.0.2.7")
        #expect(ClientAddress.text(nil) == "local")
        #expect(ClientAddress.text(try SocketAddress(unixDomainSocketPath: "/tmp/x")) == "local")
    }
}
