/// Decimal numbers as JSON and people write them, to whole multiples of a power of ten and back: money never passes
/// through a floating-point number.
package enum FixedPoint {
    /// `text` times ten to the power of `digits`, cut off behind the point.
    /// - Returns: nil for what is no number, is below zero, or does not fit.
    package static func parse(_ text: some Collection<UInt8>, digits: Int) -> (value: Int64, isExact: Bool)? {
        var rest = text[...]
        var number = Mantissa()
        guard number.read(&rest) else { return nil }
        if rest.first == UInt8(ascii: ".") {
            rest = rest.dropFirst()
            number.isFraction = true
            guard number.read(&rest) else { return nil }
        }
        if let byte = rest.first, byte | 0x20 == UInt8(ascii: "e") {
            rest = rest.dropFirst()
            let isNegative = rest.first == UInt8(ascii: "-")
            if isNegative || rest.first == UInt8(ascii: "+") { rest = rest.dropFirst() }
            var exponent = Mantissa()
            guard exponent.read(&rest) else { return nil }
            // Beyond this every number is nothing, or does not fit.
            let power = Int(min(exponent.value, 1_000)) * (isNegative ? -1 : 1)
            number.power += power
        }
        guard rest.isEmpty else { return nil }
        return number.shifted(by: digits)
    }

    /// `value` divided by ten to the power of `digits`, with all of them behind the point: `0.000420`.
    package static func text(_ value: Int64, digits: Int) -> String {
        let plain = String(value.magnitude)
        let padded = String(repeating: "0", count: max(digits + 1 - plain.utf8.count, 0)) + plain
        let point = padded.utf8.count - digits
        return (value < 0 ? "-" : "") + padded.prefix(point) + (digits > 0 ? "." : "") + padded.suffix(digits)
    }

    /// The shortest spelling: `1.5`, `2`, `0.04`.
    package static func shortText(_ value: Int64, digits: Int) -> String {
        var text = text(value, digits: digits)
        guard text.utf8.contains(UInt8(ascii: ".")) else { return text }
        while text.hasSuffix("0") { text.removeLast() }
        if text.hasSuffix(".") { text.removeLast() }
        return text
    }

    private struct Mantissa {
        var value: UInt64 = 0
        /// The number is the value times ten to this power.
        var power = 0
        var isFraction = false
        /// Digits were left out that were not 0.
        var isCut = false

        /// Reads digits: at least one.
        mutating func read<Rest: Collection>(_ rest: inout Rest) -> Bool
        where Rest.Element == UInt8, Rest.SubSequence == Rest {
            var isFirst = true
            while let byte = rest.first, byte &- 0x30 < 10 {
                rest = rest.dropFirst()
                isFirst = false
                if value <= (.max - 9) / 10 {
                    value = value * 10 + UInt64(byte - 0x30)
                    if isFraction { power -= 1 }
                } else {
                    isCut = isCut || byte != 0x30
                    if !isFraction { power += 1 }
                }
            }
            return !isFirst
        }

        func shifted(by digits: Int) -> (value: Int64, isExact: Bool)? {
            guard value > 0 else { return (0, !isCut) }
            var shifted = value
            var isExact = !isCut
            var left = power + digits
            while left > 0 {
                let (product, overflow) = shifted.multipliedReportingOverflow(by: 10)
                guard !overflow else { return nil }
                shifted = product
                left -= 1
            }
            while left < 0, shifted > 0 {
                isExact = isExact && shifted % 10 == 0
                shifted /= 10
                left += 1
            }
            return Int64(exactly: shifted).map { ($0, isExact) }
        }
    }
}
