import MeshAccounting
import MeshModel
import Testing

/// What becomes of a request that is asked again.
@Suite struct IdempotencyTableTests {
    private typealias Table = IdempotencyTable<String>

    private static func mark(_ key: UInt64, of owner: UInt64 = 1) -> IdempotencyMark {
        IdempotencyMark(
            owner: PublicKey(Bytes32(high: Bytes16(high: 1, low: owner), low: .zero)), key: Bytes16(high: 0, low: key))
    }
    private static func body(_ number: UInt64) -> Bytes32 { Bytes32(high: .zero, low: Bytes16(high: 0, low: number)) }
    private static func at(_ milliseconds: Int64) -> Instant {
        Instant(nanoseconds: 0).advanced(byMilliseconds: milliseconds)
    }

    private static func ask(
        _ table: inout Table, _ key: UInt64, of owner: UInt64 = 1, body: UInt64 = 7, at milliseconds: Int64 = 0
    ) -> (word: String, ticket: Table.Ticket?) {
        switch table.begin(mark(key, of: owner), Self.body(body), now: at(milliseconds)) {
        case .first(let ticket): ("first", ticket)
        case .underWay: ("under way", nil)
        case .kept(let answer): (answer, nil)
        case .spent: ("spent", nil)
        case .reused: ("reused", nil)
        case .full: ("full", nil)
        }
    }

    private static func first(
        _ table: inout Table, _ key: UInt64, of owner: UInt64 = 1, at milliseconds: Int64 = 0
    ) throws -> Table.Ticket {
        let asked = ask(&table, key, of: owner, at: milliseconds)
        return try #require(asked.ticket)
    }

    /// How the first one ended, and what the second one gets.
    @Test(
        arguments: [
            (nil, "under way"), (Table.Ending.kept("yes", bytes: 3), "yes"), (.spent, "spent"), (.forgotten, "first"),
        ] as [(Table.Ending?, String)])
    private func whoAsksAgain(ending: Table.Ending?, expected: String) throws {
        var table = Table()
        let ticket = try Self.first(&table, 1)
        if let ending { table.end(ticket, ending, now: Self.at(1)) }
        let other = Self.ask(&table, 1, body: 8, at: 2).word
        #expect(other == (expected == "first" ? "first" : "reused"))
        if expected != "first" {
            let again = Self.ask(&table, 1, at: 2).word
            #expect(again == expected)
        }
        let stranger = Self.ask(&table, 1, of: 2, at: 2).word
        #expect(stranger == "first", "another owner's keys are his own")
    }

    @Test func onlyTheFirstEndingCounts() throws {
        var table = Table()
        let ticket = try Self.first(&table, 1)
        table.end(ticket, .kept("a", bytes: 1), now: Self.at(1))
        table.end(ticket, .forgotten, now: Self.at(2))
        let again = Self.ask(&table, 1, at: 3).word
        #expect(again == "a")
    }

    /// The end of a forgotten one says nothing about whoever has its mark now.
    @Test func aMarkThatWasGivenAnewIsTheNewOnes() throws {
        var table = Table()
        let old = try Self.first(&table, 1)
        table.end(old, .forgotten, now: Self.at(1))
        let new = try Self.first(&table, 1, at: 2)
        table.end(old, .kept("old", bytes: 3), now: Self.at(3))
        let meanwhile = Self.ask(&table, 1, at: 4).word
        #expect(meanwhile == "under way")
        table.end(new, .kept("new", bytes: 3), now: Self.at(5))
        let again = Self.ask(&table, 1, at: 6).word
        #expect(again == "new")
    }

    @Test func answersAreKeptForAnHour() throws {
        var table = Table()
        let ticket = try Self.first(&table, 1)
        // What is under way is never forgotten.
        let meanwhile = Self.ask(&table, 1, at: 2 * Limits.idempotencyMs).word
        #expect(meanwhile == "under way")
        let end = 2 * Limits.idempotencyMs
        table.end(ticket, .kept("a", bytes: 1), now: Self.at(end))
        let last = Self.ask(&table, 1, at: end + Limits.idempotencyMs - 1).word
        #expect(last == "a")
        let late = Self.ask(&table, 1, at: end + Limits.idempotencyMs).word
        #expect(late == "first")
        #expect(table.heldBytes == 0)
    }

    @Test func anOwnerHasSoManyAndTheOldestGoes() throws {
        var table = Table(keys: 100, keysPerOwner: 3, bytes: 1_000)
        let other = try Self.first(&table, 9, of: 2)
        table.end(other, .kept("other", bytes: 5), now: Self.at(0))
        for key in 1...3 as ClosedRange<UInt64> {
            let ticket = try Self.first(&table, key, at: Int64(key))
            if key > 1 { table.end(ticket, .kept("\(key)", bytes: 1), now: Self.at(Int64(key))) }
        }
        let fourth = try Self.first(&table, 4, at: 10)
        table.end(fourth, .kept("4", bytes: 1), now: Self.at(10))
        let words = [1, 3, 4].map { Self.ask(&table, $0, at: 11).word }
        #expect(words == ["under way", "3", "4"], "2 was the oldest that had ended")
        let others = Self.ask(&table, 9, of: 2, at: 11).word
        #expect(others == "other")
    }

    @Test func whereAllAreUnderWayThereIsNoRoom() throws {
        var table = Table(keys: 3, keysPerOwner: 2, bytes: 1_000)
        for key in 1...2 as ClosedRange<UInt64> { _ = try Self.first(&table, key) }
        let third = Self.ask(&table, 3).word
        #expect(third == "full")
        _ = try Self.first(&table, 1, of: 2)
        let crowded = Self.ask(&table, 1, of: 3).word
        #expect(crowded == "full")
        #expect(table.count == 3)
    }

    /// The oldest answers go; that they were given does not.
    @Test func answersTogetherHaveABound() throws {
        var table = Table(keys: 100, keysPerOwner: 100, bytes: 10)
        for key in 1...4 as ClosedRange<UInt64> {
            let ticket = try Self.first(&table, key)
            table.end(ticket, .kept("\(key)", bytes: 4), now: Self.at(Int64(key)))
            #expect(table.heldBytes <= 10)
        }
        let words = (1...4).map { Self.ask(&table, $0, at: 9).word }
        #expect(words == ["spent", "spent", "3", "4"])
    }

    /// Random requests of many owners: never more than the bounds, and nothing under way is lost.
    @Test func boundsHoldWhateverComes() {
        for seed in 1...20 as ClosedRange<UInt64> {
            var random = SeededGenerator(seed: seed)
            var table = Table(keys: 40, keysPerOwner: 12, bytes: 300)
            var underWay: [Table.Ticket] = []
            for step in 0..<4_000 {
                let asked = Self.ask(
                    &table, random.next() % 60, of: random.next() % 6, body: random.next() % 2,
                    at: Int64(step) * 5_000)
                if let ticket = asked.ticket { underWay.append(ticket) }
                if !underWay.isEmpty, random.next() % 3 > 0 {
                    let ticket = underWay.remove(at: Int(random.next() % UInt64(underWay.count)))
                    let endings: [Table.Ending] = [
                        .kept("x", bytes: Int(random.next() % 90)), .spent, .forgotten,
                    ]
                    table.end(ticket, endings[Int(random.next() % 3)], now: Self.at(Int64(step) * 5_000))
                }
                guard table.count <= 40, table.heldBytes <= 300 else {
                    Issue.record("\(table.count) marks, \(table.heldBytes) bytes with seed \(seed)")
                    return
                }
            }
            for ticket in underWay {
                let again = table.begin(ticket.mark, Self.body(99), now: Self.at(20_000_000))
                guard case .reused = again else {
                    Issue.record("one that is under way was forgotten with seed \(seed)")
                    return
                }
            }
        }
    }
}
