package import MeshModel
package import MeshWire

/// What is wrong with a member of a request or of a policy.
package struct PreferenceProblem: Hashable, Sendable, CustomStringConvertible {
    /// `provider.max_price.prompt`
    package var path: String
    package var message: String

    package init(path: String, message: String) {
        self.path = path
        self.message = message
    }

    package var description: String { "'\(path)' \(message)" }
    package var error: MeshError { MeshError(.invalidRequest, description, parameter: path) }
}

/// Reads preferences from the few members of a request that hold them, and from a policy, which is written in the same
/// words. `null` is the same as absent. What restricts and cannot be kept to is refused; other members of `provider` that are
/// not known are passed over, because tools send new ones all the time; those of `aisbf` are a mistake.
struct PreferenceReader {
    private(set) var problems: [PreferenceProblem] = []
    var preferences = RoutingPreferences()

    mutating func fail(_ path: String, _ message: String) { problems.append(.init(path: path, message: message)) }

    // MARK: provider

    mutating func readProvider(_ value: JSONValue) {
        guard let members = value.members else { return fail("provider", "must be an object") }
        for member in members where member.value != .null {
            let path = "provider.\(member.name)"
            switch member.name {
            case "order": preferences.order = names(member.value, path)
            case "only": preferences.rules.only = names(member.value, path)
            case "ignore": preferences.rules.ignore = names(member.value, path)
            case "allow_fallbacks": preferences.mayFallBack = flag(member.value, path) ?? true
            case "require_parameters": preferences.rules.needsParameters = flag(member.value, path) ?? false
            case "data_collection":
                if let word = word(member.value, path, among: ["allow", "deny"]), word == "deny" {
                    keepAtMost(.bounded)
                }
            case "zdr": if flag(member.value, path) == true { keepAtMost(.none) }
            case "enforce_distillable_text":
                if flag(member.value, path) == true {
                    fail(path, "cannot be kept to: no provider of this mesh says whether its models allow it")
                }
            case "quantizations":
                preferences.rules.quantizations = names(member.value, path).map { $0.lowercased() }
            case "sort": readSort(member.value, path)
            case "preferred_min_throughput":
                preferences.speed.throughput = percentiles(member.value, path, digits: 3)
            case "preferred_max_latency":
                // Seconds, kept as milliseconds.
                preferences.speed.latencyMs = percentiles(member.value, path, digits: 3)
            case "max_price": readCeiling(member.value, path)
            // Of a provider's own; read by none here.
            default:
                if preferences.unknown.count < Limits.routingNames {
                    preferences.unknown.append(member.name.cut(toUTF8Bytes: 64))
                }
            }
        }
        if !preferences.mayFallBack { leaveOutOthers() }
    }

    /// Without fallbacks nobody is asked beside those that `order` names.
    private mutating func leaveOutOthers() {
        guard !preferences.order.isEmpty else { return }
        let only = preferences.rules.only
        preferences.rules.only = only.isEmpty ? preferences.order : preferences.order.filter(only.contains)
        // Nobody is left: a name that nobody can have keeps it so.
        if preferences.rules.only.isEmpty { preferences.rules.only = [""] }
    }

    private mutating func keepAtMost(_ retention: CandidateRules.Retention) {
        preferences.rules.retention = preferences.rules.retention.stricter(retention)
    }

    private mutating func readSort(_ value: JSONValue, _ path: String) {
        let orderings: [(String, PolicyOrdering)] = [
            ("price", .price), ("throughput", .throughput), ("latency", .latency),
        ]
        var keepsApart = true
        var by = value
        var byPath = path
        if let members = value.members {
            guard let named = value["by"], named != .null else { return fail("\(path).by", "must say by what to sort") }
            (by, byPath) = (named, "\(path).by")
            for member in members where member.name != "by" && member.value != .null {
                guard member.name == "partition" else { continue }
                let partition = word(member.value, "\(path).partition", among: ["model", "none"])
                keepsApart = partition != "none"
            }
        }
        guard let word = word(by, byPath, among: orderings.map(\.0)),
            let ordering = orderings.first(where: { $0.0 == word })?.1
        else { return }
        preferences.sort = .init(by: ordering, keepsModelsApart: keepsApart)
    }

    /// Prices of tokens come for a million, all others for one.
    private mutating func readCeiling(_ value: JSONValue, _ path: String) {
        guard let members = value.members else { return fail(path, "must be an object") }
        for member in members where member.value != .null {
            let place = "\(path).\(member.name)"
            switch member.name {
            case "prompt": preferences.rules.ceiling.prompt = price(member.value, place, digits: 6)
            case "completion": preferences.rules.ceiling.completion = price(member.value, place, digits: 6)
            case "request": preferences.rules.ceiling.request = price(member.value, place, digits: 12)
            case "image": preferences.rules.ceiling.image = price(member.value, place, digits: 12)
            case "second", "audio": preferences.rules.ceiling.second = price(member.value, place, digits: 12)
            // A ceiling that is not looked at would be none.
            default: fail(place, "is no price that is known here: prompt, completion, request, image, second")
            }
        }
    }

    // MARK: aisbf

    mutating func readOwn(_ value: JSONValue) {
        guard let members = value.members else { return fail("aisbf", "must be an object") }
        for member in members where member.value != .null {
            let path = "aisbf.\(member.name)"
            switch member.name {
            case "prefer":
                let words = RoutingPreferences.Prefer.allCases.map(\.rawValue)
                preferences.prefer = word(member.value, path, among: words).flatMap { .init(rawValue: $0) }
            case "regions": preferences.rules.regions = names(member.value, path)
            case "operators": preferences.rules.operators = names(member.value, path)
            case "resume": preferences.mayResume = flag(member.value, path) ?? false
            default:
                let known = ["prefer", "regions", "operators", "resume"]
                fail(path, "is not known here\(NearName.hint(for: member.name, among: known)); \(joined(known))")
            }
        }
    }

    // MARK: Beside them

    mutating func readModels(_ value: JSONValue) {
        guard let list = value.elements, list.count <= Limits.fallbackModels else {
            return fail("models", "must be a list of at most \(Limits.fallbackModels) names of models")
        }
        for (place, element) in list.enumerated() {
            guard let name = element.text, (1...512).contains(name.utf8.count) else {
                fail("models[\(place)]", "must be the name of a model: text of 1 to 512 bytes")
                continue
            }
            if !preferences.models.contains(name) { preferences.models.append(name) }
        }
    }

    mutating func readSession(_ value: JSONValue) {
        guard let id = value.text, (1...Limits.sessionIDBytes).contains(id.utf8.count) else {
            return fail("session_id", "must be text of 1 to \(Limits.sessionIDBytes) bytes")
        }
        preferences.session = id
    }

    // MARK: Values

    mutating func flag(_ value: JSONValue, _ path: String) -> Bool? {
        if value.flag == nil { fail(path, "must be true or false") }
        return value.flag
    }

    mutating func word(_ value: JSONValue, _ path: String, among words: [String]) -> String? {
        guard let text = value.text else {
            fail(path, "must be one of \(joined(words))")
            return nil
        }
        guard words.contains(text) else {
            fail(path, "must be one of \(joined(words))\(NearName.hint(for: text, among: words))")
            return nil
        }
        return text
    }

    mutating func names(_ value: JSONValue, _ path: String) -> [String] {
        guard let list = value.elements, list.count <= Limits.routingNames else {
            fail(path, "must be a list of at most \(Limits.routingNames) names")
            return []
        }
        let names = list.compactMap { element in
            element.text.flatMap { (1...Limits.routingNameBytes).contains($0.utf8.count) ? $0 : nil }
        }
        if names.count < list.count {
            fail(path, "must hold names only: text of 1 to \(Limits.routingNameBytes) bytes")
        }
        return names
    }

    private mutating func price(_ value: JSONValue, _ path: String, digits: Int) -> Int64? {
        guard let (price, _) = decimal(value, digits: digits) else {
            fail(path, "must be a price: a number that is not below zero")
            return nil
        }
        return price
    }

    private mutating func percentiles(_ value: JSONValue, _ path: String, digits: Int) -> Percentiles {
        if let number = decimal(value, digits: digits) {
            var single = Percentiles()
            single.p50 = number.value
            return single
        }
        var read = Percentiles()
        guard let members = value.members else {
            fail(path, "must be a number, or an object of p50, p75, p90 and p99")
            return read
        }
        for member in members where member.value != .null {
            let place = "\(path).\(member.name)"
            guard let percentile = Percentile(rawValue: member.name) else {
                fail(place, "is none of \(joined(Percentile.allCases.map(\.rawValue)))")
                continue
            }
            guard let number = decimal(member.value, digits: digits) else {
                fail(place, "must be a number that is not below zero")
                continue
            }
            read[percentile] = number.value
        }
        return read
    }

    /// Tools write prices as numbers and as text.
    func decimal(_ value: JSONValue, digits: Int) -> (value: Int64, isExact: Bool)? {
        switch value {
        case .number(let text), .string(let text): FixedPoint.parse(text.utf8, digits: digits)
        case .null, .boolean, .array, .object: nil
        }
    }

    func joined(_ words: [String]) -> String { words.joined(separator: ", ") }
}

extension CandidateRules.Retention {
    func stricter(_ other: Self) -> Self {
        switch (self, other) {
        case (.none, _), (_, .none): .none
        case (.bounded, _), (_, .bounded): .bounded
        case (.any, .any): .any
        }
    }
}

extension RoutingPreferences {
    /// - Parameters: what stands in the request under these names; nil where nothing does.
    /// - Throws: `MeshError` that names the member at fault.
    package init(
        provider: JSONValue?, models: JSONValue?, session: JSONValue?, own: JSONValue?
    ) throws(MeshError) {
        var reader = PreferenceReader()
        if let provider, provider != .null { reader.readProvider(provider) }
        if let models, models != .null { reader.readModels(models) }
        if let session, session != .null { reader.readSession(session) }
        if let own, own != .null { reader.readOwn(own) }
        if let problem = reader.problems.first { throw problem.error }
        self = reader.preferences
    }
}
