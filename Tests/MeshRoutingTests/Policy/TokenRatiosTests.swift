import MeshModel
import MeshRouting
import Testing

@Suite struct TokenRatiosTests {
    @Test func nothingLearntIsOne() {
        #expect(TokenRatios().tokens(1_000, of: "m") == 1_000)
        #expect(TokenRatios().tokens(-5, of: "m") == 0)
    }

    /// A model that counts a fifth more than was estimated, with a tenth of noise either way.
    @Test func aRatioIsLearntWithinTwentyRequests() {
        var ratios = TokenRatios()
        var random = SeededGenerator(seed: 3)
        for _ in 0..<20 {
            let estimate = Int64(200 + random.next() % 5_000)
            let noise = Int64(random.next() % 21) - 10
            ratios.learn(model: "m", estimate: estimate, counted: estimate * (120 + noise) / 100)
        }
        #expect((1_130...1_270).contains(ratios.tokens(1_000, of: "m")))
        #expect(ratios.tokens(1_000, of: "other") == 1_000)
    }

    @Test func aLieMovesItSoFarAndNoFurther() {
        var high = TokenRatios()
        var low = TokenRatios()
        for _ in 0..<500 {
            high.learn(model: "m", estimate: 100, counted: 1_000_000)
            low.learn(model: "m", estimate: 1_000_000, counted: 1)
        }
        #expect(high.ratio(of: "m") == 2_048 && low.ratio(of: "m") == 512)
    }

    @Test(arguments: [(10, 40), (100, 0), (100, -7), (.max, 1_000), (1_000, .max)] as [(Int64, Int64)])
    func whatTeachesNothingIsPassedOver(estimate: Int64, counted: Int64) {
        var ratios = TokenRatios()
        ratios.learn(model: "m", estimate: estimate, counted: counted)
        #expect(ratios.count == 0)
    }

    @Test func theTableIsBounded() {
        var ratios = TokenRatios(limit: 8)
        for number in 0..<100 { ratios.learn(model: "m\(number)", estimate: 100, counted: 150) }
        #expect((1...8).contains(ratios.count) && ratios.ratio(of: "m99") == 1_536)
    }

    @Test func steadyDifferencesAreLearntToTheEnd() {
        var ratios = TokenRatios()
        for _ in 0..<200 { ratios.learn(model: "m", estimate: 1_000, counted: 1_010) }
        #expect((1_009...1_012).contains(ratios.tokens(1_000, of: "m")))
    }

    /// In the beginning each request teaches, later one in sixty-four; of a model that nothing is known of, the next one.
    @Test func aKnownModelIsCountedOnceInAWhile() {
        var ratios = TokenRatios()
        var counted = 0
        for _ in 0..<16 + 640 where ratios.wants("m") {
            counted += 1
            ratios.learn(model: "m", estimate: 1_000, counted: 1_200)
        }
        #expect(counted == 16 + 10)
        #expect(ratios.wants("other") && ratios.count == 1)
    }

    /// What workers tell of prompts is known to the next decision.
    @Test func theDeskLearns() {
        var desk = PolicyDesk(Market([Market.Offer(id: "lab")]).catalog, turn: 0)
        for _ in 0..<20 { desk.learn(model: "m", estimate: 1_000, counted: 1_500) }
        let view = desk.view(takesTurn: false, now: Instant(nanoseconds: 0))
        #expect((1_400...1_500).contains(view.ratios.tokens(1_000, of: "m")))
        #expect(view.ratios.tokens(1_000, of: "other") == 1_000)
    }
}
