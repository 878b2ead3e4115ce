package import MeshModel

/// What a subject may use. Nil, and an empty list, mean: not limited.
package struct Quota: Hashable, Sendable {
    package var requestsPerMinute: Int64?
    package var tokensPerMinute: Int64?
    package var concurrent: Int64?
    package var tokensPerDay: Int64?
    package var tokensPerMonth: Int64?
    /// In millionths of the currency.
    package var moneyPerDay: Int64?
    package var moneyPerMonth: Int64?
    package var currency = Currency.usd
    package var expires: Timestamp?
    package var addresses: [AddressRange] = []
    /// Names as buyers give them; one that ends in `*` stands for all that begin so.
    package var models: [String] = []
    /// Below the base path: `chat/completions`, `images/*`.
    package var routes: [String] = []

    package init() {}

    package var isEmpty: Bool { self == Quota() }

    /// Nil where the limit is not set or is no amount.
    package subscript(limit: QuotaLimit) -> Int64? {
        get {
            switch limit {
            case .requestsPerMinute: requestsPerMinute
            case .tokensPerMinute: tokensPerMinute
            case .concurrent: concurrent
            case .tokensPerDay: tokensPerDay
            case .tokensPerMonth: tokensPerMonth
            case .moneyPerDay: moneyPerDay
            case .moneyPerMonth: moneyPerMonth
            case .expires, .addresses, .models, .routes: nil
            }
        }
        set {
            switch limit {
            case .requestsPerMinute: requestsPerMinute = newValue
            case .tokensPerMinute: tokensPerMinute = newValue
            case .concurrent: concurrent = newValue
            case .tokensPerDay: tokensPerDay = newValue
            case .tokensPerMonth: tokensPerMonth = newValue
            case .moneyPerDay: moneyPerDay = newValue
            case .moneyPerMonth: moneyPerMonth = newValue
            case .expires, .addresses, .models, .routes: break
            }
        }
    }

    var countsTokens: Bool { tokensPerMinute != nil || tokensPerDay != nil || tokensPerMonth != nil }
    var countsMoney: Bool { moneyPerDay != nil || moneyPerMonth != nil }

    /// Whether `name` is one of `patterns`, or there are none.
    package static func admits(_ name: String, _ patterns: [String]) -> Bool {
        patterns.isEmpty
            || patterns.contains { pattern in
                pattern.utf8.last == UInt8(ascii: "*")
                    ? name.utf8.starts(with: pattern.utf8.dropLast()) : name == pattern
            }
    }
}

extension QuotaLimit {
    /// The limits that are amounts of something over a day or a month.
    static let ofPeriods: [(limit: QuotaLimit, measure: QuotaMeasure, period: QuotaPeriod.Kind)] = [
        (.tokensPerDay, .tokens, .day), (.tokensPerMonth, .tokens, .month), (.moneyPerDay, .money, .day),
        (.moneyPerMonth, .money, .month),
    ]

    init(_ measure: QuotaMeasure, _ period: QuotaPeriod.Kind) {
        self =
            switch (measure, period) {
            case (.tokens, .day): .tokensPerDay
            case (.tokens, .month): .tokensPerMonth
            case (.money, .day): .moneyPerDay
            case (.money, .month): .moneyPerMonth
            }
    }

    /// Whether its amounts are millionths of a currency.
    package var isMoney: Bool { self == .moneyPerDay || self == .moneyPerMonth }
}
