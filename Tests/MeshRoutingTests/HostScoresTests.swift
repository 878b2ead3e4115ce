import MeshCrypto
import MeshModel
import MeshRouting
import Testing

@Suite struct HostScoresTests {
    static let provider = RecordKey(Bytes16(high: 1, low: 1))
    static func host(_ number: UInt8, _ provider: RecordKey = provider) -> HostScores.Host {
        HostScores.Host(node: PublicKey(Sodium.shared.hash32([number])), provider: provider)
    }
    static func at(_ milliseconds: Int64) -> Instant {
        Instant(nanoseconds: 5_000_000_000).advanced(byMilliseconds: milliseconds)
    }

    /// Two or more hosts, and how often each is tried first.
    struct Mesh {
        var scores = HostScores()
        var hosts: [HostScores.Host]
        var nowMs: Int64 = 0
        var turn: UInt64 = 0

        init(_ count: UInt8) { hosts = (0..<count).map { HostScoresTests.host($0) } }

        mutating func answer(_ index: Int, afterMs: Int64) {
            scores.began(hosts[index])
            scores.answered(hosts[index], afterMs: afterMs, now: HostScoresTests.at(nowMs))
            scores.ended(hosts[index])
        }

        mutating func fail(_ index: Int, afterMs: Int64 = 1) {
            scores.began(hosts[index])
            scores.failed(hosts[index], afterMs: afterMs, now: HostScoresTests.at(nowMs))
            scores.ended(hosts[index])
        }

        mutating func firsts(_ rounds: Int = 1_000) -> [Int] {
            var counts = [Int](repeating: 0, count: hosts.count)
            for _ in 0..<rounds {
                turn += 1
                counts[scores.order(hosts, limit: 3, turn: turn, now: HostScoresTests.at(nowMs))[0]] += 1
            }
            return counts
        }
    }

    @Test func withoutMeasurementsAllAreTried() {
        var mesh = Mesh(5)
        #expect(mesh.firsts().allSatisfy { (150...250).contains($0) })
    }

    @Test func anOrderNamesEachOnceUpToTheLimit() {
        var scores = HostScores()
        let hosts = (0..<9).map { Self.host($0) }
        for turn in 0..<200 {
            let order = scores.order(hosts, limit: 3, turn: UInt64(turn), now: Self.at(0))
            #expect(order.count == 3)
            #expect(Set(order).count == 3)
            #expect(order == scores.order(hosts, limit: 3, turn: UInt64(turn), now: Self.at(0)))
        }
        #expect(scores.order(hosts, limit: 20, turn: 1, now: Self.at(0)).sorted() == Array(0..<9))
        #expect(scores.order([], limit: 3, turn: 1, now: Self.at(0)).isEmpty)
        scores.began(hosts[0])
        #expect(scores.order([hosts[0]], limit: 3, turn: 1, now: Self.at(0)) == [0])
    }

    @Test func theFasterOfTwoIsTriedFirst() {
        var mesh = Mesh(2)
        mesh.answer(0, afterMs: 3_000)
        mesh.answer(1, afterMs: 200)
        #expect(mesh.firsts() == [0, 1_000])
    }

    /// With more than two, the slowest is never the better of two, and the fastest is not run over.
    @Test func ofManyTheSlowestIsLeftOut() {
        var mesh = Mesh(4)
        for index in 0..<4 { mesh.answer(index, afterMs: [200, 400, 800, 5_000][index]) }
        let firsts = mesh.firsts()
        #expect(firsts[3] == 0)
        #expect((400...600).contains(firsts[0]))
        #expect(firsts[1] > firsts[2])
    }

    @Test func requestsUnderWayCount() {
        var mesh = Mesh(2)
        mesh.answer(0, afterMs: 200)
        mesh.answer(1, afterMs: 500)
        for _ in 0..<2 { mesh.scores.began(mesh.hosts[0]) }
        #expect(mesh.firsts() == [0, 1_000], "three times 200 against 500")
        mesh.scores.ended(mesh.hosts[0])
        #expect(mesh.firsts() == [1_000, 0])
        for _ in 0..<9 { mesh.scores.ended(mesh.hosts[0]) }
        #expect(mesh.firsts() == [1_000, 0], "an end too many does not make anybody cheaper")
    }

    @Test func aSlowAnswerCountsAtOnceAndQuickOnesOverTime() {
        var mesh = Mesh(2)
        mesh.answer(0, afterMs: 300)
        mesh.answer(1, afterMs: 1_000)
        mesh.answer(0, afterMs: 9_000)
        #expect(mesh.firsts() == [0, 1_000])
        for _ in 0..<100 { mesh.answer(0, afterMs: 300) }
        #expect(mesh.firsts() == [0, 1_000], "a burst at one moment makes up for nothing")
        for _ in 0..<120 {
            mesh.nowMs += 1_000
            mesh.answer(0, afterMs: 300)
            mesh.answer(1, afterMs: 1_000)
        }
        #expect(mesh.firsts() == [1_000, 0])
    }

    @Test func whoFailsAtOnceIsNotTheFastest() {
        var mesh = Mesh(2)
        mesh.answer(1, afterMs: 2_000)
        mesh.fail(0)
        #expect(mesh.firsts() == [0, 1_000], "never measured, and failed")
        mesh = Mesh(2)
        mesh.answer(0, afterMs: 1_500)
        mesh.answer(1, afterMs: 2_000)
        #expect(mesh.firsts() == [1_000, 0])
        mesh.fail(0)
        #expect(mesh.firsts() == [0, 1_000])
        for _ in 0..<100 { mesh.fail(0, afterMs: .max) }
        mesh.nowMs += 600_000
        mesh.answer(1, afterMs: 2_000)
        #expect(mesh.firsts() == [1_000, 0], "after ten quiet minutes it is tried again")
    }

    @Test func whoWasNeverMeasuredCountsLikeTheMiddle() {
        var mesh = Mesh(3)
        mesh.answer(0, afterMs: 200)
        mesh.answer(1, afterMs: 4_000)
        let firsts = mesh.firsts()
        #expect(firsts[2] > 200, "an unknown one is tried")
        #expect(firsts[1] == 0 || firsts[1] < firsts[2])
        // One that is asked and does not answer loses its appeal.
        for _ in 0..<30 { mesh.scores.began(mesh.hosts[2]) }
        #expect(mesh.firsts()[2] == 0)
    }

    @Test func oneProviderAtANodeSaysNothingOfAnother() {
        var scores = HostScores()
        let other = RecordKey(Bytes16(high: 2, low: 2))
        let slow = Self.host(0)
        scores.began(slow)
        scores.answered(slow, afterMs: 50_000, now: Self.at(0))
        let hosts = [Self.host(0, other), Self.host(1, other)]
        let firsts = (0..<1_000).map { scores.order(hosts, limit: 1, turn: UInt64($0), now: Self.at(0))[0] }
        #expect((400...600).contains(firsts.filter { $0 == 0 }.count))
    }

    @Test func theTableIsBounded() {
        var scores = HostScores(limit: 8)
        func key(_ number: Int) -> HostScores.Host {
            HostScores.Host(node: Self.host(0).node, provider: RecordKey(Bytes16(high: 3, low: UInt64(number))))
        }
        scores.began(key(0))
        for number in 1..<1_000 {
            scores.began(key(number))
            scores.answered(key(number), afterMs: 5, now: Self.at(0))
            scores.ended(key(number))
            #expect(scores.count <= 8)
        }
        // What is under way is not forgotten: it would be cheaper than it is.
        let hosts = [key(0), key(2_000)]
        #expect((0..<100).allSatisfy { scores.order(hosts, limit: 1, turn: UInt64($0), now: Self.at(0)) == [1] })
        for number in 3_000..<3_100 { scores.began(key(number)) }
        #expect(scores.count <= 8)
    }

    @Test func absurdTimesAreNoTrouble() {
        var mesh = Mesh(2)
        for value in [Int64.min, -1, 0, 1, .max] {
            mesh.answer(0, afterMs: value)
            mesh.fail(0, afterMs: value)
        }
        for instant in [Int64.min, -1, 0, .max] {
            _ = mesh.scores.order(mesh.hosts, limit: 3, turn: .max, now: Instant(nanoseconds: instant))
            mesh.scores.answered(mesh.hosts[1], afterMs: 3, now: Instant(nanoseconds: instant))
        }
    }

    @Test func anOperatorOfManyNodesHasOneOfTheFirstAttempts() {
        let keys = (0..<3).map { PublicKey(Sodium.shared.hash32([UInt8($0)])) }
        let owner = [0, 0, 1, 0, 2, 1]
        let order = HostScores.spread([3, 0, 2, 1, 5, 4]) { keys[owner[$0]] }
        #expect(order == [3, 2, 4, 0, 1, 5])
        #expect(HostScores.spread([]) { keys[$0] } == [])
    }
}
