import MeshCrypto
import MeshGossip
import MeshModel
import MeshRouting
import MeshWire
import Testing

@testable import MeshBroker

/// Lists of models that one attachment does not hold.
@Suite struct ModelPageTests {
    let token = SigningKey.random()
    let seller = SigningKey.random()
    let sellerToken = SigningKey.random()

    static func names(_ numbers: Range<Int>) -> [String] {
        numbers.map { number in
            let digits = String(number)
            return "lab/model-" + String(repeating: "0", count: 37 - digits.count) + digits
        }
    }

    private func host() -> (fixture: BrokerFixture, provider: RecordKey, quiet: RecordKey) {
        var fixture = BrokerFixture(seed: 41, keys: [token, seller, sellerToken])
        fixture.describe(name: "host")
        fixture.feed(
            .providers([
                fixture.draft("gpu", attachKeys: [token.publicKey]),
                fixture.draft("lab", username: "mia", owner: seller.publicKey, attachKeys: [sellerToken.publicKey]),
            ]))
        fixture.nowMs += 100
        let adverts = fixture.signed(.providerAdvert)
        return (
            fixture, adverts.first { $0.signer != seller.publicKey }?.key ?? RecordKey(.zero),
            adverts.first { $0.signer == seller.publicKey }?.key ?? RecordKey(.zero)
        )
    }

    private func settle(_ fixture: inout BrokerFixture) {
        for _ in 0..<3 {
            fixture.nowMs += 1_100
            fixture.feed(.tick)
        }
    }

    /// What another node makes of everything `fixture` told.
    private func seen(_ fixture: BrokerFixture, without page: UInt32? = nil) -> CatalogProvider? {
        let types: [RecordType] = [.nodeDescriptor, .providerAdvert, .attachGrant, .attachment]
        var told = types.map { fixture.told($0).sorted { $0.key < $1.key } }
        told[3].removeAll { record in
            if case .attachment(let body) = record.body { body.page > 0 && body.page == page } else { false }
        }
        let now = BrokerFixture.now(fixture.nowMs)
        let reader = SigningKey.random().publicKey
        var gossip = Gossip(
            configuration: .init(
                key: reader, network: BrokerFixture.network, cryptography: Sodium.shared, seed: 1,
                admission: LinkAdmission(isOpen: true)), now: now)
        _ = gossip.handle(.restore(told.flatMap { $0 }), now: now)
        var builder = CatalogBuilder(node: reader, cryptography: Sodium.shared)
        return builder.build(
            gossip.usable(now: now), reachable: [fixture.node.publicKey], wall: now.wall
        ).providers.first { $0.providerID == "gpu" }
    }

    private func pages(_ fixture: BrokerFixture) -> [Aisbf_Mesh_V1_Attachment] {
        fixture.told(.attachment).compactMap { record in
            if case .attachment(let body) = record.body, body.page > 0 { body } else { nil }
        }
    }

    @Test(arguments: [70, 200, 2_000, 4_096]) func everyModelIsFoundAtAnotherNode(count: Int) throws {
        var (fixture, provider, _) = host()
        let models = Self.names(0..<count)
        fixture.feed(.workerAttached(fixture.worker(provider, attachKey: token.publicKey, models: models)))
        let there = try #require(seen(fixture))
        #expect(there.hosts.count == 1, "pages are no workers")
        #expect(Set(there.hosts.first?.offer.models.map(\.id) ?? []) == Set(models))
        #expect(there.offers(models[count - 1]) && !there.offers("lab/other"))
        #expect(there.hosts.first?.offer.models.allSatisfy { $0.contextTokens == 4_096 } == true)
        for record in fixture.signed(.attachment) { #expect(record.envelope.bytes.count <= Limits.recordBytes) }
        // An older node sees workers with some of the models each, and none that it has to refuse.
        for body in pages(fixture) { #expect(body.clientHash.count == 16 && body.models.count <= 256) }
        #expect(count < 100 || !pages(fixture).isEmpty)
    }

    @Test func shortNamesFillNoRecordWithMoreThanOlderNodesTake() throws {
        var (fixture, provider, _) = host()
        let models = (0..<1_000).map { "m\($0)" }
        fixture.feed(.workerAttached(fixture.worker(provider, attachKey: token.publicKey, models: models)))
        #expect(pages(fixture).allSatisfy { $0.models.count <= Limits.attachmentModels })
        #expect(Set(seen(fixture)?.hosts.first?.offer.models.map(\.id) ?? []) == Set(models))
    }

    @Test func workersWithEqualListsShareTheirPages() throws {
        var (fixture, provider, _) = host()
        let models = Self.names(0..<500)
        for number in 1...3 {
            fixture.feed(
                .workerAttached(
                    fixture.worker(provider, attachKey: token.publicKey, number: number, models: models)))
        }
        let count = pages(fixture).count
        #expect(count < 8)
        let there = try #require(seen(fixture))
        #expect(there.hosts.count == 3 && there.hosts.allSatisfy { $0.offer.models.count == 500 })
        let before = fixture.signed.count
        fixture.feed(.workerDetached(sessionID: "s1"))
        #expect(fixture.signed.count == before + 1, "one tombstone, and no page anew")
        #expect(pages(fixture).count == count)
        fixture.feed(.workerDetached(sessionID: "s2"))
        fixture.feed(.workerDetached(sessionID: "s3"))
        #expect(pages(fixture).isEmpty)
        #expect(fixture.told(.attachment).isEmpty)
    }

    @Test func oneModelMoreOrLessCostsTwoRecordsAtMost() throws {
        var (fixture, provider, _) = host()
        var worker = fixture.worker(provider, attachKey: token.publicKey, models: Self.names(0..<1_000))
        fixture.feed(.workerAttached(worker))
        for change in 0..<4 {
            var models = Array(worker.offer.models)
            fixture.nowMs += 5_000
            let before = fixture.signed.count
            switch change {
            case 0: models.remove(at: 700)
            case 1: models.remove(at: 2)
            case 2: models.insert(.init(id: "new", contextTokens: 1, modalities: []), at: 500)
            default: models[900].contextTokens = 5_000
            }
            worker.offer.models = ModelList(models)
            fixture.feed(.workerAttached(worker))
            settle(&fixture)
            #expect(fixture.signed.count - before <= 2, "change \(change)")
            #expect(Set(seen(fixture)?.hosts.first?.offer.models.map(\.id) ?? []) == Set(models.map(\.id)))
        }
    }

    /// Sellers with thousands of models take their turns as everybody does.
    @Test func pagesTakeNobodysPlace() throws {
        var (fixture, provider, quiet) = host()
        let list = Self.names(0..<4_096)
        for number in 0..<300 {
            // Every worker another beginning, so that each has something to show.
            let models = Self.names(10_000 + number * 100..<10_000 + (number + 1) * 100) + list.dropFirst(100)
            fixture.feed(
                .workerAttached(
                    fixture.worker(provider, attachKey: token.publicKey, number: number, models: models)))
        }
        fixture.feed(
            .workerAttached(
                fixture.worker(
                    quiet, owner: seller.publicKey, attachKey: sellerToken.publicKey, number: 999, models: ["mine"])))
        settle(&fixture)
        let told = fixture.told(.attachment)
        #expect(told.count <= Limits.attachmentsAnnounced)
        let mine = told.contains { record in
            if case .attachment(let body) = record.body { body.models.first?.id == "mine" } else { false }
        }
        #expect(mine)
    }

    @Test func aPageThatIsMissingCostsItsModelsOnly() throws {
        var (fixture, provider, _) = host()
        fixture.feed(
            .workerAttached(fixture.worker(provider, attachKey: token.publicKey, models: Self.names(0..<500))))
        let all = try #require(seen(fixture)?.hosts.first?.offer.models.count)
        let fewer = try #require(seen(fixture, without: 2)?.hosts.first?.offer.models.count)
        #expect(all == 500 && fewer > 300 && fewer < 500)
    }

    /// A new token means new pages; the old ones go with the last worker of the old token.
    @Test func pagesRestOnTheGrantOfTheirWorkers() throws {
        var (fixture, provider, _) = host()
        let models = Self.names(0..<200)
        fixture.feed(.workerAttached(fixture.worker(provider, attachKey: token.publicKey, models: models)))
        let other = SigningKey.random()
        fixture.keys.append(other)
        fixture.nowMs += 2_000
        fixture.feed(
            .providers([
                fixture.draft("gpu", attachKeys: [other.publicKey]),
                fixture.draft("lab", username: "mia", owner: seller.publicKey, attachKeys: [sellerToken.publicKey]),
            ]))
        #expect(seen(fixture)?.hosts.isEmpty == true, "the token is no more")
        fixture.feed(.workerDetached(sessionID: "s1"))
        fixture.feed(
            .workerAttached(fixture.worker(provider, attachKey: other.publicKey, number: 2, models: models)))
        #expect(seen(fixture)?.hosts.first?.offer.models.count == 200)
    }
}
