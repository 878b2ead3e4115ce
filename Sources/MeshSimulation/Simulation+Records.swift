internal import MeshBroker
import MeshCrypto
internal import MeshGossip
package import MeshModel
import MeshWire
internal import SwiftProtobuf

/// What simulated nodes say, and what adversaries make of it.
extension Simulation {
    /// A key that follows from `material`.
    static func key(_ material: [UInt8]) -> SigningKey {
        // A digest of 32 bytes is a seed.
        guard let key = SigningKey(seed: Sodium.shared.hash32(material).bytes) else {
            preconditionFailure("a digest has 32 bytes")
        }
        return key
    }

    func derivedKey(_ kind: UInt8, _ number: Int) -> SigningKey {
        Self.key([kind] + options.seed.bigEndianBytes + UInt64(number).bigEndianBytes)
    }

    func operatorKey(of index: Int) -> SigningKey {
        // Numbers of operators that several nodes share lie above those of nodes.
        derivedKey(0x6F, options.operators[index].map { options.nodes + $0 } ?? index)
    }

    static func recordKey(_ type: RecordType, _ signer: PublicKey, _ name: [UInt8]) -> RecordKey {
        RecordKey(
            Sodium.shared.hash16(RecordEnvelope.keyMaterial(type: type, signer: signer, name: name), key: []))
    }

    /// Signs a record and remembers that it is genuine.
    mutating func signed(
        _ request: SigningRequest, _ version: RecordVersion, by key: SigningKey, wall: Timestamp
    ) -> VerifiedRecord {
        let draft = RecordDraft(
            type: request.type, network: Self.network, signer: request.signer, name: request.name, version: version,
            issued: wall, expires: wall.advanced(byMilliseconds: request.lifeMs), isTombstone: request.isTombstone,
            body: request.body)
        let bytes = draft.signed(by: key, cryptography: Sodium.shared)
        guard
            case .success(let record) = VerifiedRecord.verify(
                bytes: bytes, network: Self.network, wall: wall, cryptography: Sodium.shared)
        else { preconditionFailure("the simulator signed a record that does not verify") }
        genuine[record.hash] = bytes
        return record
    }

    // MARK: Nodes and providers

    func descriptorBody(_ index: Int) -> Aisbf_Mesh_V1_NodeDescriptor {
        Aisbf_Mesh_V1_NodeDescriptor.with {
            $0.name = nodes[index].name
            $0.linkAddresses = [SimulatedNode.address(index)]
            let operatorKey = nodes[index].operatorKey
            let notAfter = Self.bindingEnd
            let statement = Statement.operatorCertificate(node: nodes[index].key.publicKey, notAfter: notAfter)
            $0.operator.operatorKey = operatorKey.publicKey.bytes.protobuf
            $0.operator.notAfterMs = UInt64(clamping: notAfter.milliseconds)
            $0.operator.signature = operatorKey.sign(statement).protobuf
        }
    }

    private static let bindingEnd = wallStart.advanced(byMilliseconds: 30 * 86_400_000)

    /// The node calls itself `name` from now on.
    mutating func rename(_ index: Int, _ name: String) {
        nodes[index].name = name
        drive(index, .describe(descriptorBody(index)))
    }

    /// An advert of a provider at `index`; with a username it is that user's, without one the operator's.
    func draft(
        _ index: Int, provider: String, owner: SigningKey? = nil, username: String? = nil,
        access: Aisbf_Mesh_V1_Access = .public, note: String = ""
    ) -> Broker.ProviderDraft {
        let home = nodes[index].key
        let owner = owner ?? nodes[index].operatorKey
        let advert = Aisbf_Mesh_V1_ProviderAdvert.with {
            $0.providerID = provider
            $0.homeNode = home.publicKey.bytes.protobuf
            $0.access = access
            $0.displayName = note
            $0.kind = "simulated"
            guard let username else { return }
            let statement = Statement.scopeBinding(
                username: username, owner: owner.publicKey, home: home.publicKey, notAfter: Self.bindingEnd)
            $0.binding.username = username
            $0.binding.ownerKey = owner.publicKey.bytes.protobuf
            $0.binding.homeNode = home.publicKey.bytes.protobuf
            $0.binding.notAfterMs = UInt64(clamping: Self.bindingEnd.milliseconds)
            $0.binding.signature = home.sign(statement).protobuf
        }
        return Broker.ProviderDraft(owner: owner.publicKey, advert: advert)
    }

    /// Has the node say `drafts` too, in place of those of the same owner and id; and is up or not.
    @discardableResult
    mutating func publish(_ index: Int, _ drafts: [Broker.ProviderDraft]) -> [RecordKey] {
        let keys = drafts.map {
            Self.recordKey(.providerAdvert, $0.owner, Array($0.advert.providerID.utf8))
        }
        let new = Set(keys)
        nodes[index].drafts.removeAll {
            new.contains(Self.recordKey(.providerAdvert, $0.owner, Array($0.advert.providerID.utf8)))
        }
        nodes[index].drafts += drafts
        drive(index, .providers(nodes[index].drafts))
        return keys
    }

    /// Publishes an advert of a provider at its own node; every other note is a new version.
    @discardableResult
    package mutating func publishAdvert(_ index: Int, provider: String, note: String = "") -> RecordKey {
        publish(index, [draft(index, provider: provider, note: note)])[0]
    }

    /// Publishes adverts at the node of an owner of its own each.
    package mutating func publishOwnedAdverts(_ index: Int, owners: [Int]) -> [RecordKey] {
        let drafts = owners.map { number in
            let owner = derivedKey(0x75, number)
            nodes[index].hold(owner)
            return draft(index, provider: "gpu", owner: owner, username: "user-\(number)")
        }
        return publish(index, drafts)
    }

    // MARK: Adversaries

    /// Signs two different adverts with one version and tells each to another node.
    @discardableResult
    package mutating func equivocate(_ index: Int, provider: String, to first: Int, and second: Int) -> RecordKey {
        let records = ["one", "other"].map { note in
            let draft = draft(index, provider: provider, note: note)
            let request = SigningRequest(
                type: .providerAdvert, signer: draft.owner, name: Array(provider.utf8),
                body: RecordBody.bytes(of: draft.advert), lifeMs: RecordType.providerAdvert.maximumLifeMs,
                isTombstone: false)
            let record = signed(
                request, RecordVersion(epoch: Self.epoch, sequence: 1_000_000), by: nodes[index].operatorKey,
                wall: now(index).wall)
            signedByHand.insert(record.hash)
            return record
        }
        drive(first, Gossip.Input.publish(records[0]))
        drive(second, Gossip.Input.publish(records[1]))
        return records[0].key
    }

    /// The frame with one bit of one of its records turned over.
    mutating func mutated(_ frame: Aisbf_Mesh_V1_LinkFrame) -> Aisbf_Mesh_V1_LinkFrame {
        guard let message = GossipMessage(frame) else { return frame }
        switch message {
        case .push(let records, let hops): return GossipMessage.push(records: flipped(records), hops: hops).frame
        case .syncRecords(let round, let records):
            return GossipMessage.syncRecords(round: round, records: flipped(records)).frame
        case .announce, .want, .syncOpen, .syncRanges, .syncNeed, .peers, .drain, .goodbye: return frame
        }
    }

    private mutating func flipped(_ records: [[UInt8]]) -> [[UInt8]] {
        guard !records.isEmpty else { return records }
        var records = records
        let record = Int(random.next() % UInt64(records.count))
        let bit = Int(random.next() % UInt64(records[record].count * 8))
        records[record][bit / 8] ^= 1 << UInt8(bit % 8)
        return records
    }

    /// The frame with a newer version of somebody else's record in it, signed by the forger's own key.
    mutating func withForgery(_ frame: Aisbf_Mesh_V1_LinkFrame, by index: Int) -> Aisbf_Mesh_V1_LinkFrame {
        guard case .push(let records, let hops) = GossipMessage(frame), records.count < Limits.linkPushRecords,
            let victim = nodes[index].disk.stored.randomElement(using: &random),
            victim.signer != nodes[index].key.publicKey
        else { return frame }
        var bytes = Array(victim.envelope.signedBytes)
        bytes.replaceSubrange(68..<76, with: (victim.version.raw + 1).bigEndianBytes)
        bytes += nodes[index].key.sign(SignatureDomain.record.bytes + bytes)
        return GossipMessage.push(records: records + [bytes], hops: hops).frame
    }
}
