package import MeshModel

/// What a request was, as reports of usage divide it.
package enum UsageKind: String, CaseIterable, Hashable, Sendable {
    case completions
    case embeddings
    case images
    case audioSpeeches = "audio_speeches"
    case audioTranscriptions = "audio_transcriptions"
    case moderations
    case other

    /// - Parameter endpoint: nil for chat.
    package init(_ endpoint: EndpointPath?) {
        guard let endpoint else {
            self = .completions
            return
        }
        self =
            switch endpoint.family {
            case .completions, .messages, .responses: .completions
            case .embeddings: .embeddings
            case .images: .images
            case .moderations: .moderations
            case .audio: endpoint.text.hasPrefix("/v1/audio/speech") ? .audioSpeeches : .audioTranscriptions
            case .files, .pipelines, .rerank, .video: .other
            }
    }
}

/// What usage is kept apart by. The names are those of the table.
package enum UsageColumn: String, CaseIterable, Hashable, Sendable {
    case side
    case kind
    case key
    case username
    case provider
    case model
    case node
    case outcome
    case currency
}

/// Requests that are alike in all of it are counted together.
package struct UsageGroup: Hashable, Sendable {
    package enum Side: String, Hashable, Sendable {
        /// The buyer asked here.
        case entry
        /// Another node asked for its buyer, and the provider's worker is here.
        case hosting
    }

    package var side: Side
    package var kind: UsageKind
    /// The id of the API key, and its user; of another node's buyer neither is known.
    package var key: String
    package var username: String
    /// In full; empty where none was found.
    package var provider: String
    package var model: String
    /// The node that drove the worker, or that asked.
    package var node: String
    /// `served`, or the code of what went wrong.
    package var outcome: String
    /// Of the money; empty where it cost nothing.
    package var currency: String

    package static let served = "served"

    package init(
        side: Side, kind: UsageKind, key: String, username: String, provider: String, model: String, node: String,
        outcome: String, currency: String
    ) {
        self.side = side
        self.kind = kind
        self.key = key
        self.username = username
        self.provider = provider
        self.model = model
        self.node = node
        self.outcome = outcome
        self.currency = currency
    }

    /// The same without what sellers and buyers name themselves: for what does not fit into a batch.
    var remainder: UsageGroup {
        var group = self
        (group.provider, group.model, group.node) = ("other", "other", "other")
        return group
    }
}

/// Sums.
package struct UsageAmounts: Hashable, Sendable {
    package var requests: Int64 = 0
    /// Those of them whose tokens this node counted itself, because nobody told.
    package var estimated: Int64 = 0
    package var input: Int64 = 0
    /// Of the input.
    package var cached: Int64 = 0
    package var output: Int64 = 0
    package var images: Int64 = 0
    /// From each request to its end.
    package var milliseconds: Int64 = 0
    /// In millionths of the group's currency.
    package var money: Int64 = 0

    package init() {}

    package static func += (left: inout UsageAmounts, right: UsageAmounts) {
        left.requests += right.requests
        left.estimated += right.estimated
        left.input += right.input
        left.cached += right.cached
        left.output += right.output
        left.images += right.images
        left.milliseconds += right.milliseconds
        left.money += right.money
    }
}

/// A group's sums in one minute; later in one hour.
package struct UsageRow: Hashable, Sendable {
    /// When it begins, in seconds since 1970.
    package var start: Int64
    package var group: UsageGroup
    package var amounts: UsageAmounts

    package init(start: Int64, group: UsageGroup, amounts: UsageAmounts) {
        self.start = start
        self.group = group
        self.amounts = amounts
    }
}

/// What was used and is not written down yet: grouped, and bounded.
package struct UsageBatch: Sendable {
    private struct Place: Hashable {
        var start: Int64
        var group: UsageGroup
    }

    private var places: [Place: Int] = [:]
    private var rows: [UsageRow] = []

    package init() {}

    package var isEmpty: Bool { rows.isEmpty }

    /// Where there is no room for another group, its requests are counted with others of the same key.
    package mutating func add(_ group: UsageGroup, _ amounts: UsageAmounts, at time: Timestamp) {
        let start = time.seconds / 60 * 60
        var place = Place(start: start, group: group)
        if places[place] == nil, rows.count >= Limits.usageGroups { place.group = group.remainder }
        if let known = places[place] {
            rows[known].amounts += amounts
            return
        }
        // Even the groups of the rest have an end: keys are many.
        guard rows.count < 2 * Limits.usageGroups else { return }
        places[place] = rows.count
        rows.append(UsageRow(start: start, group: place.group, amounts: amounts))
    }

    package mutating func take() -> [UsageRow] {
        defer { self = UsageBatch() }
        return rows
    }

    /// What could not be written comes first again, as far as there is room.
    package mutating func putBack(_ unwritten: [UsageRow]) {
        for row in unwritten { add(row.group, row.amounts, at: Timestamp(milliseconds: row.start * 1_000)) }
    }
}

/// What is asked of the table.
package struct UsageQuery: Hashable, Sendable {
    /// From, and before, in seconds since 1970.
    package var from: Int64
    package var until: Int64
    /// Seconds of one bucket; nil: all in one.
    package var width: Int64?
    package var groups: [UsageColumn]
    /// Each has to be one of these.
    package var filters: [Filter]

    package struct Filter: Hashable, Sendable {
        package var column: UsageColumn
        package var values: [String]

        package init(_ column: UsageColumn, _ values: [String]) {
            self.column = column
            self.values = values
        }
    }

    package init(
        from: Int64, until: Int64, width: Int64? = nil, groups: [UsageColumn] = [], filters: [Filter] = []
    ) {
        self.from = from
        self.until = until
        self.width = width
        self.groups = groups
        self.filters = filters
    }
}

/// One line of the answer.
package struct UsageSum: Hashable, Sendable {
    package var start: Int64
    /// In the order of the query's groups.
    package var values: [String]
    package var amounts: UsageAmounts

    package init(start: Int64, values: [String], amounts: UsageAmounts) {
        self.start = start
        self.values = values
        self.amounts = amounts
    }
}
