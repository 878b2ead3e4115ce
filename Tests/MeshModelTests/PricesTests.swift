import MeshModel
import Testing

@Suite struct PricesTests {
    /// 0.15 and 0.60 dollars a million, cached input at a tenth.
    private static let small = Prices(input: 150_000, cachedInput: 15_000, output: 600_000)

    private static let uses: [(PricedUse, Int64)] = [
        // 1,000 × 0.15 + 500 × 0.60, in millionths of a dollar.
        (PricedUse(inputTokens: 1_000, outputTokens: 500), 450),
        // What is cached is part of the input.
        (PricedUse(inputTokens: 1_000, cachedTokens: 1_000), 15), (PricedUse(inputTokens: 10, cachedTokens: 1_000), 1),
        // A single token is not free.
        (PricedUse(inputTokens: 1), 1), (PricedUse(), 0), (PricedUse(inputTokens: -5, outputTokens: -5), 0),
        // Rounded once: 0.15 + 0.60 are one millionth and not two.
        (PricedUse(inputTokens: 1, outputTokens: 1), 1), (PricedUse(inputTokens: 20, outputTokens: 1), 4),
    ]

    @Test(arguments: uses)
    func tokensCost(use: PricedUse, microUnits: Int64) {
        #expect(Self.small.cost(of: use).microUnits == microUnits)
    }

    @Test func withoutAPriceOfItsOwnCachedInputIsInput() {
        let prices = Prices(input: 2_000_000)
        #expect(prices.cost(of: PricedUse(inputTokens: 10, cachedTokens: 4)).microUnits == 20)
    }

    @Test func requestsImagesAndSecondsHaveTheirs() {
        // A tenth of a cent, four cents, 0.006 dollars a minute.
        let prices = Prices(request: 1_000_000_000, image: 40_000_000_000, second: 100_000_000)
        #expect(prices.cost(of: PricedUse()).microUnits == 1_000)
        #expect(prices.cost(of: PricedUse(images: 3)).microUnits == 121_000)
        #expect(prices.cost(of: PricedUse(milliseconds: 60_000)).microUnits == 1_000 + 6_000)
        #expect(prices.cost(of: PricedUse(requests: 0, milliseconds: 1)).microUnits == 1)
    }

    @Test func nothingOverflows() {
        let most = Limits.highestPrice
        let prices = Prices(input: most, cachedInput: most, output: most, request: most, image: most, second: most)
        #expect(prices.isValid)
        let use = PricedUse(
            inputTokens: .max, cachedTokens: .max, outputTokens: .max, requests: .max, images: .max, milliseconds: .max)
        #expect(prices.cost(of: use).microUnits == .max)
        // Prices that no node takes are counted with as the highest that one does, and those below zero as none.
        #expect(Prices(input: .max).cost(of: use).microUnits == .max)
        #expect(Prices(input: .min, output: -1).cost(of: use).microUnits == 0)
        #expect(!Prices(input: most + 1).isValid && !Prices(cachedInput: -1).isValid)
    }

    @Test func moreNeverCostsLess() {
        var random = SeededGenerator(seed: 9)
        for _ in 0..<2_000 {
            let prices = Prices(
                input: Int64(random.next() % 10_000_000), cachedInput: Int64(random.next() % 1_000_000),
                output: Int64(random.next() % 10_000_000), request: Int64(random.next() % 1_000))
            let use = PricedUse(
                inputTokens: Int64(random.next() % 100_000), outputTokens: Int64(random.next() % 10_000))
            var more = use
            more.outputTokens += 1
            #expect(prices.cost(of: use).microUnits <= prices.cost(of: more).microUnits)
        }
    }

    @Test func aModelHasItsOwnPricesOrThoseOfTheOthers() {
        let rest = Prices(input: 1)
        let own = Prices(input: 2)
        let list = PriceList([
            .init(model: "big", prices: own), .init(model: "", prices: rest), .init(model: "big", prices: .free),
            .init(model: "wrong", prices: Prices(input: -1)),
        ])
        #expect(list[model: "big"] == own && list[model: "small"] == rest && list[model: "wrong"] == rest)
        #expect(PriceList([.init(model: "big", prices: own)])[model: "small"] == nil)
        let many = (0..<100).map { PriceList.Entry(model: "\($0)", prices: own) }
        #expect(PriceList(many).entries.count == Limits.advertPrices)
    }

    @Test(arguments: ["USD", "EUR", "XAU"])
    func currenciesAreThreeLetters(code: String) { #expect(Currency(code)?.description == code) }

    @Test(arguments: ["", "US", "usd", "USDT", "U$D", "ÜSD"])
    func othersAreNone(code: String) { #expect(Currency(code) == nil) }

    @Test func amountsAreReadable() {
        #expect(Money(microUnits: 420, currency: .usd).description == "0.000420 USD")
    }
}
