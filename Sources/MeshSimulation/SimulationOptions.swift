package import MeshGossip
import MeshModel

/// What a simulated mesh is made of. Everything that happens follows from these values.
package struct SimulationOptions: Sendable {
    package enum Start: Hashable, Sendable {
        /// Every node knows one other address: node 0's, or those of `peers`.
        case cold
        /// Every node already holds every descriptor.
        case introduced
    }

    package var nodes: Int
    package var seed: UInt64
    package var start: Start = .introduced
    /// One-way delays are drawn from this range.
    package var latencyMs: ClosedRange<Int64> = 10...100
    /// Per thousand frames: dropped, delivered twice, delivered late so that later ones overtake.
    package var lossPermille: UInt64 = 0
    package var duplicatePermille: UInt64 = 0
    package var reorderPermille: UInt64 = 0
    /// Wall clocks are off by up to so much, either way.
    package var clockOffsetMs: Int64 = 0
    package var intervals = Gossip.Intervals()
    package var dialsBack = false
    /// The negative control: nodes that believe every signature. The forgery check must then fail.
    package var verifiesSignatures = true
    package var behaviours: [Int: Behaviour] = [:]
    /// Another: nodes that say what is still on its way to the disk. The checks of what is said must then fail.
    package var speaksFirst = false
    /// And another: nodes that forget what names meant when they end.
    package var keepsNames = true
    /// Per thousand batches that reach a disk: the node dies of it, just before or just after, and starts again.
    package var crashPermille: UInt64 = 0
    /// How often requests get a new catalog. Where nobody asks, seldom: building them would be most of the work.
    package var catalogIntervalMs = Limits.catalogIntervalMs
    /// With a cold start: whom each node dials. Without an entry, the first node.
    package var peers: [Int: [Int]] = [:]
    package var names: [Int: String] = [:]
    /// Nodes of one operator have the same number here; the others have an operator each.
    package var operators: [Int: Int] = [:]

    package init(nodes: Int, seed: UInt64) {
        self.nodes = nodes
        self.seed = seed
    }
}

/// What a simulated node does with what its `Gossip` tells it to send.
package enum Behaviour: String, Hashable, Sendable {
    case honest
    /// Takes links and frames and never says a word.
    case silent
    /// Flips one bit in every frame that carries records.
    case mutating
    /// Follows the rules, and pushes records in others' names with signatures of its own key.
    case forging
}

/// What was counted while a simulation ran.
package struct SimulationCounters: Hashable, Sendable {
    package var frames = 0
    package var bytes = 0
    /// Bytes of pushes, announcements and questions: what one update costs.
    package var pushBytes = 0
    package var lostFrames = 0
    package var accepted = 0
    package var rejected = 0
    package var duplicates = 0
    package var equivocations = 0
    package var blockedPeers = 0
    package var largestFrame = 0
    package var events = 0
    package var crashes = 0
}
