import MeshCrypto
import MeshGossip
import MeshModel
import MeshWire
import Testing

@Suite struct GossipLinkTests {
    let fixture = GossipFixture()

    private func dials(_ effects: [Gossip.Effect]) -> [String] {
        effects.compactMap { if case .dial(_, let address) = $0 { address } else { nil } }
    }

    @Test func aStaticPeerIsDialledForEver() throws {
        var gossip = GossipFixture.gossip { $0.staticPeers = [.init(key: nil, address: "seed:7443")] }
        var clock: Int64 = 0
        #expect(dials(gossip.handle(.tick, now: GossipFixture.now())) == ["seed:7443"])
        for _ in 0..<50 {
            _ = gossip.handle(.dialFailed(nil, address: "seed:7443"), now: GossipFixture.now(clock))
            let failedAt = clock
            var found: [String] = []
            while found.isEmpty, clock < failedAt + 60_000 {
                let next = try #require(gossip.nextDeadline)
                clock = max(clock + 1, next.nanoseconds / 1_000_000)
                found = dials(gossip.handle(.tick, now: GossipFixture.now(clock)))
            }
            #expect(found == ["seed:7443"])
            #expect(clock - failedAt <= 7_500)
        }
    }

    @Test func membersAreDialledUpToTheDegree() {
        var gossip = GossipFixture.gossip { $0.degree = 3 }
        let records = (20..<30).map {
            GossipFixture.descriptor(GossipFixture.key($0), addresses: ["node-\($0):7443"])
        }
        let effects = gossip.handle(.restore(records), now: GossipFixture.now())
        #expect(dials(effects).count == 3)
        #expect(Set(dials(effects)).count == 3)
    }

    @Test func whoDialledUsIsDialledBack() {
        var gossip = GossipFixture.gossip()
        #expect(dials(gossip.connect(fixture.home, link: 1)) == ["host:7443"])
        var other = GossipFixture.gossip { $0.dialsBack = false }
        #expect(dials(other.connect(fixture.home, link: 1)).isEmpty)
    }

    @Test func reachDialsAtOnceAndOnce() {
        var gossip = GossipFixture.gossip { $0.degree = 0 }
        _ = gossip.handle(.restore([GossipFixture.descriptor(fixture.home)]), now: GossipFixture.now())
        let key = fixture.home.publicKey
        #expect(dials(gossip.handle(.reach(key), now: GossipFixture.now())) == ["host:7443"])
        let again = gossip.handle(.reach(key), now: GossipFixture.now())
        #expect(dials(again).isEmpty)
        #expect(!again.contains(.unreachable(key)), "a dial is under way")
    }

    /// Requests for a node that is gone come at any rate; its address is not dialled for each of them.
    @Test func reachSaysThatThereIsNoWay() {
        var gossip = GossipFixture.gossip { $0.degree = 0 }
        let key = fixture.home.publicKey
        #expect(gossip.handle(.reach(key), now: GossipFixture.now()).contains(.unreachable(key)))
        _ = gossip.handle(.restore([GossipFixture.descriptor(fixture.home)]), now: GossipFixture.now())
        #expect(dials(gossip.handle(.reach(key), now: GossipFixture.now())) == ["host:7443"])
        _ = gossip.handle(.dialFailed(key, address: "host:7443"), now: GossipFixture.now(10))
        let soon = gossip.handle(.reach(key), now: GossipFixture.now(Limits.reachAgainMs - 1))
        #expect(dials(soon).isEmpty)
        #expect(soon.contains(.unreachable(key)))
        #expect(dials(gossip.handle(.reach(key), now: GossipFixture.now(Limits.reachAgainMs))) == ["host:7443"])
    }

    /// A node that was not up yet when it was dialled, and came up a moment later: it may have dialled us, or only its
    /// beacon came by another node. Its address may be the configuration's, whose key nobody knew.
    @Test(arguments: [true, false], [true, false])
    func whoWasSeenToLiveIsDialledAtOnce(hasKey: Bool, isLinked: Bool) throws {
        let key = fixture.home.publicKey
        var gossip = GossipFixture.gossip {
            $0.staticPeers = [.init(key: hasKey ? key : nil, address: "host:7443")]
        }
        #expect(dials(gossip.connect(fixture.host, link: 7, address: "relay:7443")).contains("host:7443"))
        _ = gossip.handle(.dialFailed(hasKey ? key : nil, address: "host:7443"), now: GossipFixture.now(1))
        var effects: [Gossip.Effect]
        if isLinked {
            effects = gossip.connect(fixture.home, link: 1, at: 20)
        } else {
            effects = gossip.push([GossipFixture.descriptor(fixture.home)], link: 7, at: 20)
            effects += gossip.push([GossipFixture.beacon(fixture.home)], link: 7, at: 20)
        }
        effects += gossip.handle(.tick, now: GossipFixture.now(21))
        effects += gossip.handle(.reach(key), now: GossipFixture.now(22))
        #expect(dials(effects) == ["host:7443"], "once, and before its back-off is over")
        #expect(!effects.contains(.unreachable(key)))
    }

    /// Whoever asks has looked for the link and did not find one that takes requests.
    @Test func reachOfALinkedNodeIsAnsweredToo() {
        var gossip = GossipFixture.gossip()
        _ = gossip.connect(fixture.home, link: 1, dialled: true)
        let effects = gossip.handle(.reach(fixture.home.publicKey), now: GossipFixture.now())
        #expect(effects.contains(.unreachable(fixture.home.publicKey)))
    }

    /// What was heard of a node before its last link broke says nothing of whether it lives.
    @Test func aBrokenLinkNeedsANewerSignOfLife() {
        var gossip = GossipFixture.gossip()
        let (key, relay) = (fixture.home.publicKey, GossipFixture.key(40))
        _ = gossip.connect(fixture.home, link: 1)
        _ = gossip.connect(relay, link: 2)
        _ = gossip.push([GossipFixture.beacon(fixture.home)], link: 2)
        func down(_ isLost: Bool) -> [Gossip.Effect] {
            gossip.handle(.linkDown(LinkID(raw: 1), isLost: isLost), now: GossipFixture.now(1))
        }
        #expect(!down(false).contains(.livenessChanged(key, alive: false)), "nobody needed the link any more")
        #expect(gossip.reachable.contains(key))
        _ = gossip.connect(fixture.home, link: 1)
        #expect(down(true).contains(.livenessChanged(key, alive: false)))
        #expect(!gossip.reachable.contains(key))
        _ = gossip.push([GossipFixture.beacon(fixture.home)], link: 2, at: 2)
        #expect(!gossip.isAlive(key), "the same beacon again is none")
        _ = gossip.push([GossipFixture.beacon(fixture.home, version: 2)], link: 2, at: 3)
        #expect(gossip.isAlive(key))
        #expect(gossip.reachable.contains(key))
    }

    @Test func nobodyLinksToHimself() {
        let key = GossipFixture.key(1)
        var gossip = GossipFixture.gossip(key)
        #expect(gossip.connect(key, link: 1) == [.close(LinkID(raw: 1), .itself), .beaconDue])
    }

    @Test func whoIsNotAdmittedIsTurnedAway() {
        var gossip = GossipFixture.gossip(admission: LinkAdmission())
        #expect(gossip.connect(fixture.home, link: 1).contains(.close(LinkID(raw: 1), .notAdmitted)))
        #expect(gossip.linkViews.isEmpty)
    }

    @Test func aSecondLinkTheSameWayReplacesTheFirst() {
        var gossip = GossipFixture.gossip()
        _ = gossip.connect(fixture.home, link: 1, dialled: true)
        #expect(gossip.connect(fixture.home, link: 2, dialled: true).contains(.close(LinkID(raw: 1), .replaced)))
        #expect(gossip.linkViews.map(\.id) == [LinkID(raw: 2)])
    }

    /// Two links dialled at once may come up in another order at the other side: whoever was dialled closes none of them
    /// before the dialler had time to.
    @Test func whoWasDialledTwiceLetsTheDiallerChoose() {
        let grace = Gossip.Intervals().supersededLinkMs
        func twice() -> Gossip {
            var gossip = GossipFixture.gossip { $0.dialsBack = false }
            _ = gossip.connect(fixture.home, link: 1)
            let effects = gossip.connect(fixture.home, link: 2)
            #expect(!effects.contains { if case .close = $0 { true } else { false } })
            return gossip
        }
        let close = Gossip.Effect.close(LinkID(raw: 1), .replaced)
        // Neither is closed: the first was lost over there.
        var silent = twice()
        #expect(!silent.handle(.tick, now: GossipFixture.now(grace - 1)).contains(close))
        #expect(silent.nextDeadline.map { $0 <= GossipFixture.now(grace).instant } == true)
        #expect(silent.handle(.tick, now: GossipFixture.now(grace)).contains(close))
        // The dialler closes the second: the first stays.
        var chosen = twice()
        _ = chosen.handle(.linkDown(LinkID(raw: 2), isLost: false), now: GossipFixture.now(5))
        #expect(!chosen.handle(.tick, now: GossipFixture.now(grace)).contains(close))
        #expect(chosen.linkViews.map(\.id) == [LinkID(raw: 1)])
        // A third one: not more than two of a peer wait.
        var third = twice()
        #expect(third.connect(fixture.home, link: 3, at: 1).contains(close))
    }

    /// An address of the configuration and a member's may be the same one.
    @Test func anAddressIsDialledOnceAtATime() {
        var gossip = GossipFixture.gossip { $0.staticPeers = [.init(key: nil, address: "host:7443")] }
        #expect(dials(gossip.handle(.tick, now: GossipFixture.now())) == ["host:7443"])
        _ = gossip.handle(.restore([GossipFixture.descriptor(fixture.home)]), now: GossipFixture.now())
        let key = fixture.home.publicKey
        let reach = gossip.handle(.reach(key), now: GossipFixture.now(1))
        #expect(dials(reach).isEmpty && !reach.contains(.unreachable(key)), "a dial is under way")
        #expect(dials(gossip.handle(.tick, now: GossipFixture.now(2))).isEmpty)
    }

    @Test func ownRecordsGoToAllOthersToThree() {
        var gossip = GossipFixture.gossip()
        for number in 0..<10 { _ = gossip.connect(GossipFixture.key(UInt8(20 + number)), link: UInt64(number)) }
        func pushes(_ effects: [Gossip.Effect]) -> Int {
            effects.count {
                guard case .send(_, let frame) = $0, case .push = GossipMessage(frame) else { return false }
                return true
            }
        }
        let own = GossipFixture.descriptor(GossipFixture.key(1))
        #expect(pushes(gossip.handle(.publish(own), now: GossipFixture.now())) == 10)
        #expect(pushes(gossip.push([fixture.advert()], link: 0)) == 3)
        let announced = gossip.handle(.tick, now: GossipFixture.now(60)).filter {
            guard case .send(_, let frame) = $0, case .announce = GossipMessage(frame) else { return false }
            return true
        }
        #expect(announced.count == 6)
    }

    @Test func anAnnouncedRecordIsAskedForWhenItDoesNotCome() {
        var gossip = GossipFixture.gossip()
        _ = gossip.connect(fixture.home, link: 1)
        let advert = fixture.advert()
        let summary = RecordSummary(key: advert.key, version: advert.version, hashPrefix: 1)
        _ = gossip.handle(.frame(LinkID(raw: 1), GossipMessage.announce([summary]).frame), now: GossipFixture.now())
        let asked = Gossip.Effect.send(LinkID(raw: 1), GossipMessage.want([advert.key]).frame)
        #expect(!gossip.handle(.tick, now: GossipFixture.now(149)).contains(asked))
        #expect(gossip.handle(.tick, now: GossipFixture.now(150)).contains(asked))
        _ = gossip.push([advert], link: 1, at: 200)
        #expect(!gossip.handle(.tick, now: GossipFixture.now(2_000)).contains(asked))
    }

    @Test func aFloodIsThrottledNotTaken() {
        var gossip = GossipFixture.gossip()
        _ = gossip.connect(fixture.home, link: 1)
        let bytes = fixture.advert().envelope.bytes
        var throttled = 0
        for _ in 0..<200 {
            let effects = gossip.push(bytes: Array(repeating: bytes, count: Limits.linkPushRecords), link: 1)
            throttled += effects.count { $0 == .ignored(.throttled, from: fixture.home.publicKey) }
        }
        #expect(throttled > 0)
    }

    @Test func aFrameThatBreaksABoundIsBlamed() {
        var gossip = GossipFixture.gossip()
        _ = gossip.connect(fixture.home, link: 1)
        let frame = GossipMessage.push(records: Array(repeating: [1], count: 17), hops: 0).frame
        let effects = gossip.handle(.frame(LinkID(raw: 1), frame), now: GossipFixture.now())
        #expect(effects.contains(.rejected(.length, from: fixture.home.publicKey, blamed: true)))
    }

    @Test func beaconsAreAskedForAgainAndAgain() throws {
        var gossip = GossipFixture.gossip()
        var count = 0
        var clock: Int64 = 0
        while clock < 60_000 {
            count += gossip.handle(.tick, now: GossipFixture.now(clock)).count { $0 == .beaconDue }
            clock = max(clock + 1, try #require(gossip.nextDeadline).nanoseconds / 1_000_000)
        }
        #expect((10...16).contains(count))
    }
}
