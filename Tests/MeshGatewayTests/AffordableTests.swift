import MeshAccounting
import MeshModel
import MeshRouting
import MeshRuntime
import Testing

@testable import MeshGateway

/// Who asks for more than is left is left out, and nobody else.
@Suite struct AffordableTests {
    /// 1,000 tokens of prompt and 1,000 of answer at the most.
    private static func affordable(left: Int64) -> Affordable {
        Affordable(left: left, currency: .usd, caller: PublicKey(.zero)) {
            QuotaEstimate(prompt: 800, answer: 1_000, prices: [$0])
        }
    }

    private static func dollars(_ input: Int64, _ output: Int64, _ currency: Currency = .usd) -> Prices {
        Prices(currency: currency, input: input * 1_000_000, output: output * 1_000_000)
    }

    private static func ceiling(left: Int64, _ candidates: [Prices]) -> PriceCeiling {
        let wish = PolicyMarket.Wish(
            "auto", policy: .standard, preferences: nil, targets: nil, facts: PromptFacts(tokens: 800))
        return affordable(left: left).narrowed(wish, candidates).policy.rules.ceiling
    }

    @Test func whereAllCanBePaidNothingChanges() {
        #expect(Self.ceiling(left: 10_000, [Self.dollars(1, 2), Self.dollars(3, 4)]).isEmpty)
        #expect(Self.ceiling(left: 10_000, []).isEmpty)
    }

    @Test func whoIsTooDearIsAboveTheCeiling() {
        let good = [Self.dollars(1, 2), Self.dollars(2, 1)]
        let dear = Self.dollars(900_000, 900_000)
        let ceiling = Self.ceiling(left: 10_000, [dear] + good)
        #expect(good.allSatisfy(ceiling.admits) && !ceiling.admits(dear))
        let euro = Currency("EUR").map { Self.dollars(1, 1, $0) }
        #expect(!Self.ceiling(left: 10_000, good + [euro].compactMap(\.self)).isEmpty)
    }

    /// What is held for the ceiling is held for all below it: together they are never more than is left.
    @Test func whateverIsBelowTheCeilingCanBePaid() {
        var random = SeededGenerator(seed: 3)
        for _ in 0..<500 {
            let left = Int64(random.next() % 20_000)
            let candidates = (0..<8).map { _ in
                Self.dollars(Int64(random.next() % 12), Int64(random.next() % 12))
            }
            let ceiling = Self.ceiling(left: left, candidates)
            let asked = Self.affordable(left: left)
            let admitted = candidates.filter(ceiling.admits)
            let most = admitted.flatMap { asked.cost($0).costs }.map(\.most).max() ?? 0
            // Only where nobody can be paid is the ceiling left out, and the limit refuses then.
            #expect(most <= left || ceiling.isEmpty)
            if ceiling.isEmpty, most > left {
                #expect(candidates.allSatisfy { (asked.cost($0).costs.first?.most ?? 0) > left })
            }
        }
    }

    // MARK: Pools

    private static func seller(_ number: UInt64, _ prices: Prices?, owner: PublicKey = PublicKey(.zero))
        -> CatalogProvider
    {
        CatalogProvider(
            key: RecordKey(Bytes16(high: 1, low: number)), advertHash: .zero, owner: owner, providerID: "p\(number)",
            scope: .global, homeNode: PublicKey(.zero), homeName: "north", access: .everyone, attachKeys: [],
            prices: PriceList(prices.map { [PriceList.Entry(model: "", prices: $0)] } ?? []))
    }

    /// Of a pool's members those who are too dear are left out; where all are, the limit says so.
    @Test func membersThatAreTooDearAreLeftOut() {
        let stranger = PublicKey(Bytes32(high: Bytes16(high: 0, low: 9), low: .zero))
        let cheap = Self.seller(1, Self.dollars(1, 2), owner: stranger)
        let dear = Self.seller(2, Self.dollars(900_000, 900_000), owner: stranger)
        let own = Self.seller(3, Self.dollars(900_000, 900_000))
        let free = Self.seller(4, nil, owner: stranger)
        func unpayable(_ members: [CatalogProvider]) -> [RecordKey] {
            Self.affordable(left: 10_000).narrowed(PoolRequest(), members.map { ($0, "m") }).unpayable.map(\.provider)
        }
        #expect(unpayable([cheap, dear, own, free]) == [dear.key])
        #expect(unpayable([cheap, own]) == [])
        #expect(unpayable([dear]) == [])
    }
}
