import MeshModel

/// JSON strings to bytes and back.
package enum JSONText {
    /// The text of a scanned string slice, as UTF-8 bytes. Lone surrogates become U+FFFD.
    /// - Parameter slice: a string that `JSONScanner` accepted in the same bytes.
    package static func unescaped(_ slice: JSONSlice, in bytes: UnsafeRawBufferPointer) -> [UInt8] {
        let inner = (slice.range.lowerBound + 1)..<max(slice.range.upperBound - 1, slice.range.lowerBound + 1)
        guard slice.hasEscapes else { return Array(bytes[inner]) }
        var output: [UInt8] = []
        output.reserveCapacity(inner.count)
        var position = inner.lowerBound
        while position < inner.upperBound {
            var run = position
            while run < inner.upperBound, bytes[run] != UInt8(ascii: "\\") { run += 1 }
            output.append(contentsOf: UnsafeRawBufferPointer(rebasing: bytes[position..<run]))
            position = run
            guard position + 1 < inner.upperBound else { break }
            position += appendEscape(bytes, at: position, end: inner.upperBound, to: &output)
        }
        return output
    }

    /// Appends what the escape at `position` means; returns how many bytes it took.
    private static func appendEscape(
        _ bytes: UnsafeRawBufferPointer, at position: Int, end: Int, to output: inout [UInt8]
    ) -> Int {
        switch bytes[position + 1] {
        case UInt8(ascii: "b"): output.append(0x08)
        case UInt8(ascii: "f"): output.append(0x0C)
        case UInt8(ascii: "n"): output.append(0x0A)
        case UInt8(ascii: "r"): output.append(0x0D)
        case UInt8(ascii: "t"): output.append(0x09)
        case UInt8(ascii: "u"):
            guard let unit = codeUnit(bytes, at: position, end: end) else { return 2 }
            if (0xD800...0xDBFF).contains(unit), let low = codeUnit(bytes, at: position + 6, end: end),
                (0xDC00...0xDFFF).contains(low)
            {
                append(0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00), to: &output)
                return 12
            }
            append((0xD800...0xDFFF).contains(unit) ? 0xFFFD : unit, to: &output)
            return 6
        case let literal: output.append(literal)
        }
        return 2
    }

    private static func codeUnit(_ bytes: UnsafeRawBufferPointer, at position: Int, end: Int) -> UInt32? {
        guard position + 6 <= end, bytes[position] == UInt8(ascii: "\\"), bytes[position + 1] == UInt8(ascii: "u")
        else { return nil }
        var value: UInt32 = 0
        for offset in 2..<6 {
            guard let digit = hexValue(bytes[position + offset]) else { return nil }
            value = value << 4 | UInt32(digit)
        }
        return value
    }

    private static func append(_ scalar: UInt32, to output: inout [UInt8]) {
        guard let scalar = Unicode.Scalar(scalar), let encoded = UTF8.encode(scalar) else { return }
        output.append(contentsOf: encoded)
    }

    /// Appends `text` (UTF-8) as a quoted JSON string.
    package static func appendQuoted(_ text: some Collection<UInt8>, to output: inout [UInt8]) {
        output.append(UInt8(ascii: "\""))
        let isInPlace: Void? = text.withContiguousStorageIfAvailable {
            appendEscaped(UnsafeRawBufferPointer($0), to: &output)
        }
        if isInPlace == nil { Array(text).withUnsafeBytes { appendEscaped($0, to: &output) } }
        output.append(UInt8(ascii: "\""))
    }

    /// In runs: nearly every byte stands for itself.
    private static func appendEscaped(_ bytes: UnsafeRawBufferPointer, to output: inout [UInt8]) {
        var start = 0
        for position in 0..<bytes.count {
            let byte = bytes[position]
            guard byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") else { continue }
            output.append(contentsOf: UnsafeRawBufferPointer(rebasing: bytes[start..<position]))
            start = position + 1
            output.append(UInt8(ascii: "\\"))
            switch byte {
            case 0x0A: output.append(UInt8(ascii: "n"))
            case 0x0D: output.append(UInt8(ascii: "r"))
            case 0x09: output.append(UInt8(ascii: "t"))
            case 0..<0x20:
                output.append(contentsOf: "u00".utf8)
                let digits: StaticString = "0123456789abcdef"
                output.append(digits.utf8Start[Int(byte >> 4)])
                output.append(digits.utf8Start[Int(byte & 15)])
            default: output.append(byte)
            }
        }
        output.append(contentsOf: UnsafeRawBufferPointer(rebasing: bytes[start...]))
    }

    package static func quoted(_ text: String) -> [UInt8] {
        var output: [UInt8] = []
        appendQuoted(text.utf8, to: &output)
        return output
    }

    /// Whether the string `slice` spells `name` (in lower case) with letters of any case.
    package static func equalsIgnoringCase(
        _ slice: JSONSlice, _ name: StaticString, in bytes: UnsafeRawBufferPointer
    ) -> Bool {
        let expected = UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount)
        guard slice.hasEscapes || slice.range.count == expected.count + 2 else { return false }
        return unescaped(slice, in: bytes).elementsEqual(expected) { byte, wanted in
            byte == wanted || ((0x41...0x5A).contains(byte) && byte | 0x20 == wanted)
        }
    }

    /// Whether the string `slice` spells `name`.
    package static func equals(_ slice: JSONSlice, _ name: StaticString, in bytes: UnsafeRawBufferPointer) -> Bool {
        let expected = UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount)
        guard !slice.hasEscapes else { return unescaped(slice, in: bytes).elementsEqual(expected) }
        guard slice.range.count == expected.count + 2 else { return false }
        var offset = 0
        while offset < expected.count {
            if bytes[slice.range.lowerBound + 1 + offset] != expected[offset] { return false }
            offset += 1
        }
        return true
    }
}

extension [JSONField] {
    /// The value of the first field called `name`.
    package func value(_ name: StaticString, in bytes: UnsafeRawBufferPointer) -> JSONSlice? {
        for field in self where JSONText.equals(field.name, name, in: bytes) { return field.value }
        return nil
    }

    package func string(_ name: StaticString, in bytes: UnsafeRawBufferPointer) -> String? {
        guard let slice = value(name, in: bytes), slice.kind == .string else { return nil }
        return String(decoding: JSONText.unescaped(slice, in: bytes), as: UTF8.self)
    }

    /// An integer; fractions are cut off, anything else is nil.
    package func integer(_ name: StaticString, in bytes: UnsafeRawBufferPointer) -> Int64? {
        guard let slice = value(name, in: bytes), slice.kind == .number else { return nil }
        return JSONValue.integer(ofNumberText: bytes[slice.range])
    }

    package func boolean(_ name: StaticString, in bytes: UnsafeRawBufferPointer) -> Bool? {
        guard let slice = value(name, in: bytes), slice.kind == .boolean else { return nil }
        return bytes[slice.range.lowerBound] == UInt8(ascii: "t")
    }

    /// How many fields are called `name`: a field that decides something must not stand there twice, because two
    /// readers of such a body may believe different ones.
    package func count(_ name: StaticString, in bytes: UnsafeRawBufferPointer) -> Int {
        reduce(0) { $0 + (JSONText.equals($1.name, name, in: bytes) ? 1 : 0) }
    }

    /// The same for names that differ in the case of ASCII letters: Go's JSON takes them for one.
    package func countIgnoringCase(_ name: StaticString, in bytes: UnsafeRawBufferPointer) -> Int {
        reduce(0) { $0 + (JSONText.equalsIgnoringCase($1.name, name, in: bytes) ? 1 : 0) }
    }
}
