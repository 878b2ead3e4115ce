package import MeshModel

/// How candidates are chosen: rules that each must keep, then one ordering. An owner writes such policies down under names
/// (`autoselect/NAME`); some are built in (`auto`, `auto:cheap`, …).
///
/// What is not known of a candidate never makes it better: a rule that asks for something leaves out whom nobody knows to have
/// it, and an ordering puts the unknown behind the known, or counts it as told in `PolicyScale`.
package struct Policy: Hashable, Sendable {
    package enum Hosted: String, CaseIterable, Hashable, Sendable {
        /// Like any other.
        case allowed
        /// Behind all workers.
        case last
        case never
    }

    /// Obeys `NameRule`; of the built-in ones what stands behind `auto:`.
    package var name: String
    package var about: String
    /// Models that may be taken, `*` at the end for any that begin so; empty: any.
    package var models: [String]
    package var rules: CandidateRules
    /// Providers that come first, in this order.
    package var order: [String]
    package var ordering: PolicyOrdering
    package var speed: SpeedWish
    /// Whether workers at this node come before others.
    package var prefersHere: Bool
    package var hosted: Hosted

    package init(
        name: String, about: String = "", models: [String] = [], rules: CandidateRules = CandidateRules(),
        order: [String] = [], ordering: PolicyOrdering = .balanced, speed: SpeedWish = SpeedWish(),
        prefersHere: Bool = false, hosted: Hosted = .allowed
    ) {
        self.name = name
        self.about = about
        self.models = models
        self.rules = rules
        self.order = order
        self.ordering = ordering
        self.speed = speed
        self.prefersHere = prefersHere
        self.hosted = hosted
    }

    // MARK: Built in

    /// What a request is chosen by that names a model and no policy.
    package static let standard = Policy(
        name: "auto", about: "price and time in one sum; hosted APIs when no worker is left", hosted: .last)

    package static let cheap = Policy(name: "cheap", about: "the lowest price, as far as it is known", ordering: .price)

    package static let fast = Policy(name: "fast", about: "the whole answer soonest", ordering: .time)

    package static let `private` = Policy(
        name: "private",
        about: "only the caller's own providers and those that name the caller, at this operator's nodes or at home",
        rules: {
            var rules = CandidateRules()
            rules.location = .private
            return rules
        }(), prefersHere: true, hosted: .never)

    package static let context = Policy(
        name: "context", about: "the largest window; only where it is known",
        rules: {
            var rules = CandidateRules()
            rules.leastContext = 1
            return rules
        }(), ordering: .context)

    package static let media = Policy(
        name: "media", about: "only models that are known to take what the prompt holds beside text",
        rules: {
            var rules = CandidateRules()
            rules.needsModalities = true
            return rules
        }(), hosted: .last)

    package static let builtIn = [standard, cheap, fast, `private`, context, media]
}

/// A `model` that is the name of a policy. Such a name wins over a model or a provider of that name: nobody may catch the
/// requests for `auto` by offering a model that is called so, which stays reachable as `provider/auto`.
package enum PolicyName: Hashable, Sendable {
    case builtIn(Policy)
    /// `autoselect/NAME`
    case named(String)
    /// `auto:` and something that is not built in.
    case unknown(String)

    /// Nil for what is no name of a policy.
    package init?(_ model: String) {
        if model == "auto" || model == "openrouter/auto" {
            self = .builtIn(.standard)
        } else if model.hasPrefix("auto:") {
            let rest = String(model.dropFirst(5))
            let found = Policy.builtIn.dropFirst().first { $0.name == rest }
            self = found.map { .builtIn($0) } ?? .unknown(rest)
        } else if model.hasPrefix("autoselect/") {
            self = .named(String(model.dropFirst(11)))
        } else {
            return nil
        }
    }
}

/// The policies that owners wrote down, as one node knows them. Names mean the caller's own first, then the operator's.
package struct PolicyBook: Hashable, Sendable {
    private var scopes: [OwnerScope: [Policy]] = [:]

    package init() {}

    /// Puts the policies of a scope in the place of those it had.
    package mutating func set(_ policies: [Policy], of scope: OwnerScope) {
        scopes[scope] = policies.isEmpty ? nil : Array(policies.prefix(Limits.policiesPerScope))
    }

    package func policies(of scope: OwnerScope) -> [Policy] { scopes[scope] ?? [] }

    /// What `name` means for a user of this node; nil for a caller that is none.
    package func policy(_ name: PolicyName, for username: String?) -> Result<Policy, MeshError> {
        let visible = (username.map { policies(of: OwnerScope(username: $0)) } ?? []) + policies(of: .global)
        switch name {
        case .builtIn(let policy): return .success(policy)
        case .named(let name):
            if let found = visible.first(where: { $0.name == name }) { return .success(found) }
            let hint = NearName.hint(for: name, among: visible.map(\.name))
            return .failure(
                MeshError(
                    .modelNotFound,
                    "there is no policy '\(name.cut(toUTF8Bytes: 64))'\(hint); 'aisbf policy list' lists yours",
                    parameter: "model"))
        case .unknown(let name):
            let known = Policy.builtIn.dropFirst().map(\.name)
            let hint = NearName.hint(for: name, among: known)
            let listed = known.map { "auto:\($0)" }.joined(separator: ", ")
            return .failure(
                MeshError(
                    .modelNotFound,
                    "'auto:\(name.cut(toUTF8Bytes: 64))' is no policy\(hint); there are auto, \(listed)",
                    parameter: "model"))
        }
    }
}

/// An ending of a model's name that asks for an ordering: `:nitro` for the fastest, `:floor` for the cheapest.
package struct ModelSuffix: Hashable, Sendable {
    package var model: String
    package var ordering: PolicyOrdering

    /// Nil where the name ends in none. A real name that ends so wins: whoever resolves names asks here only for one that
    /// means nothing as it stands.
    package init?(_ name: String) {
        for (suffix, ordering) in [(":nitro", PolicyOrdering.throughput), (":floor", .price)]
        where name.hasSuffix(suffix) && name.utf8.count > suffix.utf8.count {
            model = String(name.dropLast(suffix.count))
            self.ordering = ordering
            return
        }
        return nil
    }
}

/// In what the balanced ordering counts, and what it takes for what it does not know.
package enum PolicyScale {
    /// What a second of waiting is worth, in millionths of a dollar.
    package static let secondOfWaiting: Int64 = 200
    /// An answer of usual length, where the request does not bound it.
    package static let usualTokens: Int64 = 256
    /// Of whom nothing was measured: like a worker in good health, so that newcomers are tried.
    package static let unknownLatencyMs: Int64 = 1_500
    /// Thousandths of tokens in a second.
    package static let unknownThroughput: Int64 = 30_000
    /// Of whose prices nobody told: never free.
    package static let unknownPrices = Prices(input: 1_000_000, output: 4_000_000)
}
