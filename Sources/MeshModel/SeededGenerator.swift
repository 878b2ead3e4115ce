/// A stored, seeded random generator (SplitMix64, Steele et al. 2014): the only source of randomness in pure code,
/// so that one seed gives one run. Never for secrets.
package struct SeededGenerator: RandomNumberGenerator, Sendable {
    private var state: UInt64

    package init(seed: UInt64) { state = seed }

    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// `base` moved by up to `percent` per cent either way.
    package mutating func jittered(_ base: Int64, percent: Int64) -> Int64 {
        let span = base / 100 * percent
        guard span > 0 else { return base }
        return base - span + Int64(next() % UInt64(2 * span + 1))
    }
}
