import MeshModel

/// What may be used of one measure in a day or a month, and how much of that is this process's to give out.
///
/// The store knows how much was taken of a period, in slices. A slice is on the disk before anything of it is given to a
/// request, so whoever starts anew finds everything that was given out counted, and whatever was left of an open slice, too.
struct PeriodBudget: Sendable {
    let measure: QuotaMeasure
    var limit: Int64
    private(set) var period: QuotaPeriod
    /// Taken before by other runs of the node.
    private var before: Int64 = 0
    /// Slices that are on the disk and this run's.
    private var granted: Int64 = 0
    /// What requests hold or have used of them.
    private(set) var used: Int64 = 0
    /// What the store was asked for and has not written yet.
    private var isPending = false
    /// Of the period that comes next, taken before it begins.
    private var ahead: Int64 = 0
    private var aheadBefore: Int64 = 0
    private var isPendingAhead = false
    /// The store cannot write.
    private(set) var isCut = false
    /// The largest request of late, and how often a slice was too small for what came at once.
    private var largest: Int64 = 0
    private var doublings = 0

    init(_ measure: QuotaMeasure, _ kind: QuotaPeriod.Kind, limit: Int64, now: Timestamp) {
        self.measure = measure
        self.limit = limit
        period = QuotaPeriod(kind, at: now)
    }

    /// What is left of the limit, whoever has it in hand.
    var remaining: Int64 { max(limit - before - used, 0) }

    /// A clock that goes back opens no period again.
    mutating func advance(to now: Timestamp) {
        let current = QuotaPeriod(period.kind, at: now)
        guard current.number > period.number else { return }
        let isNext = current == period.next
        (before, granted) = isNext ? (aheadBefore, ahead) : (0, 0)
        (ahead, aheadBefore, isPending, isPendingAhead) = (0, 0, isNext && isPendingAhead, false)
        (used, doublings) = (0, 0)
        period = current
    }

    enum Room: Hashable {
        case fits
        case isUsedUp
        /// There would be room, and the disk does not know of it yet.
        case isNotGranted
    }

    func room(for amount: Int64) -> Room {
        if amount > remaining { return .isUsedUp }
        // What costs nothing needs nothing of anybody.
        if amount == 0 || amount <= granted - used { return .fits }
        // Tokens are no money: a broken disk stops nobody from using what is free.
        return isCut && measure == .tokens ? .fits : .isNotGranted
    }

    mutating func take(_ amount: Int64) {
        largest = max(amount, largest - largest / 64)
        used += amount
    }

    /// Somebody had to be turned away although the limit has room.
    mutating func wasShort(of amount: Int64) {
        largest = max(amount, largest)
        doublings = min(doublings + 1, 6)
    }

    /// - Parameter amount: below zero for what was held and not used.
    mutating func correct(by amount: Int64, of held: QuotaPeriod) {
        guard held == period else { return }
        used = max(used + amount, 0)
    }

    // MARK: Slices

    /// How much is wanted in hand: enough for several requests, little enough that a crash does not cost much.
    private var slice: Int64 {
        let (several, overflow) = largest.multipliedReportingOverflow(by: 8)
        let share = min(limit / Limits.quotaSliceParts, Int64.max >> 8) << Int64(doublings)
        let least = measure == .tokens ? Limits.quotaSliceTokens : Limits.quotaSliceMoney
        return max(share, overflow ? .max : several, least)
    }

    /// What is to be taken of the store now; asked for once, until it is granted or refused.
    mutating func wanted(at now: Timestamp) -> [(period: QuotaPeriod, amount: Int64)] {
        var wanted: [(QuotaPeriod, Int64)] = []
        let left = granted - used
        if !isPending, left < slice / 2 || left < 0 {
            // What answers used beyond what was held for them is written down, too, whatever the limit.
            let amount = max(min(slice - left, limit - before - granted), -left)
            if amount > 0 {
                isPending = true
                wanted.append((period, amount))
            }
        }
        let first = min(slice, limit)
        if !isPendingAhead, ahead == 0, first > 0, period.end.milliseconds - now.milliseconds < Limits.quotaAheadMs {
            isPendingAhead = true
            wanted.append((period.next, first))
        }
        return wanted
    }

    /// - Parameter taken: what the store has of the period now.
    mutating func granted(_ amount: Int64, of granted: QuotaPeriod, taken: Int64) {
        isCut = false
        if granted == period {
            isPending = false
            self.granted += amount
            before = max(taken - self.granted, 0)
        } else if granted == period.next {
            isPendingAhead = false
            ahead += amount
            aheadBefore = max(taken - ahead, 0)
        }
    }

    /// The store could not write it.
    mutating func refused(_ refused: QuotaPeriod) {
        isCut = true
        if refused == period { isPending = false } else { isPendingAhead = false }
    }

    /// What nobody has used of the slices in hand, given up.
    mutating func givenUp() -> [(period: QuotaPeriod, amount: Int64)] {
        defer { (granted, ahead) = (min(granted, used), 0) }
        return [(period, granted - used), (period.next, ahead)].filter { $0.1 > 0 }
    }
}
