/// Sixteen bytes as a value: record keys, network ids, fingerprints. Ordered as a big-endian number, so that
/// sorting values sorts their bytes.
package struct Bytes16: Hashable, Comparable, Sendable {
    package var high: UInt64
    package var low: UInt64

    package init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    package static let zero = Bytes16(high: 0, low: 0)

    /// Nil unless exactly 16 bytes are given.
    package init?(_ bytes: [UInt8]) {
        guard bytes.count == 16 else { return nil }
        self = bytes.withUnsafeBytes { Self(loading: $0, at: 0) }
    }

    /// Nil unless exactly 16 bytes are given.
    package init?(_ bytes: some Collection<UInt8>) {
        guard let value = readInPlace(bytes, 16, { Self(loading: $0, at: 0) }) else { return nil }
        self = value
    }

    /// Of bytes that hold so many. One by one through a collection whose type is not known they cost a thousand instructions
    /// each, and keys are read for every request.
    fileprivate init(loading bytes: UnsafeRawBufferPointer, at offset: Int) {
        self.init(
            high: UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)),
            low: UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: offset + 8, as: UInt64.self)))
    }

    package var bytes: [UInt8] {
        [UInt8](unsafeUninitializedCapacity: 16) { place, count in
            store(in: UnsafeMutableRawBufferPointer(place), at: 0)
            count = 16
        }
    }

    fileprivate func store(in place: UnsafeMutableRawBufferPointer, at offset: Int) {
        place.storeBytes(of: high.bigEndian, toByteOffset: offset, as: UInt64.self)
        place.storeBytes(of: low.bigEndian, toByteOffset: offset + 8, as: UInt64.self)
    }

    package static func < (left: Self, right: Self) -> Bool { (left.high, left.low) < (right.high, right.low) }
}

/// Thirty-two bytes as a value: public keys and BLAKE2b-256 hashes.
package struct Bytes32: Hashable, Comparable, Sendable {
    package var high: Bytes16
    package var low: Bytes16

    package init(high: Bytes16, low: Bytes16) {
        self.high = high
        self.low = low
    }

    package static let zero = Bytes32(high: .zero, low: .zero)

    /// Nil unless exactly 32 bytes are given.
    package init?(_ bytes: [UInt8]) {
        guard bytes.count == 32 else { return nil }
        self = bytes.withUnsafeBytes { Self(high: Bytes16(loading: $0, at: 0), low: Bytes16(loading: $0, at: 16)) }
    }

    /// Nil unless exactly 32 bytes are given.
    package init?(_ bytes: some Collection<UInt8>) {
        guard
            let value = readInPlace(
                bytes, 32, { Self(high: Bytes16(loading: $0, at: 0), low: Bytes16(loading: $0, at: 16)) })
        else { return nil }
        self = value
    }

    package var bytes: [UInt8] {
        [UInt8](unsafeUninitializedCapacity: 32) { place, count in
            high.store(in: UnsafeMutableRawBufferPointer(place), at: 0)
            low.store(in: UnsafeMutableRawBufferPointer(place), at: 16)
            count = 32
        }
    }

    package static func < (left: Self, right: Self) -> Bool { (left.high, left.low) < (right.high, right.low) }
}

/// What `body` makes of the bytes where they lie, or of a copy where they do not lie in one piece. Nil where they are not
/// `size`.
private func readInPlace<Value>(
    _ bytes: some Collection<UInt8>, _ size: Int, _ body: (UnsafeRawBufferPointer) -> Value
) -> Value? {
    guard bytes.count == size else { return nil }
    func read(_ place: UnsafeRawBufferPointer) -> Value? { place.count == size ? body(place) : nil }
    if let value = bytes.withContiguousStorageIfAvailable({ read(UnsafeRawBufferPointer($0)) }) { return value }
    return Array(bytes).withUnsafeBytes(read)
}

extension Bytes16: CustomStringConvertible {
    package var description: String { hexText(bytes) }
}

extension Bytes32: CustomStringConvertible {
    package var description: String { hexText(bytes) }
}

extension FixedWidthInteger {
    package var bigEndianBytes: [UInt8] { withUnsafeBytes(of: bigEndian) { Array($0) } }

    /// The big-endian number in `bytes`; more bytes than fit keep the last ones.
    package init(bigEndian bytes: some Sequence<UInt8>) {
        self = bytes.reduce(0) { $0 << 8 | Self(truncatingIfNeeded: $1) }
    }
}

/// Lower-case hexadecimal text of `bytes`.
package func hexText(_ bytes: some Sequence<UInt8>) -> String {
    let bytes = Array(bytes)
    return String(unsafeUninitializedCapacity: 2 * bytes.count) { text in
        for (place, byte) in bytes.enumerated() {
            text[2 * place] = hexDigit(byte >> 4)
            text[2 * place + 1] = hexDigit(byte & 15)
        }
        return 2 * bytes.count
    }
}

private func hexDigit(_ value: UInt8) -> UInt8 {
    value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") - 10 + value
}

/// The bytes that hexadecimal `text` spells, nil when it is not hexadecimal.
package func bytesOfHex(_ text: some StringProtocol) -> [UInt8]? {
    let digits = Array(text.utf8)
    guard digits.count % 2 == 0 else { return nil }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(digits.count / 2)
    for index in stride(from: 0, to: digits.count, by: 2) {
        guard let high = hexValue(digits[index]), let low = hexValue(digits[index + 1]) else { return nil }
        bytes.append(high << 4 | low)
    }
    return bytes
}

/// The value of one hexadecimal digit, nil for any other byte.
package func hexValue(_ digit: UInt8) -> UInt8? {
    switch digit {
    case 0x30...0x39: digit - 0x30
    case 0x41...0x46: digit - 0x41 + 10
    case 0x61...0x66: digit - 0x61 + 10
    default: nil
    }
}
