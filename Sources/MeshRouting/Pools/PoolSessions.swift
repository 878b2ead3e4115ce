import MeshModel

/// Which member each conversation of a pool was last sent to. Bounded: of the two halves the older one is forgotten when
/// the newer one is full. Who is forgotten is sent by `Rendezvous`, mostly to the same member.
struct PoolSessions: Sendable {
    struct Pin: Hashable, Sendable {
        /// Of the leaf.
        var identity: UInt64
        var used: Instant
        /// Since when there has been no free place for it.
        var fullSince: Instant?
    }

    private let limit: Int
    private var newer: [UInt64: Pin] = [:]
    private var older: [UInt64: Pin] = [:]

    init(limit: Int = Limits.poolSessions) { self.limit = limit }

    var count: Int { newer.count + older.count }

    /// Nil when the conversation was not heard of for `idleMs`.
    func pin(_ session: UInt64, idleMs: Int64, now: Instant) -> Pin? {
        guard let pin = newer[session] ?? older[session], now.milliseconds(since: pin.used) < idleMs else { return nil }
        return pin
    }

    mutating func set(_ pin: Pin, for session: UInt64) {
        if newer[session] == nil, newer.count >= limit / 2 {
            older = newer
            newer.removeAll(keepingCapacity: true)
        }
        newer[session] = pin
    }
}

/// Where a conversation belongs, among members with weights: each draws a number from the conversation and itself, and
/// the best one has it. So a member that goes leaves its own conversations only to be moved, and one that comes takes its
/// part of each other's (rendezvous hashing, Thaler and Ravishankar 1996, with weights as exponential variates).
enum Rendezvous {
    /// The smaller the better once divided by the weight. In steps of 2^-24.
    static func distance(_ session: UInt64, _ identity: UInt64) -> UInt64 {
        var random = SeededGenerator(seed: session ^ (identity &* 0x9E37_79B9_7F4A_7C15))
        // Minus the logarithm of an even number from 0 to 1 is distributed as e^-x.
        return (64 << 24) - logarithm(random.next() | 1)
    }

    /// Whether the first is better: both distances are at most 2^30, weights far below 2^33.
    static func isBetter(_ left: UInt64, weight: Int64, than right: UInt64, weight other: Int64) -> Bool {
        left * UInt64(other) < right * UInt64(weight)
    }

    /// To the base of two, in steps of 2^-24, by squaring: whole numbers give the same on every machine.
    private static func logarithm(_ value: UInt64) -> UInt64 {
        let zeros = value.leadingZeroBitCount
        var mantissa = value << UInt64(zeros)
        var result = UInt64(63 - zeros)
        for _ in 0..<24 {
            let square = mantissa.multipliedFullWidth(by: mantissa).high
            let isTwoOrMore = square >> 63 == 1
            mantissa = isTwoOrMore ? square : square << 1
            result = result << 1 | (isTwoOrMore ? 1 : 0)
        }
        return result
    }
}
