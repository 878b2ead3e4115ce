import MeshCrypto
import MeshGossip
import MeshModel
import MeshWire
import Testing

/// Floods by a peer that was let in, frame by frame, and honest traffic that must not be taken for one.
@Suite struct GossipFloodTests {
    enum Flood: String, CaseIterable, Sendable {
        case push, announce, want, syncOpen, syncRanges, syncNeed, syncRecords, peers, drain

        var message: GossipMessage {
            let keys = (0..<512).map { RecordKey(Bytes16(high: UInt64($0), low: 1)) }
            let records = Array(repeating: GossipFixture.descriptor(GossipFixture.key(2)).envelope.bytes, count: 16)
            let summaries = keys.map { RecordSummary(key: $0, version: RecordVersion(raw: 1), hashPrefix: 1) }
            return switch self {
            case .push: .push(records: records, hops: 0)
            case .announce: .announce(summaries)
            case .want: .want(keys)
            case .syncOpen: .syncOpen(round: 2, salt: .zero)
            case .syncRanges:
                .syncRanges(
                    round: 2, salt: .zero,
                    ranges: [SyncRange(lower: RecordKey(.zero), upper: nil, content: .fingerprint(.zero))])
            case .syncNeed: .syncNeed(round: 2, keys: keys)
            case .syncRecords: .syncRecords(round: 2, records: records)
            case .peers: .peers(records)
            case .drain: .drain
            }
        }
    }

    @Test(arguments: Flood.allCases) func aFloodClosesItsLinkAndNoOther(_ flood: Flood) throws {
        var gossip = GossipFixture.gossip()
        _ = gossip.connect(GossipFixture.key(2), link: 1)
        _ = gossip.connect(GossipFixture.key(3), link: 2)
        let frame = flood.message.frame
        var closed: Gossip.CloseCode?
        var sent = 0
        // As fast as it goes, within one second.
        while closed == nil, sent < 20_000 {
            sent += 1
            let now = GossipFixture.now(Int64(sent / 20))
            for case .close(LinkID(raw: 1), let code) in gossip.handle(.frame(LinkID(raw: 1), frame), now: now) {
                closed = code
            }
        }
        #expect(closed == .flooding)
        #expect(gossip.linkViews.map(\.id.raw) == [2])
        let again = gossip.connect(GossipFixture.key(2), link: 3, at: 2_000)
        #expect(again.contains(.close(LinkID(raw: 3), .blocked)))
    }

    /// What the allowances and the tables say: twice what an honest node may send, for a moment, is only passed over.
    @Test func aBurstIsPassedOverAndForgiven() {
        var gossip = GossipFixture.gossip()
        _ = gossip.connect(GossipFixture.key(2), link: 1)
        let frame = GossipMessage.drain.frame
        let burst = Limits.linkFramesPerSecond * Limits.linkBurstSeconds
        var ignored = 0
        for _ in 0..<(2 * burst) {
            for case .ignored(.throttled, _) in gossip.handle(.frame(LinkID(raw: 1), frame), now: GossipFixture.now()) {
                ignored += 1
            }
        }
        #expect(ignored == burst)
        #expect(gossip.linkViews.count == 1)
        let later = gossip.handle(.frame(LinkID(raw: 1), frame), now: GossipFixture.now(11_000))
        #expect(!later.contains(.ignored(.throttled, from: GossipFixture.key(2).publicKey)))
    }

    @Test func onePeersAnnouncementsLeaveRoomForOthers() {
        var gossip = GossipFixture.gossip()
        _ = gossip.connect(GossipFixture.key(2), link: 1)
        _ = gossip.connect(GossipFixture.key(3), link: 2)
        for part in 0..<16 {
            let names = (0..<512).map {
                RecordSummary(
                    key: RecordKey(Bytes16(high: UInt64(part * 512 + $0), low: 2)), version: RecordVersion(raw: 1),
                    hashPrefix: 1)
            }
            _ = gossip.handle(.frame(LinkID(raw: 1), GossipMessage.announce(names).frame), now: GossipFixture.now())
        }
        let name = RecordSummary(
            key: RecordKey(Bytes16(high: .max, low: 2)), version: RecordVersion(raw: 1), hashPrefix: 1)
        _ = gossip.handle(.frame(LinkID(raw: 2), GossipMessage.announce([name]).frame), now: GossipFixture.now())
        let asked = gossip.handle(.tick, now: GossipFixture.now(200))
        #expect(asked.contains(.send(LinkID(raw: 2), GossipMessage.want([name.key]).frame)))
        var wanted = 0
        for case .send(LinkID(raw: 1), let frame) in asked {
            if case .want(let keys) = GossipMessage(frame) { wanted += keys.count }
        }
        #expect(wanted == Limits.gossipWantsPerLink)
    }
}
