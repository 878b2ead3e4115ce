import Logging
import MeshGossip
import MeshModel
import MeshRouting
import Metrics

/// What gossip did, counted, and told where the operator should know. Labels come from closed lists only.
struct ControlMetrics: Sendable {
    private let accepted = Counter(label: "aisbf_records_accepted_total")
    private let removed = Counter(label: "aisbf_records_removed_total")
    private let framesSent = Counter(label: "aisbf_link_frames_sent_total")
    private let overflow = Counter(label: "aisbf_control_inbox_dropped_total")
    private let blocked = Counter(label: "aisbf_link_peers_blocked_total")
    private let equivocations = Counter(label: "aisbf_equivocations_total")
    private let rejected: [RecordRejection: Counter] = Dictionary(
        uniqueKeysWithValues: RecordRejection.allCases.map {
            ($0, Counter(label: "aisbf_records_rejected_total", dimensions: [("reason", $0.rawValue)]))
        })

    private let unsaved = Counter(label: "aisbf_record_cache_skipped_total")

    func inboxOverflow() { overflow.increment() }
    func unsavable() { unsaved.increment() }

    func count(_ effect: Gossip.Effect) {
        switch effect {
        case .send: framesSent.increment()
        case .accepted: accepted.increment()
        case .removed: removed.increment()
        case .rejected(let reason, _, _): rejected[reason]?.increment()
        case .blocked: blocked.increment()
        case .equivocation: equivocations.increment()
        case .close, .dial, .unreachable, .beaconDue, .beacon, .usabilityChanged, .livenessChanged, .ignored,
            .syncFinished:
            break
        }
    }
}

extension Logger {
    func tell(_ effect: Gossip.Effect) {
        switch effect {
        case .close(let link, let code):
            notice("link closed by gossip", metadata: ["link.id": "\(link.raw)", "code": "\(code.rawValue)"])
        case .rejected(let rejection, let peer, let blamed):
            // What is banned is offered again by everybody who has it, for as long as it lives.
            log(
                level: rejection == .banned ? .debug : .warning, "record rejected",
                metadata: ["reason": "\(rejection.rawValue)", "link.peer": "\(peer.nodeID)", "blamed": "\(blamed)"])
        case .equivocation(let key, let signer, _):
            warning("a signer contradicted itself", metadata: ["record.key": "\(key)", "signer": "\(signer)"])
        case .blocked(let peer, let milliseconds):
            warning("peer blocked", metadata: ["link.peer": "\(peer.nodeID)", "duration.ms": "\(milliseconds)"])
        case .livenessChanged(let node, let alive):
            info("node liveness changed", metadata: ["node": "\(node.nodeID)", "alive": "\(alive)"])
        case .send, .dial, .unreachable, .accepted, .removed, .beaconDue, .beacon, .usabilityChanged, .ignored,
            .syncFinished:
            break
        }
    }

    func tell(_ conflict: NameConflict) {
        warning(
            "a name is claimed by two; 'aisbf mesh names' shows and settles it",
            metadata: [
                "name": "\(conflict.name.text)",
                "name.means": "\(conflict.holder.map { conflict.name.text(of: $0) } ?? "nobody")",
                "name.claimant": "\(conflict.name.text(of: conflict.claimant))",
                "node": "\(KeyText.node.text(conflict.home.bytes))",
            ])
    }
}
