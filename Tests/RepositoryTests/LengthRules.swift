/// How long files and functions may be.
enum LengthRules {
    static let fileLines = 500
    /// In what is shipped, and in tests, which tell a story.
    static let functionLines = 60
    static let testLines = 80
    static let lineColumns = 120

    static func fileFindings(in file: SourceFile) -> [Finding] {
        // The last line feed ends a line and starts none.
        let count = file.lines.count - (file.text.hasSuffix("\n") ? 1 : 0)
        guard count > fileLines else { return [] }
        return [
            Finding(rule: "file-length", path: file.path, line: count, text: "\(count) lines, \(fileLines) allowed")
        ]
    }

    /// Functions, initialisers and subscripts that have more lines than that.
    static func functionFindings(in file: SourceFile) -> [Finding] {
        let functionLines = file.isTest ? testLines : functionLines
        let code = Array(file.code.utf8)
        let lineStarts = [0] + code.indices.filter { code[$0] == 0x0A }.map { $0 + 1 }
        func lineNumber(_ offset: Int) -> Int { lineStarts.partitionPoint { $0 <= offset } }
        return functionStarts(code).compactMap { start in
            guard let open = bodyStart(code, after: start.end), let close = bodyEnd(code, open) else { return nil }
            let length = lineNumber(close) - lineNumber(start.offset) + 1
            guard length > functionLines else { return nil }
            return Finding(
                rule: "function-length", path: file.path, line: lineNumber(start.offset),
                text: "\(length) lines, \(functionLines) allowed")
        }
    }

    private static let keywords = ["func", "init", "deinit", "subscript"].map { Array($0.utf8) }

    private static func functionStarts(_ code: [UInt8]) -> [(offset: Int, end: Int)] {
        words(code).filter { word in
            guard keywords.contains(Array(code[word])) else { return false }
            // `self.init(…)`, `.init(…)` and `init` as an argument label are calls and names, no declarations.
            let before = code[..<word.lowerBound].last { $0 != 0x20 && $0 != 0x0A }
            return before != 0x2E && before != 0x60
        }.map { ($0.lowerBound, $0.upperBound) }
    }

    private static func words(_ code: [UInt8]) -> [Range<Int>] {
        var words: [Range<Int>] = []
        var start: Int?
        for (index, byte) in code.enumerated() {
            if isWordByte(byte) {
                start = start ?? index
            } else if let begin = start {
                words.append(begin..<index)
                start = nil
            }
        }
        return words
    }

    private static func isWordByte(_ byte: UInt8) -> Bool {
        (0x61...0x7A).contains(byte) || (0x41...0x5A).contains(byte) || (0x30...0x39).contains(byte) || byte == 0x5F
    }

    /// The brace that opens the body; nil for a requirement of a protocol, whose surroundings end or whose neighbour
    /// starts first.
    private static func bodyStart(_ code: [UInt8], after end: Int) -> Int? {
        var depth = 0
        var index = end
        var word: [UInt8] = []
        let neighbours = ["func", "var", "let", "init", "subscript", "case", "struct", "enum", "extension", "package"]
            .map { Array($0.utf8) }
        while index < code.count {
            let byte = code[index]
            if isWordByte(byte) {
                word.append(byte)
            } else {
                if depth == 0 && neighbours.contains(word) { return nil }
                word = []
                switch byte {
                case 0x28, 0x5B: depth += 1
                case 0x29, 0x5D: depth -= 1
                case 0x7B where depth == 0: return index
                case 0x7D where depth == 0: return nil
                default: break
                }
                if depth < 0 { return nil }
            }
            index += 1
        }
        return nil
    }

    private static func bodyEnd(_ code: [UInt8], _ open: Int) -> Int? {
        var depth = 0
        for index in open..<code.count {
            if code[index] == 0x7B { depth += 1 }
            if code[index] == 0x7D {
                depth -= 1
                if depth == 0 { return index }
            }
        }
        return nil
    }
}

extension Array {
    /// How many elements `belongs` holds for, when it holds for none after the first it does not hold for.
    func partitionPoint(_ belongs: (Element) -> Bool) -> Int {
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            if belongs(self[middle]) { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
