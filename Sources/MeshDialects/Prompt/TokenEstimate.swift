/// How many tokens a text is, counted without a vocabulary: by kinds of characters, in one pass over its UTF-8 and without
/// allocating anything. What each kind costs was fitted to five vocabularies in use; how well, stands in
/// Docs/Reference/policies.md with the command that measures it.
///
/// What a model really counts is learnt beside (`TokenRatios`): this gives the shape, that the scale.
package struct TokenEstimate: Sendable {
    /// In hundredths of a token.
    private var hundredths: Int64 = 0
    private var kind = Kind.none
    /// Characters of the kind in a row.
    private var run = 0

    private enum Kind: UInt8 {
        case none, letter, digit, space, newline, mark, other
    }

    package init() {}

    /// Rounded up: a text that is not empty is at least one.
    package var tokens: Int64 { (hundredths + 99) / 100 }

    /// The tokens of a text by itself.
    package static func tokens(of text: some StringProtocol) -> Int64 {
        var text = String(text)
        return text.withUTF8 { utf8 in
            var estimate = TokenEstimate()
            estimate.add(UnsafeRawBufferPointer(utf8), 0..<utf8.count)
            return estimate.tokens
        }
    }

    /// What comes next has nothing to do with what was before.
    package mutating func breakOff() {
        kind = .none
        run = 0
    }

    /// So many tokens, counted in another way.
    package mutating func add(tokens: Int64) {
        hundredths += min(max(tokens, 0), 1 << 40) * 100
        breakOff()
    }

    /// The text in `bytes[range]`, which is UTF-8; what is none counts as something.
    package mutating func add(_ bytes: UnsafeRawBufferPointer, _ range: Range<Int>) {
        var position = range.lowerBound
        while position < range.upperBound {
            let byte = bytes[position]
            if byte < 0x80 {
                add(ascii: byte)
                position += 1
            } else {
                position += addSequence(bytes, position, range.upperBound)
            }
        }
    }

    /// The text of a JSON string without its quotes, as it stands there with its escapes.
    package mutating func addEscaped(_ bytes: UnsafeRawBufferPointer, _ range: Range<Int>) {
        var position = range.lowerBound
        while position < range.upperBound {
            let byte = bytes[position]
            if byte == UInt8(ascii: "\\"), position + 1 < range.upperBound {
                position += addEscape(bytes, position, range.upperBound)
            } else if byte < 0x80 {
                add(ascii: byte)
                position += 1
            } else {
                position += addSequence(bytes, position, range.upperBound)
            }
        }
    }

    // MARK: Characters

    /// Costs of kinds, in hundredths of a token. A word is one token nearly always, and more the longer it is; a mark with
    /// those behind it is one; so is indentation. A single space belongs to the word behind it.
    private enum Cost {
        static let word: Int64 = 94
        static let letterBeyond: Int64 = 39
        static let shortWord = 6
        static let digit: Int64 = 72
        static let marks: Int64 = 98
        static let spaces: Int64 = 111
    }

    @inline(__always)
    private mutating func add(ascii byte: UInt8) {
        let next = Self.kind(of: byte)
        run = next == kind ? run + 1 : 1
        kind = next
        switch next {
        case .letter:
            if run == 1 { hundredths += Cost.word } else if run > Cost.shortWord { hundredths += Cost.letterBeyond }
        case .digit: hundredths += Cost.digit
        case .mark: if run == 1 { hundredths += Cost.marks }
        case .space: if run == 2 { hundredths += Cost.spaces }
        case .newline, .other, .none: break
        }
    }

    @inline(__always)
    private static func kind(of byte: UInt8) -> Kind {
        switch byte {
        case 0x61...0x7A, 0x41...0x5A: .letter
        case 0x30...0x39: .digit
        case 0x20, 0x09: .space
        case 0x0A, 0x0D: .newline
        default: .mark
        }
    }

    private mutating func addSequence(_ bytes: UnsafeRawBufferPointer, _ start: Int, _ end: Int) -> Int {
        let first = UInt32(bytes[start])
        let length = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4
        var scalar = first & (0xFF >> UInt32(length + 1))
        var read = 1
        while read < length, start + read < end {
            scalar = scalar << 6 | UInt32(bytes[start + read] & 0x3F)
            read += 1
        }
        add(scalar: scalar)
        return read
    }

    /// - Returns: the length of the escape.
    private mutating func addEscape(_ bytes: UnsafeRawBufferPointer, _ start: Int, _ end: Int) -> Int {
        switch bytes[start + 1] {
        case UInt8(ascii: "n"), UInt8(ascii: "r"): add(ascii: 0x0A)
        case UInt8(ascii: "t"): add(ascii: 0x09)
        case UInt8(ascii: "u"):
            var unit: UInt32 = 0
            guard start + 6 <= end else { return end - start }
            for offset in 2..<6 { unit = unit << 4 | UInt32(Self.hexDigit(bytes[start + offset])) }
            if unit < 0x80 {
                add(ascii: UInt8(unit))
            } else if (0xD800...0xDBFF).contains(unit) {
                // The other half counts nothing.
                add(scalar: 0x1F300)
            } else if !(0xDC00...0xDFFF).contains(unit) {
                add(scalar: unit)
            }
            return 6
        case let literal: add(ascii: literal)
        }
        return 2
    }

    private static func hexDigit(_ byte: UInt8) -> UInt8 {
        switch byte {
        case 0x30...0x39: byte - 0x30
        case 0x41...0x46, 0x61...0x66: (byte | 0x20) - 0x61 + 10
        default: 0
        }
    }

    private mutating func add(scalar: UInt32) {
        kind = .other
        run = 1
        hundredths += Self.cost(of: scalar)
    }

    private static func cost(of scalar: UInt32) -> Int64 {
        switch scalar {
        // Latin letters with marks: most of their cost is the word that begins anew behind them.
        case 0x80..<0x250, 0x1E00..<0x1F00: 13
        case 0x400..<0x530: 30
        case 0x600..<0x700: 37
        case 0x590..<0x600: 47
        // Indic scripts and Thai.
        case 0x900..<0xE80: 56
        case 0x3040..<0x3100: 59
        // Greek, Armenian and what else has two bytes.
        case 0x250..<0x800: 60
        case 0x3400..<0xA000: 74
        case 0xAC00..<0xD7A4: 75
        // Pictures, and letters that are rare.
        case 0x10000...: 200
        default: 100
        }
    }
}
