import MeshModel
package import MeshWire

extension Policy {
    /// Reads a policy as owners write it (Docs/Reference/policies.md), and says everything that is wrong with it at once.
    package static func read(_ document: JSONValue) -> (policy: Policy, problems: [PreferenceProblem]) {
        var reader = PolicyReader()
        reader.read(document)
        return (reader.policy, reader.problems)
    }

    /// As `read` reads it, without what is as usual.
    package var document: JSONValue {
        var members: [JSONValue.Member] = [.init("name", .string(name))]
        if !about.isEmpty { members.append(.init("about", .string(about))) }
        members.append(.init("order_by", .string(ordering.rawValue)))
        Self.add("models", models, to: &members)
        if prefersHere { members.append(.init("prefer_local", true)) }
        if hosted != .allowed { members.append(.init("hosted", .string(hosted.rawValue))) }
        if rules.location != .anywhere { members.append(.init("location", .string(rules.location.rawValue))) }
        Self.add("regions", rules.regions, to: &members)
        Self.add("operators", rules.operators, to: &members)
        if rules.leastContext > 0 { members.append(.init("min_context", .integer(rules.leastContext))) }
        Self.add("modalities", rules.modalities.names, to: &members)
        if rules.needsModalities { members.append(.init("require_modalities", true)) }
        Self.add("parameters", rules.parameters.names, to: &members)
        let provider = providerMembers
        if !provider.isEmpty { members.append(.init("provider", .object(provider))) }
        return .object(members)
    }

    private var providerMembers: [JSONValue.Member] {
        var members: [JSONValue.Member] = []
        Self.add("order", order, to: &members)
        Self.add("only", rules.only, to: &members)
        Self.add("ignore", rules.ignore, to: &members)
        Self.add("quantizations", rules.quantizations, to: &members)
        switch rules.retention {
        case .any: break
        case .bounded: members.append(.init("data_collection", "deny"))
        case .none: members.append(.init("zdr", true))
        }
        if rules.needsParameters { members.append(.init("require_parameters", true)) }
        if !rules.ceiling.isEmpty { members.append(.init("max_price", rules.ceiling.document)) }
        if speed.throughput != Percentiles() {
            members.append(.init("preferred_min_throughput", speed.throughput.document))
        }
        if speed.latencyMs != Percentiles() {
            members.append(.init("preferred_max_latency", speed.latencyMs.document))
        }
        return members
    }

    private static func add(_ name: String, _ texts: [String], to members: inout [JSONValue.Member]) {
        if !texts.isEmpty { members.append(.init(name, .strings(texts))) }
    }
}

extension PriceCeiling {
    fileprivate var document: JSONValue {
        let prices: [(String, Int64?, Int)] = [
            ("prompt", prompt, 6), ("completion", completion, 6), ("request", request, 12), ("image", image, 12),
            ("second", second, 12),
        ]
        return .object(
            prices.compactMap { name, price, digits in
                price.map { .init(name, .number(FixedPoint.shortText($0, digits: digits))) }
            })
    }
}

extension Percentiles {
    fileprivate var document: JSONValue {
        .object(
            Percentile.allCases.filter { self[$0] > 0 }.map {
                .init($0.rawValue, .number(FixedPoint.shortText(self[$0], digits: 3)))
            })
    }
}

/// Reads the members of a policy one after the other.
private struct PolicyReader {
    private(set) var policy = Policy(name: "")
    private var members = PreferenceReader()
    var problems: [PreferenceProblem] { members.problems }

    private static let known = [
        "name", "about", "order_by", "models", "prefer_local", "hosted", "location", "regions", "operators",
        "min_context", "modalities", "require_modalities", "parameters", "provider",
    ]

    mutating func read(_ document: JSONValue) {
        guard let fields = document.members else { return members.fail("policy", "must be an object") }
        var seen: [String] = []
        for field in fields where field.value != .null {
            if seen.contains(field.name) { members.fail(field.name, "stands there twice") }
            seen.append(field.name)
            read(field.name, field.value)
        }
        if !seen.contains("name") { members.fail("name", "is missing: \(NameRule.text)") }
        if !members.preferences.unknown.isEmpty {
            for name in members.preferences.unknown {
                members.fail("provider.\(name)", "is not known here, so it cannot be kept to")
            }
        }
        takeProvider()
        check()
    }

    private mutating func read(_ name: String, _ value: JSONValue) {
        switch name {
        case "name":
            policy.name = value.text ?? ""
            if !NameRule.isValid(policy.name) { members.fail(name, "must be \(NameRule.text)") }
        case "about":
            policy.about = value.text ?? ""
            if value.text == nil || policy.about.utf8.count > Limits.routingNameBytes {
                members.fail(name, "must be text of at most \(Limits.routingNameBytes) bytes")
            }
        case "order_by":
            let word = members.word(value, name, among: PolicyOrdering.allCases.map(\.rawValue))
            policy.ordering = word.flatMap { PolicyOrdering(rawValue: $0) } ?? .balanced
        case "models": readModels(value)
        case "prefer_local": policy.prefersHere = members.flag(value, name) ?? false
        case "hosted":
            let word = members.word(value, name, among: Policy.Hosted.allCases.map(\.rawValue))
            policy.hosted = word.flatMap { Policy.Hosted(rawValue: $0) } ?? .allowed
        case "location":
            let word = members.word(value, name, among: CandidateRules.Location.allCases.map(\.rawValue))
            policy.rules.location = word.flatMap { CandidateRules.Location(rawValue: $0) } ?? .anywhere
        case "regions": policy.rules.regions = members.names(value, name)
        case "operators": policy.rules.operators = members.names(value, name)
        case "min_context":
            guard let tokens = value.integer, let least = UInt32(exactly: tokens) else {
                return members.fail(name, "must be a number of tokens")
            }
            policy.rules.leastContext = least
        case "modalities":
            let names = known(members.names(value, name), Modalities.names, name)
            policy.rules.modalities = Modalities(names: names)
        case "require_modalities": policy.rules.needsModalities = members.flag(value, name) ?? false
        case "parameters":
            let names = known(members.names(value, name), RequestParameter.allCases.map(\.rawValue), name)
            policy.rules.parameters = RequestParameters(names: names)
        case "provider": members.readProvider(value)
        default: members.fail(name, "is not known\(NearName.hint(for: name, among: Self.known))")
        }
    }

    private mutating func readModels(_ value: JSONValue) {
        policy.models = members.names(value, "models")
        for pattern in policy.models where pattern.dropLast().contains("*") || pattern == "*" {
            members.fail("models", "may have '*' only at the end of a name: '\(pattern)'")
        }
    }

    private mutating func known(_ names: [String], _ words: [String], _ path: String) -> [String] {
        for name in names where !words.contains(name) {
            members.fail(path, "does not know '\(name)'\(NearName.hint(for: name, among: words))")
        }
        return names
    }

    private mutating func takeProvider() {
        let read = members.preferences
        policy.order = read.order
        policy.speed = read.speed
        policy.rules.only = read.rules.only
        policy.rules.ignore = read.rules.ignore
        policy.rules.quantizations = read.rules.quantizations
        policy.rules.retention = read.rules.retention
        policy.rules.needsParameters = read.rules.needsParameters
        policy.rules.ceiling = read.rules.ceiling
        if read.sort != nil { members.fail("provider.sort", "is said with 'order_by' in a policy") }
    }

    /// What cannot all be meant.
    private mutating func check() {
        let both = policy.rules.only.filter(policy.rules.ignore.contains)
        if let name = both.first { members.fail("provider.ignore", "leaves out '\(name)', which 'only' asks for") }
        if policy.rules.location == .private, policy.hosted != .never {
            // Nothing hosted is private: said in one way only, so that what is written is what happens.
            policy.hosted = .never
        }
    }
}
