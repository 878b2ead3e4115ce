import Foundation
import MeshModel
import MeshWire
import SwiftProtobuf
import Testing

@Suite struct RecordGossipMessageTests {
    static let key = RecordKey(Bytes16(high: 1, low: 2))
    static let summary = RecordSummary(key: key, version: RecordVersion(raw: 3), hashPrefix: 4)

    static let messages: [GossipMessage] = [
        .push(records: [[1, 2, 3]], hops: 2), .announce([summary]), .want([key]),
        .syncOpen(round: 7, salt: Bytes16(high: 5, low: 6)),
        .syncRanges(
            round: 7, salt: Bytes16(high: 5, low: 6),
            ranges: [
                SyncRange(lower: RecordKey(.zero), upper: key, content: .fingerprint(.zero)),
                SyncRange(lower: key, upper: nil, content: .list([summary])),
            ]),
        .syncNeed(round: 7, keys: [key]), .syncRecords(round: 7, records: [[9]]), .peers([[1]]), .drain,
        .goodbye(code: "finished"),
    ]

    @Test(arguments: messages) func goesThroughAFrameUnchanged(message: GossipMessage) throws {
        let bytes = RecordBody.bytes(of: message.frame)
        #expect(GossipMessage(try Aisbf_Mesh_V1_LinkFrame(serializedBytes: bytes)) == message)
    }

    @Test func boundsHold() {
        let record: [UInt8] = [1]
        let tooMany = Array(repeating: record, count: Limits.linkPushRecords + 1)
        #expect(GossipMessage(GossipMessage.push(records: tooMany, hops: 0).frame) == nil)
        #expect(GossipMessage(GossipMessage.push(records: [record], hops: Limits.linkHops + 1).frame) == nil)
        let large = Array(repeating: UInt8(0), count: Limits.recordBytes + 1)
        #expect(GossipMessage(GossipMessage.syncRecords(round: 1, records: [large]).frame) == nil)
        let keys = Array(repeating: Self.key, count: Limits.linkSummaries + 1)
        #expect(GossipMessage(GossipMessage.want(keys).frame) == nil)
        let range = SyncRange(lower: Self.key, upper: nil, content: .fingerprint(.zero))
        let ranges = Array(repeating: range, count: Limits.syncRangesPerFrame + 1)
        #expect(GossipMessage(GossipMessage.syncRanges(round: 1, salt: .zero, ranges: ranges).frame) == nil)
        let list = Array(repeating: Self.summary, count: Limits.syncListEntries + 1)
        let wide = SyncRange(lower: Self.key, upper: nil, content: .list(list))
        #expect(GossipMessage(GossipMessage.syncRanges(round: 1, salt: .zero, ranges: [wide]).frame) == nil)
    }

    /// One character can be kilobytes long: the bound is on bytes.
    @Test(arguments: ["x", "x\u{301}\u{301}", "\u{301}"]) func aGoodbyeIsShort(filler: String) {
        let long = GossipMessage.goodbye(code: String(repeating: filler, count: 1_000))
        guard case .goodbye(let code)? = GossipMessage(long.frame) else {
            Issue.record("no goodbye")
            return
        }
        #expect(code.utf8.count <= 64)
    }

    @Test func shortFieldsAreRefused() {
        #expect(GossipMessage(.with { $0.want = .with { $0.keys = [Data([1, 2])] } }) == nil)
        #expect(GossipMessage(.with { $0.syncOpen = .with { $0.salt = Data([1]) } }) == nil)
        #expect(GossipMessage(.with { $0.hello = .init() }) == nil)
        #expect(GossipMessage(Aisbf_Mesh_V1_LinkFrame()) == nil)
    }
}
