import MeshModel
package import NIOCore
package import NIOHTTP1

/// The head of an HTTP/1.1 request in the form that nearly all programs send: `POST` with one length or `GET` without a
/// body, plain names and values, and nothing that changes how what follows is cut (RFC 9112, sections 3 to 6). Whatever
/// is written otherwise, valid or not, is `odd`: another decoder reads it from its first byte. There is no third way,
/// so that the two can never see different requests in the same bytes.
package struct PlainRequest: Sendable {
    package enum Reading: Sendable {
        /// So far it is one.
        case incomplete
        case odd
        case head(PlainRequest)
    }

    /// The longest head whose end is waited for here.
    package static let headBytes = 8 << 10
    fileprivate static let maximumFields = 64

    package let head: HTTPRequestHead
    /// Of the head with its empty line.
    package let length: Int
    /// What follows it.
    package let bodyBytes: Int

    package static func read(_ bytes: UnsafeRawBufferPointer) -> Reading {
        var reader = PlainReader(bytes: bytes)
        let reading = reader.read()
        if case .incomplete = reading, bytes.count >= headBytes { return .odd }
        return reading
    }

    package static func read(_ bytes: ByteBuffer) -> Reading { bytes.withUnsafeReadableBytes(read) }
}

private struct PlainReader {
    /// What a line is.
    private enum Line {
        case incomplete
        case odd
        case end(Int)
    }

    /// What a header says of the message's shape.
    private enum Meaning {
        case none
        case length(Int)
        case odd
    }

    let bytes: UnsafeRawBufferPointer
    private var position = 0
    private var fields: [(String, String)] = []
    private var contentLength: Int?

    init(bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    mutating func read() -> PlainRequest.Reading {
        let isPost: Bool
        switch (starts("POST "), starts("GET ")) {
        case (true, _): isPost = true
        case (_, true): isPost = false
        case (nil, _), (_, nil): return .incomplete
        default: return .odd
        }
        let start = isPost ? 5 : 4
        position = start
        switch target() {
        case .incomplete: return .incomplete
        case .odd: return .odd
        case .end(let end): position = end
        }
        let uri = text(start..<position)
        switch startsAfterTarget() {
        case nil: return .incomplete
        case false?: return .odd
        case true?: position += Self.version.utf8CodeUnitCount
        }
        fields.reserveCapacity(16)
        while true {
            guard position < bytes.count else { return .incomplete }
            if bytes[position] == Self.carriageReturn {
                guard position + 1 < bytes.count else { return .incomplete }
                guard bytes[position + 1] == Self.lineFeed else { return .odd }
                break
            }
            switch field() {
            case .incomplete: return .incomplete
            case .odd: return .odd
            case .end(let end): position = end
            }
        }
        guard isPost == (contentLength != nil) else { return .odd }
        return .head(
            PlainRequest(
                head: HTTPRequestHead(
                    version: .http1_1, method: isPost ? .POST : .GET, uri: uri, headers: HTTPHeaders(fields)),
                length: position + 2, bodyBytes: contentLength ?? 0))
    }

    private static let version: StaticString = " HTTP/1.1\r\n"
    private static let carriageReturn = UInt8(ascii: "\r")
    private static let lineFeed = UInt8(ascii: "\n")

    /// Whether the bytes start so; nil when they end before that is clear.
    private func starts(_ word: StaticString, at offset: Int = 0) -> Bool? {
        word.withUTF8Buffer { word in
            for index in 0..<word.count {
                guard offset + index < bytes.count else { return nil }
                guard bytes[offset + index] == word[index] else { return false }
            }
            return true
        }
    }

    private func startsAfterTarget() -> Bool? { starts(Self.version, at: position) }

    /// In origin form, of the characters that need no thought.
    private func target() -> Line {
        var index = position
        guard index < bytes.count else { return .incomplete }
        guard bytes[index] == UInt8(ascii: "/") else { return .odd }
        while index < bytes.count {
            switch bytes[index] {
            case UInt8(ascii: " "): return .end(index)
            case UInt8(ascii: "#"): return .odd
            case 0x21...0x7E: index += 1
            default: return .odd
            }
        }
        return .incomplete
    }

    /// One header line.
    private mutating func field() -> Line {
        let nameStart = position
        var index = position
        while index < bytes.count, Self.isName(bytes[index]) { index += 1 }
        guard index < bytes.count else { return .incomplete }
        guard bytes[index] == UInt8(ascii: ":"), index > nameStart else { return .odd }
        let name = nameStart..<index
        index += 1
        while index < bytes.count, bytes[index] == UInt8(ascii: " ") { index += 1 }
        let valueStart = index
        while index < bytes.count, 0x20...0x7E ~= bytes[index] { index += 1 }
        guard index + 1 < bytes.count else {
            return index == bytes.count || bytes[index] == Self.carriageReturn ? .incomplete : .odd
        }
        // An empty value, and one with spaces behind it, has more than one reading.
        guard bytes[index] == Self.carriageReturn, bytes[index + 1] == Self.lineFeed, index > valueStart,
            bytes[index - 1] != UInt8(ascii: " "), fields.count < PlainRequest.maximumFields
        else { return .odd }
        let value = valueStart..<index
        switch meaning(name, value) {
        case .none: break
        case .length(let count):
            guard contentLength == nil else { return .odd }
            contentLength = count
        case .odd: return .odd
        }
        fields.append((text(name), text(value)))
        return .end(index + 2)
    }

    private static func isName(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
            true
        default: false
        }
    }

    /// What nearly all requests say takes no memory of its own.
    private func text(_ range: Range<Int>) -> String {
        switch range.count {
        case 16 where bytes.begins(with: "application/json", at: range.lowerBound): return "application/json"
        case 20 where bytes.begins(with: "/v1/chat/completions", at: range.lowerBound): return "/v1/chat/completions"
        default: break
        }
        return String(decoding: UnsafeRawBufferPointer(rebasing: bytes[range]), as: UTF8.self)
    }

    private func meaning(_ name: Range<Int>, _ value: Range<Int>) -> Meaning {
        switch name.count {
        case 2 where isSame(name, "te"): .odd
        case 6 where isSame(name, "expect"): .odd
        case 7 where isSame(name, "upgrade") || isSame(name, "trailer"): .odd
        case 10 where isSame(name, "connection"): isSame(value, "keep-alive") ? .none : .odd
        case 14 where isSame(name, "content-length"): number(value).map(Meaning.length) ?? .odd
        case 14 where isSame(name, "http2-settings"): .odd
        case 16 where isSame(name, "proxy-connection"): .odd
        case 17 where isSame(name, "transfer-encoding"): .odd
        default: .none
        }
    }

    /// Digits without a zero before them, of a size that any decoder can count.
    private func number(_ range: Range<Int>) -> Int? {
        guard range.count <= 12, bytes[range.lowerBound] != UInt8(ascii: "0") || range.count == 1 else { return nil }
        var value = 0
        for index in range {
            guard UInt8(ascii: "0")...UInt8(ascii: "9") ~= bytes[index] else { return nil }
            value = value * 10 + Int(bytes[index] - UInt8(ascii: "0"))
        }
        return value
    }

    /// - Parameter word: of lower-case letters, digits and dashes.
    private func isSame(_ range: Range<Int>, _ word: StaticString) -> Bool {
        word.withUTF8Buffer { word in
            guard word.count == range.count else { return false }
            for index in 0..<word.count {
                let byte = bytes[range.lowerBound + index]
                let lower = UInt8(ascii: "A")...UInt8(ascii: "Z") ~= byte ? byte | 0x20 : byte
                guard lower == word[index] else { return false }
            }
            return true
        }
    }
}
