import MeshCrypto
import MeshModel
import MeshWire
import Testing

@testable import MeshRouting

/// Which tokens a catalog takes for which provider.
@Suite struct AttachKeyTests {
    private static let here = SigningKey.random().publicKey
    private static let there = SigningKey.random().publicKey
    private static let wall = Timestamp(milliseconds: 1_800_000_000_000)

    private static func key(
        _ key: PublicKey, notAfter: Timestamp? = nil, hosts: [PublicKey] = [], derivation: TokenDerivation? = .argon2id,
        isProven: Bool = true
    ) -> CatalogAttachKey {
        CatalogAttachKey(
            key: key, label: "", notAfter: notAfter, allowedHosts: hosts, derivation: derivation, isProven: isProven)
    }

    private static func provider(
        _ number: UInt64, home: PublicKey, scope: OwnerScope = .user("alice"), id: String = "lab",
        keys: [CatalogAttachKey]
    ) -> CatalogProvider {
        CatalogProvider(
            key: RecordKey(Bytes16(high: 0, low: number)), advertHash: Sodium.shared.hash32([1]),
            owner: SigningKey.random().publicKey, providerID: id, scope: scope, homeNode: home, homeName: "n",
            access: .everyone, attachKeys: keys)
    }

    private static func candidates(_ providers: [CatalogProvider]) -> [UInt64] {
        Catalog(node: here, nodes: [], providers: providers)
            .providers(withImportedTokensIn: .user("alice"), providerID: "lab", wall: wall)
            .map { $0.key.raw.low }
    }

    @Test func onlyWhatCanBeRightIsTried() {
        let some = SigningKey.random().publicKey
        #expect(
            Self.candidates([
                Self.provider(1, home: Self.there, keys: [Self.key(some)]),
                Self.provider(2, home: Self.there, keys: [Self.key(some, derivation: .seed)]),
                Self.provider(3, home: Self.there, keys: [Self.key(some, derivation: nil)]),
                Self.provider(4, home: Self.there, keys: [Self.key(some, notAfter: Self.wall)]),
                Self.provider(5, home: Self.there, keys: [Self.key(some, hosts: [Self.there])]),
                Self.provider(6, home: Self.there, keys: [Self.key(some, hosts: [Self.there, Self.here])]),
                Self.provider(7, home: Self.there, scope: .global, keys: [Self.key(some)]),
                Self.provider(8, home: Self.there, id: "other", keys: [Self.key(some)]),
                Self.provider(9, home: Self.there, keys: []),
                Self.provider(10, home: Self.there, keys: [Self.key(some, isProven: false)]),
                Self.provider(11, home: Self.here, keys: [Self.key(some, isProven: false)]),
            ]) == [11, 1, 6])
    }

    @Test func thoseOfThisNodeAreTriedFirstAndThereIsABound() {
        let some = SigningKey.random().publicKey
        var providers = (1...9).map { Self.provider($0, home: Self.there, keys: [Self.key(some)]) }
        providers.append(Self.provider(10, home: Self.here, keys: [Self.key(some)]))
        #expect(Self.candidates(providers) == [10, 1, 2, 3])
        #expect(Limits.importedTokenProviders == 4)
    }

    /// Whoever copies a public key into an advert of the same name does not get the workers at their home.
    @Test func aCopiedKeyDoesNotTakeTheProvidersPlaceAtHome() {
        let token = SigningKey.random().publicKey
        let keys = [Self.key(token, derivation: .seed)]
        let catalog = Catalog(
            node: Self.here, nodes: [],
            providers: [
                Self.provider(1, home: Self.there, keys: keys), Self.provider(2, home: Self.here, keys: keys),
                Self.provider(3, home: Self.there, keys: keys),
            ])
        let found = catalog.provider(
            attachKey: token, scope: .user("alice"), providerID: "lab", wall: Self.wall)
        #expect(found?.key.raw.low == 2)
    }

    private static func found(_ providers: [CatalogProvider], _ token: PublicKey) -> UInt64? {
        Catalog(node: here, nodes: [], providers: providers)
            .provider(attachKey: token, scope: .user("alice"), providerID: "lab", wall: wall)?.key.raw.low
    }

    /// The copy has the lowest key and would be found first; but whoever copies a key cannot sign with it.
    @Test func aCopiedKeyAdmitsNobodyAtAThirdNode() {
        let token = SigningKey.random().publicKey
        let copy = Self.provider(1, home: Self.there, keys: [Self.key(token, derivation: .seed, isProven: false)])
        let real = Self.provider(
            2, home: SigningKey.random().publicKey, keys: [Self.key(token, derivation: .seed)])
        #expect(Self.found([copy, real], token) == 2)
        #expect(Self.found([copy], token) == nil, "nor while the real advert has not come yet")
        // Who was given the token can prove it for two; no seller does.
        let thief = Self.provider(3, home: Self.there, keys: [Self.key(token, derivation: .seed)])
        #expect(Self.found([real, thief], token) == nil)
    }

    @Test func atHomeATokenFromBeforeThereWereProofsIsGood() {
        let token = SigningKey.random().publicKey
        let old = Self.key(token, derivation: .seed, isProven: false)
        #expect(Self.found([Self.provider(1, home: Self.here, keys: [old])], token) == 1)
        #expect(Self.found([Self.provider(1, home: Self.there, keys: [old])], token) == nil)
    }

    @Test func anAdvertsTermsReachTheCatalog() throws {
        var chain = Chain()
        chain.advert.maxConcurrency = 7
        var key = Aisbf_Mesh_V1_AttachKey()
        key.publicKey = SigningKey.random().publicKey.bytes.protobuf
        key.notAfterMs = 1_900_000_000_000
        key.allowedHosts = [Self.there.bytes.protobuf]
        key.derivation = 1
        var unknown = key
        unknown.derivation = 9
        chain.advert.attachKeys += [key, unknown]
        let provider = try #require(try chain.catalog().providers.first)
        #expect(provider.maxConcurrency == 7)
        #expect(provider.attachKeys.map(\.derivation) == [.seed, .argon2id, nil])
        #expect(provider.attachKeys[1].notAfter == Timestamp(milliseconds: 1_900_000_000_000))
        #expect(provider.attachKeys[1].allowedHosts == [Self.there])
        chain.advert.maxConcurrency = 0
        #expect(try chain.catalog().providers.first?.maxConcurrency == nil)
    }
}
