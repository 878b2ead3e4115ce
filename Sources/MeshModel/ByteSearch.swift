/// Searches that run over every byte of every answer. In Swift's own collections they cost several times as much: each
/// byte goes through an iterator there.
extension UnsafeRawBufferPointer {
    /// Whether the bytes from `offset` on begin with `word`.
    @inlinable
    package func begins(with word: StaticString, at offset: Int = 0) -> Bool {
        let length = word.utf8CodeUnitCount
        guard offset >= 0, count - offset >= length else { return false }
        var index = 0
        while index < length {
            if self[offset &+ index] != word.utf8Start[index] { return false }
            index &+= 1
        }
        return true
    }

    /// Whether both hold the same bytes.
    @inlinable
    package func isSame(as other: UnsafeRawBufferPointer) -> Bool {
        guard count == other.count else { return false }
        var next = 0
        while count &- next >= 8 {
            let (mine, theirs) = (
                loadUnaligned(fromByteOffset: next, as: UInt64.self),
                other.loadUnaligned(fromByteOffset: next, as: UInt64.self)
            )
            if mine != theirs { return false }
            next &+= 8
        }
        while next < count {
            if self[next] != other[next] { return false }
            next &+= 1
        }
        return true
    }

    /// Whether every byte is printable ASCII (0x20 to 0x7E). Eight bytes at a time.
    @inlinable
    package var isPrintableASCII: Bool {
        let ones: UInt64 = 0x0101_0101_0101_0101
        var next = 0
        while count &- next >= 8 {
            let word = loadUnaligned(fromByteOffset: next, as: UInt64.self)
            // A byte's highest bit: it is below 0x20, or a byte below it borrowed; it is 0x7F or more, by the carry; it is
            // not ASCII. Borrows and carries come only from bytes that are finds themselves.
            if ((word &- ones &* 0x20) | (word &+ ones) | word) & (ones &* 0x80) != 0 { return false }
            next &+= 8
        }
        while next < count {
            if self[next] &- 0x20 >= 0x5F { return false }
            next &+= 1
        }
        return true
    }

    /// Where the first of the two bytes stands in `start..<end`; `end` where neither does. Eight bytes at a time.
    @inlinable
    package func firstIndex(of one: UInt8, or other: UInt8, from start: Int, to end: Int) -> Int {
        guard let base = baseAddress, start >= 0, end <= count else { return end }
        let ones: UInt64 = 0x0101_0101_0101_0101
        let (first, second) = (ones &* UInt64(one), ones &* UInt64(other))
        var next = start
        while end &- next >= 8 {
            let word = UInt64(littleEndian: base.loadUnaligned(fromByteOffset: next, as: UInt64.self))
            let (a, b) = (word ^ first, word ^ second)
            // The lowest bit that is set is exact: a borrow comes only from a byte that is itself a find.
            let marks = (((a &- ones) & ~a) | ((b &- ones) & ~b)) & (ones &* 0x80)
            if marks != 0 { return next &+ marks.trailingZeroBitCount / 8 }
            next &+= 8
        }
        while next < end {
            let byte = self[next]
            if byte == one || byte == other { return next }
            next &+= 1
        }
        return end
    }
}

extension String {
    /// Whether every byte is printable ASCII (0x20 to 0x7E).
    package var isPrintableASCII: Bool {
        utf8.withContiguousStorageIfAvailable { UnsafeRawBufferPointer($0).isPrintableASCII }
            ?? utf8.allSatisfy { (0x20...0x7E).contains($0) }
    }
}
