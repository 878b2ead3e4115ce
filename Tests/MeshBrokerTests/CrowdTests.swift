import MeshCrypto
import MeshGossip
import MeshModel
import MeshRouting
import MeshWire
import Testing

@testable import MeshBroker

/// A node with more workers than it may announce.
@Suite struct CrowdTests {
    let token = SigningKey.random()
    let otherToken = SigningKey.random()
    let seller = SigningKey.random()

    func lastCatalog(_ fixture: BrokerFixture) -> Catalog? {
        fixture.effects.compactMap { if case .catalogChanged(let catalog) = $0 { catalog } else { nil } }.last
    }

    /// A node with a provider of its operator and one of a user, and `count` workers of the first.
    func crowd(_ count: Int, model: (Int) -> String = { _ in "m" }) -> (
        fixture: BrokerFixture, crowded: RecordKey, quiet: RecordKey
    ) {
        var fixture = BrokerFixture(seed: 31, keys: [token, otherToken, seller])
        fixture.describe(name: "host")
        fixture.feed(
            .providers([
                fixture.draft("gpu", attachKeys: [token.publicKey]),
                fixture.draft(
                    "lab", username: "mia", owner: seller.publicKey, attachKeys: [otherToken.publicKey]),
            ]))
        fixture.nowMs += 100
        let adverts = fixture.signed(.providerAdvert)
        let crowded = adverts.first { $0.signer != seller.publicKey }?.key ?? RecordKey(.zero)
        let quiet = adverts.first { $0.signer == seller.publicKey }?.key ?? RecordKey(.zero)
        for number in 0..<count {
            let worker = fixture.worker(
                crowded, attachKey: token.publicKey, number: number, models: [model(number)])
            fixture.nowMs += 2
            fixture.feed(.workerAttached(worker))
        }
        settle(&fixture)
        return (fixture, crowded, quiet)
    }

    func settle(_ fixture: inout BrokerFixture) {
        for _ in 0..<3 {
            fixture.nowMs += 1_100
            fixture.feed(.tick)
        }
    }

    @Test func allAreFoundHereAndTheMeshIsToldOfSome() throws {
        var (fixture, crowded, _) = crowd(1_000)
        var unique = fixture.worker(crowded, attachKey: token.publicKey, number: 1_000, models: ["rare"])
        unique.offer.endpoints = ["v1/rare"]
        fixture.feed(.workerAttached(unique))
        settle(&fixture)
        let provider = try #require(lastCatalog(fixture)?.provider(crowded))
        #expect(provider.hosts.count == 1_001)
        #expect(provider.hosts.allSatisfy { $0.nodeName == "host" })
        #expect(provider.remoteHosts.isEmpty)
        #expect(provider.modelsSeen == ["m", "rare"])
        let told = fixture.told(.attachment)
        #expect(told.count == Limits.attachmentsAnnounced)
        let rare = told.filter { record in
            if case .attachment(let body) = record.body { body.models.contains { $0.id == "rare" } } else { false }
        }
        #expect(rare.count == 1, "the only one with its model is among them")
        // Once each, and one gave way.
        #expect(fixture.signed(.attachment).count == Limits.attachmentsAnnounced + 2)
        #expect(fixture.signed(.attachGrant).count == 1)
    }

    @Test func aModelOfTheThousandthWorkerIsNoUnknownModel() throws {
        let (fixture, crowded, _) = crowd(1_000) { "model-\($0)" }
        let catalog = try #require(lastCatalog(fixture))
        let buyer = Principal(
            owner: seller.publicKey, username: "mia", node: fixture.node.publicKey, nodeOperator: nil)
        for name in ["model-0", "model-999", "gpu/model-500"] {
            #expect(try catalog.resolve(name, for: buyer).get().providers.map(\.key) == [crowded])
        }
        #expect(catalog.listing(for: buyer).count == 1_000)
    }

    @Test func anotherSellersWorkerIsToldOfWhateverTheCrowd() {
        var (fixture, _, quiet) = crowd(400)
        let worker = fixture.worker(
            quiet, owner: seller.publicKey, attachKey: otherToken.publicKey, number: 5_000, models: ["own"])
        fixture.feed(.workerAttached(worker))
        settle(&fixture)
        let told = fixture.told(.attachment)
        #expect(told.count == Limits.attachmentsAnnounced)
        #expect(told.contains { $0.body.name.starts(with: quiet.bytes) })
        // Nothing that is told depends on more than gossip keeps.
        let kept = fixture.broker.gossip.usableRecords(of: .attachment)
        #expect(Set(kept.map(\.key)) == Set(told.map(\.key)))
    }

    @Test func aCrowdThatLeavesLeavesNothing() throws {
        var (fixture, crowded, _) = crowd(1_000)
        for number in 0..<1_000 { fixture.feed(.workerDetached(sessionID: "s\(number)")) }
        settle(&fixture)
        #expect(fixture.told(.attachment).isEmpty)
        #expect(fixture.told(.attachGrant).isEmpty)
        let provider = try #require(lastCatalog(fixture)?.provider(crowded))
        #expect(provider.hosts.isEmpty)
        #expect(provider.modelsSeen == ["m"])
        #expect(fixture.broker.gossip.usableRecords(of: .attachment).isEmpty)
    }

    @Test func theLateEndOfAReplacedSessionChangesNothing() {
        var (fixture, crowded, _) = crowd(1)
        var again = fixture.worker(crowded, attachKey: token.publicKey, number: 0, models: ["n"])
        again.sessionID = "later"
        fixture.feed(.workerAttached(again))
        fixture.feed(.workerDetached(sessionID: "s0"))
        settle(&fixture)
        #expect(fixture.told(.attachment).count == 1)
        #expect(lastCatalog(fixture)?.provider(crowded)?.hosts.map { $0.offer.models.map(\.id) } == [["n"]])
        fixture.feed(.workerDetached(sessionID: "later"))
        fixture.feed(.workerDetached(sessionID: "later"))
        settle(&fixture)
        #expect(fixture.told(.attachment).isEmpty)
        #expect(fixture.told(.attachGrant).isEmpty)
        #expect(lastCatalog(fixture)?.provider(crowded)?.hosts.isEmpty == true)
    }

    /// Without the clock nothing is signed; a worker that is here is used here all the same.
    @Test func aWorkerIsFoundHereBeforeAnythingIsSigned() {
        var (fixture, crowded, _) = crowd(0)
        fixture.canSign = false
        fixture.feed(.workerAttached(fixture.worker(crowded, attachKey: token.publicKey, models: ["m"])))
        settle(&fixture)
        #expect(fixture.signed(.attachment).isEmpty)
        #expect(lastCatalog(fixture)?.provider(crowded)?.offers("m") == true)
        // With a key that the advert does not list, or no longer, it is not.
        fixture.canSign = true
        fixture.feed(.providers([fixture.draft("gpu", attachKeys: [otherToken.publicKey])]))
        settle(&fixture)
        #expect(lastCatalog(fixture)?.provider(crowded)?.hosts.isEmpty == true)
    }

    /// A provider may have eight hosts. The ninth's grant is not taken, and nothing must rest on it.
    @Test func aRecordThatGossipDoesNotTakeIsSaidAgainLater() throws {
        var (fixture, crowded, _) = crowd(0)
        var grant = Aisbf_Mesh_V1_AttachGrant()
        grant.providerRecordKey = crowded.bytes.protobuf
        grant.ownerKey = fixture.operatorKey.publicKey.bytes.protobuf
        let own = OwnRecords.Name(
            type: .attachGrant, signer: token.publicKey, name: crowded.bytes + fixture.node.publicKey.bytes)
        let ownKey = RecordKey(
            Sodium.shared.hash16(
                RecordEnvelope.keyMaterial(type: .attachGrant, signer: own.signer, name: own.name), key: []))
        var others: [SigningRequest] = []
        var records: [VerifiedRecord] = []
        while records.count < Limits.hostsPerProvider {
            let host = SigningKey.random().publicKey
            grant.hostingNode = host.bytes.protobuf
            let request = SigningRequest(
                type: .attachGrant, signer: token.publicKey, name: crowded.bytes + host.bytes,
                body: RecordBody.bytes(of: grant), lifeMs: 3_600_000, isTombstone: false)
            guard let record = fixture.sign(request), record.key < ownKey else { continue }
            others.append(request)
            records.append(record)
        }
        fixture.feed(.gossip(.restore(records)))
        fixture.feed(.workerAttached(fixture.worker(crowded, attachKey: token.publicKey, models: ["m"])))
        settle(&fixture)
        #expect(fixture.signed(.attachGrant).count == 1)
        #expect(fixture.signed(.attachment).isEmpty)
        var buried = others[0]
        var tombstone = Aisbf_Mesh_V1_Tombstone()
        tombstone.name = buried.name.protobuf
        buried.body = RecordBody.bytes(of: tombstone)
        buried.isTombstone = true
        let burial = fixture.sign(buried)
        fixture.feed(.gossip(.restore([try #require(burial)])))
        fixture.nowMs += 61_000
        fixture.feed(.tick)
        #expect(fixture.signed(.attachGrant).count == 2)
        #expect(fixture.told(.attachment).count == 1)
    }
}
