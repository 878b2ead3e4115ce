/// Words of somebody else that go into this node's own errors: what a hosting node or a worker says of a failure.
///
/// They are read in terminals, logs and web pages, so nothing stays in them that could move a cursor, turn a line
/// round, begin a new one, or be a key; nor the addresses and paths of the machine they come from.
package enum ForeignWords {
    private static let hidden = "(secret)"

    /// One line of at most `limit` bytes; empty when nothing readable was in it.
    package static func cleaned(_ text: String, limit: Int = Limits.foreignWordsBytes) -> String {
        // What is left out must not make room for ever.
        let visible = visible(text.unicodeScalars.prefix(8 * limit))
        return withoutKeys(PublicWords().cleaned(visible)).cut(toUTF8Bytes: limit)
    }

    // MARK: What can be seen

    private static func visible(_ scalars: some Collection<Unicode.Scalar>) -> String {
        var kept = String.UnicodeScalarView()
        var isGap = false
        var rest = scalars.makeIterator()
        while let scalar = rest.next() {
            switch scalar.value {
            case 0x1B: skipEscape(&rest)
            case 0x9B: skipControlSequence(&rest)
            case 0x09...0x0D, 0x20, 0x85, 0xA0, 0x1680, 0x2000...0x200A, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000:
                isGap = true
            default:
                guard isVisible(scalar) else { continue }
                if isGap, !kept.isEmpty { kept.append(" ") }
                isGap = false
                kept.append(scalar)
            }
        }
        return String(kept)
    }

    /// Controls, and what changes how the text around it is shown: directions, joiners, fillers, tags.
    private static func isVisible(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator: false
        default: !scalar.properties.isDefaultIgnorableCodePoint
        }
    }

    /// Behind an escape (ECMA-48): a control sequence, a string up to its end, or one more character.
    private static func skipEscape(_ rest: inout some IteratorProtocol<Unicode.Scalar>) {
        switch rest.next()?.value {
        case 0x5B: skipControlSequence(&rest)
        case 0x5D, 0x50, 0x58, 0x5E, 0x5F:
            while let scalar = rest.next() {
                if scalar.value == 0x07 || scalar.value == 0x9C { return }
                if scalar.value == 0x1B {
                    _ = rest.next()
                    return
                }
            }
        case nil: return
        default: return
        }
    }

    private static func skipControlSequence(_ rest: inout some IteratorProtocol<Unicode.Scalar>) {
        while let scalar = rest.next() {
            if (0x40...0x7E).contains(scalar.value) || scalar.value > 0x7F { return }
        }
    }

    // MARK: What could be a key

    /// In lower case; what follows one of them is a secret of somebody.
    private static let prefixes = [
        "sk-", "sk_", "pk-", "pk_", "rk_", "aisbf_reg_", "hf_", "ghp_", "gho_", "ghs_", "github_pat_", "glpat-",
        "xoxb-", "xoxp-", "aiza", "akia", "asia", "eyj", "gsk_", "r8_", "nvapi-", "v4.public.", "v4.local.",
    ].map { Array($0.utf8) }
    private static let schemes = ["bearer", "basic", "token"]
    /// Letters and digits in one piece that no word, version or date comes to.
    private static let randomCharacters = 32

    private static func withoutKeys(_ text: String) -> String {
        var output: [UInt8] = []
        var word: [UInt8] = []
        var isBehindScheme = false
        func finish() {
            guard !word.isEmpty else { return }
            let text = String(decoding: word, as: UTF8.self).lowercased()
            let isSecret = (isBehindScheme && isCredential(word)) || isKey(word)
            output += isSecret ? Array(hidden.utf8) : word
            isBehindScheme = schemes.contains(text)
            word = []
        }
        for byte in text.utf8 {
            if isKeyByte(byte) {
                word.append(byte)
            } else {
                finish()
                if byte != 0x20, byte != UInt8(ascii: ":") { isBehindScheme = false }
                output.append(byte)
            }
        }
        finish()
        return String(decoding: output, as: UTF8.self)
    }

    /// Behind a scheme stands a credential, or the rest of a sentence.
    private static func isCredential(_ word: [UInt8]) -> Bool {
        word.count >= 20 || (word.count >= 8 && word.contains { (0x30...0x39).contains($0) })
    }

    private static func isKey(_ word: [UInt8]) -> Bool {
        let lower = word.map { (0x41...0x5A).contains($0) ? $0 + 32 : $0 }
        // Two characters behind the prefix already are a part of somebody's key.
        if prefixes.contains(where: { lower.starts(with: $0) && lower.count >= $0.count + 2 }) { return true }
        return word.split(whereSeparator: { !isAlphanumeric($0) }).contains { part in
            part.count >= randomCharacters && part.contains { (0x30...0x39).contains($0) }
                && part.contains { !(0x30...0x39).contains($0) }
        }
    }

    /// RFC 6750's b64token, and the star of keys that are half hidden already.
    private static func isKeyByte(_ byte: UInt8) -> Bool {
        isAlphanumeric(byte) || [0x2A, 0x2B, 0x2D, 0x2E, 0x2F, 0x3D, 0x5F, 0x7E].contains(byte)
    }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
        default: false
        }
    }
}
