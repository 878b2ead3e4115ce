package import MeshModel

/// Which pool, in whose scope.
package struct PoolID: Hashable, Sendable {
    /// Who published it, at which node.
    package struct Publisher: Hashable, Sendable {
        package var owner: PublicKey
        package var home: PublicKey
        package var homeName: String
    }

    package var scope: OwnerScope
    package var name: String
    /// Nil for one of this node's own.
    package var publisher: Publisher?

    package init(scope: OwnerScope, name: String) {
        self.scope = scope
        self.name = name
    }

    /// - Parameter published: a rotation.
    package init(_ published: Publication) {
        scope = published.scope
        name = published.name
        publisher = Publisher(owner: published.id.owner, home: published.id.home, homeName: published.homeName)
    }

    /// What buyers write in place of a model.
    package var modelName: String {
        let own = Rotation.Member.Target.rotation(name).text
        return publisher.map { "\(scope.username)@\($0.homeName)/\(own)" } ?? own
    }

    /// The pool's name in what a buyer wrote; nil for what names no pool.
    package static func name(ofModel model: String) -> String? {
        let prefix = Rotation.Member.Target.rotationPrefix
        return model.hasPrefix(prefix) ? String(model.dropFirst(prefix.count)) : nil
    }

    /// The pool that a name means in a scope: its own, or else the operator's.
    package static func meant(
        by name: String, in scope: OwnerScope, isThere: (PoolID) -> Bool
    ) -> PoolID? {
        [scope, .global].lazy.map { PoolID(scope: $0, name: name) }.first(where: isThere)
    }
}

/// Some of a member's nodes, by their numbers in `PoolPlaces`.
package struct PoolSeats: Hashable, Sendable {
    package static let all = PoolSeats(bits: .max)
    package static let none = PoolSeats(bits: 0)

    private(set) var bits: UInt16

    package init(_ seats: some Sequence<Int>) {
        self.init(bits: 0)
        for seat in seats { insert(seat) }
    }

    init(bits: UInt16) { self.bits = bits }

    package var isEmpty: Bool { bits == 0 }
    package func contains(_ seat: Int) -> Bool { seat < UInt16.bitWidth && bits & (1 << seat) != 0 }

    /// Whether it has none of the first `count`.
    func areNone(of count: Int) -> Bool { bits & ((1 << count) &- 1) == 0 }

    mutating func insert(_ seat: Int) { if seat < UInt16.bitWidth { bits |= 1 << seat } }
}

/// Where one leaf of a pool can be asked now, as the catalog has it.
package struct PoolPlaces: Hashable, Sendable {
    /// Nil when its name means no provider.
    package var provider: RecordKey?
    /// Its workers' id for the model; empty for requests that name none.
    package var model: String
    /// This node, where it has workers here, and the others that host some.
    package var nodes: [PublicKey]

    package init(provider: RecordKey?, model: String = "", nodes: [PublicKey]) {
        self.provider = provider
        self.model = model
        self.nodes = nodes
    }
}

/// What is true of one leaf for one request.
package struct MemberFacts: Hashable, Sendable {
    /// Why it cannot take the request, as far as the pool does not know that itself.
    package var exclusion: Exclusion?
    /// How many requests more it takes now, at all its nodes together.
    package var free: Int
    /// The nodes that can be asked at all,
    package var seats: PoolSeats
    /// and those of them that have no free place.
    package var full: PoolSeats
    /// Tokens of its window, where that is known.
    package var window: Int?
    /// Whether it is absent only since a short time ago.
    package var mayReturn: Bool

    package init(
        exclusion: Exclusion? = nil, free: Int = .max, seats: PoolSeats = .all, full: PoolSeats = .none,
        window: Int? = nil, mayReturn: Bool = false
    ) {
        self.mayReturn = mayReturn
        self.exclusion = exclusion
        self.free = free
        self.seats = seats
        self.full = full
        self.window = window
    }
}

/// What a member sells.
package struct PoolOffer: Hashable, Sendable {
    package var provider: RecordKey
    package var model: String

    package init(provider: RecordKey, model: String) {
        self.provider = provider
        self.model = model
    }
}

/// A request as a pool sees it.
package struct PoolRequest: Hashable, Sendable {
    /// Where a request has been already.
    package struct Tried: Hashable, Sendable {
        var identity: UInt64
        var node: PublicKey
        var cost = AttemptCost.attempt

        func isSame(_ other: Tried) -> Bool { identity == other.identity && node == other.node }
    }

    /// What its conversation is called; nil to go by shares alone.
    package var session: UInt64?
    /// 0 is the most urgent.
    package var priority: Int
    /// Whether it is a good one to see with whether somebody is well again: it has little to do and nobody's
    /// conversation hangs on it.
    package var isShort: Bool
    /// The attempts that have failed, in their order (`PoolAttempt.tried`).
    package var tried: [Tried] = []
    /// The largest window that it was said to be too long for.
    package var exceeded: Int?
    /// Members that ask for more than its caller has left.
    package var unpayable: [PoolOffer] = []
    /// When it has waited.
    package var ticket: PoolTicket?
    /// How long it has waited in this pool so far: its owner says how long in all, and not each time.
    package var waitedMs: Int64 = 0

    /// How many attempts it has used up.
    var spent: Int { AttemptCost.spent(tried.lazy.map(\.cost)) }

    package init(session: UInt64? = nil, priority: Int = 1, isShort: Bool = false) {
        self.session = session
        self.priority = priority
        self.isShort = isShort
    }
}

package enum PoolChoice: Hashable, Sendable {
    /// Ask this member; then `began`, or `dropped`.
    case ask(PoolPick)
    /// It waits: choose again with this ticket once it is woken, or `leave`.
    case wait(PoolTicket)
    case exhausted(PoolExhaustion)
}

/// Whom to ask.
package struct PoolPick: Hashable, Sendable {
    package enum Reason: String, Hashable, Sendable {
        /// It is its turn.
        case share
        /// It has the conversation.
        case session
        /// It is seen whether it is well again.
        case probe
        /// Nobody better is left, and it will be back first.
        case leastBad = "least_bad"
        /// Another of its nodes has failed, and so has every other member.
        case again
    }

    /// The number of the leaf.
    package var leaf: Int
    package var provider: RecordKey
    package var model: String
    /// The nodes that may be asked, by their numbers in `PoolPlaces`.
    package var seats: PoolSeats
    package var reason: Reason
    /// Whether somebody of a lower tier had no free place.
    package var isSpilled: Bool
    var identity: UInt64
    var isFirst: Bool
    /// The number of the one probe, and its place on the board.
    var probe: UInt64?
    var probePlace: Int?
    var serial: UInt64
}

/// One attempt under way.
package struct PoolAttempt: Hashable, Sendable {
    package let pick: PoolPick
    package let node: PublicKey
    let began: Instant
    /// Its probe is over: content has come.
    var hasAnswered = false

    /// For `PoolRequest.tried` when it has failed.
    package func tried(_ fault: Fault) -> PoolRequest.Tried {
        PoolRequest.Tried(identity: pick.identity, node: node, cost: AttemptCost(fault))
    }
}

package enum PoolOutcome: Hashable, Sendable {
    case served
    case failed(Fault)
    /// The buyer did not want it any more.
    case cancelled
}

/// What an outcome changed, for logs and alarms.
package enum PoolNews: Hashable, Sendable {
    /// Too many failures: it rests until then, in this pool.
    case benched(until: Instant)
    /// It said when it wants to be asked again.
    case rests(until: Instant)
    /// Its own key or account is refused: its seller has to do something.
    case down(Fault)
    case returned
}

/// Nobody is left to ask.
package struct PoolExhaustion: Hashable, Sendable {
    package enum Cause: String, Hashable, Sendable {
        /// Every member has its reason, or has been asked.
        case members
        /// As many places as the pool allows have been asked.
        case attempts
        /// Too many requests have been asked twice.
        case retryBudget = "retry_budget"
    }

    package var cause: Cause
    /// When the first member is back, within bounds; nil where waiting does not help.
    package var retryAfterSeconds: Int?
    /// Of each leaf; nil for those that were asked.
    package var reasons: [Exclusion?]

    /// What a buyer is told of a member that is back after so many milliseconds.
    package static func seconds(inMs milliseconds: Int64) -> Int {
        Int(min((max(milliseconds, 1) + 999) / 1_000, Limits.poolRetryAfterSeconds))
    }

    package init(cause: Cause, retryAfterSeconds: Int?, reasons: [Exclusion?]) {
        self.cause = cause
        self.retryAfterSeconds = retryAfterSeconds
        self.reasons = reasons
    }
}

/// Every leaf of a pool with its score or exactly one reason.
package struct PoolExplanation: Hashable, Sendable {
    package struct Candidate: Hashable, Sendable {
        package enum Standing: Hashable, Sendable {
            /// How many of a thousand requests like this one it would be asked first for now.
            case share(perMille: Int)
            case excluded(Exclusion)
        }

        package var leaf: Int
        package var standing: Standing
        /// When it is back, where it rests.
        package var until: Instant?
    }

    package var candidates: [Candidate]
    /// What the next request like this one gets.
    package var choice: PoolChoice
}
