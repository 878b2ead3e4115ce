package import MeshModel
package import MeshWire

extension Quota {
    /// As it is stored, listed and set: only what is limited.
    package var document: JSONValue {
        var members: [JSONValue.Member] = []
        for limit in QuotaLimit.allCases {
            if let amount = self[limit] {
                let value: JSONValue =
                    limit.isMoney ? .string(FixedPoint.shortText(amount, digits: 6)) : .integer(amount)
                members.append(.init(limit.rawValue, value))
            }
        }
        if countsMoney { members.append(.init("currency", .string(currency.description))) }
        if let expires { members.append(.init(QuotaLimit.expires.rawValue, .integer(expires.seconds))) }
        for (limit, list) in [
            (QuotaLimit.addresses, addresses.map(\.description)), (.models, models), (.routes, routes),
        ] where !list.isEmpty {
            members.append(.init(limit.rawValue, .array(list.map { .string($0) })))
        }
        return .object(members)
    }

    /// Reads a document.
    /// - Parameter over: what stays as it is where the document says nothing of it; `null` takes a limit away.
    /// - Throws: `MeshError` that names the member at fault.
    package static func read(_ document: JSONValue, over known: Quota = Quota()) throws(MeshError) -> Quota {
        var quota = known
        if let name = document["currency"]?.text {
            guard let currency = Currency(name) else {
                throw problem("currency", "a currency is three capital letters, such as USD")
            }
            quota.currency = currency
        }
        for member in document.members ?? [] where member.name != "currency" {
            guard let limit = QuotaLimit(rawValue: member.name) else {
                throw problem(
                    member.name,
                    "there is no limit '\(member.name.cut(toUTF8Bytes: 64))'"
                        + NearName.hint(for: member.name, among: QuotaLimit.allCases.map(\.rawValue)))
            }
            try quota.set(limit, member.value)
        }
        return quota
    }

    private mutating func set(_ limit: QuotaLimit, _ value: JSONValue) throws(MeshError) {
        let isGone = value == .null
        switch limit {
        case .requestsPerMinute, .tokensPerMinute, .concurrent, .tokensPerDay, .tokensPerMonth:
            guard isGone || (0...Limits.quotaAmount).contains(Self.whole(value) ?? -1) else {
                throw Self.problem(limit.rawValue, "'\(limit.rawValue)' is a whole number, 0 or more")
            }
            self[limit] = Self.whole(value)
        case .moneyPerDay, .moneyPerMonth:
            let text = value.text ?? value.numberText ?? ""
            let amount = FixedPoint.parse(text.utf8, digits: 6)
            guard isGone || (amount?.isExact ?? false) && amount?.value ?? .max <= Limits.quotaAmount else {
                throw Self.problem(
                    limit.rawValue,
                    "'\(limit.rawValue)' is an amount such as 2.50, with at most six digits behind the point")
            }
            self[limit] = amount?.value
        case .expires:
            guard isGone || (0...4_102_444_800).contains(Self.whole(value) ?? -1) else {
                throw Self.problem(limit.rawValue, "'expires_at' is a time in seconds since 1970, before 2100")
            }
            expires = Self.whole(value).map { Timestamp(milliseconds: $0 * 1_000) }
        case .addresses: addresses = try Self.ranges(value)
        case .models: models = try Self.patterns(value, limit)
        case .routes: routes = try Self.patterns(value, limit)
        }
    }

    /// A number without a fraction.
    private static func whole(_ value: JSONValue) -> Int64? { value.numberText.flatMap { Int64($0) } }

    private static func ranges(_ value: JSONValue) throws(MeshError) -> [AddressRange] {
        let texts = try list(value, .addresses)
        let ranges = texts.compactMap { AddressRange($0) }
        guard ranges.count == texts.count else {
            throw problem(
                QuotaLimit.addresses.rawValue,
                "'allow_addresses' has ranges such as 192.0.2.0/24, 2001:db8::/32 or one address, without bits behind the prefix"
            )
        }
        return ranges
    }

    private static func patterns(_ value: JSONValue, _ limit: QuotaLimit) throws(MeshError) -> [String] {
        let texts = try list(value, limit)
        guard
            texts.allSatisfy({ (1...Limits.quotaPatternBytes).contains($0.utf8.count) && !$0.dropLast().contains("*") })
        else {
            throw problem(
                limit.rawValue, "'\(limit.rawValue)' has names, or beginnings of names with a '*' at their end")
        }
        return texts
    }

    private static func list(_ value: JSONValue, _ limit: QuotaLimit) throws(MeshError) -> [String] {
        if value == .null { return [] }
        let texts = value.elements?.compactMap(\.text)
        guard let texts, texts.count == value.elements?.count, texts.count <= Limits.quotaListed else {
            throw problem(
                limit.rawValue, "'\(limit.rawValue)' is a list of at most \(Limits.quotaListed) texts")
        }
        return texts
    }

    private static func problem(_ parameter: String, _ words: String) -> MeshError {
        MeshError(.invalidRequest, words, parameter: parameter.cut(toUTF8Bytes: 64))
    }
}

extension JSONValue {
    /// A number's own spelling.
    fileprivate var numberText: String? { if case .number(let text) = self { text } else { nil } }
}
