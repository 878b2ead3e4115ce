import Foundation
import MeshCrypto
import MeshGossip
import MeshModel
import MeshWire
import SwiftProtobuf

/// A small mesh's keys and records, signed for the tests of the gossip machine.
struct GossipFixture {
    static let network = NetworkID(Bytes16(high: 1, low: 2))
    static let wall = Timestamp(milliseconds: 1_780_000_000_000)

    let home = key(10)
    let host = key(11)
    let owner = key(12)
    let attach = key(13)
    let operatorKey = key(14)
    var clock: Int64 = 0

    static func key(_ byte: UInt8) -> SigningKey {
        SigningKey(seed: Array(repeating: byte, count: 32)) ?? .random()
    }

    static func now(_ milliseconds: Int64 = 0) -> Now {
        Now(
            instant: Instant(nanoseconds: milliseconds * 1_000_000),
            wall: wall.advanced(byMilliseconds: milliseconds))
    }

    static func gossip(
        _ key: SigningKey = key(1), admission: LinkAdmission = LinkAdmission(isOpen: true), seed: UInt64 = 1,
        change: (inout Gossip.Configuration) -> Void = { _ in }
    ) -> Gossip {
        var configuration = Gossip.Configuration(
            key: key.publicKey, network: network, cryptography: Sodium.shared, seed: seed, admission: admission)
        change(&configuration)
        return Gossip(configuration: configuration, now: now())
    }

    static func record(
        _ type: RecordType, by signer: SigningKey, name: [UInt8], body: [UInt8], version: UInt64 = 1,
        lifeMs: Int64 = 3_600_000, issuedMs: Int64 = 0, isTombstone: Bool = false
    ) -> VerifiedRecord {
        let issued = wall.advanced(byMilliseconds: issuedMs)
        let bytes = RecordDraft(
            type: type, network: network, signer: signer.publicKey, name: name,
            version: RecordVersion(epoch: RecordVersion.epoch(at: wall), sequence: version), issued: issued,
            expires: issued.advanced(byMilliseconds: lifeMs), isTombstone: isTombstone, body: body
        ).signed(by: signer, cryptography: Sodium.shared)
        switch VerifiedRecord.verify(bytes: bytes, network: network, wall: issued, cryptography: Sodium.shared) {
        case .success(let record): return record
        case .failure(let rejection): preconditionFailure("the fixture is wrong: \(rejection)")
        }
    }

    static func descriptor(
        _ node: SigningKey, version: UInt64 = 1, addresses: [String] = ["host:7443"], operatorKey: SigningKey? = nil,
        notAfterMs: Int64 = 3_600_000, isForged: Bool = false
    ) -> VerifiedRecord {
        let body = Aisbf_Mesh_V1_NodeDescriptor.with {
            $0.name = "node-\(hexText(node.publicKey.bytes.prefix(3)))"
            $0.linkAddresses = addresses
            guard let operatorKey else { return }
            let notAfter = wall.advanced(byMilliseconds: notAfterMs)
            let signer = isForged ? node : operatorKey
            $0.operator.operatorKey = Data(operatorKey.publicKey.bytes)
            $0.operator.notAfterMs = UInt64(notAfter.milliseconds)
            $0.operator.signature = Data(
                signer.sign(Statement.operatorCertificate(node: node.publicKey, notAfter: notAfter)))
        }
        return record(.nodeDescriptor, by: node, name: [], body: RecordBody.bytes(of: body), version: version)
    }

    func advert(
        version: UInt64 = 1, attachKeys: [SigningKey]? = nil, provider: String = "gpu",
        bindingSigner: SigningKey? = nil,
        note: String = "", isGlobal: Bool = false, signer: SigningKey? = nil, allowedHosts: [SigningKey] = []
    ) -> VerifiedRecord {
        let owner = signer ?? self.owner
        let body = Aisbf_Mesh_V1_ProviderAdvert.with {
            $0.providerID = provider
            $0.homeNode = Data(home.publicKey.bytes)
            $0.displayName = note
            $0.attachKeys = (attachKeys ?? [attach]).map { key in
                .with {
                    $0.publicKey = Data(key.publicKey.bytes)
                    $0.allowedHosts = allowedHosts.map { Data($0.publicKey.bytes) }
                }
            }
            guard !isGlobal else { return }
            let notAfter = Self.wall.advanced(byMilliseconds: 3_600_000)
            $0.binding.username = "alice"
            $0.binding.ownerKey = Data(owner.publicKey.bytes)
            $0.binding.homeNode = Data(home.publicKey.bytes)
            $0.binding.notAfterMs = UInt64(notAfter.milliseconds)
            $0.binding.signature = Data(
                (bindingSigner ?? home).sign(
                    Statement.scopeBinding(
                        username: "alice", owner: owner.publicKey, home: home.publicKey, notAfter: notAfter)))
        }
        return Self.record(
            .providerAdvert, by: owner, name: Array(provider.utf8), body: RecordBody.bytes(of: body), version: version)
    }

    func grant(for advert: VerifiedRecord, by signer: SigningKey? = nil, version: UInt64 = 1) -> VerifiedRecord {
        let body = Aisbf_Mesh_V1_AttachGrant.with {
            $0.providerRecordKey = Data(advert.key.bytes)
            $0.ownerKey = Data(advert.signer.bytes)
            $0.hostingNode = Data(host.publicKey.bytes)
        }
        return Self.record(
            .attachGrant, by: signer ?? attach, name: advert.key.bytes + host.publicKey.bytes,
            body: RecordBody.bytes(of: body), version: version)
    }

    func attachment(grant: VerifiedRecord, advert: VerifiedRecord, by signer: SigningKey? = nil) -> VerifiedRecord {
        let client = Array(repeating: UInt8(3), count: 16)
        let body = Aisbf_Mesh_V1_Attachment.with {
            $0.providerRecordKey = Data(advert.key.bytes)
            $0.ownerKey = Data(advert.signer.bytes)
            $0.grantKey = Data(grant.key.bytes)
            $0.grantHash = Data(grant.hash.bytes)
            $0.clientHash = Data(client)
        }
        return Self.record(
            .attachment, by: signer ?? host, name: advert.key.bytes + client, body: RecordBody.bytes(of: body))
    }

    static func beacon(_ node: SigningKey, version: UInt64 = 1, issuedMs: Int64 = 0) -> VerifiedRecord {
        record(
            .beacon, by: node, name: [],
            body: RecordBody.bytes(of: Aisbf_Mesh_V1_Beacon.with { $0.intervalMs = 5_000 }), version: version,
            lifeMs: 15_000, issuedMs: issuedMs)
    }
}

extension Gossip {
    /// A link from `peer`, whose descriptor is plain.
    mutating func connect(
        _ peer: SigningKey, link: UInt64, dialled: Bool = false, at milliseconds: Int64 = 0,
        address: String = "host:7443"
    ) -> [Effect] {
        handle(
            .linkUp(
                LinkID(raw: link), peer: peer.publicKey, dialled: dialled, address: nil,
                descriptor: GossipFixture.descriptor(peer, addresses: [address])),
            now: GossipFixture.now(milliseconds))
    }

    mutating func push(_ records: [VerifiedRecord], link: UInt64, at milliseconds: Int64 = 0) -> [Effect] {
        push(bytes: records.map(\.envelope.bytes), link: link, at: milliseconds)
    }

    mutating func push(bytes: [[UInt8]], link: UInt64, at milliseconds: Int64 = 0) -> [Effect] {
        handle(
            .frame(LinkID(raw: link), GossipMessage.push(records: bytes, hops: 0).frame),
            now: GossipFixture.now(milliseconds))
    }
}
