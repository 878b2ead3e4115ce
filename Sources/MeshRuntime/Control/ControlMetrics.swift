import MeshGossip
import MeshModel
import Metrics

/// What gossip did, counted. Labels come from closed lists only.
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
        case .close, .dial, .beaconDue, .beacon, .usabilityChanged, .livenessChanged, .ignored, .syncFinished: break
        }
    }
}
