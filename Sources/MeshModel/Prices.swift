/// Three capital letters, as in ISO 4217.
package struct Currency: Hashable, Sendable, CustomStringConvertible {
    private let letters: UInt32

    package init?(_ text: some StringProtocol) {
        var letters: UInt32 = 0
        guard text.utf8.count == 3 else { return nil }
        for byte in text.utf8 {
            guard (0x41...0x5A).contains(byte) else { return nil }
            letters = letters << 8 | UInt32(byte)
        }
        self.letters = letters
    }

    private init(letters: UInt32) { self.letters = letters }

    /// In which prices are compared, and what the vocabulary of buyers' tools means where it names none.
    package static let usd = Currency(letters: 0x55_53_44)

    package var description: String {
        String(
            decoding: [UInt8(letters >> 16 & 0xFF), UInt8(letters >> 8 & 0xFF), UInt8(letters & 0xFF)], as: UTF8.self)
    }
}

/// An amount in millionths of its currency.
package struct Money: Hashable, Sendable, CustomStringConvertible {
    package var microUnits: Int64
    package var currency: Currency

    package init(microUnits: Int64, currency: Currency) {
        self.microUnits = microUnits
        self.currency = currency
    }

    /// `0.000420 USD`
    package var description: String { "\(FixedPoint.text(microUnits, digits: 6)) \(currency)" }
}

/// What a model of one provider costs, as its owner signed it. Each price is that of a **million** of what is counted, in
/// millionths of the currency: whole numbers that are fine enough for a single token. 1.50 USD for a million tokens is
/// 1,500,000; 0.04 USD for one image is 40,000,000,000.
package struct Prices: Hashable, Sendable {
    package var currency: Currency
    /// Of input tokens.
    package var input: Int64
    /// Of input tokens that the provider had from an earlier request; nil: like the others.
    package var cachedInput: Int64?
    package var output: Int64
    package var request: Int64
    package var image: Int64
    /// Of seconds of sound or film.
    package var second: Int64

    package init(
        currency: Currency = .usd, input: Int64 = 0, cachedInput: Int64? = nil, output: Int64 = 0, request: Int64 = 0,
        image: Int64 = 0, second: Int64 = 0
    ) {
        self.currency = currency
        self.input = input
        self.cachedInput = cachedInput
        self.output = output
        self.request = request
        self.image = image
        self.second = second
    }

    package static let free = Prices()

    /// Whether each price is one that a node takes.
    package var isValid: Bool {
        [input, cachedInput ?? 0, output, request, image, second].allSatisfy { (0...Limits.highestPrice).contains($0) }
    }

    /// What `use` costs, rounded up once at the end to a whole millionth: what is not free costs something. Counts below
    /// zero are none, and what does not fit is the greatest amount there is.
    package func cost(of use: PricedUse) -> Money {
        Money(microUnits: microUnits(of: use), currency: currency)
    }

    private func microUnits(of use: PricedUse) -> Int64 {
        let cached = min(max(use.cachedTokens, 0), max(use.inputTokens, 0))
        var total = Self.product(use.inputTokens - cached, input)
        total += Self.product(cached, cachedInput ?? input)
        total += Self.product(use.outputTokens, output)
        total += Self.product(use.requests, request)
        total += Self.product(use.images, image)
        // Of a second there are parts.
        if second > 0, use.milliseconds > 0 { total += (Self.product(use.milliseconds, second) + 999) / 1_000 }
        // Nearly always it is small, and a division of 128 bits is long.
        if let small = UInt64(exactly: total) {
            return Int64(clamping: small / 1_000_000 + (small % 1_000_000 == 0 ? 0 : 1))
        }
        return Int64(clamping: (total + 999_999) / 1_000_000)
    }

    /// At most 63 bits times 50: six of them fit.
    private static func product(_ count: Int64, _ price: Int64) -> UInt128 {
        let (high, low) = UInt64(max(count, 0)).multipliedFullWidth(by: UInt64(min(max(price, 0), Limits.highestPrice)))
        return UInt128(high) << 64 | UInt128(low)
    }
}

/// What of a request is paid for.
package struct PricedUse: Hashable, Sendable {
    /// All of the input, with what was cached of it.
    package var inputTokens: Int64
    package var cachedTokens: Int64
    package var outputTokens: Int64
    package var requests: Int64
    package var images: Int64
    /// Of sound or film.
    package var milliseconds: Int64

    package init(
        inputTokens: Int64 = 0, cachedTokens: Int64 = 0, outputTokens: Int64 = 0, requests: Int64 = 1,
        images: Int64 = 0, milliseconds: Int64 = 0
    ) {
        self.inputTokens = inputTokens
        self.cachedTokens = cachedTokens
        self.outputTokens = outputTokens
        self.requests = requests
        self.images = images
        self.milliseconds = milliseconds
    }
}

/// The prices of one provider: of some of its models, and of all others.
package struct PriceList: Hashable, Sendable {
    package struct Entry: Hashable, Sendable {
        /// Empty: every model without an entry of its own.
        package var model: String
        package var prices: Prices

        package init(model: String, prices: Prices) {
            self.model = model
            self.prices = prices
        }
    }

    package private(set) var entries: [Entry] = []

    package init() {}

    /// Of two entries for a model the first counts; what is beyond the limit, or no valid price, is left out.
    package init(_ entries: some Sequence<Entry>) {
        for entry in entries where self.entries.count < Limits.advertPrices && entry.prices.isValid {
            if !self.entries.contains(where: { $0.model == entry.model }) { self.entries.append(entry) }
        }
    }

    package var isEmpty: Bool { entries.isEmpty }

    /// Nil where the owner told none: not known, and not free.
    package subscript(model model: String) -> Prices? {
        (entries.first { $0.model == model } ?? entries.first { $0.model.isEmpty })?.prices
    }
}
