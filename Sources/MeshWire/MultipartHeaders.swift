import MeshModel

/// The headers of one part.
struct MultipartHeaders {
    private let bytes: UnsafeRawBufferPointer
    private var disposition: Range<Int>?
    private var contentType: Range<Int>?
    private var encoding: Range<Int>?
    /// Where the content starts, behind the empty line.
    private(set) var end: Int

    /// Reads lines until the empty one.
    init(_ bytes: UnsafeRawBufferPointer, from start: Int) throws(MultipartError) {
        self.bytes = bytes
        end = start
        while let line = try Self.line(bytes, at: end, limit: start + Limits.multipartHeaderBytes) {
            end = line.upperBound + 2
            guard let colon = line.first(where: { bytes[$0] == UInt8(ascii: ":") }) else { throw .malformedHeader }
            let name = line.lowerBound..<colon
            guard !name.isEmpty, name.allSatisfy({ HeaderCursor.isTokenByte(bytes[$0]) }) else {
                throw .malformedHeader
            }
            try take(name: name, value: Self.trimmed(bytes, colon + 1..<line.upperBound))
        }
        end += 2
    }

    /// The part whose content lies in `range`.
    mutating func part(range: Range<Int>) throws(MultipartError) -> MultipartForm.Part {
        guard let disposition else { throw .noDisposition }
        var cursor = HeaderCursor(bytes, range: disposition)
        guard cursor.word().elementsEqual("form-data".utf8) else { throw .notFormData }
        var name: [UInt8]?
        var filename: [UInt8]?
        var extendedFilename: [UInt8]?
        while let parameter = try cursor.parameter() {
            switch String(decoding: parameter.name, as: UTF8.self) {
            case "name": try Self.set(&name, parameter.value)
            case "filename": try Self.set(&filename, parameter.value)
            case "filename*": try Self.set(&extendedFilename, try HeaderCursor.extendedValue(parameter.value))
            default: break
            }
        }
        guard let name else { throw .noName }
        return MultipartForm.Part(
            name: try Self.text(name), filename: try (extendedFilename ?? filename).map(Self.text),
            contentType: try contentType.map { range throws(MultipartError) in try Self.text(Array(bytes[range])) },
            range: range)
    }

    private mutating func take(name: Range<Int>, value: Range<Int>) throws(MultipartError) {
        switch Self.lowercased(bytes[name]) {
        case "content-disposition":
            guard disposition == nil else { throw .repeatedHeader }
            disposition = value
        case "content-type":
            guard contentType == nil else { throw .repeatedHeader }
            contentType = value
        case "content-transfer-encoding":
            guard encoding == nil else { throw .repeatedHeader }
            encoding = value
            guard ["7bit", "8bit", "binary"].contains(Self.lowercased(bytes[value])) else { throw .encodedContent }
        default: break
        }
    }

    private static func lowercased(_ text: Slice<UnsafeRawBufferPointer>) -> String {
        String(decoding: text.lazy.map(HeaderCursor.lowercased), as: UTF8.self)
    }

    /// The line at `start` without its CRLF, nil for the empty line.
    private static func line(
        _ bytes: UnsafeRawBufferPointer, at start: Int, limit: Int
    ) throws(MultipartError) -> Range<Int>? {
        var index = start
        while index < bytes.count {
            guard index < limit else { throw .headersTooLong }
            let byte = bytes[index]
            if byte == 0x0A { throw .bareLineFeed }
            if byte == 0x0D {
                guard index + 1 < bytes.count else { throw .notClosed }
                guard bytes[index + 1] == 0x0A else { throw .bareLineFeed }
                return index == start ? nil : start..<index
            }
            guard byte >= 0x20 || byte == 0x09, byte != 0x7F else { throw .invalidText }
            index += 1
        }
        throw .notClosed
    }

    private static func trimmed(_ bytes: UnsafeRawBufferPointer, _ range: Range<Int>) -> Range<Int> {
        var (start, end) = (range.lowerBound, range.upperBound)
        while start < end, bytes[start] == 0x20 || bytes[start] == 0x09 { start += 1 }
        while start < end, bytes[end - 1] == 0x20 || bytes[end - 1] == 0x09 { end -= 1 }
        return start..<end
    }

    private static func set(_ value: inout [UInt8]?, _ new: [UInt8]) throws(MultipartError) {
        guard value == nil else { throw .repeatedParameter }
        value = new
    }

    private static func text(_ bytes: [UInt8]) throws(MultipartError) -> String {
        guard let text = String(validating: bytes, as: UTF8.self) else { throw .invalidText }
        return text
    }
}
