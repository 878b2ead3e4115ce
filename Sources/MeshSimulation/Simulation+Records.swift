import MeshCrypto
internal import MeshGossip
package import MeshModel
import MeshWire
internal import SwiftProtobuf

/// Records that simulated nodes sign, and what adversaries make of them.
extension Simulation {
    /// Signs a record with the node's own key and remembers that it is genuine.
    mutating func sign(
        _ index: Int, _ type: RecordType, name: [UInt8], lifeMs: Int64, body: [UInt8], version: UInt64? = nil,
        as owner: SigningKey? = nil
    ) -> VerifiedRecord {
        let signer = owner ?? nodes[index].key
        let wall = now(index).wall
        nodes[index].sequence += 1
        let draft = RecordDraft(
            type: type, network: Self.network, signer: signer.publicKey, name: name,
            version: RecordVersion(
                epoch: RecordVersion.epoch(at: Self.wallStart) - 10, sequence: version ?? nodes[index].sequence),
            issued: wall, expires: wall.advanced(byMilliseconds: lifeMs), body: body)
        let bytes = draft.signed(by: signer, cryptography: Sodium.shared)
        guard
            case .success(let record) = VerifiedRecord.verify(
                bytes: bytes, network: Self.network, wall: wall, cryptography: Sodium.shared)
        else { preconditionFailure("the simulator signed a record that does not verify") }
        genuine[record.hash] = bytes
        return record
    }

    mutating func describe(_ index: Int, name: String? = nil) -> VerifiedRecord {
        let body = Aisbf_Mesh_V1_NodeDescriptor.with {
            $0.name = name ?? "node-\(index)"
            $0.linkAddresses = [SimulatedNode.address(index)]
            let operatorKey = operatorKey(of: index)
            let notAfter = Self.wallStart.advanced(byMilliseconds: 30 * 86_400_000)
            let statement = Statement.operatorCertificate(node: nodes[index].key.publicKey, notAfter: notAfter)
            $0.operator.operatorKey.append(contentsOf: operatorKey.publicKey.bytes)
            $0.operator.notAfterMs = UInt64(clamping: notAfter.milliseconds)
            $0.operator.signature.append(contentsOf: operatorKey.sign(statement))
        }
        return sign(
            index, .nodeDescriptor, name: [], lifeMs: RecordType.nodeDescriptor.maximumLifeMs,
            body: RecordBody.bytes(of: body))
    }

    private func operatorKey(of index: Int) -> SigningKey {
        // Numbers of operators that several nodes share lie above those of nodes.
        let number = options.operators[index].map { options.nodes + $0 } ?? index
        return derivedKey(0x6F, number)
    }

    private func derivedKey(_ kind: UInt8, _ number: Int) -> SigningKey {
        let seed = Sodium.shared.hash32([kind] + options.seed.bigEndianBytes + UInt64(number).bigEndianBytes).bytes
        // A digest of 32 bytes is a seed.
        guard let key = SigningKey(seed: seed) else { preconditionFailure("a digest has 32 bytes") }
        return key
    }

    /// Publishes an advert of a provider at its own node; every call is a new version.
    @discardableResult
    package mutating func publishAdvert(_ index: Int, provider: String, note: String = "") -> RecordKey {
        let record = advert(index, provider: provider, note: note)
        drive(index, .publish(record))
        return record.key
    }

    /// Publishes an advert of an owner of its own, bound by the node.
    package mutating func publishOwnedAdvert(_ index: Int, owner number: Int) -> RecordKey {
        let home = nodes[index].key
        let owner = derivedKey(0x75, number)
        let notAfter = Self.wallStart.advanced(byMilliseconds: 30 * 86_400_000)
        let body = Aisbf_Mesh_V1_ProviderAdvert.with {
            $0.providerID = "gpu"
            $0.homeNode.append(contentsOf: home.publicKey.bytes)
            $0.access = .public
            $0.binding.username = "user-\(number)"
            $0.binding.ownerKey.append(contentsOf: owner.publicKey.bytes)
            $0.binding.homeNode.append(contentsOf: home.publicKey.bytes)
            $0.binding.notAfterMs = UInt64(clamping: notAfter.milliseconds)
            let statement = Statement.scopeBinding(
                username: "user-\(number)", owner: owner.publicKey, home: home.publicKey, notAfter: notAfter)
            $0.binding.signature.append(contentsOf: home.sign(statement))
        }
        let record = sign(
            index, .providerAdvert, name: Array("gpu".utf8), lifeMs: RecordType.providerAdvert.maximumLifeMs,
            body: RecordBody.bytes(of: body), as: owner)
        drive(index, .publish(record))
        return record.key
    }

    private mutating func advert(
        _ index: Int, provider: String, note: String, version: UInt64? = nil
    ) -> VerifiedRecord {
        let body = Aisbf_Mesh_V1_ProviderAdvert.with {
            $0.providerID = provider
            $0.homeNode.append(contentsOf: nodes[index].key.publicKey.bytes)
            $0.access = .public
            $0.displayName = note
            $0.kind = "simulated"
        }
        return sign(
            index, .providerAdvert, name: Array(provider.utf8), lifeMs: RecordType.providerAdvert.maximumLifeMs,
            body: RecordBody.bytes(of: body), version: version)
    }

    /// Signs two different adverts with one version and tells each to another node.
    @discardableResult
    package mutating func equivocate(_ index: Int, provider: String, to first: Int, and second: Int) -> RecordKey {
        let version: UInt64 = 1_000_000 + nodes[index].sequence
        let one = advert(index, provider: provider, note: "one", version: version)
        let other = advert(index, provider: provider, note: "other", version: version)
        drive(first, .publish(one))
        drive(second, .publish(other))
        return one.key
    }

    mutating func publishBeacon(_ index: Int) {
        let interval = options.intervals.beaconMs
        let body = Aisbf_Mesh_V1_Beacon.with { $0.intervalMs = UInt32(clamping: min(interval, 300_000)) }
        let record = sign(
            index, .beacon, name: [], lifeMs: min(3 * interval, RecordType.beacon.maximumLifeMs),
            body: RecordBody.bytes(of: body))
        drive(index, .publish(record))
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
            let victim = nodes[index].stored.randomElement(using: &random), victim.signer != nodes[index].key.publicKey
        else { return frame }
        var bytes = Array(victim.envelope.signedBytes)
        bytes.replaceSubrange(68..<76, with: (victim.version.raw + 1).bigEndianBytes)
        bytes += nodes[index].key.sign(SignatureDomain.record.bytes + bytes)
        return GossipMessage.push(records: records + [bytes], hops: hops).frame
    }
}
