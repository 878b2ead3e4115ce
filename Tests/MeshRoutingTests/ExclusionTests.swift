import MeshRouting
import Testing

struct ExclusionTests {
    @Test func theFirstOfTheListIsTold() {
        #expect([Exclusion.atCapacity, .context, .unauthorised, .cooling].min() == .unauthorised)
        #expect([Exclusion.cooling, .retention].min() == .retention)
        #expect(Exclusion.allCases.sorted() == Exclusion.allCases)
    }

    @Test func whatLastsStandsBeforeWhatPasses() {
        let passing = Exclusion.allCases.map(\.passes)
        #expect(passing == passing.filter { !$0 } + passing.filter { $0 })
    }

    /// Programs match on the words.
    @Test func wordsStay() {
        #expect(
            Exclusion.allCases.map(\.rawValue) == [
                "unauthorised", "disabled", "loop", "endpoint", "parameters", "modality", "context", "provider",
                "operator", "region", "location", "quantization", "price_ceiling", "retention", "budget", "absent",
                "draining",
                "cooling", "half_open_busy", "at_capacity",
            ])
    }
}
