import MeshModel

/// A pool as its owner describes it: who shares the requests, in which proportion, who stands in for them, and what
/// becomes of members that fail (`rotation/NAME`).
package struct Rotation: Hashable, Sendable {
    package struct Member: Hashable, Sendable {
        package enum Target: Hashable, Sendable {
            /// A provider by a name that means one in the pool's scope (`lab`, `seller@node/lab`, `key:…`), and the id of
            /// one of its models; nil for the model that the pool names, or else the first that takes the request.
            case provider(String, model: String?)
            /// Another pool of the same scope, or else of the operator's.
            case rotation(String)
        }

        package var target: Target
        /// Its part among those of its tier: 3 and 1 are three quarters and one. 0 takes no new request.
        package var weight: Int
        /// Those of the lowest tier that can take a request share it; the others stand in.
        package var tier: Int
        package var isEnabled: Bool

        package init(_ target: Target, weight: Int = 1, tier: Int = 0, isEnabled: Bool = true) {
            self.target = target
            self.weight = weight
            self.tier = tier
            self.isEnabled = isEnabled
        }
    }

    /// By what the requests of one conversation are known, so that they meet the same member, which has read their
    /// beginning already.
    package enum Stickiness: String, CaseIterable, Hashable, Sendable {
        case off
        /// What the buyer's program calls the conversation, or else the beginning of the prompt.
        case prefix
        case user
    }

    package struct Settings: Hashable, Sendable {
        /// How many places one request may be sent to. Those that cost nothing (`AttemptCost`) are counted for themselves.
        package var attempts = 3
        /// A member rests after so many failures in a row,
        package var failures = 3
        /// or when so many of a hundred requests of the window failed, of at least so many.
        package var errorPercent = 50
        package var errorMinimum = 20
        package var errorWindowMs: Int64 = 60_000
        /// How long it rests at first; twice as long after each probe that fails.
        package var cooldownMs: Int64 = 60_000
        package var longestCooldownMs: Int64 = 600_000
        package var stickiness = Stickiness.prefix
        package var stickyIdleMs: Int64 = 600_000
        /// How many requests may wait while every member is at work, and for how long.
        package var queueLength = 64
        package var queueMs: Int64 = 10_000
        /// How long a request waits for its own tier before the next one takes it.
        package var spillMs: Int64 = 500

        package init() {}

        /// The same, with those that cost nothing.
        package var placesAsked: Int { AttemptCost.places(attempts) }

        /// Whether a request that has failed may be sent to one place more.
        func mayAskMore(_ request: PoolRequest) -> Bool { attempts > 1 && request.spent < attempts }
    }

    package var name: String
    package var members: [Member]
    /// The model of members that name none.
    package var model: String?
    package var settings: Settings

    package init(name: String, members: [Member], model: String? = nil, settings: Settings = Settings()) {
        self.name = name
        self.members = members
        self.model = model
        self.settings = settings
    }
}

extension Rotation.Member.Target {
    package static let rotationPrefix = "rotation/"

    /// `lab`, `lab/model`, `seller@node/lab`, `seller@node/lab/model`, `key:…/model`, `rotation/NAME`. Model ids may
    /// contain slashes. Nil where a part is missing.
    package init?(_ text: String) {
        if text.hasPrefix(Self.rotationPrefix) {
            let name = String(text.dropFirst(Self.rotationPrefix.count))
            guard !name.isEmpty else { return nil }
            self = .rotation(name)
            return
        }
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        guard let first = parts.first, !first.isEmpty else { return nil }
        guard first.contains("@") else {
            if parts.count > 1, parts[1].isEmpty { return nil }
            self = .provider(first, model: parts.count > 1 ? parts[1] : nil)
            return
        }
        guard parts.count > 1 else { return nil }
        let rest = parts[1].split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        guard let provider = rest.first, !provider.isEmpty, rest.count == 1 || !rest[1].isEmpty else { return nil }
        self = .provider("\(first)/\(provider)", model: rest.count > 1 ? rest[1] : nil)
    }

    /// As its owner writes it.
    package var text: String {
        switch self {
        case .provider(let name, let model): model.map { "\(name)/\($0)" } ?? name
        case .rotation(let name): Self.rotationPrefix + name
        }
    }
}
