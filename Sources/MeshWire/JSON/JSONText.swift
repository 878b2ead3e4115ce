import MeshModel

/// JSON strings to bytes and back.
package enum JSONText {
    /// The text of a scanned string slice, as UTF-8 bytes. Lone surrogates become U+FFFD.
    /// - Parameter slice: a string that `JSONScanner` accepted in the same bytes.
    package static func unescaped(_ slice: JSONSlice, in bytes: UnsafeRawBufferPointer) -> [UInt8] {
        let inner = (slice.range.lowerBound + 1)..<max(slice.range.upperBound - 1, slice.range.lowerBound + 1)
        guard slice.hasEscapes else { return Array(UnsafeRawBufferPointer(rebasing: bytes[inner])) }
        // Nothing is longer than its escape.
        return Array(unsafeUninitializedCapacity: inner.count) { output, count in
            count = unescape(bytes, inner, into: UnsafeMutableRawBufferPointer(output))
        }
    }

    /// - Returns: how many bytes it came to.
    private static func unescape(
        _ bytes: UnsafeRawBufferPointer, _ range: Range<Int>, into output: UnsafeMutableRawBufferPointer
    ) -> Int {
        var written = 0
        var position = range.lowerBound
        let ones: UInt64 = 0x0101_0101_0101_0101
        // Eight bytes at a time as long as there is room for eight, whatever follows what counts of them: in a document
        // inside a string every few bytes are an escape.
        while range.upperBound - position >= 8, output.count - written >= 8 {
            let word = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: position, as: UInt64.self))
            output.storeBytes(of: word.littleEndian, toByteOffset: written, as: UInt64.self)
            let other = word ^ (ones &* 0x5C)
            let marks = (other &- ones) & ~other & (ones &* 0x80)
            let run = marks == 0 ? 8 : marks.trailingZeroBitCount / 8
            position += run
            written += run
            guard marks != 0 else { continue }
            guard position + 1 < range.upperBound else { return written }
            let (scalar, length) = escape(bytes, at: position, end: range.upperBound)
            position += length
            if let scalar { written += put(scalar, into: output, at: written) }
        }
        while position < range.upperBound {
            let run = bytes.firstIndex(
                of: UInt8(ascii: "\\"), or: UInt8(ascii: "\\"), from: position, to: range.upperBound)
            if run > position {
                UnsafeMutableRawBufferPointer(rebasing: output[written...])
                    .copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[position..<run]))
                written += run - position
            }
            position = run
            guard position + 1 < range.upperBound else { break }
            let (scalar, length) = escape(bytes, at: position, end: range.upperBound)
            position += length
            if let scalar { written += put(scalar, into: output, at: written) }
        }
        return written
    }

    /// What the escape at `position` means, nil for one that no scanner accepts, and how many bytes it takes.
    @inline(__always)
    private static func escape(
        _ bytes: UnsafeRawBufferPointer, at position: Int, end: Int
    ) -> (scalar: UInt32?, length: Int) {
        switch bytes[position + 1] {
        case UInt8(ascii: "b"): return (0x08, 2)
        case UInt8(ascii: "f"): return (0x0C, 2)
        case UInt8(ascii: "n"): return (0x0A, 2)
        case UInt8(ascii: "r"): return (0x0D, 2)
        case UInt8(ascii: "t"): return (0x09, 2)
        case UInt8(ascii: "u"):
            guard let unit = codeUnit(bytes, at: position, end: end) else { return (nil, 2) }
            if (0xD800...0xDBFF).contains(unit), let low = codeUnit(bytes, at: position + 6, end: end),
                (0xDC00...0xDFFF).contains(low)
            {
                return (0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00), 12)
            }
            return ((0xD800...0xDFFF).contains(unit) ? 0xFFFD : unit, 6)
        case let literal: return (UInt32(literal), 2)
        }
    }

    /// Puts a character there as UTF-8.
    @inline(__always)
    private static func put(_ scalar: UInt32, into output: UnsafeMutableRawBufferPointer, at place: Int) -> Int {
        if scalar < 0x80 {
            output[place] = UInt8(truncatingIfNeeded: scalar)
            return 1
        }
        guard let scalar = Unicode.Scalar(scalar), let encoded = UTF8.encode(scalar) else { return 0 }
        var next = place
        for unit in encoded {
            output[next] = unit
            next += 1
        }
        return next - place
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
        while true {
            let position = JSONScanner.escapedByte(of: bytes, from: start)
            output.append(contentsOf: UnsafeRawBufferPointer(rebasing: bytes[start..<position]))
            guard position < bytes.count else { return }
            start = position + 1
            let byte = bytes[position]
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
        guard !slice.hasEscapes else {
            return unescaped(slice, in: bytes).withUnsafeBytes { isSame($0, name) }
        }
        guard slice.range.count == name.utf8CodeUnitCount + 2 else { return false }
        let inner = (slice.range.lowerBound + 1)..<(slice.range.upperBound - 1)
        return isSame(UnsafeRawBufferPointer(rebasing: bytes[inner]), name)
    }

    private static func isSame(_ text: UnsafeRawBufferPointer, _ name: StaticString) -> Bool {
        guard text.count == name.utf8CodeUnitCount else { return false }
        for offset in 0..<text.count {
            let (byte, wanted) = (text[offset], name.utf8Start[offset])
            guard byte == wanted || ((0x41...0x5A).contains(byte) && byte | 0x20 == wanted) else { return false }
        }
        return true
    }

    /// Whether the string `slice` spells `name`.
    package static func equals(_ slice: JSONSlice, _ name: StaticString, in bytes: UnsafeRawBufferPointer) -> Bool {
        let expected = UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount)
        guard !slice.hasEscapes else { return unescaped(slice, in: bytes).elementsEqual(expected) }
        return slice.range.count == expected.count + 2 && bytes.begins(with: name, at: slice.range.lowerBound + 1)
    }

    /// The text of a scanned string slice; what is no UTF-8 in it is mended.
    package static func string(_ slice: JSONSlice, in bytes: UnsafeRawBufferPointer) -> String {
        guard !slice.hasEscapes, slice.range.count >= 2 else {
            return String(decoding: unescaped(slice, in: bytes), as: UTF8.self)
        }
        let inner = (slice.range.lowerBound + 1)..<(slice.range.upperBound - 1)
        return String(decoding: UnsafeRawBufferPointer(rebasing: bytes[inner]), as: UTF8.self)
    }
}

extension [JSONField] {
    /// The value of the first field called `name`.
    package func value(_ name: StaticString, in bytes: UnsafeRawBufferPointer) -> JSONSlice? {
        let length = name.utf8CodeUnitCount + 2
        return withUnsafeBufferPointer { fields in
            var index = 0
            while index < fields.count {
                let found = fields[index].name
                // Most names are told apart by their length.
                if found.range.count == length || found.hasEscapes, JSONText.equals(found, name, in: bytes) {
                    return fields[index].value
                }
                index &+= 1
            }
            return nil
        }
    }

    package func string(_ name: StaticString, in bytes: UnsafeRawBufferPointer) -> String? {
        guard let slice = value(name, in: bytes), slice.kind == .string else { return nil }
        return JSONText.string(slice, in: bytes)
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
