import MeshCrypto
import MeshGossip
import MeshModel
import MeshWire
import Testing

/// The chains that gossip hands out: what they say, and when they end.
@Suite struct UsableRecordsTests {
    let fixture = GossipFixture()

    private func gossip(_ records: [VerifiedRecord]) -> Gossip {
        var gossip = GossipFixture.gossip()
        _ = gossip.handle(.restore(records), now: GossipFixture.now())
        return gossip
    }

    private func chain(
        advert: VerifiedRecord, operatorKey: SigningKey? = nil, operatorMs: Int64 = 3_600_000
    ) -> [VerifiedRecord] {
        let grant = fixture.grant(for: advert)
        return [
            GossipFixture.descriptor(fixture.home, operatorKey: operatorKey, notAfterMs: operatorMs),
            GossipFixture.descriptor(fixture.host), advert, grant, fixture.attachment(grant: grant, advert: advert),
        ]
    }

    @Test func aWholeChainSaysWhatWasFoundOfIt() throws {
        let advert = fixture.advert()
        let usable = gossip(chain(advert: advert, operatorKey: fixture.operatorKey)).usable(now: GossipFixture.now())
        #expect(Set(usable.nodes.map(\.key)) == [fixture.home.publicKey, fixture.host.publicKey])
        #expect(usable.nodes.map(\.key) == usable.nodes.sorted { $0.recordKey < $1.recordKey }.map(\.key))
        let told = try #require(usable.adverts.first)
        #expect(told.scope == .user("alice") && told.home.key == fixture.home.publicKey)
        #expect(told.home.operatorKey == fixture.operatorKey.publicKey)
        let attached = try #require(usable.attachments.first)
        #expect(attached.provider == advert.key && attached.host.key == fixture.host.publicKey)
    }

    @Test func anOperatorsProviderIsGlobalWhileItsCertificateIsGood() throws {
        let advert = fixture.advert(isGlobal: true, signer: fixture.operatorKey)
        let gossip = gossip(chain(advert: advert, operatorKey: fixture.operatorKey, operatorMs: 10_000))
        #expect(gossip.usable(now: GossipFixture.now(9_999)).adverts.map(\.scope) == [.global])
        // Nobody has told gossip yet that the time has come.
        let later = gossip.usable(now: GossipFixture.now(10_000))
        #expect(later.adverts.isEmpty && later.attachments.isEmpty)
        #expect(later.nodes.count == 2 && later.nodes.allSatisfy { $0.operatorKey == nil })
    }

    /// Each way for a chain to be broken: what stands above the break stays.
    @Test(arguments: [0, 1, 2, 3]) func whatRestsOnSomethingMissingIsNotHandedOut(missing: Int) {
        var records = chain(advert: fixture.advert())
        records.remove(at: missing)
        let usable = gossip(records).usable(now: GossipFixture.now())
        #expect(usable.attachments.isEmpty)
        #expect(usable.adverts.count == (missing == 0 || missing == 2 ? 0 : 1))
    }

    @Test func whatRanOutIsNotHandedOut() {
        let gossip = gossip(chain(advert: fixture.advert()))
        #expect(gossip.usable(now: GossipFixture.now(3_599_999)).attachments.count == 1)
        let later = gossip.usable(now: GossipFixture.now(3_600_000))
        #expect(later.nodes.isEmpty && later.adverts.isEmpty && later.attachments.isEmpty)
    }

    @Test func aRevokedTokenEndsItsWorkersAndKeepsTheProvider() {
        var gossip = gossip(chain(advert: fixture.advert()))
        let rotated = fixture.advert(version: 2, attachKeys: [GossipFixture.key(99)])
        _ = gossip.handle(.restore([rotated]), now: GossipFixture.now(1))
        let usable = gossip.usable(now: GossipFixture.now(1))
        #expect(usable.adverts.map(\.record.version) == [rotated.version] && usable.attachments.isEmpty)
    }
}

extension UsableRecords.Node {
    var recordKey: RecordKey {
        RecordKey(
            Sodium.shared.hash16(
                RecordEnvelope.keyMaterial(type: .nodeDescriptor, signer: key, name: []), key: []))
    }
}
