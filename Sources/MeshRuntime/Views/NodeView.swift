package import MeshModel

/// A node as its operator sees it at one moment.
package struct NodeView: Sendable {
    /// What does not change while a node runs.
    package struct Facts: Sendable {
        package var key: PublicKey
        package var operatorKey: PublicKey
        package var name: String
        package var network: NetworkID
        package var apiURL: String
        package var linkAddresses: [String]
        package var software: String
        package var startedAt: Timestamp

        package init(
            key: PublicKey, operatorKey: PublicKey, name: String, network: NetworkID, apiURL: String,
            linkAddresses: [String], software: String, startedAt: Timestamp
        ) {
            self.key = key
            self.operatorKey = operatorKey
            self.name = name
            self.network = network
            self.apiURL = apiURL
            self.linkAddresses = linkAddresses
            self.software = software
            self.startedAt = startedAt
        }
    }

    package var facts: Facts
    package var uptimeSeconds: Int64
    package var isDraining: Bool
    package var links: Int
    /// Nodes whose descriptor counts, this one included.
    package var members: Int
    package var records: Int
    package var workers: Int
    package var requestsInFlight: Int
    package var clockOffsetMs: Int64
    /// False while its clock is doubted: it signs nothing then.
    package var isClockTrusted: Bool
    package var store: StoreView
    package var certificates: [CertificateView]
}

/// Whether what the operator changes is kept, and the mesh told of it.
package struct StoreView: Sendable {
    /// Nil while it can be written to.
    package var problem: String?
    package var since: Timestamp?
    package var freeBytes: Int64?
}

/// A certificate that a listener shows.
package struct CertificateView: Sendable {
    package var use: String
    package var file: String
    package var names: [String]
    package var notBefore: Timestamp?
    package var notAfter: Timestamp?
    package var loadedAt: Timestamp
    /// Why the files that are there now are not in use.
    package var problem: String?

    package init(
        use: String, file: String, names: [String], notBefore: Timestamp?, notAfter: Timestamp?, loadedAt: Timestamp,
        problem: String?
    ) {
        self.use = use
        self.file = file
        self.names = names
        self.notBefore = notBefore
        self.notAfter = notAfter
        self.loadedAt = loadedAt
        self.problem = problem
    }
}
