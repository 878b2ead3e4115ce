/// The order in which the places of a route are asked, and why: pure, so that what a buyer's request meets can be
/// explained and tested without workers.
package enum RoutePlan {
    /// A worker here, or a backend that this node calls itself. Those of one provider come best first.
    package struct Local: Hashable, Sendable {
        /// Its provider's place in the route.
        package var provider: Int
        /// It refused a moment ago.
        package var isResting: Bool

        package init(provider: Int, isResting: Bool) {
            self.provider = provider
            self.isResting = isResting
        }
    }

    package struct Leg: Hashable, Sendable {
        package enum Target: Hashable, Sendable {
            /// Number of a local one, as they were given.
            case local(Int)
            /// Number of a host, as they were given: best first.
            case host(Int)
        }

        package enum Reason: Hashable, Sendable {
            /// The best of its provider here.
            case nearest
            /// What the best one here cannot do, one beside it may.
            case sibling
            /// Another node hosts a worker.
            case elsewhere
            /// It refused a moment ago and is asked when nobody else is left.
            case resting
        }

        package var target: Target
        package var reason: Reason

        package init(_ target: Target, _ reason: Reason) {
            self.target = target
            self.reason = reason
        }
    }

    /// A local one of each provider first, then one sibling of such a one, then the hosts, then more siblings, and last
    /// those that rest.
    package static func legs(locals: [Local], hosts: Int, limit: Int) -> [Leg] {
        var nearest: [Leg] = []
        var siblings: [Leg] = []
        var resting: [Leg] = []
        var served: [Int] = []
        for (number, local) in locals.enumerated() {
            if local.isResting {
                resting.append(Leg(.local(number), .resting))
            } else if served.contains(local.provider) {
                siblings.append(Leg(.local(number), .sibling))
            } else {
                served.append(local.provider)
                nearest.append(Leg(.local(number), .nearest))
            }
        }
        let elsewhere = (0..<hosts).map { Leg(.host($0), .elsewhere) }
        let all = nearest + siblings.prefix(1) + elsewhere + siblings.dropFirst() + resting
        return Array(all.prefix(limit))
    }
}
