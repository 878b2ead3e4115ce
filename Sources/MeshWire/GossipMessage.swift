package import MeshModel
import SwiftProtobuf

#if canImport(FoundationEssentials)
    internal import FoundationEssentials
#else
    internal import Foundation
#endif

/// What a record says without its bytes: enough to tell whether another copy is newer, the same, or a
/// contradiction.
package struct RecordSummary: Hashable, Sendable {
    package var key: RecordKey
    package var version: RecordVersion
    /// First eight bytes of the record hash; all ones for a key whose signer contradicted itself at `version`.
    package var hashPrefix: UInt64

    package init(key: RecordKey, version: RecordVersion, hashPrefix: UInt64) {
        self.key = key
        self.version = version
        self.hashPrefix = hashPrefix
    }

    /// What fingerprints are taken over: 32 bytes.
    package var bytes: [UInt8] { key.bytes + version.raw.bigEndianBytes + hashPrefix.bigEndianBytes }
}

/// A half-open range of record keys and what the sender of it has in it.
package struct SyncRange: Hashable, Sendable {
    package enum Content: Hashable, Sendable {
        case fingerprint(Bytes16)
        case list([RecordSummary])
    }

    package var lower: RecordKey
    /// Exclusive; nil is the end of the key space.
    package var upper: RecordKey?
    package var content: Content

    package init(lower: RecordKey, upper: RecordKey?, content: Content) {
        self.lower = lower
        self.upper = upper
        self.content = content
    }

    /// Bytes that a rate limit counts.
    package var weight: Int {
        switch content {
        case .fingerprint: 56
        case .list(let list): 40 + list.count * 40
        }
    }
}

/// The frames that gossip understands, with every count and length checked (Docs/Protocol/gossip.md).
package enum GossipMessage: Hashable, Sendable {
    case push(records: [[UInt8]], hops: UInt32)
    case announce([RecordSummary])
    case want([RecordKey])
    case syncOpen(round: UInt64, salt: Bytes16)
    case syncRanges(round: UInt64, salt: Bytes16, ranges: [SyncRange])
    case syncNeed(round: UInt64, keys: [RecordKey])
    case syncRecords(round: UInt64, records: [[UInt8]])
    case peers([[UInt8]])
    case drain
    case goodbye(code: String)

    /// Nil when the frame is of another kind (a handshake's) or breaks a bound: nothing of it may be used.
    package init?(_ frame: Aisbf_Mesh_V1_LinkFrame) {
        guard let kind = frame.kind, let message = GossipMessage.decode(kind) else { return nil }
        self = message
    }

    private static func decode(_ kind: Aisbf_Mesh_V1_LinkFrame.OneOf_Kind) -> GossipMessage? {
        switch kind {
        case .hello, .helloProof: return nil
        case .push(let push):
            guard push.hops <= Limits.linkHops, let records = records(push.records) else { return nil }
            return .push(records: records, hops: push.hops)
        case .announce(let announce): return summaries(announce).map(GossipMessage.announce)
        case .want(let want): return keys(want.keys).map(GossipMessage.want)
        case .syncOpen(let open):
            return Bytes16(open.salt).map { .syncOpen(round: open.round, salt: $0) }
        case .syncRanges(let sync):
            guard let salt = Bytes16(sync.salt), sync.ranges.count <= Limits.syncRangesPerFrame else { return nil }
            let decoded = sync.ranges.compactMap(range)
            guard decoded.count == sync.ranges.count, areDisjoint(decoded) else { return nil }
            return .syncRanges(round: sync.round, salt: salt, ranges: decoded)
        case .syncNeed(let need): return keys(need.keys).map { .syncNeed(round: need.round, keys: $0) }
        case .syncRecords(let sync):
            return records(sync.records).map { .syncRecords(round: sync.round, records: $0) }
        case .peers(let peers): return records(peers.descriptors).map(GossipMessage.peers)
        case .drain: return .drain
        case .goodbye(let goodbye): return .goodbye(code: goodbye.code.cut(toUTF8Bytes: 64))
        }
    }

    /// Ranges come in order and do not overlap: the same keys listed again and again would cost their length each
    /// time.
    private static func areDisjoint(_ ranges: [SyncRange]) -> Bool {
        zip(ranges, ranges.dropFirst()).allSatisfy { range, next in
            range.upper.map { $0 <= next.lower } ?? false
        }
    }

    private static func records(_ data: [Data]) -> [[UInt8]]? {
        guard data.count <= Limits.linkPushRecords, data.allSatisfy({ $0.count <= Limits.recordBytes })
        else { return nil }
        return data.map { Array($0) }
    }

    private static func keys(_ data: [Data]) -> [RecordKey]? {
        guard data.count <= Limits.linkSummaries else { return nil }
        let keys = data.compactMap { RecordKey($0) }
        return keys.count == data.count ? keys : nil
    }

    private static func summaries(_ announce: Aisbf_Mesh_V1_Announce) -> [RecordSummary]? {
        guard announce.records.count <= Limits.linkSummaries else { return nil }
        let summaries = announce.records.compactMap { record -> RecordSummary? in
            guard let key = RecordKey(record.key), record.hashPrefix.count == 8 else { return nil }
            return RecordSummary(
                key: key, version: RecordVersion(raw: record.version),
                hashPrefix: UInt64(bigEndian: record.hashPrefix))
        }
        return summaries.count == announce.records.count ? summaries : nil
    }

    private static func range(_ range: Aisbf_Mesh_V1_SyncRange) -> SyncRange? {
        guard let lower = RecordKey(range.from), let content = range.content else { return nil }
        var upper: RecordKey?
        if !range.to.isEmpty {
            guard let key = RecordKey(range.to), lower < key else { return nil }
            upper = key
        }
        switch content {
        case .fingerprint(let data):
            return Bytes16(data).map { SyncRange(lower: lower, upper: upper, content: .fingerprint($0)) }
        case .list(let list):
            guard list.records.count <= Limits.syncListEntries, let entries = summaries(list) else { return nil }
            return SyncRange(lower: lower, upper: upper, content: .list(entries))
        }
    }
}

extension GossipMessage {
    /// The frame as it goes to the link.
    package var frame: Aisbf_Mesh_V1_LinkFrame {
        var frame = Aisbf_Mesh_V1_LinkFrame()
        frame.kind = kind
        return frame
    }

    private var kind: Aisbf_Mesh_V1_LinkFrame.OneOf_Kind {
        switch self {
        case .push(let records, let hops):
            return .push(
                .with {
                    $0.records = records.map { Data($0) }; $0.hops = hops
                })
        case .announce(let summaries): return .announce(Self.announce(summaries))
        case .want(let keys): return .want(.with { $0.keys = keys.map { Data($0.bytes) } })
        case .syncOpen(let round, let salt):
            return .syncOpen(
                .with {
                    $0.round = round; $0.salt = Data(salt.bytes)
                })
        case .syncRanges(let round, let salt, let ranges):
            return .syncRanges(
                .with {
                    $0.round = round; $0.salt = Data(salt.bytes); $0.ranges = ranges.map(Self.rangeMessage)
                })
        case .syncNeed(let round, let keys):
            return .syncNeed(
                .with {
                    $0.round = round; $0.keys = keys.map { Data($0.bytes) }
                })
        case .syncRecords(let round, let records):
            return .syncRecords(
                .with {
                    $0.round = round; $0.records = records.map { Data($0) }
                })
        case .peers(let records): return .peers(.with { $0.descriptors = records.map { Data($0) } })
        case .drain: return .drain(.init())
        case .goodbye(let code): return .goodbye(.with { $0.code = code })
        }
    }

    private static func announce(_ summaries: [RecordSummary]) -> Aisbf_Mesh_V1_Announce {
        .with { announce in
            announce.records = summaries.map { summary in
                .with {
                    $0.key = Data(summary.key.bytes)
                    $0.version = summary.version.raw
                    $0.hashPrefix = Data(summary.hashPrefix.bigEndianBytes)
                }
            }
        }
    }

    private static func rangeMessage(_ range: SyncRange) -> Aisbf_Mesh_V1_SyncRange {
        .with {
            $0.from = Data(range.lower.bytes)
            if let upper = range.upper { $0.to = Data(upper.bytes) }
            switch range.content {
            case .fingerprint(let fingerprint): $0.fingerprint = Data(fingerprint.bytes)
            case .list(let list): $0.list = announce(list)
            }
        }
    }

    /// Bytes of the message that a rate limit counts: payloads and list entries, without the framing.
    package var weight: Int {
        switch self {
        case .push(let records, _), .syncRecords(_, let records), .peers(let records):
            records.reduce(8) { $0 + $1.count + 4 }
        case .announce(let summaries): 8 + summaries.count * 40
        case .want(let keys), .syncNeed(_, let keys): 8 + keys.count * 18
        case .syncOpen, .drain, .goodbye: 32
        case .syncRanges(_, _, let ranges): ranges.reduce(32) { $0 + $1.weight }
        }
    }

    /// How many records it carries.
    package var recordCount: Int {
        switch self {
        case .push(let records, _), .syncRecords(_, let records), .peers(let records): records.count
        case .announce, .want, .syncOpen, .syncRanges, .syncNeed, .drain, .goodbye: 0
        }
    }

    /// Bytes of the records in it.
    package var recordBytes: Int {
        switch self {
        case .push(let records, _), .syncRecords(_, let records), .peers(let records):
            records.reduce(0) { $0 + $1.count }
        case .announce, .want, .syncOpen, .syncRanges, .syncNeed, .drain, .goodbye: 0
        }
    }
}
