/// Swift source with comments and the contents of string literals blanked out, line for line: what is left is code.
/// A scanner for our own style, no parser: regular expression literals are not known to it.
struct SwiftText {
    private let source: [UInt8]
    private var output: [UInt8] = []
    private var index = 0

    static func code(_ text: String) -> String {
        var scanner = SwiftText(source: Array(text.utf8))
        return scanner.scanned()
    }

    private init(source: [UInt8]) { self.source = source }

    private mutating func scanned() -> String {
        while index < source.count {
            let byte = source[index]
            if byte != 0x2F && byte != 0x22 && byte != 0x23 {
                output.append(byte)
                index += 1
            } else if starts("//") {
                while index < source.count, source[index] != 0x0A { blankByte() }
            } else if starts("/*") {
                blankBlockComment()
            } else if let hashes = literalHashes {
                blankLiteral(hashes: hashes)
            } else {
                output.append(source[index])
                index += 1
            }
        }
        return String(decoding: output, as: UTF8.self)
    }

    private func starts(_ text: String, at offset: Int = 0) -> Bool {
        source[min(index + offset, source.count)...].starts(with: text.utf8)
    }

    /// How many `#` stand before a quote here; nil when no literal starts here.
    private var literalHashes: Int? {
        let hashes = source[index...].prefix { $0 == 0x23 }.count
        return starts("\"", at: hashes) ? hashes : nil
    }

    private mutating func blankByte() {
        guard index < source.count else { return }
        output.append(source[index] == 0x0A ? 0x0A : 0x20)
        index += 1
    }

    private mutating func blankBytes(_ count: Int) {
        for _ in 0..<count { blankByte() }
    }

    private mutating func blankBlockComment() {
        var depth = 0
        while index < source.count {
            if starts("/*") {
                depth += 1
                blankBytes(2)
            } else if starts("*/") {
                depth -= 1
                blankBytes(2)
                if depth == 0 { return }
            } else {
                blankByte()
            }
        }
    }

    /// Interpolations inside the literal are followed, so that a quote in one does not end the literal.
    private mutating func blankLiteral(hashes: Int) {
        let marks = String(repeating: "#", count: hashes)
        let quote = starts("\"\"\"", at: hashes) ? "\"\"\"" : "\""
        blankBytes(hashes + quote.utf8.count)
        while index < source.count {
            let byte = source[index]
            if byte != 0x22 && byte != 0x5C && byte != 0x0A {
                blankByte()
            } else if starts(quote + marks) {
                blankBytes(quote.utf8.count + hashes)
                return
            } else if starts("\\" + marks + "(") {
                blankBytes(2 + hashes)
                blankInterpolation()
            } else if starts("\\" + marks) {
                blankBytes(2 + hashes)
            } else if quote == "\"" && source[index] == 0x0A {
                return
            } else {
                blankByte()
            }
        }
    }

    private mutating func blankInterpolation() {
        var depth = 1
        while index < source.count, depth > 0 {
            let byte = source[index]
            if byte == 0x22 || byte == 0x23, let hashes = literalHashes {
                blankLiteral(hashes: hashes)
                continue
            }
            if source[index] == 0x28 { depth += 1 }
            if source[index] == 0x29 { depth -= 1 }
            blankByte()
        }
    }
}
