/// CRLF, two dashes and the boundary: what stands between two parts.
struct MultipartDelimiter: Sendable {
    private let bytes: [UInt8]

    /// - Parameter boundary: one that holds neither CR nor LF.
    init(_ boundary: [UInt8]) { bytes = [0x0D, 0x0A, 0x2D, 0x2D] + boundary }

    var count: Int { bytes.count }

    enum Line: Hashable {
        /// A part's headers start here.
        case part(Int)
        /// The closing boundary: what follows is nobody's.
        case close
    }

    /// Where the first delimiter ends; it may stand at the very start, without a line before it.
    func first(in text: UnsafeRawBufferPointer) -> Int? {
        if matches(text, at: 0, from: 2) { return bytes.count - 2 }
        return next(in: text, from: 0)?.end
    }

    /// The next delimiter at or after `start`.
    ///
    /// Only the first byte of a delimiter is CR, so bytes that matched hold no other candidate and no byte is compared
    /// more than twice.
    func next(in text: UnsafeRawBufferPointer, from start: Int) -> (start: Int, end: Int)? {
        var position = start
        while let candidate = Self.carriageReturn(in: text, from: position) {
            if matches(text, at: candidate, from: 0) { return (candidate, candidate + bytes.count) }
            position = candidate + 1
        }
        return nil
    }

    /// What the rest of a delimiter's line says.
    func line(after end: Int, in text: UnsafeRawBufferPointer) throws(MultipartError) -> Line {
        var position = end
        let closes = position + 1 < text.count && text[position] == 0x2D && text[position + 1] == 0x2D
        if closes { position += 2 }
        while position < text.count, text[position] == 0x20 || text[position] == 0x09 { position += 1 }
        guard position < text.count else {
            guard closes else { throw .notClosed }
            return .close
        }
        guard text[position] != 0x0A else { throw .bareLineFeed }
        guard text[position] == 0x0D else { throw .badBoundaryLine }
        guard position + 1 < text.count else { throw closes ? .bareLineFeed : .notClosed }
        guard text[position + 1] == 0x0A else { throw .bareLineFeed }
        return closes ? .close : .part(position + 2)
    }

    /// Whether the delimiter from its byte `from` on stands at `position`.
    func matches(_ text: UnsafeRawBufferPointer, at position: Int, from: Int) -> Bool {
        guard text.count - position >= bytes.count - from else { return false }
        var index = from
        while index < bytes.count {
            guard text[position + index - from] == bytes[index] else { return false }
            index += 1
        }
        return true
    }

    /// The first CR at or after `start`, eight bytes at a time: contents are megabytes of images and sound.
    private static func carriageReturn(in text: UnsafeRawBufferPointer, from start: Int) -> Int? {
        let (ones, tops): (UInt64, UInt64) = (0x0101_0101_0101_0101, 0x8080_8080_8080_8080)
        var index = start
        while index + 8 <= text.count {
            // A byte of `word` is zero where the text has CR; the sum says whether there is one.
            let word = text.loadUnaligned(fromByteOffset: index, as: UInt64.self) ^ (ones &* 0x0D)
            if (word &- ones) & ~word & tops != 0 { break }
            index += 8
        }
        while index < text.count {
            if text[index] == 0x0D { return index }
            index += 1
        }
        return nil
    }
}
