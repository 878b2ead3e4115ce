internal import DequeModule
internal import MeshModel
internal import NIOCore

/// Addresses of nodes that linked lately, and of peers in the configuration.
struct KnownAddresses: Sendable {
    var configured: [String] = []
    private var recent: Deque<String> = []

    mutating func add(_ group: String) {
        recent.removeAll { $0 == group }
        if recent.count >= Limits.linkKnownAddresses { recent.removeFirst() }
        recent.append(group)
    }

    func contains(_ group: String) -> Bool { configured.contains(group) || recent.contains(group) }
}
