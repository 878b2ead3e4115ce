import MeshCrypto
import MeshModel
import Testing

@testable import MeshBroker

/// Who gets the places when there are more workers than a node may announce.
@Suite struct AnnouncementTests {
    /// Names stand for keys, so that a test can be read.
    struct Room {
        var announcements: Announcements
        var nowMs: Int64 = 0
        var withdrawn = 0
        private(set) var known: [String] = []

        init(limit: Int) { announcements = Announcements(limit: limit) }

        var now: Instant { Instant(nanoseconds: 0).advanced(byMilliseconds: nowMs) }

        static func key(_ name: String) -> RecordKey { RecordKey(Sodium.shared.hash16(Array(name.utf8), key: [])) }
        static func owner(_ name: String) -> PublicKey { PublicKey(Sodium.shared.hash32(Array(name.utf8))) }

        mutating func attach(_ name: String, owner: String = "o", provider: String = "p", offers: [String] = ["m"]) {
            if !known.contains(name) { known.append(name) }
            announcements.set(
                .init(
                    owner: Self.owner(owner), provider: Self.key(provider), since: Timestamp(milliseconds: nowMs),
                    offers: offers), for: Self.key(name), now: now)
            nowMs += 1
        }

        mutating func detach(_ name: String) { announcements.remove(Self.key(name), now: now) }

        /// As much later as it takes.
        @discardableResult
        mutating func review() -> Announcements.Change {
            if let due = announcements.reviewDue { nowMs += max(due.milliseconds(since: now), 0) }
            let change = announcements.review(now: now)
            withdrawn += change.withdrawn.count
            return change
        }

        var told: [String] { known.filter { announcements.isAnnounced(Self.key($0)) } }
    }

    @Test func whileThereIsRoomAllAreAnnouncedAtOnce() {
        var room = Room(limit: 4)
        for name in ["a", "b", "c", "d"] {
            room.attach(name)
            #expect(room.told.last == name)
        }
        #expect(room.announcements.reviewDue == nil)
        room.attach("e")
        room.review()
        #expect(room.told == ["a", "b", "c", "d"], "the first ones stay among equals")
        room.detach("b")
        room.review()
        #expect(room.told == ["a", "c", "d", "e"])
        #expect(room.withdrawn == 0)
    }

    @Test func ownersTakeTurnsWhateverTheirNumbers() {
        var room = Room(limit: 6)
        for number in 0..<50 { room.attach("big\(number)", owner: "big") }
        room.attach("x", owner: "small", provider: "q")
        room.attach("y", owner: "tiny", provider: "r")
        room.attach("z", owner: "small", provider: "q")
        room.review()
        #expect(room.told == ["big0", "big1", "big2", "x", "y", "z"])
        #expect(room.withdrawn == 3)
    }

    /// Sixty-four providers of one owner are no sixty-four owners.
    @Test func anOwnersProvidersShareTheOwnersPlaces() {
        var room = Room(limit: 8)
        for provider in 0..<20 {
            for number in 0..<3 { room.attach("b\(provider).\(number)", owner: "big", provider: "b\(provider)") }
        }
        for number in 0..<4 { room.attach("s\(number)", owner: "small", provider: "s") }
        room.review()
        #expect(room.told.filter { $0.hasPrefix("s") }.count == 4)
        let providers = room.told.filter { $0.hasPrefix("b") }.map { $0.prefix { $0 != "." } }
        #expect(Set(providers).count == 4, "one place for each of four providers")
    }

    @Test func whoShowsTheMeshSomethingNewGoesFirst() {
        var room = Room(limit: 3)
        for number in 0..<10 { room.attach("w\(number)") }
        room.attach("other", offers: ["m", "n"])
        room.review()
        #expect(room.told == ["w0", "w1", "other"], "the last of the equal ones gave way")
        room.attach("w9", offers: ["m", "e"])
        room.review()
        #expect(room.told == ["w0", "w9", "other"])
        room.detach("other")
        room.attach("again", offers: ["n"])
        room.review()
        #expect(room.told == ["w0", "w9", "again"])
    }

    @Test func reviewsAreRareAndChangeNothingTwice() {
        var room = Room(limit: 4)
        for number in 0..<40 { room.attach("w\(number)", owner: "o\(number % 7)", provider: "p\(number)") }
        room.review()
        let told = room.told
        #expect(told.count == 4)
        let reviewed = room.nowMs
        room.attach("w1", owner: "o1", provider: "p1", offers: ["m", "x"])
        #expect(room.announcements.reviewDue?.milliseconds(since: room.now) == reviewed + 1_000 - room.nowMs)
        #expect(room.announcements.review(now: room.now) == .init(), "not due yet")
        room.review()
        #expect(room.told == told)
        // Every place that is free again goes to somebody, and nobody else moves.
        for name in told {
            let before = room.told
            room.detach(name)
            room.review()
            #expect(room.told.count == 4)
            #expect(before.filter { !room.told.contains($0) } == [name])
        }
    }

    @Test func whoComesAndGoesMovesNobodyElse() {
        var room = Room(limit: 8)
        for number in 0..<8 { room.attach("a\(number)", owner: "a", provider: "a") }
        for round in 0..<50 {
            room.attach("b\(round)", owner: "b", provider: "b")
            room.attach("a-\(round)", owner: "a", provider: "a")
            room.review()
            room.detach("b\(round)")
            room.detach("a-\(round)")
            room.review()
        }
        // One place changes hands and back, round by round, and no more.
        #expect(room.withdrawn <= 50)
        for number in 0..<7 { #expect(room.told.contains("a\(number)")) }
    }

    @Test func theOutcomeDependsOnNothingButTheWorkers() {
        func told(_ seed: UInt64) -> [String] {
            var random = SeededGenerator(seed: 3)
            var room = Room(limit: 16)
            var noise: [String: Int] = [:]
            for step in 0..<400 {
                // Dictionaries of other sizes elsewhere must not matter.
                noise["\(seed) \(step)"] = step
                let number = Int(random.next() % 60)
                if random.next() % 3 == 0 {
                    room.detach("w\(number)")
                } else {
                    room.attach(
                        "w\(number)", owner: "o\(number % 5)", provider: "p\(number % 10)", offers: ["m\(number % 13)"])
                }
                if step % 40 == 0 { room.review() }
            }
            room.review()
            return room.told
        }
        #expect(told(1).count == 16)
        #expect(told(1) == told(2))
    }
}
