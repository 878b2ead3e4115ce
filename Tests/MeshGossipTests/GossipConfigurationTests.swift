import MeshCrypto
import MeshGossip
import MeshModel
import MeshWire
import Testing

/// Whom to admit and whom to dial may change while the node runs.
@Suite struct GossipConfigurationTests {
    @Test func whoIsNotAdmittedAnyMoreGoesWithAllThatStandsOnIt() {
        let fixture = GossipFixture()
        let other = GossipFixture.key(3)
        var gossip = GossipFixture.gossip(
            admission: LinkAdmission(nodes: [fixture.home.publicKey, fixture.host.publicKey, other.publicKey]))
        _ = gossip.connect(fixture.home, link: 1)
        _ = gossip.connect(other, link: 2)
        let advert = fixture.advert()
        let grant = fixture.grant(for: advert)
        let attachment = fixture.attachment(grant: grant, advert: advert)
        _ = gossip.handle(
            .restore([GossipFixture.descriptor(fixture.host), advert, grant, attachment]), now: GossipFixture.now())
        #expect(gossip.isUsable(attachment.key))

        let kept = LinkAdmission(nodes: [fixture.host.publicKey, other.publicKey])
        let effects = gossip.handle(.configure(kept, []), now: GossipFixture.now(1))
        #expect(effects.contains(.close(LinkID(raw: 1), .notAdmitted)))
        #expect(gossip.linkViews.map(\.id.raw) == [2])
        for record in [advert, grant, attachment] { #expect(gossip.record(record.key) == nil) }
        #expect(Set(gossip.members) == [fixture.host.publicKey, other.publicKey])
        #expect(gossip.members.count == 2 && gossip.pendingCount == 0)
    }

    @Test func peersAreDialledAtOnceAndForgottenAtOnce() {
        var gossip = GossipFixture.gossip(admission: LinkAdmission())
        let peer = GossipFixture.key(5).publicKey
        let admitted = LinkAdmission(nodes: [peer])
        let added = gossip.handle(
            .configure(admitted, [.init(key: peer, address: "there:1")]), now: GossipFixture.now())
        #expect(added.contains(.dial(peer, address: "there:1")))
        _ = gossip.handle(.dialFailed(peer, address: "there:1"), now: GossipFixture.now(10))
        _ = gossip.handle(.configure(LinkAdmission(), []), now: GossipFixture.now(20))
        for second in 1..<60 {
            let later = gossip.handle(.tick, now: GossipFixture.now(Int64(second) * 1_000))
            #expect(!later.contains(.dial(peer, address: "there:1")))
        }
    }
}
