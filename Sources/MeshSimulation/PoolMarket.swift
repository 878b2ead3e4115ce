import MeshModel
import MeshRouting

/// What there is to buy in the scenario of pools: sellers whose workers come and go, fail, hang, have enough for a while
/// or an empty account, all by chance.
struct PoolMarket: Sendable {
    struct Seller: Sendable {
        var name: String
        /// Tokens of its window.
        var window: Int
        /// Nodes that it has workers at.
        var nodes: Int
        /// Requests that it takes at once at one node; nil: any number.
        var places: Int?
        /// Rented capacity, which is always there and seldom has enough.
        var isHosted = false
    }

    enum Mode: Hashable, Sendable {
        case well
        case failing
        /// Accepts, and says nothing any more.
        case hanging
        /// Has enough until then.
        case limited(until: Instant)
        /// Its own key is refused.
        case refused
        /// Takes nothing new and leaves soon.
        case leaving
        case gone
    }

    /// A seller's workers at one node.
    struct Seat: Sendable {
        var seller: Int
        var node: PublicKey
        /// Which of the nodes that buyers ask it is at; nil: at none of them.
        var host: Int?
        var mode = Mode.well
        var underWay = 0
    }

    private static let builtIn = [
        Seller(name: "a", window: 131_072, nodes: 2, places: 6), Seller(name: "b", window: 32_768, nodes: 1, places: 6),
        Seller(name: "c", window: 16_384, nodes: 2, places: 3), Seller(name: "d", window: 16_384, nodes: 1, places: 4),
        Seller(name: "hosted", window: 200_000, nodes: 2, places: nil, isHosted: true),
    ]

    /// The names that stand for a seller in a rotation.
    func seller(_ name: String) -> Int? { sellers.firstIndex { $0.name == name } }

    static func key(_ seller: Int) -> RecordKey { RecordKey(Bytes16(high: 0x706f_6f6c, low: UInt64(seller))) }

    /// `even` shares by weight alone, `chat` keeps conversations together; both have the same sellers.
    private static func rotations() -> [Rotation] {
        var even = Rotation.Settings()
        even.stickiness = .off
        let home = Rotation(name: "home", members: [member("c", 1), member("d", 1)])
        let inner = Rotation.Member(.rotation("home"), weight: 2)
        let hosted = member("hosted", 1, tier: 1)
        return [
            Rotation(name: "even", members: [member("a", 5), member("b", 3), inner, hosted], settings: even),
            Rotation(name: "chat", members: [member("a", 2), member("b", 1), inner, hosted]), home,
        ]
    }

    private static func member(_ name: String, _ weight: Int, tier: Int = 0) -> Rotation.Member {
        Rotation.Member(.provider(name, model: "m"), weight: weight, tier: tier)
    }

    let sellers: [Seller]
    /// What buyers ask for, and the rotations that only stand in others.
    let rotations: [Rotation]
    let inner: [Rotation]
    let policies: [Policy]
    var seats: [Seat] = []
    var random: SeededGenerator

    init(seed: UInt64) {
        let rotations = Self.rotations()
        self.init(
            sellers: Self.builtIn, rotations: Array(rotations.prefix(2)), inner: Array(rotations.dropFirst(2)),
            policies: [], seed: seed)
        for (number, seller) in sellers.enumerated() {
            for node in 0..<seller.nodes {
                let raw = Bytes16(high: UInt64(number), low: UInt64(node))
                seats.append(Seat(seller: number, node: PublicKey(Bytes32(high: raw, low: .zero))))
            }
        }
    }

    init(sellers: [Seller], rotations: [Rotation], inner: [Rotation], policies: [Policy], seed: UInt64) {
        self.sellers = sellers
        self.rotations = rotations
        self.inner = inner
        self.policies = policies
        random = SeededGenerator(seed: seed)
    }

    /// The pools of buyers, in their order.
    var ids: [PoolID] { rotations.map { PoolID(scope: .global, name: $0.name) } }

    mutating func draw(_ range: ClosedRange<Int64>) -> Int64 {
        range.lowerBound + Int64(random.next() % UInt64(range.upperBound - range.lowerBound + 1))
    }

    /// What becomes of a seat next, and for how long.
    mutating func change(_ number: Int, now: Instant) -> Int64 {
        let seat = seats[number]
        let isHosted = sellers[seat.seller].isHosted
        guard seat.mode == .well || seat.mode == .leaving else {
            seats[number].mode = .well
            return draw(600_000...10_000_000)
        }
        if seat.mode == .leaving {
            seats[number].mode = .gone
            return draw(5_000...1_200_000)
        }
        let chance = isHosted ? 2 : random.next() % 10
        switch chance {
        case 0:
            seats[number].mode = .failing
            return draw(10_000...600_000)
        case 1:
            seats[number].mode = .hanging
            return draw(10_000...300_000)
        case 2, 3:
            let time = isHosted ? draw(1_000...8_000) : draw(5_000...120_000)
            seats[number].mode = .limited(until: now.advanced(byMilliseconds: time))
            return time
        case 4:
            seats[number].mode = .refused
            return draw(60_000...1_200_000)
        case 5, 6:
            seats[number].mode = .leaving
            return draw(2_000...60_000)
        case _:
            seats[number].mode = .gone
            return draw(2_000...1_200_000)
        }
    }

    /// Whether a request would be served there now.
    func serves(_ number: Int, tokens: Int) -> Bool {
        let seat = seats[number]
        let seller = sellers[seat.seller]
        return seat.mode == .well && tokens <= seller.window && seller.places.map { seat.underWay < $0 } ?? true
    }

    /// How a request fares that reaches a seat, and after how many milliseconds its fate shows: content, or a failure.
    mutating func fate(_ number: Int, tokens: Int, now: Instant) -> (afterMs: Int64, fault: Fault?) {
        let seat = seats[number]
        let seller = sellers[seat.seller]
        switch seat.mode {
        case .gone: return (draw(1...20), .transport)
        case .leaving: return (draw(1...50), .busy)
        case .refused: return (draw(20...200), .credentials)
        case .hanging: return (Self.patienceMs, .timeout)
        case .failing: return (draw(20...2_000), .server)
        case .limited(let until):
            let seconds = Int((max(until.milliseconds(since: now), 1) + 999) / 1_000)
            return (draw(5...100), .rateLimit(retryAfterSeconds: seconds))
        case .well: break
        }
        if tokens > seller.window { return (draw(50...300), .context) }
        if let places = seller.places, seat.underWay >= places { return (draw(1...50), .busy) }
        if random.next() % 300 == 0 { return (draw(50...3_000), .server) }
        return (draw(100...3_000), nil)
    }

    /// How long one attempt may take for its first content.
    static let patienceMs: Int64 = 10_000
}
