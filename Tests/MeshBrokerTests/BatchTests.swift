import MeshCrypto
import MeshGossip
import MeshModel
import MeshRouting
import MeshWire
import Testing

@testable import MeshBroker

/// What goes to the disk, when, and what waits for it. Here the disk is slow: nothing is stored before a test says so.
@Suite struct BatchTests {
    let token = SigningKey.random()

    /// A node with a provider, and nothing under way.
    private func host() -> (fixture: BrokerFixture, provider: RecordKey) {
        var fixture = BrokerFixture(seed: 51, keys: [token])
        fixture.describe(name: "host")
        fixture.feed(.providers([fixture.draft("gpu", attachKeys: [token.publicKey])]))
        fixture.nowMs += 100
        fixture.feed(.tick)
        return (fixture, fixture.signed(.providerAdvert).last?.key ?? RecordKey(.zero))
    }

    private func handle(_ input: Broker.Input, _ fixture: inout BrokerFixture) -> Effects {
        fixture.broker.handle(input, now: BrokerFixture.now(fixture.nowMs))
    }

    private func catalogs(_ effects: [Broker.Effect]) -> [Catalog] {
        effects.compactMap { if case .catalogChanged(let catalog) = $0 { catalog } else { nil } }
    }

    private func requests(_ effects: Effects) -> [SigningRequest] {
        if case .records(let requests)? = effects.persist { requests } else { [] }
    }

    private func names(_ effects: Effects) -> [NameChange] {
        if case .names(let changes)? = effects.persist { changes } else { [] }
    }

    @Test func whatComesWhileABatchIsUnderWayGoesTogetherIntoTheNext() throws {
        var (fixture, provider) = host()
        var batches: [[SigningRequest]] = []
        var waiting: StoreBatch?
        var offered = 0
        for number in 0..<240 {
            fixture.nowMs += 1
            let worker = fixture.worker(provider, attachKey: token.publicKey, number: number, models: ["m\(number)"])
            let effects = handle(.workerAttached(worker), &fixture)
            offered = catalogs(effects.immediate).last?.providers.first?.hosts.count ?? offered
            guard let batch = effects.persist else { continue }
            #expect(waiting == nil, "one at a time")
            waiting = batch
            batches.append(requests(effects))
        }
        #expect(offered > 200, "the own catalog waits for no signature")
        while let batch = waiting {
            fixture.nowMs += 5
            let effects = handle(.persisted(fixture.stored(batch)), &fixture)
            waiting = effects.persist
            if waiting != nil { batches.append(requests(effects)) }
        }
        #expect(batches.map(\.count) == [1, 240], "the grant, and what rests on it")
        #expect(fixture.broker.gossip.usableRecords(of: .attachment).count == 240)
    }

    @Test func oneBatchIsNoLongerThanACommitMayBe() {
        var (fixture, _) = host()
        let drafts = (0..<600).map { fixture.draft("p\($0)", attachKeys: []) }
        var effects = handle(.providers(drafts), &fixture)
        var sizes: [Int] = []
        while let batch = effects.persist {
            sizes.append(requests(effects).count)
            effects = handle(.persisted(fixture.stored(batch)), &fixture)
        }
        #expect(sizes.reduce(0, +) == 601, "and the tombstone of the one that is gone")
        #expect(sizes.allSatisfy { $0 <= Limits.signingsPerCommit } && sizes.count == 3, "\(sizes)")
    }

    /// Nothing is due while something is under way, or the node would look for it all the time.
    @Test func whatWaitsForTheDiskWaitsForNoClock() {
        var (fixture, provider) = host()
        let effects = handle(
            .workerAttached(fixture.worker(provider, attachKey: token.publicKey, models: ["m"])), &fixture)
        #expect(effects.persist != nil)
        _ = handle(.providers([fixture.draft("other", attachKeys: [])]), &fixture)
        fixture.nowMs += 100
        _ = handle(.tick, &fixture)
        let next = fixture.broker.nextDeadline
        #expect(next.map { $0 > BrokerFixture.now(fixture.nowMs).instant } == true)
    }

    @Test func aCatalogWaitsForTheNamesItWasBuiltWith() throws {
        var (fixture, provider) = host()
        // A model's id with a slash is a name.
        var worker = fixture.worker(provider, attachKey: token.publicKey, models: ["lab/one"])
        fixture.nowMs += 100
        let first = handle(.workerAttached(worker), &fixture)
        #expect(catalogs(first.immediate).isEmpty)
        #expect(names(first).map(\.name) == [.model("lab/one")])
        #expect(catalogs(first.afterPersist).last?.providers.first?.offers("lab/one") == true)
        // Meanwhile there is another catalog, with a new name and one that is not stored yet: it waits for both.
        worker.offer.models = ModelList(["lab/one", "lab/two"].map { WorkerModel(id: $0) })
        fixture.nowMs += 100
        let second = handle(.workerAttached(worker), &fixture)
        #expect(catalogs(second.immediate).isEmpty && second.persist == nil)
        let third = handle(.persisted(fixture.stored(try #require(first.persist))), &fixture)
        #expect(catalogs(third.immediate).isEmpty)
        #expect(names(third).map(\.name) == [.model("lab/two")])
        #expect(catalogs(third.afterPersist).last?.providers.first?.offers("lab/two") == true)
        // And one without a new name waits for what is under way, and no longer.
        worker.offer.slots = 9
        fixture.nowMs += 100
        #expect(catalogs(handle(.workerAttached(worker), &fixture).immediate).isEmpty)
        let last = handle(.persisted(fixture.stored(try #require(third.persist))), &fixture)
        #expect(catalogs(last.immediate).last?.providers.first?.hosts.first?.offer.slots == 9)
        #expect(requests(last).map(\.type) == [.attachGrant], "signatures come last")
    }

    @Test func aFullDiskHoldsUpNoCatalogAndIsTriedAgain() throws {
        var (fixture, provider) = host()
        fixture.canStoreNames = false
        fixture.nowMs += 100
        let worker = fixture.worker(provider, attachKey: token.publicKey, models: ["lab/one"])
        fixture.feed(.workerAttached(worker))
        #expect(catalogs(fixture.effects).last?.providers.first?.offers("lab/one") == true)
        let before = fixture.batches
        fixture.nowMs += 500
        fixture.feed(.tick)
        #expect(fixture.batches == before, "not all the time")
        #expect(fixture.broker.nextDeadline.map { $0 <= BrokerFixture.now(fixture.nowMs + 500).instant } == true)
        fixture.nowMs += 500
        let again = handle(.tick, &fixture)
        #expect(names(again).map(\.name) == [.model("lab/one")])
        fixture.canStoreNames = true
        _ = handle(.persisted(fixture.stored(try #require(again.persist))), &fixture)
        fixture.nowMs += 5_000
        #expect(names(handle(.tick, &fixture)).isEmpty)
    }

    /// What the mesh holds under a name of this node is above what a restored backup knows of.
    @Test func whatTheMeshHoldsIsSaidAgainAboveIt() throws {
        var (fixture, _) = host()
        let mine = try #require(fixture.signed(.nodeDescriptor).last)
        fixture.versions = 5_000
        let signed = fixture.sign(
            SigningRequest(
                type: .nodeDescriptor, signer: fixture.node.publicKey, name: [], body: Array(mine.envelope.body),
                lifeMs: 1_000_000, isTombstone: false))
        let later = try #require(signed)
        let peer = SigningKey.random()
        let descriptor = try #require(try Self.descriptor(of: peer))
        fixture.feed(
            .gossip(
                .linkUp(LinkID(raw: 1), peer: peer.publicKey, dialled: false, address: nil, descriptor: descriptor)))
        let frame = GossipMessage.push(records: [later.envelope.bytes], hops: 1).frame
        let effects = handle(.gossip(.frame(LinkID(raw: 1), frame)), &fixture)
        let request = try #require(requests(effects).first { $0.type == .nodeDescriptor })
        #expect(request.above == later.version)
    }

    private static func descriptor(of key: SigningKey) throws -> VerifiedRecord? {
        var body = Aisbf_Mesh_V1_NodeDescriptor()
        body.name = "peer"
        let wall = BrokerFixture.now(0).wall
        let draft = RecordDraft(
            type: .nodeDescriptor, network: BrokerFixture.network, signer: key.publicKey, name: [],
            version: RecordVersion(epoch: RecordVersion.epoch(at: wall), sequence: 1), issued: wall,
            expires: wall.advanced(byMilliseconds: 86_400_000), body: RecordBody.bytes(of: body))
        return try VerifiedRecord.verify(
            bytes: draft.signed(by: key, cryptography: Sodium.shared), network: BrokerFixture.network, wall: wall,
            cryptography: Sodium.shared
        ).get()
    }
}
