internal import MeshCrypto
import MeshGossip
package import MeshModel
internal import MeshWire

extension Simulation {
    /// Honest nodes that are up.
    package var honest: [Int] { nodes.indices.filter { nodes[$0].isUp && nodes[$0].behaviour == .honest } }

    /// Whether every honest node that is up holds exactly the same records.
    package var isConverged: Bool { differing == 0 }

    /// How many honest nodes hold other records than the first one.
    package var differing: Int {
        guard let first = honest.first else { return 0 }
        let reference = nodes[first].gossip.summaries
        return honest.count { nodes[$0].gossip.summaries != reference }
    }

    /// Whether every honest node that is up holds the record, in this or a later version.
    package func isEverywhere(_ keys: [RecordKey]) -> Bool {
        honest.allSatisfy { index in keys.allSatisfy { nodes[index].gossip.record($0) != nil } }
    }

    /// Whom a node has links to that it dialled itself.
    package func peers(_ index: Int) -> [Int] {
        nodes[index].gossip.linkViews.filter(\.dialled).compactMap { view in
            nodes.firstIndex { $0.key.publicKey == view.peer }
        }
    }

    /// Links of a node, both directions.
    package func linkCount(_ index: Int) -> Int { nodes[index].gossip.linkViews.count }
}
