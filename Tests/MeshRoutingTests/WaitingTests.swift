import MeshModel
import Testing

@testable import MeshRouting

/// Who waits for workers that have just left, in which order, and for how long anybody is known to have left.
@Suite struct WaitingTests {
    private static func at(_ milliseconds: Int64) -> Instant {
        Instant(nanoseconds: 0).advanced(byMilliseconds: milliseconds)
    }

    @Test func whoCameFirstLooksFirst() {
        var line = WaitingLine(limit: 4, perName: 2)
        let joined = ["a", "b", "a"].map { line.join($0) }
        let tickets = joined.compactMap(\.self)
        let third = line.join("a")
        #expect(tickets.count == 3 && third == nil, "two for a name")
        #expect(tickets.map(line.position) == [1, 1, 2])
        let rounds = [0, Limits.poolLookMs - 1].map { line.round(now: Self.at($0)) }
        #expect(rounds == [tickets, []])
        line.leave(tickets[0])
        #expect(line.position(tickets[0]) == nil && line.position(tickets[2]) == 1)
        let next = line.round(now: Self.at(Limits.poolLookMs))
        #expect(next == [tickets[1], tickets[2]])
        let others = ["c", "d", "e"].map { line.join($0) != nil }
        #expect(others == [true, true, false], "four in all")
        #expect(line.waiting(for: "a") == 1 && line.waiting(for: "e") == 0)
    }

    private static func catalogs() -> (with: Catalog, without: Catalog, key: RecordKey) {
        let with = Market([Market.Offer(id: "lab")]).catalog
        let provider = with.providers[0]
        let without = Catalog(
            node: with.node, nodes: with.nodes,
            providers: [provider.served(by: [], remote: [], modelsSeen: provider.modelsSeen)])
        return (with, without, provider.key)
    }

    @Test func whoHasJustLeftIsKnownForTenMinutes() {
        var departures = Departures()
        let (with, without, key) = Self.catalogs()
        departures.note(.empty(node: with.node), with, now: Self.at(0))
        #expect(!departures.mayReturn(key, now: Self.at(0)), "it is there")
        departures.note(with, without, now: Self.at(1_000))
        let serial = departures.serial
        #expect(departures.mayReturn(key, now: Self.at(1_000)))
        #expect(departures.providers(now: Self.at(1_000)).map(\.hosts.count) == [1], "as it was")
        departures.note(without, without, now: Self.at(2_000))
        #expect(departures.serial == serial)
        #expect(departures.mayReturn(key, now: Self.at(1_000 + Limits.departureMs - 1)))
        #expect(!departures.mayReturn(key, now: Self.at(1_000 + Limits.departureMs)))
        departures.note(without, with, now: Self.at(3_000))
        #expect(departures.count == 0 && departures.serial != serial)
        // One whose advert is gone does not come back in a moment.
        departures.note(with, .empty(node: with.node), now: Self.at(4_000))
        #expect(departures.count == 0)
    }

    @Test func theTableIsBounded() {
        var departures = Departures(limit: 1)
        let with = Market([Market.Offer(id: "lab"), Market.Offer(id: "den")]).catalog
        let without = Catalog(
            node: with.node, nodes: with.nodes,
            providers: with.providers.map { $0.served(by: [], remote: [], modelsSeen: []) })
        departures.note(with, without, now: Self.at(0))
        #expect(departures.count == 1)
    }

    /// A policy's request waits for whoever rests and would do, or has just left and would.
    @Test func whomAPolicyWaitsFor() {
        let (with, without, _) = Self.catalogs()
        var desk = PolicyDesk(with, turn: 0)
        func soonest(_ departed: PolicyIndex?, _ policy: Policy = Policy(name: "p"), at milliseconds: Int64) -> Instant?
        {
            var desk = desk
            return desk.soonest(departed, now: Self.at(milliseconds)) { view in
                let query = PolicyQuery(view.index, policy: policy, targets: nil, principal: Market.asAlice)
                return view.decide(query, limit: 8).map(\.key)
            }
        }
        #expect(soonest(nil, at: 0) == nil, "nobody rests")
        let key = CandidateKey(provider: with.providers[0].key, node: Market.there, model: "m")
        desk.failed(key, .rateLimit(retryAfterSeconds: 7), now: Self.at(0))
        #expect(soonest(nil, at: 0) == Self.at(7_000))
        desk = PolicyDesk(without, turn: 0)
        #expect(soonest(nil, at: 0) == nil)
        #expect(soonest(PolicyIndex(with), at: 5) == Self.at(5))
        var picky = Policy(name: "p")
        picky.rules.leastContext = 1_000_000
        #expect(soonest(PolicyIndex(with), picky, at: 5) == nil, "it would not do")
    }
}
