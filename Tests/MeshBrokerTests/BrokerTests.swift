import MeshBroker
import MeshCrypto
import MeshGossip
import MeshModel
import MeshRouting
import MeshWire
import Testing

@Suite struct BrokerTests {
    let token = SigningKey.random()

    func lastCatalog(_ fixture: BrokerFixture) -> Catalog? {
        fixture.effects.compactMap { if case .catalogChanged(let catalog) = $0 { catalog } else { nil } }.last
    }

    /// A node with one provider and one attached worker.
    func host(seed: UInt8 = 1) -> BrokerFixture {
        var fixture = BrokerFixture(seed: seed, keys: [token])
        fixture.describe(name: "host")
        fixture.feed(.providers([fixture.draft("gpu", attachKeys: [token.publicKey])]))
        fixture.nowMs += 100
        let provider = fixture.signed(.providerAdvert).last?.key ?? RecordKey(.zero)
        fixture.feed(.workerAttached(fixture.worker(provider, attachKey: token.publicKey, models: ["m"])))
        fixture.nowMs += 100
        fixture.feed(.tick)
        return fixture
    }

    @Test func aWorkerBecomesVisibleInThreeSignedSteps() {
        let fixture = host()
        #expect(
            fixture.signed.filter { $0.type != .beacon }.map(\.type)
                == [.nodeDescriptor, .providerAdvert, .attachGrant, .attachment])
        #expect(fixture.signed(.attachGrant).first?.signer == token.publicKey)
        #expect(fixture.signed(.attachment).first?.signer == fixture.node.publicKey)
        #expect(lastCatalog(fixture)?.providers.first?.hosts.map(\.offer.models.first?.id) == ["m"])
    }

    @Test func whatIsKnownOfAWorkerIsToldHereAndThere() throws {
        var fixture = host()
        var worker = fixture.worker(
            fixture.signed(.providerAdvert).last?.key ?? RecordKey(.zero), attachKey: token.publicKey, models: ["m"])
        worker.offer.slots = 4
        worker.offer.speed = WorkerSpeed(tokensPerSecond: 31, firstContentMs: 250, latencyMs: 4_100)
        fixture.feed(.workerAttached(worker))
        fixture.nowMs += 1_100
        fixture.feed(.tick)
        let told = try #require(fixture.signed(.attachment).last)
        guard case .attachment(let body) = told.body else { return #expect(Bool(false)) }
        #expect([body.slots, body.tokensPerSecond, body.firstContentMs, body.latencyMs] == [4, 31, 250, 4_100])
        let here = try #require(lastCatalog(fixture)?.providers.first?.hosts.first)
        #expect(here.offer.slots == 4)
        #expect(here.offer.speed == WorkerSpeed(tokensPerSecond: 31, firstContentMs: 250, latencyMs: 4_100))
        #expect(here.attachment == told.key)
        #expect(here.clientHash == Array(body.clientHash))
        // Another node's catalog shows the same, and remembers the speed for when the worker comes to it.
        var entry = BrokerFixture(seed: 9)
        entry.nowMs = fixture.nowMs
        entry.describe(name: "entry")
        entry.feed(.gossip(.restore(fixture.signed.filter { $0.type.isReconciled })))
        guard let descriptor = fixture.signed(.nodeDescriptor).last else { return #expect(Bool(false)) }
        entry.feed(
            .gossip(
                .linkUp(
                    LinkID(raw: 1), peer: fixture.node.publicKey, dialled: false, address: nil, descriptor: descriptor))
        )
        entry.nowMs += 100
        entry.feed(.tick)
        let there = try #require(lastCatalog(entry)?.providers.first)
        #expect(there.hosts == [here])
        #expect(there.speeds == [CatalogSpeed(clientHash: here.clientHash, speed: here.offer.speed)])
    }

    @Test func aDetachedWorkerIsBuriedAndStillKnownAsSeen() {
        var fixture = host()
        fixture.feed(.workerDetached(sessionID: "s1"))
        fixture.nowMs += 100
        fixture.feed(.tick)
        #expect(fixture.signed(.attachment).last?.envelope.isTombstone == true)
        let provider = lastCatalog(fixture)?.providers.first
        #expect(provider?.hosts.isEmpty == true)
        // "No worker now" and "no such model" are different answers.
        #expect(provider?.modelsSeen == ["m"])
    }

    @Test func changedModelsAreSignedAgainAndUnchangedOnesAreNot() {
        var fixture = host()
        let provider = fixture.signed(.providerAdvert).last?.key ?? RecordKey(.zero)
        var worker = fixture.worker(provider, attachKey: token.publicKey, models: ["m"])
        fixture.feed(.workerAttached(worker))
        let before = fixture.signed(.attachment).count
        fixture.feed(.workerAttached(worker))
        #expect(fixture.signed(.attachment).count == before)
        // A few changes are told at once, and then one a second.
        for number in 0..<10 {
            worker.offer.endpoints = ["v1/\(number)"]
            fixture.feed(.workerAttached(worker))
        }
        #expect(fixture.signed(.attachment).count == before + 3)
        for _ in 0..<3 {
            fixture.nowMs += 1_000
            fixture.feed(.tick)
        }
        #expect(fixture.signed(.attachment).count == before + 4)
        guard case .attachment(let last)? = fixture.signed(.attachment).last?.body else { return }
        #expect(last.endpoints == ["v1/9"])
    }

    @Test func rotatingTheTokenVoidsTheAttachment() {
        var fixture = host()
        fixture.feed(.providers([fixture.draft("gpu", attachKeys: [SigningKey.random().publicKey])]))
        for _ in 0..<2 {
            fixture.nowMs += 1_100
            fixture.feed(.tick)
        }
        #expect(lastCatalog(fixture)?.providers.first?.hosts.isEmpty == true)
    }

    @Test func whatCouldNotBeSignedIsAskedForAgain() {
        var fixture = BrokerFixture(seed: 3)
        fixture.canSign = false
        fixture.describe(name: "late")
        #expect(fixture.signed(.nodeDescriptor).isEmpty)
        fixture.canSign = true
        fixture.feed(.tick)
        #expect(fixture.signed(.nodeDescriptor).isEmpty, "not before the retry is due")
        fixture.nowMs += 5_100
        fixture.feed(.tick)
        #expect(fixture.signed(.nodeDescriptor).count == 1)
    }

    @Test func recordsAreRefreshedHalfWayThroughTheirLife() {
        var fixture = host()
        fixture.nowMs += 13 * 3_600_000
        fixture.feed(.tick)
        #expect(fixture.signed(.attachment).count == 2)
        fixture.nowMs += 12 * 3_600_000
        fixture.feed(.tick)
        #expect(fixture.signed(.attachGrant).count == 2)
        #expect(fixture.signed(.nodeDescriptor).count == 2)
    }

    @Test func anAdvertThatStillHoldsIsNotSignedAgainAfterARestart() {
        let first = host()
        var second = BrokerFixture(seed: 1, keys: [token])
        second.nowMs = first.nowMs + 60_000
        second.versions = 1_000
        second.feed(.gossip(.restore(first.signed.filter { $0.type.isReconciled })))
        second.describe(name: "host")
        second.feed(.providers([second.draft("gpu", attachKeys: [token.publicKey])]))
        #expect(second.signed(.providerAdvert).isEmpty)
        second.nowMs += 1_100
        second.feed(.providers([second.draft("gpu", attachKeys: [token.publicKey, SigningKey.random().publicKey])]))
        #expect(second.signed(.providerAdvert).count == 1)
    }

    @Test func attachmentsOfTheLastRunAreBuriedAtStart() {
        let first = host()
        var second = BrokerFixture(seed: 1, keys: [token])
        second.nowMs = first.nowMs + 60_000
        second.versions = 1_000
        second.feed(.gossip(.restore(first.signed.filter { $0.type.isReconciled })))
        #expect(second.signed(.attachment).map(\.envelope.isTombstone) == [true])
    }

    /// A host that was known alive before its link came up used to stay out of the catalog for ever.
    @Test func aHostEntersTheCatalogWhenItsLinkComesUp() {
        let host = host()
        var entry = BrokerFixture(seed: 9)
        entry.nowMs = host.nowMs
        entry.describe(name: "entry")
        entry.feed(.gossip(.restore(host.signed.filter { $0.type.isReconciled })))
        entry.nowMs += 100
        entry.feed(.tick)
        #expect(lastCatalog(entry)?.providers.first?.hosts.isEmpty == true)
        guard let descriptor = host.signed(.nodeDescriptor).last else { return #expect(Bool(false)) }
        entry.feed(
            .gossip(
                .linkUp(
                    LinkID(raw: 1), peer: host.node.publicKey, dialled: false, address: nil, descriptor: descriptor)))
        entry.nowMs += 100
        entry.feed(.tick)
        #expect(lastCatalog(entry)?.providers.first?.hosts.count == 1)
        entry.feed(.gossip(.linkDown(LinkID(raw: 1), isLost: true)))
        entry.nowMs += 100
        entry.feed(.tick)
        #expect(lastCatalog(entry)?.providers.first?.hosts.isEmpty == true)
    }
}
