import MeshModel

/// Reads `word; name=value; name="value"`, the form of a content-type and a content-disposition.
struct HeaderCursor {
    private let bytes: UnsafeRawBufferPointer
    private var position: Int
    private let end: Int

    init(_ bytes: UnsafeRawBufferPointer, range: Range<Int>) {
        self.bytes = bytes
        position = range.lowerBound
        end = range.upperBound
    }

    /// What stands before the first semicolon, in lower case.
    mutating func word() -> [UInt8] {
        skipSpace()
        let start = position
        while position < end, bytes[position] != UInt8(ascii: ";"), !isSpace { position += 1 }
        return bytes[start..<position].map(Self.lowercased)
    }

    /// The next parameter, its name in lower case; nil at the end.
    mutating func parameter() throws(MultipartError) -> (name: [UInt8], value: [UInt8])? {
        skipSpace()
        while position < end {
            guard bytes[position] == UInt8(ascii: ";") else { throw .malformedParameter }
            position += 1
            skipSpace()
            // Nothing between two semicolons, or behind the last one, is no parameter.
            if position < end, bytes[position] != UInt8(ascii: ";") { return try pair() }
        }
        return nil
    }

    private mutating func pair() throws(MultipartError) -> (name: [UInt8], value: [UInt8]) {
        let start = position
        while position < end, Self.isTokenByte(bytes[position]) { position += 1 }
        let name = bytes[start..<position].map(Self.lowercased)
        skipSpace()
        guard !name.isEmpty, position < end, bytes[position] == UInt8(ascii: "=") else { throw .malformedParameter }
        position += 1
        skipSpace()
        if position < end, bytes[position] == UInt8(ascii: "\"") { return (name, try quoted()) }
        let valueStart = position
        while position < end, bytes[position] != UInt8(ascii: ";"), !isSpace {
            guard bytes[position] != UInt8(ascii: "\"") else { throw .malformedParameter }
            position += 1
        }
        guard position > valueStart else { throw .malformedParameter }
        return (name, Array(bytes[valueStart..<position]))
    }

    /// A quoted string. A backslash escapes a quote and itself and is itself elsewhere, as in the file paths some
    /// browsers send; `%22` is a quote, as in what the others send.
    private mutating func quoted() throws(MultipartError) -> [UInt8] {
        position += 1
        var value: [UInt8] = []
        while position < end {
            let byte = bytes[position]
            if byte == UInt8(ascii: "\"") {
                position += 1
                return value
            }
            if byte == UInt8(ascii: "\\"), position + 1 < end,
                bytes[position + 1] == UInt8(ascii: "\"") || bytes[position + 1] == UInt8(ascii: "\\")
            {
                value.append(bytes[position + 1])
                position += 2
            } else if byte == UInt8(ascii: "%"), position + 2 < end, bytes[position + 1] == UInt8(ascii: "2"),
                bytes[position + 2] == UInt8(ascii: "2")
            {
                value.append(UInt8(ascii: "\""))
                position += 3
            } else {
                value.append(byte)
                position += 1
            }
        }
        throw .malformedParameter
    }

    /// The text of `UTF-8'language'percent-encoded` (RFC 8187); other character sets are refused.
    static func extendedValue(_ value: [UInt8]) throws(MultipartError) -> [UInt8] {
        let parts = value.split(separator: UInt8(ascii: "'"), maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count == 3, parts[0].map(lowercased).elementsEqual("utf-8".utf8) else { throw .malformedParameter }
        var output: [UInt8] = []
        var index = parts[2].startIndex
        while index < parts[2].endIndex {
            if parts[2][index] == UInt8(ascii: "%") {
                guard index + 2 < parts[2].endIndex, let high = hexValue(parts[2][index + 1]),
                    let low = hexValue(parts[2][index + 2])
                else { throw .malformedParameter }
                output.append(high << 4 | low)
                index += 3
            } else {
                guard isTokenByte(parts[2][index]), ![0x27, 0x2A].contains(parts[2][index]) else {
                    throw .malformedParameter
                }
                output.append(parts[2][index])
                index += 1
            }
        }
        guard output.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) else { throw .invalidText }
        return output
    }

    private var isSpace: Bool { bytes[position] == 0x20 || bytes[position] == 0x09 }

    private mutating func skipSpace() {
        while position < end, isSpace { position += 1 }
    }

    static func lowercased(_ byte: UInt8) -> UInt8 { (0x41...0x5A).contains(byte) ? byte | 0x20 : byte }

    /// RFC 9110 `tchar`.
    static func isTokenByte(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x5E...0x7A, 0x7C, 0x7E: true
        case 0x21, 0x23...0x27, 0x2A, 0x2B, 0x2D, 0x2E: true
        default: false
        }
    }
}
