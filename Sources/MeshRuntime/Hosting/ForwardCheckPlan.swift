package import MeshModel

/// Where the forwards that arrived in one turn of an event loop are checked. Handing one to another thread and back takes
/// as long as its check, so that happens there; but only as much as nobody else on that loop notices.
package struct ForwardCheckPlan: Equatable, Sendable {
    package struct Forward: Sendable {
        /// Of its body.
        package var bytes: Int
        /// Its peer keeps to the rules, and its buyer's proof is known: nothing but the one signature is to be checked.
        package var isPrompt: Bool

        package init(bytes: Int, isPrompt: Bool) {
            self.bytes = bytes
            self.isPrompt = isPrompt
        }
    }

    /// Places of those that are checked on the event loop.
    package private(set) var here: [Int] = []
    /// Of those that are checked on another thread, in one job each.
    package private(set) var apart: [[Int]] = []

    package init(_ forwards: [Forward]) {
        var (bytes, rest) = (0, [Int]())
        for (place, forward) in forwards.enumerated() {
            let fits = here.count < Limits.forwardsCheckedTogether
            if forward.isPrompt, fits, forward.bytes <= Limits.forwardBytesCheckedInPlace - bytes {
                bytes += forward.bytes
                here.append(place)
            } else {
                rest.append(place)
            }
        }
        apart = stride(from: 0, to: rest.count, by: Limits.forwardsCheckedTogether).map { start in
            Array(rest[start..<min(start + Limits.forwardsCheckedTogether, rest.count)])
        }
    }
}

/// Peers that sent forwards which no honest node sends. What comes of them is served as ever, and checked where it holds up
/// nobody.
package struct DistrustedPeers: Sendable {
    private var until: [PublicKey: Instant] = [:]

    package init() {}

    package mutating func distrust(_ peer: PublicKey, now: Instant) {
        if until.count >= Limits.distrustedPeers { until = until.filter { $0.value > now } }
        // As many as have links at most, unless they change their names: whoever comes then takes another's place.
        if until.count >= Limits.distrustedPeers, until[peer] == nil,
            let oldest = until.min(by: { $0.value < $1.value })
        {
            until[oldest.key] = nil
        }
        until[peer] = now.advanced(byMilliseconds: Limits.peerDistrustMs)
    }

    package func contains(_ peer: PublicKey, now: Instant) -> Bool {
        // Nearly always there is none.
        !until.isEmpty && until[peer].map { $0 > now } ?? false
    }
}
