import MeshCrypto
import MeshModel
import MeshRouting
import MeshWire
import Testing

/// Adverts with something sealed in them, as hostile owners might write them.
@Suite struct SealedAdvertTests {
    let token = SigningKey.random()
    let owner = SigningKey.random()

    /// A chain whose advert is sealed, and what is in it.
    private func sealed(
        id: String = "lab", username: String = "alice", proof: (Chain) -> [UInt8]? = { _ in nil },
        contentKey: [UInt8] = [UInt8](repeating: 4, count: 32)
    ) -> (chain: Chain, details: ProviderDetails) {
        var chain = Chain()
        var inner = chain.advert
        inner.providerID = id
        let notAfter = chain.wall.advanced(byMilliseconds: 86_400_000)
        if username == "alice" {
            chain.bind(username: "alice", owner: chain.owner.publicKey, home: chain.node, notAfter: notAfter)
        }
        inner.binding = chain.advert.binding
        inner.binding.username = username
        inner.homeNode = [UInt8]().protobuf
        inner.attachKeys[0].publicKey = [UInt8]().protobuf
        if let proof = proof(chain) { inner.attachKeys[0].proof = proof.protobuf }
        chain.advert.providerID = "x-1"
        chain.bind(username: "x-2", owner: chain.owner.publicKey, home: chain.node, notAfter: notAfter)
        chain.advert.access = .ownerOnly
        chain.advert.attachKeys[0].proof = [UInt8]().protobuf
        chain.advert.sealed = [1, 2, 3].protobuf
        return (chain, ProviderDetails(advert: inner, sealed: [1, 2, 3], contentKey: contentKey))
    }

    private func provider(_ chain: Chain, _ details: ProviderDetails?) throws -> CatalogProvider? {
        let key = try #require(try chain.catalog().sealed.first?.key)
        return try chain.catalog(details: details.map { [key: $0] } ?? [:]).provider(key)
    }

    @Test func whoCannotOpenItSeesNoProvider() throws {
        let (chain, details) = sealed()
        let catalog = try chain.catalog()
        #expect(catalog.providers.isEmpty && catalog.sealed.count == 1)
        #expect(catalog.sealed(attachKey: chain.attach.publicKey).count == 1)
        let opened = try #require(try provider(chain, details))
        #expect(opened.fullName == "alice@north/lab")
        #expect(opened.attachKeys.allSatisfy { $0.isProven })
        #expect(opened.tokenSalt != opened.key)
    }

    @Test func aBindingThatTheHomeDidNotSignMakesNoProvider() throws {
        let (chain, details) = sealed(username: "victim")
        #expect(try provider(chain, details) == nil)
    }

    @Test func aTokenIsProvenForThisProviderOnly() throws {
        for proof: (Chain) -> [UInt8] in [
            { $0.attach.sign(Statement.attachKey(owner: $0.owner.publicKey, providerID: "other")) },
            { $0.attach.sign(Statement.attachKey(owner: SigningKey.random().publicKey, providerID: "lab")) },
            { SigningKey.random().sign(Statement.attachKey(owner: $0.owner.publicKey, providerID: "lab")) },
            { _ in [] },
        ] {
            let (chain, details) = sealed(proof: proof)
            #expect(try provider(chain, details)?.attachKeys.contains(where: \.isProven) == false)
            let advert = try #require(try chain.catalog().sealed.first)
            #expect(!admits(advert, chain, details))
        }
        let (chain, details) = sealed()
        let advert = try #require(try chain.catalog().sealed.first)
        #expect(admits(advert, chain, details))
        #expect(
            !admits(advert, chain, details, scope: .user("alicf")) && !admits(advert, chain, details, scope: .global))
        #expect(!admits(advert, chain, details, id: "lac"))
    }

    private func admits(
        _ advert: SealedAdvert, _ chain: Chain, _ details: ProviderDetails, scope: OwnerScope = .user("alice"),
        id: String = "lab"
    ) -> Bool {
        advert.admits(
            chain.attach.publicKey, by: details, scope: scope, providerID: id, host: chain.reader.publicKey,
            wall: chain.wall, Sodium.shared)
    }

    /// The same bytes opened with another key may say something else: nothing that was found good before counts for it.
    @Test func whatWasCheckedOfOneTextIsNotTakenForAnother() throws {
        let (chain, details) = sealed()
        let key = try #require(try chain.catalog().sealed.first?.key)
        var other = details
        other.contentKey = [UInt8](repeating: 5, count: 32)
        other.advert.binding.username = "victim"
        var renamed = details
        renamed.contentKey = [UInt8](repeating: 6, count: 32)
        renamed.advert.providerID = "victims"
        var builder = CatalogBuilder(node: chain.reader.publicKey, cryptography: Sodium.shared)
        let first = try chain.catalog(details: [key: details], builder: &builder)
        #expect(first.provider(key)?.attachKeys.allSatisfy(\.isProven) == true)
        #expect(try chain.catalog(details: [key: other], builder: &builder).provider(key) == nil)
        let last = try chain.catalog(details: [key: renamed], builder: &builder)
        #expect(last.provider(key)?.attachKeys.contains(where: \.isProven) == false)
    }

    /// A new advert that is not opened yet: revocations count at once, names stay.
    @Test func whatWasOpenedBeforeHoldsUntilTheNewOneIsOpened() throws {
        var (chain, details) = sealed()
        chain.advert.sealed = [9].protobuf
        let other = SigningKey.random()
        chain.advert.attachKeys[0].publicKey = other.publicKey.bytes.protobuf
        let provider = try #require(try provider(chain, details))
        #expect(provider.fullName == "alice@north/lab")
        #expect(provider.attachKeys.map(\.key) == [other.publicKey] && provider.hosts.isEmpty)
        details.sealed = [9]
        #expect(try self.provider(chain, details) != nil)
    }

    @Test func anAttachmentIsReadWithTheKeyOfItsAdvertAndInItsPlaceOnly() throws {
        for wrong in [nil, "key", "host", "client"] {
            var (chain, details) = sealed()
            let key = try #require(try chain.catalog().sealed.first?.key)
            let content = chain.attachment
            chain.attachment = Aisbf_Mesh_V1_Attachment()
            let client = [UInt8](repeating: 3, count: 16)
            chain.attachment.clientHash = (wrong == "client" ? [UInt8](repeating: 4, count: 16) : client).protobuf
            let host = wrong == "host" ? SigningKey.random().publicKey : chain.node.publicKey
            chain.attachment.sealed =
                Sodium.shared.seal(
                    RecordBody.bytes(of: content), key: details.contentKey,
                    context: SealedContext.attachment(provider: key, host: host, clientHash: client)
                ).protobuf
            if wrong == "key" { details.contentKey = [UInt8](repeating: 8, count: 32) }
            let hosts = try chain.catalog(details: [key: details]).provider(key)?.hosts
            #expect(
                hosts?.first?.offer.models.map(\.id) == (wrong == nil ? ["m1"] : nil), "\(wrong ?? "nothing") wrong")
        }
    }
}
