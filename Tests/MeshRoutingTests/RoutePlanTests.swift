import MeshRouting
import Testing

/// In which order the places of a route are asked.
@Suite struct RoutePlanTests {
    private static func plan(_ locals: [(provider: Int, isResting: Bool)], hosts: Int, limit: Int = 9) -> [String] {
        RoutePlan.legs(
            locals: locals.map { RoutePlan.Local(provider: $0.provider, isResting: $0.isResting) }, hosts: hosts,
            limit: limit
        ).map { leg in
            switch leg.target {
            case .local(let number): "worker \(number) \(leg.reason)"
            case .host(let number): "host \(number) \(leg.reason)"
            }
        }
    }

    @Test func thereMayBeNone() { #expect(Self.plan([], hosts: 0).isEmpty) }

    @Test func theBestWorkerOfEachProviderThenOneSiblingThenElsewhereThenTheRest() {
        #expect(
            Self.plan(
                [(0, false), (0, false), (0, false), (1, false), (1, false)], hosts: 2) == [
                    "worker 0 nearest", "worker 3 nearest", "worker 1 sibling", "host 0 elsewhere", "host 1 elsewhere",
                    "worker 2 sibling", "worker 4 sibling",
                ])
    }

    @Test func whoRestsIsAskedLast() {
        #expect(
            Self.plan([(0, true), (0, false), (1, true)], hosts: 1) == [
                "worker 1 nearest", "host 0 elsewhere", "worker 0 resting", "worker 2 resting",
            ])
    }

    @Test func noMoreThanAllowed() {
        #expect(Self.plan([(0, false), (0, false)], hosts: 2, limit: 3).count == 3)
        #expect(Self.plan([(0, false)], hosts: 2, limit: 0).isEmpty)
    }
}
