import MeshModel
import MeshTransport
import NIOCore
import NIOEmbedded
import NIOHTTP1
import Testing

/// One connection in memory: what its handler saw of the requests, and what went out.
private final class Wire {
    /// Says back what it was asked, by length or in chunks as the request's head says.
    final class Recorder: ChannelInboundHandler, RemovableChannelHandler {
        typealias InboundIn = HTTPServerRequestPart
        typealias OutboundOut = HTTPServerResponsePart

        var seen: [String] = []
        var bodies: [[UInt8]] = []
        var events = 0
        private var heads: [HTTPRequestHead] = []
        private var waiting: [(head: HTTPRequestHead, body: [UInt8])] = []
        private let answersLater: Bool
        var context: ChannelHandlerContext?

        init(answersLater: Bool) { self.answersLater = answersLater }

        func handlerAdded(context: ChannelHandlerContext) { self.context = context }
        func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            switch unwrapInboundIn(data) {
            case .head(let head):
                let fields = head.headers.map { "\($0.name)=\($0.value)" }.joined(separator: "|")
                seen.append("\(head.method) \(head.uri) \(head.version) \(fields) \(head.isKeepAlive)")
                heads.append(head)
                bodies.append([])
            case .body(let bytes): bodies[bodies.count - 1] += Array(bytes.readableBytesView)
            case .end(let trailers):
                seen.append("end \(trailers.map(String.init(describing:)) ?? "")")
                waiting.append((heads[heads.count - 1], bodies[bodies.count - 1]))
                if !answersLater { answer() }
            }
        }

        func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
            if event is ChannelShouldQuiesceEvent { events += 1 }
            context.fireUserInboundEventTriggered(event)
        }

        /// The oldest request that waits for it.
        func answer() {
            guard let context, !waiting.isEmpty else { return }
            let (head, body) = waiting.removeFirst()
            var headers: HTTPHeaders = ["x-uri": head.uri]
            let status: HTTPResponseStatus = head.uri.hasPrefix("/none") ? .noContent : .ok
            let inChunks = head.uri.hasPrefix("/chunks")
            if !inChunks { headers.add(name: "content-length", value: "\(body.count)") }
            context.write(
                wrapOutboundOut(.head(HTTPResponseHead(version: head.version, status: status, headers: headers))),
                promise: nil)
            if status == .ok {
                for start in stride(from: 0, to: body.count, by: inChunks ? 5_000 : max(body.count, 1)) {
                    let piece = body[start..<min(start + 5_000, inChunks ? .max : body.count, body.count)]
                    let rest = inChunks ? piece : body[...]
                    context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: rest)))), promise: nil)
                    if inChunks { context.flush() }
                }
            }
            context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
        }
    }

    let channel = EmbeddedChannel()
    let recorder: Recorder
    private(set) var out: [UInt8] = []

    init(hasLane: Bool, answersLater: Bool = false) throws {
        recorder = Recorder(answersLater: answersLater)
        let recorder = recorder
        let places = ConnectionPlaces(.init(connections: 10, newcomers: 10, newcomersPerAddress: 10))
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
        let place = try #require(places.admit(channel))
        let bound = NIOLoopBound(recorder, eventLoop: channel.eventLoop)
        try HTTPListener.configureHTTP1(
            channel, place, { channel, _ in channel.eventLoop.makeSucceededFuture(.notOffered) }, .init(),
            hasLane: hasLane
        ) { _ in bound.value }
    }

    func send(_ bytes: some Sequence<UInt8>) {
        guard channel.isActive else { return }
        // What the library throws for what it cannot read is in its answer too.
        _ = try? channel.writeInbound(ByteBuffer(bytes: bytes))
        settle()
    }

    func settle() {
        channel.embeddedEventLoop.run()
        while let data = try? channel.readOutbound(as: IOData.self) {
            if case .byteBuffer(let bytes) = data { out += Array(bytes.readableBytesView) }
        }
    }

    func close() { _ = try? channel.finish(acceptAlreadyClosed: true) }

    var text: String { String(decoding: out, as: UTF8.self) }
}

private func request(_ path: String, _ body: String = "hello", _ fields: [String] = []) -> String {
    (["POST \(path) HTTP/1.1", "host: node", "Content-Length: \(body.utf8.count)"] + fields).joined(separator: "\r\n")
        + "\r\n\r\n" + body
}

/// The same bytes, cut the same way, at a connection with the short way and at one without: they must see the same
/// requests and answer the same bytes.
private func areRead(
    alike bytes: [UInt8], cuts: [Int] = [], answersLater: Bool = false,
    sourceLocation: SourceLocation = #_sourceLocation
) throws {
    let wires = try [true, false].map { try Wire(hasLane: $0, answersLater: answersLater) }
    defer { for wire in wires { wire.close() } }
    for wire in wires {
        var start = 0
        for cut in cuts.sorted() + [bytes.count] where cut >= start && cut <= bytes.count {
            if cut > start { wire.send(bytes[start..<cut]) }
            start = cut
        }
        for _ in 0..<(answersLater ? 8 : 0) {
            wire.recorder.answer()
            wire.settle()
        }
    }
    let text = String(decoding: bytes, as: UTF8.self)
    #expect(wires[0].recorder.seen == wires[1].recorder.seen, "\(text)", sourceLocation: sourceLocation)
    #expect(wires[0].recorder.bodies == wires[1].recorder.bodies, "\(text)", sourceLocation: sourceLocation)
    #expect(wires[0].text == wires[1].text, "\(text)", sourceLocation: sourceLocation)
    #expect(wires[0].channel.isActive == wires[1].channel.isActive, "\(text)", sourceLocation: sourceLocation)
}

@Suite struct PlainLaneTests {
    @Test(arguments: [
        request("/v1/chat/completions"), request("/chunks", String(repeating: "x", count: 23_456)),
        request("/none"), request("/", ""), "GET /v1/models HTTP/1.1\r\nhost: a\r\n\r\n",
        request("/a") + request("/b", "") + "GET /c HTTP/1.1\r\n\r\n" + request("/chunks", "d"),
        request(
            "/a", "hello", ["connection: keep-alive", "Accept: */*", "x-long: \(String(repeating: "v", count: 900))"]),
        request("/a") + "HEAD /b HTTP/1.1\r\nhost: a\r\n\r\n" + request("/c"),
        request("/a") + "POST /b HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" + request("/c"),
        request("/a") + "GET /b HTTP/1.0\r\n\r\n",
        request("/a", "hello", ["connection: close"]),
    ])
    func plainRequestsAreReadAsTheLibraryReadsThem(text: String) throws {
        let bytes = Array(text.utf8)
        try areRead(alike: bytes)
        try areRead(alike: bytes, answersLater: true)
        guard bytes.count < 1_000 else { return try areRead(alike: bytes, cuts: [1, 60, 61, 5_000, 20_000]) }
        for cut in 1..<bytes.count { try areRead(alike: bytes, cuts: [cut], answersLater: cut % 2 == 0) }
        try areRead(alike: bytes, cuts: Array(1..<bytes.count))
    }

    /// Bytes that two readers could cut differently.
    @Test(arguments: [
        "POST /a HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\n\r\n",
        "POST /a HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\n\r\n",
        "POST /a HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\nhello",
        "POST /a HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
        "POST /a HTTP/1.1\r\ncontent-length: 5, 5\r\n\r\nhello", "POST /a HTTP/1.1\r\ncontent-length: +5\r\n\r\nhello",
        "POST /a HTTP/1.1\r\ncontent-length: 05\r\n\r\nhello", "POST /a HTTP/1.1\r\ncontent-length: 5 \r\n\r\nhello",
        "POST /a HTTP/1.1\r\ncontent-length:\t5\r\n\r\nhello", "POST /a HTTP/1.1\r\ncontent-length : 5\r\n\r\nhello",
        "POST /a HTTP/1.1\r\ncontent-length: 5\n\r\nhello", "POST /a HTTP/1.1\ncontent-length: 5\n\nhello",
        "POST /a HTTP/1.1\r\ncontent-length: 5\r\n x: y\r\n\r\nhello",
        "POST /a HTTP/1.1\r\nx: a\r\n b\r\ncontent-length: 5\r\n\r\nhello",
        "POST /a HTTP/1.1\r\ncontent-length: 99999999999999999999\r\n\r\nhello",
        "POST /a HTTP/1.1\r\ncontent-length: -1\r\n\r\nhello", "POST /a HTTP/1.1\r\ncontent-length: 0x5\r\n\r\nhello",
        "POST /a HTTP/1.1\r\ncontent-length:\r\n\r\nhello", "POST /a HTTP/1.1\r\nx:\r\ncontent-length: 5\r\n\r\nhello",
        "POST /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n", "GET /a HTTP/1.1\r\ncontent-length: 5\r\n\r\nhello",
        "POST /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nx: y\r\n\r\n",
        "POST /a HTTP/1.1\r\ntransfer-encoding: xchunked\r\ncontent-length: 5\r\n\r\nhello",
        "POST /a HTTP/1.1\r\nTransfer_Encoding: chunked\r\ncontent-length: 5\r\n\r\nhello",
        "POST /a HTTP/1.1\r\nx\0y: 1\r\ncontent-length: 5\r\n\r\nhello",
        "POST /a HTTP/1.1\r\nx: a\0b\r\ncontent-length: 5\r\n\r\nhello",
        "POST /a HTTP/1.1\r\nx: ä\r\ncontent-length: 5\r\n\r\nhello",
        "POST /ä HTTP/1.1\r\ncontent-length: 5\r\n\r\nhello",
        "POST  /a HTTP/1.1\r\ncontent-length: 5\r\n\r\nhello", "POST /a  HTTP/1.1\r\ncontent-length: 5\r\n\r\nhello",
        "POST /a HTTP/1.2\r\ncontent-length: 5\r\n\r\nhello", "post /a HTTP/1.1\r\ncontent-length: 5\r\n\r\nhello",
        "POST http://x/a HTTP/1.1\r\ncontent-length: 5\r\n\r\nhello",
        "POST /a#b HTTP/1.1\r\ncontent-length: 5\r\n\r\nhello",
        "\r\nPOST /a HTTP/1.1\r\ncontent-length: 5\r\n\r\nhello",
        "POST /a HTTP/1.1\r\ncontent-length: 5\r\n\r\nhello\r\n\r\nGET /b HTTP/1.1\r\n\r\n",
        "POST /a HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\nhello",
        "GET /a HTTP/1.1\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\u{16}\u{3}\u{1}", "GET /",
        "POST /a HTTP/1.1\r\n: x\r\ncontent-length: 5\r\n\r\nhello",
        "POST /a HTTP/1.1\r\nx y: z\r\ncontent-length: 5\r\n\r\nhello",
        "POST /a HTTP/1.1\r\nkeep-alive: 1\r\nconnection: keep-alive, x\r\ncontent-length: 5\r\n\r\nhello",
    ])
    func whatIsOddIsTheLibrarys(text: String) throws {
        let bytes = Array(text.utf8)
        try areRead(alike: bytes)
        try areRead(alike: Array(request("/first").utf8) + bytes)
        try areRead(alike: Array(request("/first").utf8) + bytes + Array(request("/last").utf8), answersLater: true)
        for cut in 1..<bytes.count { try areRead(alike: bytes, cuts: [cut]) }
    }

    /// Whatever comes, both read the same.
    @Test func damagedRequestsAreReadAlike() throws {
        var dice = SeededGenerator(seed: 12)
        let pool = Array(" \r\n:\t0159,;chunkedPOSTGET/-_\0\u{7F}aA".utf8)
        for round in 0..<3_000 {
            var bytes: [UInt8] = []
            for _ in 0..<Int.random(in: 1...3, using: &dice) {
                let body = String(repeating: "b", count: Int.random(in: 0...30, using: &dice))
                let fields =
                    [[], ["connection: keep-alive"], ["x: y", "accept: */*"]].randomElement(using: &dice) ?? []
                bytes += Array(request(round % 5 == 0 ? "/chunks" : "/a", body, fields).utf8)
            }
            for _ in 0..<Int.random(in: 0...3, using: &dice) {
                let index = Int.random(in: 0..<bytes.count, using: &dice)
                switch Int.random(in: 0...2, using: &dice) {
                case 0: bytes[index] = pool.randomElement(using: &dice) ?? 0
                case 1: bytes.insert(pool.randomElement(using: &dice) ?? 0, at: index)
                default: bytes.remove(at: index)
                }
            }
            let cuts = (0..<Int.random(in: 0...3, using: &dice)).map { _ in
                Int.random(in: 0...bytes.count, using: &dice)
            }
            try areRead(alike: bytes, cuts: cuts, answersLater: round % 3 == 0)
        }
    }

    @Test func whatGoesTheShortWay() {
        func isPlain(_ text: String) -> Bool {
            if case .head = PlainRequest.read(ByteBuffer(string: text)) { true } else { false }
        }
        #expect(
            isPlain(request("/v1/chat/completions", "x", ["authorization: Bearer k", "user-agent: OpenAI/Python"])))
        #expect(isPlain("GET /v1/models HTTP/1.1\r\nhost: a\r\n\r\n"))
        #expect(!isPlain("GET /v1/models HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"))
        #expect(!isPlain("POST /a HTTP/1.1\r\nhost: a\r\n\r\n"))
        let long = { (count: Int) in "GET / HTTP/1.1\r\nx: \(String(repeating: "y", count: count))\r\n\r\n" }
        let room = PlainRequest.headBytes - long(0).utf8.count
        #expect(isPlain(long(room)))
        guard case .odd = PlainRequest.read(ByteBuffer(string: String(long(room + 2).dropLast()))) else {
            Issue.record("a head has a bound")
            return
        }
    }

    /// A client that asks on without end is not read from.
    @Test func whatComesEarlyIsBounded() throws {
        let wire = try Wire(hasLane: true, answersLater: true)
        defer { wire.close() }
        wire.send(request("/first").utf8)
        wire.send(Array(repeating: UInt8(ascii: "P"), count: Limits.readAheadBytes))
        #expect(wire.recorder.seen.count == 2)
        // `read` is kept back until there is room, and then made good.
        let watcher = ReadCounter()
        try wire.channel.pipeline.syncOperations.addHandler(watcher, position: .first)
        wire.channel.pipeline.read()
        #expect(watcher.reads == 0)
        wire.recorder.answer()
        wire.settle()
        #expect(watcher.reads >= 1)
    }

    /// The node stops while an answer is on its way: the handler is told, and the connection stays until it ends it.
    @Test func stoppingDoesNotEndWhatIsUnderWay() throws {
        let wire = try Wire(hasLane: true, answersLater: true)
        defer { wire.close() }
        wire.send(request("/a").utf8)
        wire.channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
        wire.settle()
        #expect(wire.channel.isActive && wire.recorder.events == 1)
        wire.recorder.answer()
        wire.settle()
        #expect(wire.text.hasSuffix("hello"))
    }
}

private final class ReadCounter: ChannelOutboundHandler {
    typealias OutboundIn = IOData
    private(set) var reads = 0
    func read(context: ChannelHandlerContext) {
        reads += 1
        context.read()
    }
}
