package import MeshModel

/// What one request says about who may answer it, in the vocabulary that buyers' tools have from OpenRouter, and a few
/// words of this mesh's own (Docs/Reference/policies.md).
package struct RoutingPreferences: Hashable, Sendable {
    package struct Sort: Hashable, Sendable {
        package var by: PolicyOrdering
        /// Whether the models of a list are kept apart: all that have the first one stand before all that have the second.
        package var keepsModelsApart: Bool

        package init(by: PolicyOrdering, keepsModelsApart: Bool = true) {
            self.by = by
            self.keepsModelsApart = keepsModelsApart
        }
    }

    package enum Prefer: String, CaseIterable, Hashable, Sendable {
        case local, `private`, cheap, fast, context, media
    }

    package var rules = CandidateRules()
    /// Providers that come first, in this order.
    package var order: [String] = []
    package var sort: Sort?
    /// Whether somebody else may be asked when the first, or those that `order` names, cannot answer.
    package var mayFallBack = true
    package var prefer: Prefer?
    /// Soft: who is as fast comes before who is not.
    package var speed = SpeedWish()
    /// Models to try when nobody can answer with the one before.
    package var models: [String] = []
    /// Requests with the same id go to the same place while it is well.
    package var session: String?
    /// Whether a broken answer may be continued by another worker.
    package var mayResume = false
    /// Members of `provider` that this version does not know, as they were called.
    package var unknown: [String] = []

    package init() {}
}

/// By what candidates are ordered that may all take a request.
package enum PolicyOrdering: String, CaseIterable, Hashable, Sendable {
    /// What it costs and how long it takes, in one sum of money.
    case balanced
    case price
    /// When a whole answer of usual length would be there.
    case time
    /// When its first content would be there.
    case latency
    case throughput
    /// The largest window first.
    case context
}

/// What a candidate must have. Rules of an owner's policy and of a request hold together.
package struct CandidateRules: Hashable, Sendable {
    package enum Location: String, CaseIterable, Hashable, Sendable {
        case anywhere
        /// A worker, and no hosted API behind a node.
        case workers
        /// Attached to the node that was asked, or called by it.
        case here
        /// Of the caller, or of somebody who named the caller; at a node of the same operator, or at the provider's home.
        case `private`
    }

    package enum Retention: String, CaseIterable, Hashable, Sendable {
        case any
        /// Nobody keeps it for long or learns from it.
        case bounded
        /// Nothing is kept.
        case none
    }

    /// Providers: `lab`, `seller@node/lab` or `key:…`. Empty: any.
    package var only: [String] = []
    package var ignore: [String] = []
    /// Keys of operators, or names of nodes. Empty: any.
    package var operators: [String] = []
    package var regions: [String] = []
    /// `unknown` stands for those that told none.
    package var quantizations: [String] = []
    package var ceiling = PriceCeiling()
    package var retention = Retention.any
    package var location = Location.anywhere
    /// Whether each field of the request has to be one that the candidate is known to take.
    package var needsParameters = false
    /// What it has to be known to take, whatever the request holds.
    package var parameters: RequestParameters = []
    package var modalities: Modalities = []
    package var leastContext: UInt32 = 0
    /// Whether what the prompt holds beside text has to be something that the candidate is known to take.
    package var needsModalities = false

    package init() {}
}

/// The most that a candidate may ask, in `Prices`' units. Nil: no bound.
package struct PriceCeiling: Hashable, Sendable {
    package var prompt: Int64?
    package var completion: Int64?
    package var request: Int64?
    package var image: Int64?
    package var second: Int64?

    package init(
        prompt: Int64? = nil, completion: Int64? = nil, request: Int64? = nil, image: Int64? = nil,
        second: Int64? = nil
    ) {
        self.prompt = prompt
        self.completion = completion
        self.request = request
        self.image = image
        self.second = second
    }

    package var isEmpty: Bool { self == PriceCeiling() }

    package func admits(_ prices: Prices) -> Bool {
        (prompt.map { prices.input <= $0 } ?? true) && (completion.map { prices.output <= $0 } ?? true)
            && (request.map { prices.request <= $0 } ?? true) && (image.map { prices.image <= $0 } ?? true)
            && (second.map { prices.second <= $0 } ?? true)
    }
}

/// How many per cent of requests are at least as good: the four that buyers' tools know.
package enum Percentile: String, CaseIterable, Hashable, Sendable {
    case p50, p75, p90, p99
}

/// A speed that is wished for, at some percentiles. 0: none.
package struct SpeedWish: Hashable, Sendable {
    /// Milliseconds to the first content, at most.
    package var latencyMs = Percentiles()
    /// Thousandths of tokens in a second, at least.
    package var throughput = Percentiles()

    package init() {}

    package var isEmpty: Bool { latencyMs == Percentiles() && throughput == Percentiles() }
}

/// One value for each percentile; 0 stands for none.
package struct Percentiles: Hashable, Sendable {
    package var p50: Int64 = 0
    package var p75: Int64 = 0
    package var p90: Int64 = 0
    package var p99: Int64 = 0

    package init() {}

    /// The same value for each: of what only an average is known.
    package init(all value: Int64) {
        p50 = value
        p75 = value
        p90 = value
        p99 = value
    }

    package subscript(percentile: Percentile) -> Int64 {
        get {
            switch percentile {
            case .p50: p50
            case .p75: p75
            case .p90: p90
            case .p99: p99
            }
        }
        set {
            switch percentile {
            case .p50: p50 = newValue
            case .p75: p75 = newValue
            case .p90: p90 = newValue
            case .p99: p99 = newValue
            }
        }
    }

    /// Whether each value that is wished for is known and not beyond it.
    func isWithin(_ most: Percentiles) -> Bool {
        Self.holds(p50, most.p50, <=) && Self.holds(p75, most.p75, <=) && Self.holds(p90, most.p90, <=)
            && Self.holds(p99, most.p99, <=)
    }

    func reaches(_ least: Percentiles) -> Bool {
        Self.holds(p50, least.p50, >=) && Self.holds(p75, least.p75, >=) && Self.holds(p90, least.p90, >=)
            && Self.holds(p99, least.p99, >=)
    }

    private static func holds(_ known: Int64, _ wish: Int64, _ compare: (Int64, Int64) -> Bool) -> Bool {
        wish == 0 || (known > 0 && compare(known, wish))
    }
}
