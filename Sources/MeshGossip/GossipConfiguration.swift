package import MeshModel

extension Gossip {
    /// A node given in the configuration: dialled for ever, whatever it answers. The key may be unknown.
    package struct StaticPeer: Hashable, Sendable {
        package var key: PublicKey?
        package var address: String

        package init(key: PublicKey?, address: String) {
            self.key = key
            self.address = address
        }
    }

    /// How often things happen, in milliseconds (mesh.md, section 5).
    package struct Intervals: Hashable, Sendable {
        package var antiEntropyMs: Int64 = 5_000
        package var jitterPercent: Int64 = 20
        package var beaconMs: Int64 = 5_000
        /// How long announcements are collected before they are sent.
        package var announceMs: Int64 = 50
        /// How long an announced record may take to arrive by itself before it is asked for.
        package var graftMs: Int64 = 150
        package var wantRetryMs: Int64 = 1_000
        package var resyncMs: Int64 = 200
        package var dialBackoffMs: Int64 = 500
        /// Longest wait between two dials of one node while the mesh is small, and beyond `smallMesh` nodes.
        package var dialBackoffLongestMs: Int64 = 5_000
        package var dialBackoffLongestLargeMs: Int64 = 60_000
        /// A dial nobody reports the end of is forgotten after this.
        package var dialTimeoutMs: Int64 = 15_000
        /// A link that lived this long clears its peer's back-off.
        package var stableLinkMs: Int64 = 10_000
        /// How long a link stays that was only dialled for one reconciliation.
        package var transientLinkMs: Int64 = 10_000
        /// How long the older of two links that a peer dialled may stay until the peer has closed the one it does not want.
        package var supersededLinkMs: Int64 = 3_000

        package init() {}
    }

    package struct Configuration: Sendable {
        package var key: PublicKey
        package var network: NetworkID
        package var cryptography: any RecordCryptography
        /// Drawn from the system's randomness by a live node: salts are keyed with it. Never logged.
        package var seed: UInt64
        package var staticPeers: [StaticPeer] = []
        /// Whose descriptors, and with them adverts and attachments, count here.
        package var admission: LinkAdmission
        /// This node's own operator: its other nodes are no strangers.
        package var operatorKey: PublicKey?
        package var bannedSigners: [PublicKey] = []
        package var intervals = Intervals()
        /// Links wanted, when there are so many nodes.
        package var degree = 8
        /// Other nodes' records are pushed to so many links and announced to the rest.
        package var eagerLinks = 3
        package var smallMesh = 50
        /// Whether to dial back a node that dialled us, so that either side has a connection of its own.
        package var dialsBack = true

        package init(
            key: PublicKey, network: NetworkID, cryptography: any RecordCryptography, seed: UInt64,
            admission: LinkAdmission
        ) {
            self.key = key
            self.network = network
            self.cryptography = cryptography
            self.seed = seed
            self.admission = admission
        }
    }
}
