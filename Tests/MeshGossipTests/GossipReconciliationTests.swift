import MeshCrypto
import MeshGossip
import MeshModel
import MeshWire
import Testing

/// Two machines joined by a perfect wire.
struct GossipPair {
    var left: Gossip
    var right: Gossip
    var frames = 0
    var bytes = 0
    var clock: Int64 = 10

    init(left leftRecords: [VerifiedRecord], right rightRecords: [VerifiedRecord]) {
        let keys = (GossipFixture.key(1), GossipFixture.key(2))
        left = GossipFixture.gossip(keys.0, seed: 1)
        right = GossipFixture.gossip(keys.1, seed: 2)
        let both = [GossipFixture.descriptor(keys.0, addresses: []), GossipFixture.descriptor(keys.1, addresses: [])]
        _ = left.handle(.restore(leftRecords + both), now: GossipFixture.now())
        _ = right.handle(.restore(rightRecords + both), now: GossipFixture.now())
    }

    /// Links the two, then carries frames until nothing moves for a second.
    mutating func run() {
        let link = LinkID(raw: 1)
        let descriptors = (left.descriptor(of: left.configuration.key), right.descriptor(of: right.configuration.key))
        guard let leftOwn = descriptors.0, let rightOwn = descriptors.1 else { return }
        var toRight = left.handle(
            .linkUp(link, peer: rightOwn.signer, dialled: true, address: "b:1", descriptor: rightOwn),
            now: GossipFixture.now(clock))
        var toLeft = right.handle(
            .linkUp(link, peer: leftOwn.signer, dialled: false, address: nil, descriptor: leftOwn),
            now: GossipFixture.now(clock))
        for _ in 0..<60 {
            while !sends(toRight).isEmpty || !sends(toLeft).isEmpty {
                let (rightward, leftward) = (sends(toRight), sends(toLeft))
                toRight = leftward.flatMap { left.handle(.frame(link, $0), now: GossipFixture.now(clock)) }
                toLeft = rightward.flatMap { right.handle(.frame(link, $0), now: GossipFixture.now(clock)) }
            }
            clock += 50
            toRight = left.handle(.tick, now: GossipFixture.now(clock))
            toLeft = right.handle(.tick, now: GossipFixture.now(clock))
        }
    }

    private mutating func sends(_ effects: [Gossip.Effect]) -> [Aisbf_Mesh_V1_LinkFrame] {
        let frames = effects.compactMap { if case .send(_, let frame) = $0 { frame } else { nil } }
        self.frames += frames.count
        bytes += frames.reduce(0) { $0 + RecordBody.bytes(of: $1).count }
        return frames
    }
}

@Suite struct GossipReconciliationTests {
    static func adverts(_ numbers: Range<Int>) -> [VerifiedRecord] {
        let fixture = GossipFixture()
        // One owner may have 64; these have one each.
        return numbers.map {
            let seed = UInt64($0).bigEndianBytes + Array(repeating: 0x55, count: 24)
            return fixture.advert(provider: "p\($0)", signer: SigningKey(seed: seed))
        }
    }

    @Test(arguments: [
        (left: 0..<300, right: 0..<300), (left: 0..<301, right: 0..<300), (left: 0..<300, right: 0..<301),
        (left: 0..<300, right: 100..<400), (left: 0..<0, right: 0..<300), (left: 0..<300, right: 0..<0),
        (left: 0..<10, right: 5..<12), (left: 0..<1, right: 1..<2),
    ])
    func bothHoldEverythingInTheEnd(left: Range<Int>, right: Range<Int>) {
        var pair = GossipPair(left: Self.adverts(left), right: Self.adverts(right))
        pair.run()
        #expect(pair.left.summaries == pair.right.summaries)
        let all = Set(left).union(right)
        #expect(pair.left.records(of: .providerAdvert).count == all.count)
    }

    @Test func oneDifferenceCostsLittle() {
        var equal = GossipPair(left: Self.adverts(0..<400), right: Self.adverts(0..<400))
        equal.run()
        var apart = GossipPair(left: Self.adverts(0..<401), right: Self.adverts(0..<400))
        apart.run()
        #expect(apart.left.summaries == apart.right.summaries)
        #expect(apart.bytes < equal.bytes + 6_000, "\(apart.bytes) against \(equal.bytes)")
    }

    @Test func aNewerVersionWinsOnBothSides() {
        let fixture = GossipFixture()
        let old = fixture.advert(version: 1)
        let new = fixture.advert(version: 2, note: "new")
        var pair = GossipPair(left: [old], right: [new])
        pair.run()
        #expect(pair.left.record(old.key) == new)
        #expect(pair.right.record(old.key) == new)
    }

    @Test func contradictionsAreFoundByComparing() {
        let fixture = GossipFixture()
        let one = fixture.advert(version: 3, note: "one")
        let other = fixture.advert(version: 3, note: "other")
        var pair = GossipPair(left: [one], right: [other])
        pair.run()
        #expect(pair.left.record(one.key) == nil)
        #expect(pair.right.record(one.key) == nil)
        #expect(pair.left.summaries == pair.right.summaries)
    }

    @Test func answersToNoQuestionAreIgnored() {
        var gossip = GossipFixture.gossip()
        _ = gossip.connect(GossipFixture.key(2), link: 1)
        let frames: [GossipMessage] = [
            .syncRanges(round: 99, salt: .zero, ranges: []), .syncNeed(round: 99, keys: []),
            .syncRecords(round: 99, records: []),
            // Its lowest bit says that we opened it.
            .syncOpen(round: 98, salt: .zero),
        ]
        for message in frames {
            let effects = gossip.handle(.frame(LinkID(raw: 1), message.frame), now: GossipFixture.now())
            #expect(effects == [.ignored(.unexpected, from: GossipFixture.key(2).publicKey)])
        }
    }
}
