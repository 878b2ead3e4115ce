import MeshCrypto
import MeshGossip
import MeshModel
import MeshTransport
import MeshWire
import NIOCore
import NIOPosix
import SwiftProtobuf
import Synchronization
import Testing

@Suite(.serialized) struct LinksTests {
    @Test func establishesAndCarriesFramesBothWays() async throws {
        let (dialler, server, link) = try await LinkNode.pair()
        let frame = Aisbf_Mesh_V1_LinkFrame.with { $0.syncOpen.round = 7 }
        for _ in 0..<100 { link.send(frame) }
        let back = try #require(server.log.read { $0.established.first })
        #expect(back.peer == dialler.key.publicKey)
        back.send(frame)
        await eventually("frames") {
            server.log.read { $0.frames.count } == 100 && dialler.log.read { $0.frames.first } == frame
        }
        link.close(code: .banned)
        await eventually("close") {
            server.log.read { $0.closed } == [.banned] && dialler.log.read { $0.closed } == [.banned]
        }
        await dialler.stop()
        await server.stop()
    }

    /// A node listens before it has signed its descriptor; whoever dials then must not be shown an empty one.
    @Test func whoComesBeforeTheDescriptorWaitsForIt() async throws {
        let shows = Mutex(false)
        let server = try await LinkNode.start(shows: { shows.withLock { $0 } })
        let dialler = try await LinkNode.start()
        dialler.endpoint.dial(address: server.address, expected: server.key.publicKey)
        // Another one that shows its descriptor at once is long linked by then.
        let other = try await LinkNode.start()
        dialler.endpoint.dial(address: other.address, expected: other.key.publicKey)
        await eventually("the other link") { dialler.endpoint.link(to: other.key.publicKey) != nil }
        #expect(server.endpoint.handshakes == 0)
        #expect(dialler.log.read { $0.dialFailures }.isEmpty)
        shows.withLock { $0 = true }
        server.endpoint.accept()
        await eventually("a link") { dialler.endpoint.link(to: server.key.publicKey) != nil }
        #expect(dialler.log.read { $0.dialFailures }.isEmpty)
        #expect(server.log.read { $0.acceptFailures }.isEmpty)
        await other.stop()
        await dialler.stop()
        await server.stop()
    }

    enum Refusal: String, CaseIterable, Sendable {
        case wrongKey, wrongNetwork, notAdmitted, diallerPin, serverPin
    }

    @Test(arguments: Refusal.allCases)
    func refusesWithTheCodeOnBothSides(_ refusal: Refusal) async throws {
        let other = NetworkID(Bytes16(high: 9, low: 9))
        let dialler = try await LinkNode.start(
            network: refusal == .wrongNetwork ? other : LinkNode.network, wrongPin: refusal == .diallerPin)
        let server = try await LinkNode.start(
            admission: LinkAdmission(isOpen: refusal != .notAdmitted), wrongPin: refusal == .serverPin)
        let expected = refusal == .wrongKey ? SigningKey.random().publicKey : server.key.publicKey
        let failure: LinkFailure =
            switch refusal {
            case .wrongKey: .wrongKey
            case .wrongNetwork: .wrongNetwork
            case .notAdmitted: .notAdmitted
            case .diallerPin, .serverPin: .pinMismatch
            }
        dialler.endpoint.dial(address: server.address, expected: expected)
        await eventually("refusal") {
            dialler.log.read { $0.dialFailures } == [failure] && server.log.read { $0.acceptFailures } == [failure]
        }
        #expect(dialler.log.read { $0.dialFailures } == [failure])
        #expect(server.log.read { $0.acceptFailures } == [failure])
        #expect(dialler.endpoint.links.isEmpty && server.endpoint.links.isEmpty)
        await dialler.stop()
        await server.stop()
    }

    @Test func reportsAnUnreachableAddressOnce() async throws {
        let node = try await LinkNode.start()
        node.endpoint.dial(address: "127.0.0.1:1", expected: nil)
        node.endpoint.dial(address: "nonsense", expected: nil)
        await eventually("dial failures") {
            node.log.read { Set($0.dialFailures) } == [.connectionRefused, .unreachable]
        }
        node.endpoint.dial(address: node.address, expected: nil)
        await eventually("self") { node.log.read { $0.dialFailures.last } == .selfLink }
        await node.stop()
    }

    @Test func garbageOnThePortLeavesTheNodeServing() async throws {
        let (dialler, server, _) = try await LinkNode.pair()
        for length in [1, 50, 5_000] {
            let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .connect(host: "127.0.0.1", port: server.port).get()
            let bytes = (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ 5) }
            try? await channel.writeAndFlush(ByteBuffer(bytes: bytes)).get()
            try? await channel.close().get()
        }
        await eventually("garbage refused") { server.log.read { $0.acceptFailures.count } == 3 }
        server.endpoint.dial(address: dialler.address, expected: dialler.key.publicKey)
        await eventually("still links") { server.endpoint.link(to: dialler.key.publicKey) != nil }
        await dialler.stop()
        await server.stop()
    }

    @Test func answeredPingsKeepTheLinkAndSilenceEndsIt() async throws {
        var timing = LinkEndpoint.Timing()
        timing.pingIntervalMs = 50
        timing.pingTimeoutMs = 500
        let dialler = try await LinkNode.start(timing: timing)
        let server = try await LinkNode.start(timing: timing)
        let relay = try await SilentRelay.start(to: server.port)
        dialler.endpoint.dial(address: "127.0.0.1:\(relay.port)", expected: nil)
        await eventually("link") { dialler.endpoint.links.count == 1 && server.endpoint.links.count == 1 }
        // Longer than the time-out: only answered pings keep the link.
        try await Task.sleep(for: .milliseconds(1_200))
        #expect(dialler.endpoint.links.count == 1 && server.endpoint.links.count == 1)
        await relay.fallSilent()
        await eventually("noticed") {
            dialler.log.read { $0.closed } == [.pingTimeout] && server.log.read { $0.closed } == [.pingTimeout]
        }
        await dialler.stop()
        await server.stop()
    }
}
