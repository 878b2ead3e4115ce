package struct LinkID: Hashable, Comparable, Sendable {
    package var raw: UInt64

    package init(raw: UInt64) { self.raw = raw }

    package static func < (left: Self, right: Self) -> Bool { left.raw < right.raw }
}
