package import MeshModel

/// What a request is expected to use, before anybody has answered it.
package struct QuotaEstimate: Hashable, Sendable {
    /// In one currency, by the dearest of those who may answer.
    package struct Cost: Hashable, Sendable {
        package var currency: Currency
        package var least: Int64
        package var most: Int64

        package init(currency: Currency, least: Int64, most: Int64) {
            self.currency = currency
            self.least = least
            self.most = most
        }
    }

    /// The prompt, with what counting it may be off, and as much of an answer as the request asks for itself.
    package var leastTokens: Int64
    /// The same with an answer of usual length where the request bounds none.
    package var mostTokens: Int64
    /// One for each currency in which anybody wants anything; empty: it is free.
    package var costs: [Cost]

    package static let nothing = QuotaEstimate(leastTokens: 0, mostTokens: 0, costs: [])

    package init(leastTokens: Int64, mostTokens: Int64, costs: [Cost]) {
        self.leastTokens = leastTokens
        self.mostTokens = mostTokens
        self.costs = costs
    }

    /// - Parameters:
    ///   - prompt: input, as it was counted without the model's own vocabulary.
    ///   - answer: how long the answer may become; nil where the request does not say.
    ///   - answers: whether there is a text as answer at all.
    ///   - prices: of those who may answer.
    package init(
        prompt: Int64, answer: Int64?, answers: Bool = true, images: Int64 = 0, milliseconds: Int64 = 0,
        prices: [Prices] = []
    ) {
        let input = Self.held(prompt)
        let asked = answers ? min(max(answer ?? 0, 0), Limits.quotaAmount) : 0
        let usual = answers && answer == nil ? Limits.quotaAssumedAnswer : asked
        leastTokens = Self.sum(input, asked)
        mostTokens = Self.sum(input, usual)
        costs = []
        for price in prices {
            func cost(_ output: Int64) -> Int64 {
                price.cost(
                    of: PricedUse(inputTokens: input, outputTokens: output, images: images, milliseconds: milliseconds)
                ).microUnits
            }
            let (least, most) = (cost(asked), cost(usual))
            guard most > 0 else { continue }
            if let known = costs.firstIndex(where: { $0.currency == price.currency }) {
                costs[known].least = max(costs[known].least, least)
                costs[known].most = max(costs[known].most, most)
            } else {
                costs.append(Cost(currency: price.currency, least: least, most: most))
            }
        }
    }

    /// A quarter more than was counted: one who is counted too low would pass the limit.
    static func held(_ tokens: Int64) -> Int64 {
        let tokens = min(max(tokens, 0), Limits.quotaAmount)
        return tokens + (tokens + 3) / 4
    }

    private static func sum(_ left: Int64, _ right: Int64) -> Int64 {
        let (sum, overflow) = left.addingReportingOverflow(right)
        return overflow ? .max : min(sum, Limits.quotaAmount * 2)
    }
}

/// What a request asks for and from where, as far as rules look at it.
package struct QuotaRequest: Hashable, Sendable {
    /// Nil for the operator's own socket, which has none.
    package var address: IPAddress?
    /// Below the base path; nil where no rule is about it.
    package var route: String?
    /// Each of them has to be allowed, by one of the names it has.
    package var models: [[String]]

    package init(address: IPAddress?, route: String?, models: [[String]] = []) {
        self.address = address
        self.route = route
        self.models = models
    }
}

/// What a request has used.
package struct QuotaUse: Hashable, Sendable {
    package var tokens: Int64
    /// Nil: nobody wants anything for it.
    package var money: Money?

    package init(tokens: Int64, money: Money? = nil) {
        self.tokens = tokens
        self.money = money
    }
}
