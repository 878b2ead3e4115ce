import MeshCrypto
import MeshModel

@testable import MeshRouting

/// Who is who in the tests of names.
enum Named {
    static let here = SigningKey.random().publicKey
    static let north = SigningKey.random().publicKey
    static let south = SigningKey.random().publicKey
    static let operatorKey = SigningKey.random().publicKey
    static let alice = SigningKey.random().publicKey
    static let seller = SigningKey.random().publicKey
    static let thief = SigningKey.random().publicKey
    static let bob = SigningKey.random().publicKey

    static func provider(
        _ id: String, of user: String, owner: PublicKey, at home: PublicKey, called name: String,
        access: CatalogAccess = .everyone, models: [String] = ["m"]
    ) -> CatalogProvider {
        let host = CatalogHost(
            node: home, nodeName: name, attachment: RecordKey(Bytes16(high: 1, low: 1)), clientHash: [],
            offer: WorkerOffer(models: ModelList(models.map { WorkerModel(id: $0) }), slots: 1))
        return CatalogProvider(
            key: RecordKey(Sodium.shared.hash16(Array("\(owner) \(id)".utf8), key: [])),
            advertHash: Sodium.shared.hash32(Array("\(owner) \(id) \(models) \(access)".utf8)), owner: owner,
            providerID: id,
            scope: OwnerScope(username: user), homeNode: home, homeName: name, access: access, attachKeys: [],
            hosts: [host], modelsSeen: models)
    }
}

/// One node whose catalog changes.
struct NameReader {
    var names = NameBook(node: Named.here)
    /// False: every catalog is read as if it were the first.
    var keepsNames = true
    private var day: Int64 = 0
    private(set) var catalog = Catalog.empty(node: Named.here)

    init(keepsNames: Bool = true) { self.keepsNames = keepsNames }

    mutating func sees(_ providers: [CatalogProvider], days: Int64 = 0) {
        day += days
        let wall = Timestamp(milliseconds: 1_780_000_000_000 + day * 86_400_000)
        if !keepsNames { names = NameBook(node: Named.here) }
        let ordered = providers.sorted { $0.key < $1.key }
        names.learn([node(Named.here, "home")], ordered, wall: wall)
        catalog = Catalog(node: Named.here, nodes: [], providers: ordered, names: names)
    }

    private func node(_ key: PublicKey, _ name: String) -> CatalogNode {
        CatalogNode(key: key, name: name, operatorKey: Named.operatorKey, apiURL: "", linkAddresses: [])
    }

    /// The owners that a request under this name may reach; nil for an error.
    func owners(_ name: String, _ who: PublicKey = Named.alice) -> [PublicKey]? {
        let principal = Principal(owner: who, username: "alice", node: Named.here, nodeOperator: Named.operatorKey)
        return try? catalog.resolve(name, for: principal).get().providers.map(\.owner).sorted()
    }

    func error(_ name: String, _ who: PublicKey = Named.alice) -> String {
        let principal = Principal(owner: who, username: "alice", node: Named.here, nodeOperator: Named.operatorKey)
        guard case .failure(let error) = catalog.resolve(name, for: principal) else { return "" }
        return "\(error.code.rawValue) \(error.message)"
    }

    func listed(_ who: PublicKey = Named.alice) -> [String] {
        catalog.listing(
            for: Principal(owner: who, username: "alice", node: Named.here, nodeOperator: Named.operatorKey)
        ).map(\.id)
    }
}
