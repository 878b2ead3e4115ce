/// A reading of the monotonic clock in nanoseconds. Only differences mean anything.
package struct Instant: Hashable, Comparable, Sendable {
    package var nanoseconds: Int64

    package init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

    package static func < (left: Self, right: Self) -> Bool { left.nanoseconds < right.nanoseconds }

    package func advanced(byMilliseconds milliseconds: Int64) -> Instant {
        let (product, overflow) = milliseconds.multipliedReportingOverflow(by: 1_000_000)
        let (sum, overflow2) = nanoseconds.addingReportingOverflow(product)
        return Instant(nanoseconds: overflow || overflow2 ? .max : sum)
    }

    package func milliseconds(since earlier: Instant) -> Int64 { (nanoseconds &- earlier.nanoseconds) / 1_000_000 }
}

/// Wall-clock time in milliseconds since 1970-01-01 UTC.
package struct Timestamp: Hashable, Comparable, Sendable {
    package var milliseconds: Int64

    package init(milliseconds: Int64) { self.milliseconds = milliseconds }

    package static func < (left: Self, right: Self) -> Bool { left.milliseconds < right.milliseconds }

    package func advanced(byMilliseconds delta: Int64) -> Timestamp {
        let (sum, overflow) = milliseconds.addingReportingOverflow(delta)
        return Timestamp(milliseconds: overflow ? (delta > 0 ? .max : .min) : sum)
    }

    /// Unix seconds, as the worker wire and RFC 9421 parameters spell time.
    package var seconds: Int64 { milliseconds / 1000 }
}

/// Both clocks, as every pure machine is told them.
package struct Now: Hashable, Sendable {
    package var instant: Instant
    package var wall: Timestamp

    package init(instant: Instant, wall: Timestamp) {
        self.instant = instant
        self.wall = wall
    }
}

/// Order of two versions of one record: epoch (minutes since 2025-01-01 at the signer's start, 24 bits) above a
/// sequence number (40 bits).
package struct RecordVersion: Hashable, Comparable, Sendable, CustomStringConvertible {
    package var raw: UInt64

    package init(raw: UInt64) { self.raw = raw }

    package init(epoch: UInt32, sequence: UInt64) {
        raw = UInt64(epoch & 0xFF_FFFF) << 40 | (sequence & 0xFF_FFFF_FFFF)
    }

    package var epoch: UInt32 { UInt32(raw >> 40) }
    package var sequence: UInt64 { raw & 0xFF_FFFF_FFFF }
    package var description: String { "\(epoch).\(sequence)" }

    package static func < (left: Self, right: Self) -> Bool { left.raw < right.raw }

    private static let lastEpoch: UInt32 = 0xFF_FFFF
    private static let lastSequence: UInt64 = 0xFF_FFFF_FFFF

    /// The next version of a signer that starts in `epoch` and last used `last`: always greater, also when its clock went
    /// back. Nil when there is none left.
    package static func next(after last: RecordVersion?, epoch: UInt32) -> RecordVersion? {
        let epoch = min(epoch, lastEpoch)
        guard let last, last.epoch >= epoch else { return RecordVersion(epoch: epoch, sequence: 1) }
        if last.sequence < lastSequence { return RecordVersion(epoch: last.epoch, sequence: last.sequence + 1) }
        return last.epoch < lastEpoch ? RecordVersion(epoch: last.epoch + 1, sequence: 1) : nil
    }

    /// 2025-01-01T00:00:00Z, where epochs count from.
    package static let epochOrigin = Timestamp(milliseconds: 1_735_689_600_000)

    /// The epoch a signer that starts at `time` uses.
    package static func epoch(at time: Timestamp) -> UInt32 {
        let minutes = (time.milliseconds - epochOrigin.milliseconds) / 60_000
        return UInt32(clamping: min(max(minutes, 0), 0xFF_FFFF))
    }
}
