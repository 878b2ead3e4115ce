import MeshAccounting
import MeshModel

/// A ledger with a store beside it that writes when it is told to, and a clock that is moved by hand.
final class LedgerRig {
    var ledger = Ledger()
    var now = Now(
        instant: Instant(nanoseconds: 5_000_000_000_000), wall: Timestamp(milliseconds: 1_798_700_000_000))
    private(set) var taken: [Key: Int64] = [:]
    /// What the store has not written yet.
    var waiting: [QuotaSlice] = []
    var quotas: [(subject: QuotaSubject, quota: Quota)] = []

    struct Key: Hashable {
        var subject: QuotaSubject
        var measure: QuotaMeasure
        var period: QuotaPeriod

        init(_ slice: QuotaSlice) {
            subject = slice.subject
            measure = slice.measure
            period = slice.period
        }
    }

    static let key = QuotaSubject(.key, "0123456789ab")
    static let user = QuotaSubject(.user, "bob")
    static let anywhere = QuotaRequest(address: nil, route: "chat/completions", models: [["lab/m1"]])

    init(_ quotas: [(QuotaSubject, Quota)]) {
        self.quotas = quotas.map { ($0.0, $0.1) }
        define()
    }

    convenience init(_ change: (inout Quota) -> Void) {
        var quota = Quota()
        change(&quota)
        self.init([(Self.key, quota)])
    }

    func define() {
        waiting += ledger.define(quotas, now: now)
        ask()
        write()
    }

    func ask() { waiting += ledger.wanted(now: now) }

    /// The store writes `count` of what waits.
    func write(_ count: Int = .max) {
        for slice in waiting.prefix(count) {
            let total = persist(slice)
            if slice.amount > 0 { ledger.granted(slice, taken: total) }
        }
        waiting.removeFirst(min(count, waiting.count))
    }

    /// On the disk, and nobody was told.
    @discardableResult
    func persist(_ slice: QuotaSlice) -> Int64 {
        taken[Key(slice), default: 0] += slice.amount
        return taken[Key(slice), default: 0]
    }

    func fail() {
        for slice in waiting { ledger.refused(slice) }
        waiting = []
    }

    func pass(_ milliseconds: Int64) {
        now.instant = now.instant.advanced(byMilliseconds: milliseconds)
        now.wall = now.wall.advanced(byMilliseconds: milliseconds)
    }

    /// The process ends and another begins on the same disk.
    func crash(forgetting: Bool = false) {
        ledger = Ledger()
        waiting = []
        if forgetting { taken = [:] }
        define()
    }

    func admit(
        _ estimate: QuotaEstimate = .nothing, _ subjects: [QuotaSubject] = [key, user],
        request: QuotaRequest = anywhere
    ) -> Result<QuotaHold?, QuotaRefusal> {
        let result = ledger.admit(request, estimate, for: subjects, now: now)
        ask()
        return result
    }

    func hold(_ tokens: Int64) -> QuotaHold? { try? admit(.tokens(tokens)).get() }

    func refusal(_ estimate: QuotaEstimate = .nothing, request: QuotaRequest = anywhere) -> QuotaRefusal? {
        if case .failure(let refusal) = admit(estimate, request: request) { refusal } else { nil }
    }

    func standing(_ limit: QuotaLimit) -> QuotaStanding? {
        ledger.standings(of: Self.key, now: now).first { $0.limit == limit }
    }
}

extension QuotaEstimate {
    static func tokens(_ tokens: Int64) -> QuotaEstimate {
        QuotaEstimate(leastTokens: tokens, mostTokens: tokens, costs: [])
    }

    static func cost(_ microUnits: Int64, _ currency: Currency = .usd) -> QuotaEstimate {
        QuotaEstimate(
            leastTokens: 0, mostTokens: 0,
            costs: [.init(currency: currency, least: microUnits, most: microUnits)])
    }
}
