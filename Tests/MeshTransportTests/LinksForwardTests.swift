import MeshCrypto
import MeshGossip
import MeshModel
import MeshTransport
import NIOCore
import Synchronization
import Testing

@Suite(.serialized) struct LinksForwardTests {
    @Test(arguments: [0, 1, 1_024, 16 << 10, 3 << 20], LinkProtocol.allCases)
    func answersAForward(_ size: Int, _ way: LinkProtocol) async throws {
        let (dialler, server, link) = try await LinkNode.pair(way) { forward in
            forward.collectBody(limit: 8 << 20, deadlineMs: 10_000) { result in
                guard case .success(let body) = result else { return forward.reset() }
                forward.respond(status: 201, headers: [HeaderField("x-seen", forward.headers.first?.value ?? "")])
                forward.write(body)
                forward.end(trailers: [HeaderField("x-done", "1")])
            }
        }
        let answer = AnswerLog()
        let body = (0..<size).map { UInt8(truncatingIfNeeded: $0) }
        _ = link.openForward(headers: [HeaderField("x-a", "b")], body: ByteBuffer(bytes: body), receiver: answer)
        await eventually("answer") { answer.read { $0.ends.count } == 1 }
        #expect(answer.read { $0.status } == 201)
        #expect(answer.read { $0.ends } == [nil])
        #expect(answer.read { $0.body } == body)
        #expect(answer.read { $0.trailers.first?.name } == "x-done")
        await dialler.stop()
        await server.stop()
    }

    @Test(arguments: LinkProtocol.allCases)
    func aBodyOverTheLimitIsRefused(_ way: LinkProtocol) async throws {
        let (dialler, server, link) = try await LinkNode.pair(way) { forward in
            forward.collectBody(limit: 1_000, deadlineMs: 10_000) { result in
                #expect(result == .failure(.bodyTooLarge))
                forward.respond(status: 413, headers: [])
                forward.end()
            }
        }
        let answer = AnswerLog()
        _ = link.openForward(headers: [], body: ByteBuffer(repeating: 1, count: 1 << 20), receiver: answer)
        await eventually("refusal") { answer.read { $0.ends.count } == 1 }
        #expect(answer.read { $0.status } == 413)
        await dialler.stop()
        await server.stop()
    }

    @Test(arguments: LinkProtocol.allCases)
    func aPausedReceiverStopsTheSender(_ way: LinkProtocol) async throws {
        let written = Mutex(0)
        let (dialler, server, link) = try await LinkNode.pair(way) { forward in
            let chunk = ByteBuffer(repeating: 1, count: 16 << 10)
            let fill: @Sendable () -> Void = {
                while forward.isWritable, written.withLock({ $0 }) < 16 << 20 {
                    forward.write(chunk)
                    written.withLock { $0 += chunk.readableBytes }
                }
                if written.withLock({ $0 }) >= 16 << 20 { forward.end() }
            }
            forward.onWritabilityChanged { if $0 { fill() } }
            forward.respond(status: 200, headers: [])
            fill()
        }
        let answer = AnswerLog()
        let call = link.openForward(headers: [], body: ByteBuffer(), receiver: answer)
        call.pauseReading()
        await eventually("sender stops") { server.log.read { $0.forwards.first?.isWritable } == false }
        // Nothing moves any more while the receiver pauses.
        try await Task.sleep(for: .milliseconds(300))
        #expect(written.withLock { $0 } < 4 << 20)
        #expect(answer.read { $0.body.count } <= Limits.linkStreamWindowBytes)
        call.resumeReading()
        await eventually("rest arrives", seconds: 30) { answer.read { $0.ends.count } == 1 }
        #expect(answer.read { $0.body.count } == 16 << 20)
        await dialler.stop()
        await server.stop()
    }

    @Test(arguments: LinkProtocol.allCases)
    func cancelReachesTheOtherSide(_ way: LinkProtocol) async throws {
        let cancelled = Mutex(0)
        let (dialler, server, link) = try await LinkNode.pair(way) { forward in
            forward.onCancelled { cancelled.withLock { $0 += 1 } }
            forward.respond(status: 200, headers: [])
        }
        let answer = AnswerLog()
        let call = link.openForward(headers: [], body: ByteBuffer(), receiver: answer)
        await eventually("head") { answer.read { $0.status } == 200 }
        call.cancel()
        await eventually("cancel") { cancelled.withLock { $0 } == 1 && answer.read { $0.ends } == [.cancelled] }
        await dialler.stop()
        await server.stop()
    }

    @Test(arguments: LinkProtocol.allCases)
    func aThousandCancelsLeaveTheLinkUp(_ way: LinkProtocol) async throws {
        let (dialler, server, link) = try await LinkNode.pair(way) { $0.respond(status: 200, headers: []) }
        for _ in 0..<1_000 {
            let answer = AnswerLog()
            let call = link.openForward(headers: [], body: ByteBuffer(repeating: 1, count: 100), receiver: answer)
            await eventually("head") { answer.read { $0.status != nil || !$0.ends.isEmpty } }
            call.cancel()
            await eventually("end") { answer.read { $0.ends } == [.cancelled] }
        }
        #expect(dialler.endpoint.link(to: server.key.publicKey) === link)
        #expect(dialler.log.read { $0.closed.isEmpty } && server.log.read { $0.closed.isEmpty })
        await dialler.stop()
        await server.stop()
    }

    @Test(arguments: LinkProtocol.allCases)
    func aLostSocketAndAResetAreTold(_ way: LinkProtocol) async throws {
        let (dialler, server, link) = try await LinkNode.pair(way) { forward in
            forward.respond(status: 200, headers: [])
            if forward.headers.first?.name == "x-reset" { forward.reset() }
        }
        let reset = AnswerLog()
        _ = link.openForward(headers: [HeaderField("x-reset", "1")], body: ByteBuffer(), receiver: reset)
        await eventually("reset") { reset.read { $0.ends } == [.reset(8)] }
        let lost = AnswerLog()
        _ = link.openForward(headers: [], body: ByteBuffer(), receiver: lost)
        await eventually("head") { lost.read { $0.status } == 200 }
        await server.stop()
        await eventually("lost") { lost.read { $0.ends } == [.linkLost] }
        let after = AnswerLog()
        _ = link.openForward(headers: [], body: ByteBuffer(), receiver: after)
        await eventually("refused") { after.read { $0.ends } == [.notEstablished] }
        await dialler.stop()
    }

    @Test func overHTTP2TheAcceptingSideOpensNoForwards() async throws {
        let (dialler, server, _) = try await LinkNode.pair(.http2)
        #expect(server.endpoint.link(to: dialler.key.publicKey) == nil)
        let answer = AnswerLog()
        let link = try #require(server.log.read { $0.established.first })
        _ = link.openForward(headers: [], body: ByteBuffer(), receiver: answer)
        await eventually("refused") { answer.read { $0.ends } == [.notEstablished] }
        await dialler.stop()
        await server.stop()
    }

    /// As soon as a side holds the link for one, the other must not take its request for a stranger's.
    @Test(arguments: LinkProtocol.allCases)
    func aForwardAtTheFirstMomentIsAnswered(_ way: LinkProtocol) async throws {
        let serve: @Sendable (IncomingForward) -> Void = { forward in
            forward.respond(status: 200, headers: [])
            forward.end()
        }
        for _ in 0..<10 {
            let answers = [AnswerLog(), AnswerLog()]
            let started = MutexBox(0)
            let ask: @Sendable (Link) -> Void = { link in
                guard link.opensForwards else { return }
                started.update { $0 += 1 }
                _ = link.openForward(headers: [], body: ByteBuffer(), receiver: answers[link.dialled ? 0 : 1])
            }
            let dialler = try await LinkNode.start(protocols: [way], linked: ask, serve: serve)
            let server = try await LinkNode.start(protocols: [way], linked: ask, serve: serve)
            dialler.endpoint.dial(address: server.address, expected: server.key.publicKey)
            await eventually("both linked") { started.value == (way == .frames ? 2 : 1) }
            for answer in answers.prefix(started.value) {
                await eventually("answer") { answer.read { $0.ends } == [nil] }
            }
            await dialler.stop()
            await server.stop()
        }
    }

    /// A buyer chooses how long his path is. It ends his request and nobody else's.
    @Test func aHeadThatIsTooLargeEndsItsForwardOnly() async throws {
        let (dialler, server, link) = try await LinkNode.pair(.frames) { forward in
            forward.respond(status: 200, headers: forward.path.hasSuffix("/large") ? [HeaderField("x", longText)] : [])
            forward.end()
        }
        let open = AnswerLog()
        for (path, failure) in [
            (LinkPath.forward + "/" + longText, ForwardFailure.headTooLarge), (LinkPath.forward + "/large", .reset(2)),
        ] {
            let answer = AnswerLog()
            _ = link.openForward(path: path, headers: [], body: ByteBuffer(), receiver: answer)
            await eventually("told") { answer.read { $0.ends } == [failure] }
        }
        _ = link.openForward(headers: [], body: ByteBuffer(), receiver: open)
        await eventually("the link lives") { open.read { $0.ends } == [nil] }
        #expect(server.log.read { $0.forwards.count } == 2)
        #expect(dialler.log.read { $0.closed.isEmpty } && server.log.read { $0.closed.isEmpty })
        await dialler.stop()
        await server.stop()
    }

    /// Both ask at once, on one connection, and each gets its own answers.
    @Test func framesCarryForwardsBothWays() async throws {
        let serve: @Sendable (IncomingForward) -> Void = { forward in
            forward.collectBody(limit: 1 << 20, deadlineMs: 10_000) { result in
                guard case .success(let body) = result else { return forward.reset() }
                forward.respond(status: 200, headers: [])
                forward.write(body)
                forward.end()
            }
        }
        let (dialler, server, there) = try await LinkNode.pair(.frames, serve: serve)
        let back = try #require(server.endpoint.link(to: dialler.key.publicKey))
        let answers = (0..<200).map { _ in AnswerLog() }
        for (index, answer) in answers.enumerated() {
            let body = ByteBuffer(repeating: UInt8(index), count: 5_000 + index)
            _ = (index % 2 == 0 ? there : back).openForward(headers: [], body: body, receiver: answer)
        }
        await eventually("all answered") { answers.allSatisfy { $0.read { $0.ends.count } == 1 } }
        for (index, answer) in answers.enumerated() {
            #expect(answer.read { $0.body } == Array(repeating: UInt8(index), count: 5_000 + index))
        }
        await dialler.stop()
        await server.stop()
    }

    /// Nodes of two versions: the newer one speaks what the older one can.
    @Test(arguments: [true, false])
    func anOlderPeerIsServedOverHTTP2(dials: Bool) async throws {
        let serve: @Sendable (IncomingForward) -> Void = { forward in
            forward.respond(status: 200, headers: [])
            forward.end()
        }
        let older = try await LinkNode.start(protocols: [.http2], serve: serve)
        let newer = try await LinkNode.start(serve: serve)
        let (dialler, server) = dials ? (older, newer) : (newer, older)
        dialler.endpoint.dial(address: server.address, expected: server.key.publicKey)
        await eventually("no link") { dialler.endpoint.link(to: server.key.publicKey) != nil }
        let link = try #require(dialler.endpoint.link(to: server.key.publicKey))
        let answer = AnswerLog()
        _ = link.openForward(headers: [], body: ByteBuffer(), receiver: answer)
        await eventually("answer") { answer.read { $0.ends } == [nil] }
        await dialler.stop()
        await server.stop()
    }

    @Test(arguments: LinkProtocol.allCases)
    func drainLetsOpenForwardsFinish(_ way: LinkProtocol) async throws {
        let held = Mutex<IncomingForward?>(nil)
        let (dialler, server, link) = try await LinkNode.pair(way) { forward in held.withLock { $0 = forward } }
        let answer = AnswerLog()
        _ = link.openForward(headers: [], body: ByteBuffer(), receiver: answer)
        await eventually("arrived") { held.withLock { $0 != nil } }
        server.endpoint.drain()
        await eventually("unlisted") { dialler.endpoint.link(to: server.key.publicKey) == nil }
        let late = AnswerLog()
        _ = link.openForward(headers: [], body: ByteBuffer(), receiver: late)
        await eventually("goaway") { late.read { $0.ends } == [.goaway] }
        let forward = held.withLock { $0 }
        forward?.respond(status: 200, headers: [])
        forward?.end()
        await eventually("whole") { answer.read { $0.ends } == [nil] }
        await eventually("closed") { dialler.log.read { $0.closed } == [.draining] }
        await dialler.stop()
        await server.stop()
    }
}

private let longText = String(repeating: "x", count: Limits.linkHeaderBytes)
