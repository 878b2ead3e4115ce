import MeshModel
import Testing

@testable import MeshUpstream

/// Which key is next, and which rests.
@Suite struct KeyRingTests {
    private static let failure = BackendFailure(
        code: "backend_refused", message: "no", detail: "d", cause: .credentials)

    private static func at(_ seconds: Int64) -> Instant {
        Instant(nanoseconds: 1).advanced(byMilliseconds: seconds * 1_000)
    }

    private static func key(_ turn: KeyRing.Turn) -> Int? {
        switch turn {
        case .ask(let key): key
        case .refuse: nil
        }
    }

    @Test func keysTakeTurns() {
        var ring = KeyRing(count: 3, holdsBack: true)
        let turns = (0..<7).map { _ in Self.key(ring.turn(now: Self.at(0))) }
        #expect(turns == [0, 1, 2, 0, 1, 2, 0])
    }

    @Test func oneThatIsRefusedRestsAloneForHalfAnHour() {
        var ring = KeyRing(count: 2, holdsBack: true)
        #expect(Self.key(ring.turn(now: Self.at(0))) == 0)
        ring.refused(0, Self.failure, now: Self.at(0))
        let other = ring.other(than: 0, now: Self.at(0))
        #expect(other == 1)
        for second in stride(from: Int64(1), to: 1_800, by: 100) {
            #expect(Self.key(ring.turn(now: Self.at(second))) == 1)
        }
        let later = (0..<2).map { _ in Self.key(ring.turn(now: Self.at(1_800))) }
        #expect(later.contains(0))
    }

    @Test func whenAllAreRefusedOneRequestAMinuteIsLetThrough() {
        var ring = KeyRing(count: 2, holdsBack: true)
        for key in 0..<2 {
            _ = ring.turn(now: Self.at(0))
            ring.refused(key, Self.failure, now: Self.at(0))
        }
        let other = ring.other(than: 0, now: Self.at(0))
        #expect(other == nil)
        #expect(ring.turn(now: Self.at(1)) == .refuse(Self.failure))
        #expect(ring.turn(now: Self.at(59)) == .refuse(Self.failure))
        let trial = Self.key(ring.turn(now: Self.at(60)))
        #expect(trial != nil)
        #expect(ring.turn(now: Self.at(61)) == .refuse(Self.failure))
        // It was paid.
        ring.answered(trial ?? 0)
        for _ in 0..<3 { #expect(Self.key(ring.turn(now: Self.at(62))) == trial) }
    }

    @Test func whoHoldsNobodyBackAsksAllTheSame() {
        var ring = KeyRing(count: 1, holdsBack: false)
        for second in 0..<5 {
            #expect(Self.key(ring.turn(now: Self.at(Int64(second)))) == 0)
            ring.refused(0, Self.failure, now: Self.at(Int64(second)))
        }
    }

    @Test func oneThatHasHadEnoughRestsAsLongAsItWasTold() {
        var ring = KeyRing(count: 2, holdsBack: true)
        ring.limited(0, retryAfterSeconds: 30, now: Self.at(0))
        // A shorter rest does not end a longer one.
        ring.limited(0, retryAfterSeconds: 1, now: Self.at(1))
        for second in [Int64(2), 15, 29] { #expect(Self.key(ring.turn(now: Self.at(second))) == 1) }
        #expect(ring.standings(now: Self.at(29)).map(\.rest) == [.limited, nil])
        #expect(ring.standings(now: Self.at(30)).map(\.rest) == [nil, nil])
        // All of them: the upstream says better how long.
        ring.limited(0, retryAfterSeconds: 40, now: Self.at(30))
        ring.limited(1, retryAfterSeconds: 20, now: Self.at(30))
        #expect(Self.key(ring.turn(now: Self.at(31))) == 1)
        ring.limited(1, retryAfterSeconds: .max, now: Self.at(31))
        #expect(ring.standings(now: Self.at(31))[1].until == Self.at(31 + Int64(Limits.retryAfterSeconds)))
    }

    @Test func withoutAKeyThereIsOneTurnWithoutOne() {
        var ring = KeyRing(count: 0, holdsBack: true)
        #expect(ring.count == 1 && Self.key(ring.turn(now: Self.at(0))) == 0)
        let other = ring.other(than: 0, now: Self.at(0))
        #expect(other == nil)
    }

    @Test(arguments: [
        (401, "", SellerRefusal.credentials), (407, "", .credentials), (402, "", .billing),
        (403, #"{"error":{"code":"invalid_api_key"}}"#, .credentials),
        (403, #"{"error":{"type":"permission_error","message":"x"}}"#, .credentials),
        (403, #"{"error":{"message":"your input was flagged: invalid_api_key","code":403}}"#, .denied),
        (403, "Forbidden", .denied), (403, #"{"code":"insufficient_quota"}"#, .billing),
        (429, #"{"error":{"code":"insufficient_quota","type":"insufficient_quota"}}"#, .billing),
        (429, #"{"error":{"message":"insufficient_quota"}}"#, .limited(retryAfterSeconds: 7)),
    ])
    func whatAStatusSaysOfTheSeller(status: Int, body: String, expected: SellerRefusal) {
        #expect(SellerRefusal(status: status, retryAfter: "7", body: Array(body.utf8)) == expected)
    }

    @Test(arguments: [(nil, nil), ("20", 20), ("0.5", 1), ("soon", nil), ("-3", nil)] as [(String?, Int?)])
    func howLongItRests(text: String?, seconds: Int?) {
        #expect(SellerRefusal(status: 429, retryAfter: text, body: []) == .limited(retryAfterSeconds: seconds))
        for status in [200, 400, 404, 500, 503] {
            #expect(SellerRefusal(status: status, retryAfter: text, body: []) == nil)
        }
    }
}
