import MeshGossip
import MeshModel
import MeshTransport
import MeshWire
import NIOCore
import Testing

/// What an admitted peer can send in frames, and a stranger.
@Suite(.serialized) struct FrameAttackTests {
    enum Attack: String, CaseIterable, Sendable {
        case garbage, unknownKind, longPayload, wrongCredit, streamOfOurs, streamBackwards, streamTwice, dataForNobody
        case badFields, openWithStatus, openWithoutPath, dataBehindTheEnd, emptyData, tooMuchData, fieldsInTheMiddle
        case noCredit, tooMuchCredit, endOfTheLinkStream, cancelOfTheLinkStream, pings, opens, cancels

        var bytes: [UInt8] {
            switch self {
            case .garbage: Array("GET / HTTP/1.1\r\n\r\n".utf8)
            case .unknownKind: [0, 0, 0x7E, 0, 0, 0, 0, 1]
            case .longPayload: [0x40, 1, 3, 0, 0, 0, 0, 1]
            case .wrongCredit: [0, 3, 4, 0, 0, 0, 0, 1, 0, 0, 1]
            case .streamOfOurs: RawFramePeer.open(2)
            case .streamBackwards: RawFramePeer.open(5) + RawFramePeer.open(3)
            case .streamTwice: Self.begun + Self.begun
            case .dataForNobody: RawFramePeer.data(7, 1)
            case .badFields: RawFramePeer.frame(StreamFrameHead(.open, stream: 1, length: 3), [0, 0, 0])
            case .openWithStatus:
                RawFramePeer.frame(StreamFrameHead(.open, stream: 1, length: 5), [0, 200, 0, 1, 0x2F])
            case .openWithoutPath: RawFramePeer.frame(StreamFrameHead(.open, stream: 1, length: 4), [0, 0, 0, 0])
            case .dataBehindTheEnd: RawFramePeer.open(1, isLast: true) + RawFramePeer.data(1, 1)
            case .emptyData: Self.begun + RawFramePeer.data(1, 0)
            case .tooMuchData: Self.begun + Self.window + RawFramePeer.data(1, 1)
            case .fieldsInTheMiddle:
                Self.begun + RawFramePeer.frame(StreamFrameHead(.fields, stream: 1, length: 4), [0, 200, 0, 0])
            case .noCredit: Self.begun + RawFramePeer.number(.credit, 1, 0)
            case .tooMuchCredit: Self.begun + RawFramePeer.number(.credit, 1, 1)
            case .endOfTheLinkStream: RawFramePeer.data(0, 0, isLast: true)
            case .cancelOfTheLinkStream: RawFramePeer.number(.cancel, 0, 8)
            case .pings: Self.pingFlood
            case .opens: Self.openFlood
            case .cancels: Self.cancelFlood
            }
        }

        private static var begun: [UInt8] { RawFramePeer.open(1, isLast: false) }

        private static var window: [UInt8] {
            let count = Limits.linkStreamWindowBytes / Limits.linkFramePayloadBytes
            return Array(repeating: RawFramePeer.data(1, Limits.linkFramePayloadBytes), count: count).flatMap { $0 }
        }

        private static var pingFlood: [UInt8] {
            let ping = RawFramePeer.frame(StreamFrameHead(.ping, length: 8), Array(repeating: 0, count: 8))
            return Array(repeating: ping, count: Limits.linkControlFramesPer30s + 1).flatMap { $0 }
        }

        /// As many as may be open, and those that are refused.
        private static var openFlood: [UInt8] {
            let count = Limits.linkStreams + Limits.linkStreamResetsPer30s
            return (0...count).flatMap { RawFramePeer.open(UInt64($0) * 2 + 1, isLast: false) }
        }

        private static var cancelFlood: [UInt8] {
            (0...Limits.linkStreamResetsPer30s).flatMap { index -> [UInt8] in
                let stream = UInt64(index) * 2 + 1
                return RawFramePeer.open(stream) + RawFramePeer.number(.cancel, stream, 8)
            }
        }

        var reason: LinkFailure {
            switch self {
            case .pings, .opens, .cancels: .flooding
            default: .malformed
            }
        }
    }

    /// The link is closed with a reason, what was open is told, and honest peers notice nothing.
    @Test(arguments: Attack.allCases)
    func whatNoPeerSendsEndsTheLink(_ attack: Attack) async throws {
        let cancelled = MutexBox(0)
        let server = try await LinkNode.start(serve: { forward in
            forward.onCancelled { cancelled.update { $0 += 1 } }
        })
        let honest = try await LinkNode.start()
        honest.endpoint.dial(address: server.address, expected: nil)
        let peer = try await RawFramePeer.connect(to: server)
        await eventually("links") { peer.isEstablished && server.log.read { $0.established.count } == 2 }
        peer.write(attack.bytes)
        await eventually("closed", seconds: 30) { server.log.read { $0.closed } == [attack.reason] }
        await eventually("what was open is told") {
            cancelled.value == server.log.read { $0.forwards.count }
        }
        await eventually("the socket is closed") { !peer.channel.isActive }
        #expect(honest.endpoint.links.count == 1)
        await honest.stop()
        await server.stop()
    }

    @Test func aStrangerOpensNothing() async throws {
        let server = try await LinkNode.start()
        let peer = try await RawFramePeer.connect(to: server, introduces: false)
        peer.write(RawFramePeer.open(1))
        await eventually("closed") { server.log.read { $0.acceptFailures } == [.malformed] && !peer.channel.isActive }
        #expect(server.log.read { $0.forwards.isEmpty })
        #expect(peer.frames.isEmpty, "nothing is said to a stranger")
        await server.stop()
    }

    /// Signs that an answer is under way cost no credit; whoever reads slowly must not keep a thousand of them.
    @Test func signsForWhoeverDoesNotReadAreKeptOnce() async throws {
        let server = try await LinkNode.start()
        let peer = try await RawFramePeer.connect(to: server)
        await eventually("link") { peer.isEstablished && server.log.read { $0.established.count } == 1 }
        let link = try #require(server.log.read { $0.established.first })
        let answer = AnswerLog()
        // In one turn: what the peer says to the request finds it paused.
        let call = try await link.eventLoop.submit {
            let call = link.openForward(headers: [], body: ByteBuffer(), receiver: answer)
            call.pauseReading()
            return call
        }.get()
        await eventually("asked") { peer.frames.contains { frame in frame.head.kind == .open } }
        let stream = peer.frames.first { frame in frame.head.kind == .open }?.head.stream ?? 0
        let signs = [102, 103, 102, 100].map { RawFramePeer.status($0, stream) }
        for _ in 0..<500 { peer.write(signs.flatMap { $0 }) }
        peer.write(RawFramePeer.status(200, stream, isLast: true))
        peer.write(RawFramePeer.frame(StreamFrameHead(.ping, length: 8), Array(repeating: 9, count: 8)))
        await eventually("all is read") { peer.frames.contains { frame in frame.head.kind == .pong } }
        #expect(answer.read { $0.ends.isEmpty && $0.waits == 0 })
        call.resumeReading()
        await eventually("answer") { answer.read { $0.ends } == [nil] }
        #expect(answer.read { $0.waits } == 1)
        await server.stop()
    }

    /// Frames that crossed the end of their stream are no fault; a path that is no forward is answered.
    @Test func whatCrossesTheEndIsPassedOver() async throws {
        let server = try await LinkNode.start(serve: { forward in
            forward.respond(status: 413, headers: [])
            forward.end()
        })
        let peer = try await RawFramePeer.connect(to: server)
        await eventually("link") { peer.isEstablished }
        peer.write(RawFramePeer.open(1, isLast: false))
        await eventually("answer") { peer.frames.contains { frame in frame.head.stream == 1 && frame.head.isLast } }
        peer.write(RawFramePeer.data(1, 10))
        peer.write(RawFramePeer.number(.credit, 1, 10))
        peer.write(RawFramePeer.number(.cancel, 1, 8))
        peer.write(RawFramePeer.data(1, 0, isLast: true))
        peer.write(RawFramePeer.open(3, path: "/elsewhere"))
        await eventually("refused") {
            peer.frames.contains { frame in frame.head.stream == 3 && frame.payload.starts(with: [1, 148]) }
        }
        #expect(server.log.read { $0.closed.isEmpty })
        await server.stop()
    }

    /// However the bytes are cut, the same comes of them.
    @Test func framesMayComeInAnyPieces() async throws {
        let server = try await LinkNode.start(serve: { forward in
            forward.collectBody(limit: 1 << 20, deadlineMs: 20_000) { result in
                guard case .success(let body) = result else { return forward.reset() }
                forward.respond(status: 200, headers: [])
                forward.write(body)
                forward.end(trailers: [HeaderField("x-size", "\(body.readableBytes)")])
            }
        })
        let peer = try await RawFramePeer.connect(to: server)
        await eventually("link") { peer.isEstablished }
        var random = SystemRandomNumberGenerator()
        var bytes: [UInt8] = []
        for stream in 0..<UInt64(40) {
            let size = Int.random(in: 1...20_000, using: &random)
            bytes += RawFramePeer.open(stream * 2 + 1, isLast: false)
            if size > 16_384 { bytes += RawFramePeer.data(stream * 2 + 1, 16_384) }
            bytes += RawFramePeer.data(stream * 2 + 1, size > 16_384 ? size - 16_384 : size, isLast: true)
        }
        var rest = bytes[...]
        while !rest.isEmpty {
            let piece = rest.prefix(Int.random(in: 1...3_000, using: &random))
            try await peer.channel.writeAndFlush(ByteBuffer(bytes: piece)).get()
            rest = rest.dropFirst(piece.count)
        }
        await eventually("all answered") {
            peer.frames.count { frame in frame.head.kind == .fields && frame.head.isLast } == 40
        }
        for stream in 0..<UInt64(40) {
            let frames = peer.frames.filter { frame in frame.head.stream == stream * 2 + 1 }
            let sizes = frames.map { frame in frame.head.kind == .data ? frame.payload.count : 0 }
            let size = Array(String(sizes.reduce(0, +)).utf8)
            let told = frames.last?.payload.suffix(size.count)
            #expect(told.map { Array($0) } == size)
        }
        await server.stop()
    }
}
