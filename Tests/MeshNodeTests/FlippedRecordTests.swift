import Foundation
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

/// An admitted peer that says whatever a test wants, over a real link.
private final class Liar: LinkDelegate {
    struct State {
        var records: [[UInt8]] = []
        var closed: [LinkFailure] = []
        var refused: [LinkFailure] = []
    }

    let key = SigningKey.random()
    private let state = Mutex(State())
    private let identity: TLSIdentity

    init() throws { identity = try TLSIdentity.ephemeral() }

    static let network = NetworkID(Sodium.shared.hash16(Array("node tests".utf8), key: []))
    static var wall: Timestamp { Timestamp(milliseconds: Int64(Date().timeIntervalSince1970 * 1_000)) }

    var id: String { KeyText.node.text(key.publicKey.bytes) }
    var closed: [LinkFailure] { state.withLock { $0.closed } }
    var refused: [LinkFailure] { state.withLock { $0.refused } }
    /// What was captured from the wire.
    var captured: [RecordEnvelope] {
        state.withLock { $0.records }.compactMap { try? RecordEnvelope.parse($0).get() }
    }

    func linkEstablished(_ link: Link, descriptor: VerifiedRecord, clockOffsetMs: Int64) {}
    func linkFrame(_ link: Link, _ frame: Aisbf_Mesh_V1_LinkFrame, _ ticket: FrameTicket) {
        state.withLock { state in
            switch frame.kind {
            case .push(let push): state.records += push.records.map { Array($0) }
            case .syncRecords(let sync): state.records += sync.records.map { Array($0) }
            default: break
            }
        }
    }
    func linkClosed(_ link: Link, reason: LinkFailure) { state.withLock { $0.closed.append(reason) } }
    func dialFailed(address: String, expected: PublicKey?, reason: LinkFailure, byPeer: Bool) {
        state.withLock { $0.refused.append(reason) }
    }
    func forwardArrived(_ forward: IncomingForward) { forward.reset() }

    func record(
        _ body: RecordBody, type: RecordType, sequence: UInt64, signer: SigningKey? = nil, lifeMs: Int64 = 3_600_000
    ) -> [UInt8] {
        let signer = signer ?? key
        let wall = Self.wall
        return RecordDraft(
            type: type, network: Self.network, signer: signer.publicKey, name: body.name,
            version: RecordVersion(epoch: RecordVersion.epoch(at: wall), sequence: sequence), issued: wall,
            expires: wall.advanced(byMilliseconds: lifeMs), body: Self.bytes(body)
        ).signed(by: signer, cryptography: Sodium.shared)
    }

    private static func bytes(_ body: RecordBody) -> [UInt8] {
        switch body {
        case .nodeDescriptor(let body): RecordBody.bytes(of: body)
        case .beacon(let body): RecordBody.bytes(of: body)
        case .providerAdvert(let body): RecordBody.bytes(of: body)
        case .attachGrant(let body): RecordBody.bytes(of: body)
        case .attachment(let body): RecordBody.bytes(of: body)
        case .tombstone(let body): RecordBody.bytes(of: body)
        }
    }

    func descriptor(_ name: String, sequence: UInt64) -> [UInt8] {
        var body = Aisbf_Mesh_V1_NodeDescriptor()
        body.name = name
        body.tlsSpkiPins = [identity.spkiHash.protobuf]
        return record(.nodeDescriptor(body), type: .nodeDescriptor, sequence: sequence)
    }

    func endpoint() throws -> LinkEndpoint {
        let mine = descriptor("liar", sequence: 1)
        return try LinkEndpoint(
            configuration: .init(
                signer: key, network: Self.network, cryptography: Sodium.shared, identity: identity,
                admission: LinkAdmission(isOpen: true), descriptor: { mine },
                now: {
                    Now(
                        instant: Instant(nanoseconds: Int64(DispatchTime.now().uptimeNanoseconds)), wall: Self.wall)
                },
                timing: .init()),
            group: MultiThreadedEventLoopGroup.singleton, delegate: self)
    }

    static func push(_ records: [[UInt8]]) -> Aisbf_Mesh_V1_LinkFrame {
        var push = Aisbf_Mesh_V1_Push()
        push.records = records.map(\.protobuf)
        var frame = Aisbf_Mesh_V1_LinkFrame()
        frame.push = push
        return frame
    }

    /// Links to `node` for as long as `body` takes.
    func linked(_ node: TestNode, _ body: (Link) async throws -> Void) async throws {
        let endpoint = try endpoint()
        let target = try #require(PublicKey(try KeyText.node.parse(node.nodeID).get()))
        endpoint.dial(address: "127.0.0.1:\(node.linkPort)", expected: target)
        do {
            let link = try await eventually("the link") { endpoint.link(to: target) }
            try await body(link)
        } catch {
            try? await endpoint.shutdown().get()
            throw error
        }
        try? await endpoint.shutdown().get()
    }
}

private func rejected(_ node: TestNode) async throws -> Int {
    let page = try await node.admin.call("GET", "/metrics").text
    return page.split(separator: "\n").filter { $0.hasPrefix("aisbf_records_rejected_total") }
        .compactMap { $0.split(separator: " ").last.flatMap { Double($0) } }.reduce(0) { $0 + Int($1) }
}

private func knows(_ node: TestNode, _ name: String) async throws -> Bool {
    let peers = try await node.administer("GET", "mesh/peers")
    return peers["peers"]?.elements?.contains { $0["name"]?.text == name } ?? false
}

@Suite(.serialized, .nodeLog) struct FlippedRecordTests {
    @Test func aFlippedByteIsRefusedCountedAndBlamedOnTheLink() async throws {
        let liar = try Liar()
        try await withNode(allow: [liar.id]) { node in
            try await liar.linked(node) { link in
                try await eventually("the peer by its first name") { try await knows(node, "liar") }
                let before = try await rejected(node)
                let genuine = liar.descriptor("renamed", sequence: 2)
                // Network, signer, key, version, issued, flags, body, and both halves of the signature.
                let places = [4, 20, 52, 75, 83, 93, 97, genuine.count - 64, genuine.count - 33]
                for place in places {
                    var flipped = genuine
                    flipped[place] ^= 1
                    link.send(Liar.push([flipped]))
                }
                try await eventually("\(places.count) refusals in the metric") {
                    try await rejected(node) >= before + places.count
                }
                #expect(try await !knows(node, "renamed"))
                // The same bytes unharmed: it was the flipped bit and nothing else.
                link.send(Liar.push([genuine]))
                try await eventually("the genuine record") { try await knows(node, "renamed") }
                var last = liar.descriptor("again", sequence: 3)
                last[97] ^= 0x80
                link.send(Liar.push([last]))
                try await eventually("the link is closed") { liar.closed.contains(.tooManyRejects) }
            }
        }
    }

    @Test func nobodySpeaksForSomebodyElsesProvider() async throws {
        let liar = try Liar()
        try await withNode(allow: [liar.id]) { node in
            try await node.user("seller")
            let buyer = try await node.key(of: "seller")
            try await liar.linked(node) { link in
                try await eventually("the peer by its first name") { try await knows(node, "liar") }
                _ = try await node.provider("lab", owner: "seller")
                let advert = try await eventually("the advert on the wire") {
                    liar.captured.first { $0.type == .providerAdvert }
                }
                guard case .providerAdvert(let body)? = RecordBody.decode(advert) else {
                    throw NotSeen(description: "an advert that decodes")
                }
                let before = try await rejected(node)
                // The owner's own words, signed by somebody else.
                var forged = body
                var key = Aisbf_Mesh_V1_AttachKey()
                key.publicKey = liar.key.publicKey.bytes.protobuf
                forged.attachKeys = [key]
                link.send(
                    Liar.push([liar.record(.providerAdvert(forged), type: .providerAdvert, sequence: 9_000)]))
                try await eventually("the forged advert is refused") { try await rejected(node) > before }

                // An attachment under a grant that nobody made, and one under a grant the host made for itself.
                var grant = Aisbf_Mesh_V1_AttachGrant()
                grant.providerRecordKey = advert.key.bytes.protobuf
                grant.ownerKey = advert.signer.bytes.protobuf
                grant.hostingNode = liar.key.publicKey.bytes.protobuf
                grant.capabilityMask = 1
                let selfMade = liar.record(.attachGrant(grant), type: .attachGrant, sequence: 9_001)
                let envelope = try RecordEnvelope.parse(selfMade).get()
                var attachment = Aisbf_Mesh_V1_Attachment()
                attachment.providerRecordKey = advert.key.bytes.protobuf
                attachment.ownerKey = advert.signer.bytes.protobuf
                attachment.grantKey = envelope.key.bytes.protobuf
                attachment.clientHash = [UInt8](repeating: 7, count: 16).protobuf
                attachment.slots = 8
                var offer = Aisbf_Mesh_V1_ModelOffer()
                offer.id = "harvest"
                attachment.models = [offer]
                let hanging = liar.record(.attachment(attachment), type: .attachment, sequence: 9_002)
                link.send(Liar.push([hanging, selfMade]))
                link.send(Liar.push([liar.descriptor("barrier", sequence: 9_003)]))
                try await eventually("everything before it was read") { try await knows(node, "barrier") }
                let models = try await buyer.call("GET", "/v1/models")
                #expect(models.status == 200 && !models.text.contains("harvest"), "\(models.text)")
                let asked = try await buyer.call(
                    "POST", "/v1/chat/completions", body: #"{"model":"lab/harvest","messages":[]}"#)
                #expect([404, 503].contains(asked.status), "\(asked.text)")
            }
        }
    }

    @Test func aPeerWithAnotherKeyThanExpectedIsRefused() async throws {
        let liar = try Liar()
        try await withNode(allow: [liar.id]) { node in
            let endpoint = try liar.endpoint()
            endpoint.dial(address: "127.0.0.1:\(node.linkPort)", expected: SigningKey.random().publicKey)
            do { try await eventually("the refusal") { liar.refused == [.wrongKey] } } catch {
                try? await endpoint.shutdown().get()
                throw error
            }
            #expect(endpoint.links.isEmpty)
            try? await endpoint.shutdown().get()
        }
    }
}
