package import MeshModel

/// What an owner wants to be different about the prices of a provider.
package struct PriceChange: Sendable {
    /// Of one model, or of all that have no price of their own. What is nil stays as it is, and is nothing where there
    /// was no price.
    package struct Entry: Sendable {
        /// Empty: every model without an entry of its own.
        package var model: String
        package var currency: Currency?
        package var input: Int64?
        package var cachedInput: CachedInput = .unchanged
        package var output: Int64?
        package var request: Int64?
        package var image: Int64?
        package var second: Int64?
        /// Nothing is known of its price any more.
        package var isRemoved = false

        package init(model: String) { self.model = model }
    }

    package enum CachedInput: Sendable {
        case unchanged
        case set(Int64)
        /// Like any input.
        case removed
    }

    package var entries: [Entry]
    /// All that were there are gone.
    package var removesAll: Bool

    package init(entries: [Entry] = [], removesAll: Bool = false) {
        self.entries = entries
        self.removesAll = removesAll
    }

    func applied(to list: PriceList) throws(MeshError) -> PriceList {
        var entries = removesAll ? [] : list.entries
        for change in self.entries {
            let place = entries.firstIndex { $0.model == change.model }
            if change.isRemoved {
                if let place { entries.remove(at: place) }
                continue
            }
            let prices = change.applied(to: place.map { entries[$0].prices })
            guard prices.isValid else {
                throw MeshError(.invalidRequest, "a price is too high to be counted with", parameter: "prices")
            }
            guard change.model.utf8.count <= Limits.recordTextBytes else {
                throw MeshError(
                    .invalidRequest, "a model of a price has at most \(Limits.recordTextBytes) bytes",
                    parameter: "prices")
            }
            if let place {
                entries[place].prices = prices
            } else {
                entries.append(PriceList.Entry(model: change.model, prices: prices))
            }
        }
        guard entries.count <= Limits.advertPrices else {
            throw MeshError(
                .invalidRequest,
                "a provider has at most \(Limits.advertPrices) prices; one without a model is that of all others",
                parameter: "prices")
        }
        return PriceList(entries)
    }
}

extension PriceChange.Entry {
    fileprivate func applied(to old: Prices?) -> Prices {
        var prices = old ?? Prices()
        if let currency { prices.currency = currency }
        if let input { prices.input = input }
        switch cachedInput {
        case .unchanged: break
        case .set(let price): prices.cachedInput = price
        case .removed: prices.cachedInput = nil
        }
        if let output { prices.output = output }
        if let request { prices.request = request }
        if let image { prices.image = image }
        if let second { prices.second = second }
        return prices
    }
}
