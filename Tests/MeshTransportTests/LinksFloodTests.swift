import FoundationEssentials
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

/// What a peer that was let in, or one that was not, can make a node hold.
@Suite(.serialized) struct LinksFloodTests {
    /// One frame of every kind that an established peer can send, as many entries as it may have.
    enum Flood: String, CaseIterable, Sendable {
        case push, announce, want, syncOpen, syncRanges, syncNeed, syncRecords, peers, drain, hello, helloProof

        var frame: Aisbf_Mesh_V1_LinkFrame {
            let key = Data(repeating: 7, count: 16)
            let keys = Array(repeating: key, count: 4_096)
            let records = Array(repeating: Data(repeating: 1, count: 4_256), count: Limits.linkPushRecords)
            let summaries = Aisbf_Mesh_V1_Announce.with {
                $0.records = Array(repeating: .with { $0.key = key }, count: 4_096)
            }
            return .with { frame in
                switch self {
                case .push: frame.push.records = records
                case .announce: frame.announce = summaries
                case .want: frame.want.keys = keys
                case .syncOpen: frame.syncOpen.salt = key
                case .syncRanges: frame.syncRanges.ranges = [.with { $0.list = summaries }]
                case .syncNeed: frame.syncNeed.keys = keys
                case .syncRecords: frame.syncRecords.records = records
                case .peers: frame.peers.descriptors = records
                case .drain: frame.drain = .init()
                case .hello: frame.hello.descriptor = Data(repeating: 1, count: 60_000)
                case .helloProof: frame.helloProof.signature = Data(repeating: 1, count: 60_000)
                }
            }
        }
    }

    @Test(arguments: Flood.allCases, LinkProtocol.allCases)
    func framesThatNobodyDealsWithWaitInBoundedSpace(_ flood: Flood, _ way: LinkProtocol) async throws {
        let (dialler, server, link) = try await LinkNode.pair(way)
        server.log.state.withLock { $0.holdsFrames = true }
        let victim = try #require(server.log.read { $0.established.first })
        let frame = flood.frame
        let count = flood == .drain || flood == .syncOpen ? 5_000 : 100
        for _ in 0..<count { link.send(frame) }
        await eventually("no back-pressure") {
            let waiting = victim.waiting
            return waiting.frames >= Limits.linkInboxFrames || waiting.bytes >= Limits.linkInboxBytes
        }
        // More must not come however long one waits; a moment is enough for a flood that is not held back.
        try await Task.sleep(for: .milliseconds(200))
        #expect(victim.waiting.frames <= Limits.linkInboxFrames)
        #expect(victim.waiting.bytes < Limits.linkInboxBytes + frame.heldBytes)
        // Dealt with, everything arrives, in order and to the last.
        server.log.state.withLock {
            $0.holdsFrames = false
            $0.tickets = []
        }
        await eventually("the rest") { server.log.read { $0.frames.count } == count }
        #expect(victim.waiting.frames == 0 && victim.waiting.bytes == 0)
        #expect(server.log.read { $0.closed }.isEmpty)
        await dialler.stop()
        await server.stop()
    }

    @Test func bareConnectionsKeepNobodyOut() async throws {
        let server = try await LinkNode.start()
        var bare: [any Channel] = []
        for _ in 0..<300 {
            bare.append(
                try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                    .connect(host: "127.0.0.1", port: server.port).get())
        }
        await eventually("bare connections wait") { server.endpoint.handshakes >= Limits.linkHandshakesPerAddress }
        #expect(server.endpoint.handshakes <= Limits.linkHandshakesPerAddress)
        let dialler = try await LinkNode.start()
        dialler.endpoint.dial(address: server.address, expected: server.key.publicKey)
        await eventually("an honest node gets in", seconds: 4) {
            dialler.endpoint.link(to: server.key.publicKey) != nil
        }
        #expect(server.log.read { $0.acceptFailures.contains(.tooManyLinks) })
        for channel in bare { try? await channel.close().get() }
        await dialler.stop()
        await server.stop()
    }

    @Test func aStrangersHalfHandshakesEndAtTheirDeadlines() async throws {
        var timing = LinkEndpoint.Timing()
        timing.tlsMs = 300
        timing.handshakeMs = 300
        let server = try await LinkNode.start(timing: timing)
        let group = MultiThreadedEventLoopGroup.singleton
        // Nothing; half a TLS record; and TLS whose peer says nothing, or pings for ever: see the raw peers.
        let silent = try await ClientBootstrap(group: group).connect(host: "127.0.0.1", port: server.port).get()
        let half = try await ClientBootstrap(group: group).connect(host: "127.0.0.1", port: server.port).get()
        try await half.writeAndFlush(ByteBuffer(bytes: [22, 3, 1, 2, 0, 1])).get()
        var raw: [RawLinkPeer] = []
        for behaviour in RawLinkPeer.Behaviour.allCases {
            raw.append(try await RawLinkPeer.connect(port: server.port, behaviour))
        }
        for channel in [silent, half] + raw.map(\.channel) {
            await eventually("closed") { !channel.isActive }
        }
        await eventually("places are free") { server.endpoint.handshakes == 0 }
        #expect(server.log.read { $0.acceptFailures.count } == 2 + RawLinkPeer.Behaviour.allCases.count)
        #expect(server.log.read { $0.established }.isEmpty)
        await server.stop()
    }

    @Test func aStrangerIsToldNothingButTheRefusal() async throws {
        let server = try await LinkNode.start(admission: LinkAdmission(isOpen: false))
        // All at once: most of them wait for the deadline of the handshake.
        var peers: [RawLinkPeer] = []
        for behaviour in RawLinkPeer.Behaviour.allCases {
            peers.append(try await RawLinkPeer.connect(port: server.port, behaviour))
        }
        for peer in peers {
            await eventually("closed", seconds: 20) { !peer.channel.isActive }
            // Its descriptor has the name in it, its hello the key.
            #expect(!peer.received(contains: Array("node".utf8)))
            #expect(!peer.received(contains: server.key.publicKey.bytes))
        }
        // A stranger with keys and a descriptor of his own, too.
        let stranger = try await LinkNode.start()
        stranger.endpoint.dial(address: server.address, expected: nil)
        await eventually("refused") { stranger.log.read { $0.dialFailures } == [.notAdmitted] }
        await eventually("known to the other") { server.log.read { $0.knocks.count } == 1 }
        #expect(server.log.read { $0.knocks.first?.node } == stranger.key.publicKey)
        await stranger.stop()
        await server.stop()
    }

    @Test func pingsWithoutEndCloseTheLinkWithAReason() async throws {
        let server = try await LinkNode.start()
        let honest = try await LinkNode.start()
        honest.endpoint.dial(address: server.address, expected: nil)
        await eventually("honest link") { honest.endpoint.links.count == 1 }
        let peer = try await RawLinkPeer.connect(port: server.port, .pings)
        for _ in 0..<Limits.linkControlFramesPer30s { peer.ping() }
        await eventually("closed as a flood") { server.log.read { $0.acceptFailures } == [.flooding] }
        #expect(honest.endpoint.links.count == 1)
        await honest.stop()
        await server.stop()
    }
}

/// Places as a value: whoever fills them pushes himself out.
@Suite struct HandshakePlacesTests {
    private final class Evicted: Sendable {
        let names = MutexBox<[String]>([])
    }

    private let bounds = HandshakePlaces.Bounds(total: 8, perAddress: 4, reserved: 3)

    @Test func anAddressPushesItselfOutOldestFirst() {
        let places = HandshakePlaces(bounds: bounds)
        let evicted = Evicted()
        for number in 0..<6 {
            #expect(
                places.take(address: "a", isKnown: false) { evicted.names.update { $0.append("a\(number)") } } != nil)
        }
        #expect(places.count == 4 && evicted.names.value == ["a0", "a1"])
    }

    @Test func whoHasComeFurtherStays() {
        let places = HandshakePlaces(bounds: bounds)
        let evicted = Evicted()
        let held = (0..<4).compactMap { number in
            places.take(address: "a", isKnown: false) { evicted.names.update { $0.append("a\(number)") } }
        }
        held.prefix(3).forEach { $0.reached(.secured) }
        _ = places.take(address: "a", isKnown: false) { evicted.names.update { $0.append("new") } }
        #expect(evicted.names.value == ["a3"])
        held[3].release()
        _ = places.take(address: "a", isKnown: false) { evicted.names.update { $0.append("newer") } }
        #expect(evicted.names.value == ["a3", "new"])
        // The control: all secured, and there is nobody to push out.
        let full = HandshakePlaces(bounds: bounds)
        for _ in 0..<4 { full.take(address: "a", isKnown: false) {}?.reached(.secured) }
        #expect(full.take(address: "a", isKnown: false) {} == nil)
    }

    @Test func strangersLeaveTheReservedPlacesToKnownAddresses() {
        let places = HandshakePlaces(bounds: bounds)
        let evicted = Evicted()
        for number in 0..<40 {
            let address = "stranger-\(number)"
            _ = places.take(address: address, isKnown: false) { evicted.names.update { $0.append(address) } }
        }
        #expect(places.count == 5)
        for _ in 0..<3 {
            #expect(
                places.take(address: "friend", isKnown: true) { evicted.names.update { $0.append("friend") } } != nil)
        }
        #expect(places.count == 8)
        // Full: a known one takes a stranger's place, a stranger never a known one's.
        #expect(places.take(address: "other friend", isKnown: true) {} != nil)
        _ = places.take(address: "late", isKnown: false) {}
        #expect(places.count == 8 && !evicted.names.value.contains("friend"))
    }

    @Test func theHeaviestAddressGivesWayToOthers() {
        let places = HandshakePlaces(bounds: .init(total: 6, perAddress: 4, reserved: 0))
        let evicted = Evicted()
        for (address, count) in [("a", 2), ("b", 4)] {
            for _ in 0..<count {
                _ = places.take(address: address, isKnown: false) { evicted.names.update { $0.append(address) } }
            }
        }
        _ = places.take(address: "c", isKnown: false) {}
        #expect(evicted.names.value == ["b"])
    }

    @Test(arguments: [
        ("192.0.2.7", "192.0.2.7"), ("::ffff:192.0.2.7", "192.0.2.7"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"), ("2001:db8:1:3::9", "2001:db8:1:3::/64"),
    ])
    func addressesOfOneCustomerAreOne(text: String, group: String) throws {
        #expect(NetworkAddress.group(of: try SocketAddress(ipAddress: text, port: 1)) == group)
    }
}
