package import MeshModel
package import MeshWire

extension Gossip {
    /// What happened to the node.
    package enum Input: Sendable {
        /// A handshake succeeded. `address` is the one that was dialled, nil for a link the peer dialled.
        case linkUp(LinkID, peer: PublicKey, dialled: Bool, address: String?, descriptor: VerifiedRecord)
        /// `isLost`: it broke, or the peer is leaving; false when either side had no more use for it.
        case linkDown(LinkID, isLost: Bool)
        case frame(LinkID, Aisbf_Mesh_V1_LinkFrame)
        /// A record signed here, already stored durably; goes to every link.
        case publish(VerifiedRecord)
        /// Records from this node's own store after a start; nothing is sent.
        case restore([VerifiedRecord])
        case dialFailed(PublicKey?, address: String)
        /// Somebody needs a dialled link to this member (a request wants to be forwarded): dial now. Answered by a link,
        /// by a dial that fails, or by `unreachable`.
        case reach(PublicKey)
        /// Whom to admit and whom to dial changed: both lists, whole.
        case configure(LinkAdmission, [StaticPeer])
        case tick
    }

    /// What the node has to do or may want to know.
    package enum Effect: Hashable, Sendable {
        case send(LinkID, Aisbf_Mesh_V1_LinkFrame)
        case close(LinkID, CloseCode)
        case dial(PublicKey?, address: String)
        /// A link to this member was asked for, and there is no way to it now: no address is known, it is refused, or a
        /// dial failed a moment ago.
        case unreachable(PublicKey)
        /// Sign a fresh beacon and `publish` it.
        case beaconDue
        /// The record is stored (tombstones too) and should be persisted; nil is this node itself. A record of our
        /// own key that comes from elsewhere means that our store is older than what we said: continue above it.
        case accepted(VerifiedRecord, from: PublicKey?)
        case beacon(Lease, from: PublicKey?)
        case removed(RecordKey, RecordType, RemovalReason)
        /// Whether everything the record depends on is there, changed. New records start unusable.
        case usabilityChanged(RecordKey, RecordType, usable: Bool)
        /// A node's lease or last link ended (`false`), or it showed signs of life (`true`).
        case livenessChanged(PublicKey, alive: Bool)
        /// `blamed`: counted against the link it came over.
        case rejected(RecordRejection, from: PublicKey, blamed: Bool)
        case ignored(IgnoreReason, from: PublicKey)
        /// The signer signed two different records with one version; neither counts until a higher one.
        case equivocation(RecordKey, signer: PublicKey, version: RecordVersion)
        /// The peer sent too much that was wrong; its links are refused for so long.
        case blocked(PublicKey, milliseconds: Int64)
        case syncFinished(PublicKey, equal: Bool)
    }

    /// Why gossip closes a link; the raw value goes to the peer and into metric labels.
    package enum CloseCode: String, CaseIterable, Sendable {
        case itself = "self"
        case blocked
        case rejects
        case flooding
        case notAdmitted = "not_admitted"
        case replaced
        case finished
        case tooManyLinks = "too_many_links"

        /// What the transport tells the peer and the logs of both sides.
        package var failure: LinkFailure {
            switch self {
            case .itself: .selfLink
            case .flooding: .flooding
            case .blocked, .rejects: .tooManyRejects
            case .notAdmitted: .notAdmitted
            case .replaced: .duplicate
            case .finished: .closed
            case .tooManyLinks: .tooManyLinks
            }
        }
    }

    package enum RemovalReason: String, CaseIterable, Sendable {
        case expired, equivocation, quota
        /// Its node is not admitted any more.
        case unadmitted
    }

    /// Why a record was passed over without blame.
    package enum IgnoreReason: String, CaseIterable, Sendable {
        case duplicate, stale, throttled
        /// A beacon of a node whose descriptor is not known here.
        case stranger
        /// The frame made no sense at this moment (an answer to no question, a finished round).
        case unexpected
    }

    /// A node's latest beacon and how long it counts.
    package struct Lease: Hashable, Sendable {
        package var record: VerifiedRecord
        package var beacon: Aisbf_Mesh_V1_Beacon
        package var expires: Instant
        /// The last link to the node broke after this beacon was heard: only a newer one is a sign of life.
        package var isDoubted = false

        package var node: PublicKey { record.signer }
    }

    /// One established link as gossip sees it.
    package struct LinkView: Hashable, Sendable {
        package var id: LinkID
        package var peer: PublicKey
        package var dialled: Bool
        package var since: Instant
        package var rejects: Int
    }
}
