import MeshModel

/// `multipart/form-data` read while it arrives, in pieces of any size: what its fields are called and where files
/// begin. Holds no more than one part's headers and the value of one small field.
///
/// Refuses what `MultipartForm.parts` refuses, and text before the first boundary or behind the last one as well: the
/// bytes go on as they are, and two readers of one body must not see different parts.
package struct MultipartScanner: Sendable {
    package enum Event: Hashable, Sendable {
        /// A field that is no file has ended.
        /// - value: its bytes, for the names that are watched; nil for others.
        /// - range: where its content lies in the whole body.
        case field(name: String, value: [UInt8]?, range: Range<Int>)
        /// The content of a file follows.
        case fileBegan(name: String, filename: String)
        case fileEnded(name: String, filename: String, range: Range<Int>)
    }

    private enum State: Sendable {
        case start
        case boundaryLine
        case headers
        case content(Content)
        case closed
    }

    private struct Content: Sendable {
        var name: String
        /// Nil for a field.
        var filename: String?
        /// Where it begins in the whole body.
        var start: Int
        var isWatched: Bool
    }

    private let watched: [String]
    private let delimiter: MultipartDelimiter
    private var state = State.start
    private var parts = 0
    /// What was not consumed yet, and where it begins in the whole body.
    private var pending: [UInt8] = []
    private var base = 0
    /// Headers that begin here were looked through for their end up to here.
    private var searched = 0

    /// - Parameter watched: names of fields whose values are wanted; they may have `Limits.watchedFieldBytes`.
    package init(boundary: [UInt8], watching watched: [String]) throws(MultipartError) {
        guard MultipartForm.isBoundary(boundary) else { throw .invalidBoundary }
        delimiter = MultipartDelimiter(boundary)
        self.watched = watched
    }

    /// The next bytes of the body. After an error the body is refused as a whole: feed it no more.
    package mutating func feed(_ bytes: UnsafeRawBufferPointer) throws(MultipartError) -> [Event] {
        var events: [Event] = []
        var start = 0
        // In pieces: what is done with goes from the front, and the rest moves up behind it.
        while start < bytes.count {
            let end = min(start + Self.pieceBytes, bytes.count)
            pending.append(contentsOf: UnsafeRawBufferPointer(rebasing: bytes[start..<end]))
            while try step(&events) {}
            start = end
        }
        return events
    }

    /// The body has ended.
    package mutating func finish() throws(MultipartError) {
        switch state {
        case .closed: return
        case .boundaryLine:
            // The closing boundary needs no line end behind it.
            let line = try pending.reading { (raw) throws(MultipartError) in try delimiter.line(after: 0, in: raw)
            }
            guard line == .close else { throw .notClosed }
            state = .closed
        case .start: throw .noBoundary
        case .headers, .content: throw .notClosed
        }
    }

    /// - Returns: whether there may be more to do with what is there.
    private mutating func step(_ events: inout [Event]) throws(MultipartError) -> Bool {
        switch state {
        case .start: try start()
        case .boundaryLine: try boundaryLine()
        case .headers: try headers(&events)
        case .content(let content): try self.content(content, &events)
        case .closed: try closed()
        }
    }

    private func closed() throws(MultipartError) -> Bool {
        guard pending.count <= 4, pending.allSatisfy({ $0 == 0x0D || $0 == 0x0A }) else { throw .trailingBytes }
        return false
    }

    private mutating func start() throws(MultipartError) -> Bool {
        // A line end before the first boundary belongs to the boundary.
        let skip = pending.first == 0x0D ? 0 : 2
        guard pending.count >= delimiter.count - skip else { return false }
        guard pending.withUnsafeBytes({ delimiter.matches($0, at: 0, from: skip) }) else { throw .noBoundary }
        consume(delimiter.count - skip)
        state = .boundaryLine
        return true
    }

    private mutating func boundaryLine() throws(MultipartError) -> Bool {
        guard let lineFeed = pending.prefix(Self.longestBoundaryLine).firstIndex(of: 0x0A) else {
            guard pending.count < Self.longestBoundaryLine else { throw .badBoundaryLine }
            return false
        }
        let line = try pending.reading { (raw) throws(MultipartError) in try delimiter.line(after: 0, in: raw) }
        switch line {
        case .close:
            state = .closed
            consume(lineFeed + 1)
        case .part(let start):
            guard parts < Limits.multipartParts else { throw .tooManyParts }
            parts += 1
            state = .headers
            consume(start)
        }
        return true
    }

    private mutating func headers(_ events: inout [Event]) throws(MultipartError) -> Bool {
        guard headersAreWhole() else {
            guard pending.count <= Limits.multipartHeaderBytes else { throw .headersTooLong }
            return false
        }
        let (part, end) = try pending.reading { (raw) throws(MultipartError) in
            var headers = try MultipartHeaders(raw, from: 0)
            return (try headers.part(range: headers.end..<headers.end), headers.end)
        }
        let content = Content(
            name: part.name, filename: part.filename, start: base + end,
            isWatched: part.filename == nil && watched.contains(part.name))
        if let filename = part.filename { events.append(.fileBegan(name: part.name, filename: filename)) }
        state = .content(content)
        // The empty line behind the headers may be the one before the next boundary: a part without content.
        consume(end - 2)
        return true
    }

    /// Whether an empty line has come; looks at every byte once.
    private mutating func headersAreWhole() -> Bool {
        if pending.starts(with: [0x0D, 0x0A]) { return true }
        var index = max(searched, 3)
        defer { searched = index }
        while index < pending.count {
            if pending[index] == 0x0A, pending[index - 1] == 0x0D, pending[index - 2] == 0x0A,
                pending[index - 3] == 0x0D
            {
                return true
            }
            index += 1
        }
        return false
    }

    private mutating func content(_ content: Content, _ events: inout [Event]) throws(MultipartError) -> Bool {
        guard let found = pending.withUnsafeBytes({ delimiter.next(in: $0, from: 0) }) else {
            let length = base + pending.count - content.start
            if content.isWatched {
                guard length <= Limits.watchedFieldBytes + delimiter.count else { throw .fieldTooLong }
            } else {
                guard content.filename != nil || length <= Limits.formFieldBytes + delimiter.count else {
                    throw .fieldTooLong
                }
                // The beginning of a delimiter may stand at the end.
                consume(max(pending.count - delimiter.count + 1, 0))
            }
            return false
        }
        let end = max(base + found.start, content.start)
        if let filename = content.filename {
            events.append(.fileEnded(name: content.name, filename: filename, range: content.start..<end))
        } else {
            let limit = content.isWatched ? Limits.watchedFieldBytes : Limits.formFieldBytes
            guard end - content.start <= limit else { throw .fieldTooLong }
            let value = content.isWatched ? Array(pending[content.start - base..<end - base]) : nil
            events.append(.field(name: content.name, value: value, range: content.start..<end))
        }
        state = .boundaryLine
        consume(found.end)
        return true
    }

    private mutating func consume(_ count: Int) {
        pending.removeFirst(count)
        base += count
        searched = 0
    }

    private static let pieceBytes = 8_192
    /// Spaces may stand behind a boundary; nobody sends this many.
    private static let longestBoundaryLine = 256
}
