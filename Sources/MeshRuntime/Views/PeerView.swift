package import MeshModel

/// Another node: one whose descriptor is known here, or one that the operator named and that was never reached.
package struct PeerView: Sendable {
    package enum Direction: String, Sendable {
        case none, out, `in`, both

        /// - Parameter dialled: of each link to the peer, whether this node dialled it.
        init(dialled: [Bool]) {
            switch (dialled.contains(true), dialled.contains(false)) {
            case (false, false): self = .none
            case (true, false): self = .out
            case (false, true): self = .in
            case (true, true): self = .both
            }
        }
    }

    package var node: PublicKey
    package var name = ""
    package var operatorKey: PublicKey?
    package var apiURL = ""
    package var addresses: [String]
    package var direction = Direction.none
    /// Nil while it has no lease.
    package var leaseExpiresInMs: Int64?
    package var inFlight: UInt32 = 0
    package var isDraining = false
    package var isConfigured: Bool
    /// What became of the last dial, in words; nil for a peer that is not linked and that nobody asked for.
    package var state: String?

    package var isLinked: Bool { direction != .none }
}

/// A node that asked for a link and is not admitted, with what would admit it.
package struct KnockView: Sendable {
    package var node: PublicKey
    package var operatorKey: PublicKey?
    package var address: String
    package var first: Timestamp
    package var last: Timestamp
    package var times: Int
    package var admission: MeshAdmission
}

/// One line of what the operator admits or dials.
package struct RuleView: Sendable {
    package var value: String
    package var isConfigured: Bool
    /// What became of the last dial; nil for a line that only admits.
    package var state: String?
}
