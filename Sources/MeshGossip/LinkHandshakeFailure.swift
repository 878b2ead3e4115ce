/// Why a link did not come up or went down. The raw value travels in `Goodbye`, labels metrics and stands in
/// `Docs/Reference/errors.md`; the set is closed.
package enum LinkFailure: String, Error, CaseIterable, Sendable {
    // The handshake refused the peer.
    case wrongKey = "wrong_key"
    case wrongNetwork = "wrong_network"
    case notAdmitted = "not_admitted"
    case pinMismatch = "pin_mismatch"
    case badProof = "bad_proof"
    case badDescriptor = "bad_descriptor"
    case clockDiffers = "clock_differs"
    case protocolVersion = "protocol_version"
    case selfLink = "self"
    case malformed
    case timeout
    // The world.
    case unreachable
    case nameNotFound = "name_not_found"
    case connectionRefused = "connection_refused"
    case tls
    case tooManyLinks = "too_many_links"
    case pingTimeout = "ping_timeout"
    case linkLost = "link_lost"
    // Decisions of either side.
    case outboxFull = "outbox_full"
    case tooManyRejects = "too_many_rejects"
    case flooding
    case duplicate
    case draining
    case banned
    case closed

    /// What `code` of a peer's `Goodbye` means here; a code of a newer peer is a plain close.
    package init(goodbye code: String) { self = LinkFailure(rawValue: code) ?? .closed }

    /// What to tell an operator: what is wrong and what to do.
    package var message: String {
        switch self {
        case .wrongKey: "another node answers at this address; correct the node id or the address of the peer"
        case .wrongNetwork: "the peer belongs to another network; both need the same network id"
        case .notAdmitted: "the node is not admitted; add its node id or its operator to the allow-list"
        case .pinMismatch: "the TLS certificate is not the one in the node's descriptor; a proxy may stand in between"
        case .badProof: "the peer could not prove that it holds its node key"
        case .badDescriptor: "the peer's descriptor is invalid or expired; check its clock and restart it"
        case .clockDiffers:
            "the clocks of the two nodes differ by more than a minute; set the wrong one right (NTP), then restart its node"
        case .protocolVersion: "the peer speaks no common protocol version; update the older node"
        case .selfLink: "the address leads to this node itself; remove it from the peers"
        case .malformed: "the peer sent bytes that are no link frame; check that the address is a link port"
        case .timeout: "the peer did not finish the handshake in time; check the network between the nodes"
        case .unreachable: "no answer from the address; check the network and the firewalls on the way"
        case .nameNotFound: "the host name is not known; check its spelling and the DNS"
        case .connectionRefused: "nothing listens at the address; check the port and that the peer runs"
        case .tls: "the TLS handshake failed; check that the address is a link port"
        case .tooManyLinks: "the peer has no room for another link; it will be tried again"
        case .pingTimeout: "the peer stopped answering pings"
        case .linkLost: "the connection broke"
        case .outboxFull: "the peer reads too slowly; the link is opened again"
        case .tooManyRejects: "the peer sent too many invalid records and is left alone for a while"
        case .flooding: "the peer sent more than a link may carry and is left alone for a while"
        case .duplicate: "another link to the same peer replaced this one"
        case .draining: "the peer is shutting down"
        case .banned: "the node is banned here"
        case .closed: "the peer closed the link"
        }
    }
}
