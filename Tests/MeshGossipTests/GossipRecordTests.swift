import MeshCrypto
import MeshGossip
import MeshModel
import MeshWire
import SwiftProtobuf
import Testing

@Suite struct GossipRecordTests {
    let fixture = GossipFixture()
    let peer = GossipFixture.key(2)

    private func linked(admission: LinkAdmission = LinkAdmission(isOpen: true)) -> Gossip {
        var gossip = GossipFixture.gossip(admission: admission)
        _ = gossip.connect(peer, link: 1)
        return gossip
    }

    private func rejections(_ effects: [Gossip.Effect]) -> [RecordRejection] {
        effects.compactMap { if case .rejected(let rejection, _, _) = $0 { rejection } else { nil } }
    }

    @Test func aNewerVersionReplacesAndAnOlderIsAnsweredWithOurs() {
        var gossip = linked()
        let old = fixture.advert(version: 1)
        let new = fixture.advert(version: 2, note: "new")
        _ = gossip.push([new], link: 1)
        let effects = gossip.push([old], link: 1)
        #expect(gossip.record(old.key) == new)
        #expect(effects.contains(.ignored(.stale, from: peer.publicKey)))
        let answer = GossipMessage.push(records: [new.envelope.bytes], hops: 0).frame
        #expect(effects.contains(.send(LinkID(raw: 1), answer)))
        #expect(gossip.push([new], link: 1).contains(.ignored(.duplicate, from: peer.publicKey)))
    }

    @Test(arguments: [false, true]) func equivocationVoidsBothInEitherOrder(isSwapped: Bool) {
        var gossip = linked()
        let one = fixture.advert(version: 5, note: "one")
        let other = fixture.advert(version: 5, note: "other")
        _ = gossip.push([isSwapped ? other : one], link: 1)
        let effects = gossip.push([isSwapped ? one : other], link: 1)
        #expect(effects.contains(.equivocation(one.key, signer: one.signer, version: one.version)))
        #expect(gossip.record(one.key) == nil)
        // Neither comes back; what remains is the same whichever came first.
        _ = gossip.push([one, other], link: 1)
        #expect(gossip.record(one.key) == nil)
        #expect(gossip.summaries.first { $0.key == one.key }?.hashPrefix == .max)
        let later = fixture.advert(version: 6)
        _ = gossip.push([later], link: 1)
        #expect(gossip.record(one.key) == later)
    }

    @Test func theWholeChainMakesAnAttachmentUsableInAnyOrder() {
        let advert = fixture.advert()
        let grant = fixture.grant(for: advert)
        let attachment = fixture.attachment(grant: grant, advert: advert)
        let records = [
            GossipFixture.descriptor(fixture.home), GossipFixture.descriptor(fixture.host), advert, grant, attachment,
        ]
        var generator = SeededGenerator(seed: 3)
        for _ in 0..<20 {
            var gossip = linked()
            let order = records.shuffled(using: &generator)
            for record in order { #expect(rejections(gossip.push([record], link: 1)).isEmpty) }
            #expect(gossip.isUsable(attachment.key))
            #expect(gossip.pendingCount == 0)
        }
    }

    @Test func withoutItsGrantAnAttachmentDoesNotCount() {
        var gossip = linked()
        let advert = fixture.advert()
        let grant = fixture.grant(for: advert)
        let attachment = fixture.attachment(grant: grant, advert: advert)
        _ = gossip.push(
            [GossipFixture.descriptor(fixture.home), GossipFixture.descriptor(fixture.host), advert, attachment],
            link: 1)
        #expect(!gossip.isUsable(attachment.key))
        #expect(gossip.usableRecords(of: .attachment).isEmpty)
    }

    @Test func anotherNodeCannotUseSomebodysGrant() {
        var gossip = linked()
        let thief = GossipFixture.key(66)
        let advert = fixture.advert()
        let grant = fixture.grant(for: advert)
        let stolen = fixture.attachment(grant: grant, advert: advert, by: thief)
        _ = gossip.push(
            [GossipFixture.descriptor(fixture.home), GossipFixture.descriptor(thief), advert, grant, stolen], link: 1)
        #expect(gossip.isUsable(grant.key))
        #expect(!gossip.isUsable(stolen.key))
    }

    @Test func aGrantByAStrangerDoesNotCount() {
        var gossip = linked()
        let advert = fixture.advert()
        let grant = fixture.grant(for: advert, by: GossipFixture.key(66))
        _ = gossip.push([GossipFixture.descriptor(fixture.home), advert, grant], link: 1)
        #expect(gossip.isUsable(advert.key))
        #expect(!gossip.isUsable(grant.key))
    }

    @Test func anAttachKeyIsBoundToItsHosts() {
        var gossip = linked()
        let advert = fixture.advert(allowedHosts: [GossipFixture.key(77)])
        let grant = fixture.grant(for: advert)
        _ = gossip.push([GossipFixture.descriptor(fixture.home), advert, grant], link: 1)
        #expect(!gossip.isUsable(grant.key))
    }

    @Test func rotatingTheTokenVoidsGrantAndAttachmentAtOnce() {
        var gossip = linked()
        let advert = fixture.advert()
        let grant = fixture.grant(for: advert)
        let attachment = fixture.attachment(grant: grant, advert: advert)
        _ = gossip.push(
            [
                GossipFixture.descriptor(fixture.home), GossipFixture.descriptor(fixture.host), advert, grant,
                attachment,
            ], link: 1)
        #expect(gossip.isUsable(attachment.key))
        let effects = gossip.push([fixture.advert(version: 2, attachKeys: [GossipFixture.key(99)])], link: 1)
        #expect(effects.contains(.usabilityChanged(grant.key, .attachGrant, usable: false)))
        #expect(effects.contains(.usabilityChanged(attachment.key, .attachment, usable: false)))
        #expect(!gossip.isUsable(attachment.key))
    }

    @Test func aTombstoneBuriesTheProviderAndWhatRestsOnIt() {
        var gossip = linked()
        let advert = fixture.advert()
        let grant = fixture.grant(for: advert)
        _ = gossip.push([GossipFixture.descriptor(fixture.home), advert, grant], link: 1)
        let body = Aisbf_Mesh_V1_Tombstone.with { $0.name.append(contentsOf: Array("gpu".utf8)) }
        let tombstone = GossipFixture.record(
            .providerAdvert, by: fixture.owner, name: Array("gpu".utf8), body: RecordBody.bytes(of: body), version: 2,
            isTombstone: true)
        #expect(tombstone.key == advert.key)
        _ = gossip.push([tombstone], link: 1)
        #expect(gossip.record(advert.key) == nil)
        #expect(!gossip.isUsable(grant.key))
        _ = gossip.push([advert], link: 1)
        #expect(gossip.record(advert.key) == nil)
    }

    @Test func aBindingTheHomeNodeDidNotSignIsRejectedAndBlamed() {
        var gossip = linked()
        let forged = fixture.advert(bindingSigner: GossipFixture.key(66))
        let effects = gossip.push([forged], link: 1)
        #expect(effects.contains(.rejected(.semantics, from: peer.publicKey, blamed: true)))
        #expect(gossip.record(forged.key) == nil)
    }

    @Test func scopeGlobalBelongsToTheOperatorOnly() {
        var gossip = linked()
        let certified = GossipFixture.descriptor(fixture.home, operatorKey: fixture.operatorKey)
        let own = fixture.advert(isGlobal: true, signer: fixture.operatorKey)
        let stranger = fixture.advert(isGlobal: true, signer: GossipFixture.key(66))
        _ = gossip.push([own, stranger, certified], link: 1)
        #expect(gossip.isUsable(own.key))
        #expect(!gossip.isUsable(stranger.key))
    }

    @Test func aForgedOperatorCertificateIsRejected() {
        var gossip = linked()
        let forged = GossipFixture.descriptor(fixture.home, operatorKey: fixture.operatorKey, isForged: true)
        #expect(rejections(gossip.push([forged], link: 1)) == [.semantics])
    }

    @Test func onlyAdmittedNodesBecomeMembers() {
        let operators = LinkAdmission(nodes: [peer.publicKey], operators: [fixture.operatorKey.publicKey])
        var gossip = linked(admission: operators)
        let certified = GossipFixture.descriptor(fixture.home, operatorKey: fixture.operatorKey)
        _ = gossip.push([certified, GossipFixture.descriptor(fixture.host)], link: 1)
        #expect(Set(gossip.members) == [peer.publicKey, fixture.home.publicKey])
        // The certificate's end ends the membership without any message.
        _ = gossip.handle(.tick, now: GossipFixture.now(3_600_001))
        #expect(!gossip.members.contains(fixture.home.publicKey))
    }

    @Test func recordsEndByTheClockAlone() throws {
        var gossip = linked()
        let advert = fixture.advert()
        _ = gossip.push([GossipFixture.descriptor(fixture.home), advert], link: 1)
        #expect(gossip.record(advert.key) != nil)
        let effects = gossip.handle(.tick, now: GossipFixture.now(3_600_000))
        #expect(effects.contains(.removed(advert.key, .providerAdvert, .expired)))
        #expect(gossip.record(advert.key) == nil)
    }

    @Test func aFlippedByteIsRejectedCountedAndEndsTheLink() {
        var gossip = linked()
        var bytes = fixture.advert().envelope.bytes
        bytes[100] ^= 1
        var effects: [Gossip.Effect] = []
        for _ in 0..<Limits.linkRejectsBeforeClose { effects += gossip.push(bytes: [bytes], link: 1) }
        #expect(rejections(effects) == Array(repeating: .signature, count: Limits.linkRejectsBeforeClose))
        #expect(effects.contains(.close(LinkID(raw: 1), .rejects)))
        #expect(effects.contains(.blocked(peer.publicKey, milliseconds: Limits.linkRejectBlockMs)))
        #expect(gossip.connect(peer, link: 2, at: 1_000).contains(.close(LinkID(raw: 2), .blocked)))
        let later = gossip.connect(peer, link: 3, at: Limits.linkRejectBlockMs + 1)
        #expect(!later.contains(.close(LinkID(raw: 3), .blocked)))
    }

    @Test func clocksAndListsAreNobodysFault() {
        var gossip = linked()
        let old = GossipFixture.record(
            .providerAdvert, by: fixture.owner, name: Array("gpu".utf8),
            body: RecordBody.bytes(of: Aisbf_Mesh_V1_ProviderAdvert.with { $0.providerID = "gpu" }), lifeMs: 1_000)
        for _ in 0..<20 {
            let effects = gossip.push([old], link: 1, at: 100_000)
            #expect(effects.contains(.rejected(.expired, from: peer.publicKey, blamed: false)))
        }
        #expect(gossip.linkViews.count == 1)
    }

    @Test func anOwnersQuotaKeepsTheSameRecordsInWhateverOrder() {
        let adverts = (0..<Limits.providersPerOwner + 6).map { fixture.advert(provider: "p\($0)") }
        func held(_ order: [VerifiedRecord]) -> [RecordKey] {
            var gossip = linked()
            for (index, record) in order.enumerated() { _ = gossip.push([record], link: 1, at: Int64(index) * 10) }
            return gossip.records(of: .providerAdvert).map(\.key)
        }
        let forward = held(adverts)
        #expect(forward.count == Limits.providersPerOwner)
        #expect(forward == held(adverts.reversed()))
    }

    @Test func leasesComeAndGo() {
        var gossip = linked()
        let node = fixture.home
        #expect(gossip.push([GossipFixture.beacon(node)], link: 1).contains(.ignored(.stranger, from: peer.publicKey)))
        _ = gossip.push([GossipFixture.descriptor(node)], link: 1)
        let effects = gossip.push([GossipFixture.beacon(node)], link: 1)
        #expect(effects.contains(.livenessChanged(node.publicKey, alive: true)))
        #expect(gossip.beacon(of: node.publicKey) != nil)
        let ended = gossip.handle(.tick, now: GossipFixture.now(15_000))
        #expect(ended.contains(.livenessChanged(node.publicKey, alive: false)))
        #expect(!gossip.isAlive(node.publicKey))
        #expect(gossip.isAlive(peer.publicKey))
    }

    @Test func aRestartedNodeTakesItsStoreBack() {
        let advert = fixture.advert()
        var gossip = GossipFixture.gossip()
        let effects = gossip.handle(
            .restore([advert, GossipFixture.descriptor(fixture.home)]), now: GossipFixture.now())
        #expect(gossip.isUsable(advert.key))
        #expect(!effects.contains { if case .send = $0 { true } else { false } })
    }
}
