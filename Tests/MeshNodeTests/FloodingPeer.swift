import Dispatch
import Foundation
import MeshCrypto
import MeshGossip
import MeshModel
import MeshNode
import MeshTransport
import MeshWire
import NIOCore
import NIOPosix
import Synchronization

/// Another node as far as links go: keys, a descriptor, an endpoint, and what its owner lets it send.
final class FloodingPeer: LinkDelegate {
    let key = SigningKey.random()
    private let link = Mutex<Link?>(nil)
    private let ends = Mutex<[LinkFailure]>([])
    private let made = Mutex<LinkEndpoint?>(nil)

    var nodeID: String { KeyText.node.text(key.publicKey.bytes) }
    /// Why its link ended.
    var end: LinkFailure? { ends.withLock { $0.last } }
    var current: Link? { link.withLock { $0 } }
    var isLinked: Bool { link.withLock { $0 != nil } && end == nil }

    /// Links to a node on this machine.
    func dial(_ port: Int, network: NetworkID) throws {
        let identity = try TLSIdentity.ephemeral()
        var body = Aisbf_Mesh_V1_NodeDescriptor()
        body.name = "peer"
        body.tlsSpkiPins = [Data(identity.spkiHash)]
        let now = Self.now()
        let descriptor = RecordDraft(
            type: .nodeDescriptor, network: network, signer: key.publicKey, name: [],
            version: RecordVersion(epoch: RecordVersion.epoch(at: now.wall), sequence: 1), issued: now.wall,
            expires: now.wall.advanced(byMilliseconds: 3_600_000), body: RecordBody.bytes(of: body)
        ).signed(by: key, cryptography: Sodium.shared)
        let endpoint = try LinkEndpoint(
            configuration: .init(
                signer: key, network: network, cryptography: Sodium.shared, identity: identity,
                admission: LinkAdmission(isOpen: true), descriptor: { descriptor }, now: Self.now),
            group: MultiThreadedEventLoopGroup.singleton, delegate: self)
        made.withLock { $0 = endpoint }
        endpoint.dial(address: "127.0.0.1:\(port)", expected: nil)
    }

    func send(_ message: GossipMessage) { link.withLock { $0 }?.send(message.frame) }

    func stop() async { try? await made.withLock { $0 }?.shutdown().get() }

    @Sendable private static func now() -> Now {
        let wall = Timestamp(milliseconds: Int64(Date().timeIntervalSince1970 * 1_000))
        let uptime = DispatchTime.now().uptimeNanoseconds
        return Now(instant: Instant(nanoseconds: Int64(uptime)), wall: wall)
    }

    func linkEstablished(_ link: Link, descriptor: VerifiedRecord, clockOffsetMs: Int64) {
        self.link.withLock { $0 = link }
    }
    func linkFrame(_ link: Link, _ frame: Aisbf_Mesh_V1_LinkFrame, _ ticket: FrameTicket) {}
    func linkClosed(_ link: Link, reason: LinkFailure) { ends.withLock { $0.append(reason) } }
    func dialFailed(address: String, expected: PublicKey?, reason: LinkFailure, byPeer: Bool) {
        ends.withLock { $0.append(reason) }
    }
    func forwardArrived(_ forward: IncomingForward) { forward.reset() }
}
