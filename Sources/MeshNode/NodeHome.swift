import MeshCrypto
import MeshExchange
import MeshModel
import MeshRuntime
package import MeshStore
package import MeshTransport

/// Everything of a node that lives on disk: keys, certificate, database. Opening it makes what is missing.
package struct NodeHome: Sendable {
    package let directory: DataDirectory
    package let identity: NodeIdentity
    package let store: MeshStore
    package let tls: TLSIdentity
    package let summary: NodeSummary
    /// Whether this is the first time.
    package let isNew: Bool

    /// - Parameter makesAdminKey: whether a node that never had one gets its first admin key. Only where it can be shown
    ///   to a person: what a service prints goes into a journal.
    package static func open(_ configuration: NodeConfiguration, makesAdminKey: Bool = false) throws -> NodeHome {
        let directory = try DataDirectory.open(configuration.dataDirectory)
        let (identity, isNew) = try NodeIdentity.initialise(in: directory)
        let store = try MeshStore.open(directory.layout.database)
        let tls = try TLSIdentity.loadOrCreate(path: directory.layout.linkCertificate)
        try checkNetwork(store, configuration)
        let adminKey = makesAdminKey ? try firstAdminKey(store, identity) : nil
        return NodeHome(
            directory: directory, identity: identity, store: store, tls: tls,
            summary: NodeSummary(
                nodeID: KeyText.node.text(identity.node.publicKey.bytes),
                operatorID: KeyText.operatorKey.text(identity.operatorKey.publicKey.bytes), adminKey: adminKey),
            isNew: isNew)
    }

    /// A data directory belongs to one network: its records would be refused in another.
    private static func checkNetwork(_ store: MeshStore, _ configuration: NodeConfiguration) throws {
        let id = configuration.networkID.description
        guard let known = try store.meta("network") else { return try store.setMeta("network", id) }
        guard known == id else {
            throw StoreError.conflict(
                "this data directory belongs to another network than 'mesh.network' names; correct mesh.network or use another data directory"
            )
        }
    }

    private static func firstAdminKey(_ store: MeshStore, _ identity: NodeIdentity) throws -> String? {
        guard try store.meta("admin-key") == nil else { return nil }
        let secret = APIKeySecret(home: identity.node.publicKey, key: .random())
        try store.createAPIKey(
            APIKeyAccount(
                publicKey: secret.key.publicKey, username: "global", ownerKey: identity.operatorKey.publicKey,
                label: "first admin key", scopes: [.admin, .inference], createdAt: SystemClock.wall))
        try store.setMeta("admin-key", APIKeyAccount.keyID(of: secret.key.publicKey))
        return secret.text
    }
}
