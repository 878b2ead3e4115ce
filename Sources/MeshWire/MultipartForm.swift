import MeshModel

/// `multipart/form-data` (RFC 7578, in the form RFC 2046 section 5.1 gives bodies): where the parts of a body lie,
/// without copying them, and the way back.
///
/// Two readers of one body must not see different parts, so whatever could be read in two ways is refused: lines that
/// end in LF alone, text behind a boundary, folded or repeated headers, transfer encodings.
package struct MultipartForm {
    package struct Part: Hashable, Sendable {
        package var name: String
        package var filename: String?
        package var contentType: String?
        /// Where the content lies in the body.
        package var range: Range<Int>

        package init(name: String, filename: String? = nil, contentType: String? = nil, range: Range<Int>) {
            self.name = name
            self.filename = filename
            self.contentType = contentType
            self.range = range
        }
    }

    /// Whether a `content-type` value says that the body is a form, readable or not.
    package static func isForm(_ contentType: String) -> Bool {
        contentType.lowercased().hasPrefix("multipart/form-data")
    }

    /// The boundary that a `content-type` value names; nil where it is no `multipart/form-data`, or names none, two,
    /// or one that RFC 2046 does not allow.
    package static func boundary(contentType: String) -> [UInt8]? {
        guard contentType.utf8.count <= Limits.multipartHeaderBytes else { return nil }
        let bytes = Array(contentType.utf8)
        guard let value = bytes.withUnsafeBytes({ boundary(in: $0) }) else { return nil }
        return isBoundary(value) ? value : nil
    }

    /// The parts of a whole body in their order, empty for a form without fields. Takes time in proportion to the
    /// body's length, whatever it holds.
    package static func parts(
        of bytes: UnsafeRawBufferPointer, boundary: [UInt8]
    ) throws(MultipartError) -> [Part] {
        guard isBoundary(boundary) else { throw .invalidBoundary }
        let delimiter = MultipartDelimiter(boundary)
        guard var position = delimiter.first(in: bytes) else { throw .noBoundary }
        var parts: [Part] = []
        while case .part(let start) = try delimiter.line(after: position, in: bytes) {
            guard parts.count < Limits.multipartParts else { throw .tooManyParts }
            var headers = try MultipartHeaders(bytes, from: start)
            let content = headers.end
            // The empty line behind the headers may be the one before the next boundary: a part without content.
            guard let next = delimiter.next(in: bytes, from: content - 2) else { throw .notClosed }
            let end = max(next.start, content)
            parts.append(try headers.part(range: content..<end))
            position = next.end
        }
        return parts
    }

    /// The parts of a whole body in their order.
    package static func parts(of bytes: [UInt8], boundary: [UInt8]) throws(MultipartError) -> [Part] {
        try bytes.reading { raw throws(MultipartError) in try parts(of: raw, boundary: boundary) }
    }

    private static func boundary(in bytes: UnsafeRawBufferPointer) -> [UInt8]? {
        var cursor = HeaderCursor(bytes, range: 0..<bytes.count)
        guard cursor.word().elementsEqual("multipart/form-data".utf8) else { return nil }
        var boundary: [UInt8]?
        do throws(MultipartError) {
            while let parameter = try cursor.parameter() {
                guard parameter.name.elementsEqual("boundary".utf8) else { continue }
                guard boundary == nil else { return nil }
                boundary = parameter.value
            }
        } catch { return nil }
        return boundary
    }

    /// RFC 2046: 1 to 70 of its characters, the last of them no space.
    static func isBoundary(_ bytes: [UInt8]) -> Bool {
        guard (1...70).contains(bytes.count), bytes.last != 0x20 else { return false }
        return bytes.allSatisfy { byte in
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x20: true
            case UInt8(ascii: "'"), UInt8(ascii: "("), UInt8(ascii: ")"), UInt8(ascii: "+"), UInt8(ascii: "_"),
                UInt8(ascii: ","), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "/"), UInt8(ascii: ":"),
                UInt8(ascii: "="), UInt8(ascii: "?"):
                true
            default: false
            }
        }
    }
}
