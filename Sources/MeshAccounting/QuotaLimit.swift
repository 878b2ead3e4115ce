/// The limits a quota may have, by the names under which they are set, listed and told to buyers.
package enum QuotaLimit: String, CaseIterable, Hashable, Sendable {
    case requestsPerMinute = "requests_per_minute"
    case tokensPerMinute = "tokens_per_minute"
    case concurrent
    case tokensPerDay = "tokens_per_day"
    case tokensPerMonth = "tokens_per_month"
    case moneyPerDay = "money_per_day"
    case moneyPerMonth = "money_per_month"
    case expires = "expires_at"
    case addresses = "allow_addresses"
    case models = "allow_models"
    case routes = "allow_routes"

    /// As a sentence has it.
    package var words: String {
        switch self {
        case .requestsPerMinute: "requests per minute"
        case .tokensPerMinute: "tokens per minute"
        case .concurrent: "requests at once"
        case .tokensPerDay: "tokens per day"
        case .tokensPerMonth: "tokens per month"
        case .moneyPerDay: "money per day"
        case .moneyPerMonth: "money per month"
        case .expires: "expiry"
        case .addresses: "allowed addresses"
        case .models: "allowed models"
        case .routes: "allowed routes"
        }
    }
}

/// What is counted over a day or a month, and therefore outlives the process.
package enum QuotaMeasure: String, CaseIterable, Hashable, Sendable {
    case tokens
    case money
}
