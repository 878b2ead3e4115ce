import MeshModel

/// Builds the tree of a document that a scanner has accepted, in one pass over it.
///
/// Nothing is checked again: what the scanner took ends where it should, in every string, list and object. Its depth is
/// bounded there, so that the recursion here is.
struct JSONTree {
    private let bytes: UnsafeRawBufferPointer
    private var position: Int

    /// Members of an object, and elements of a list, that a tree may have.
    private static let members = 512
    private static let elements = 4_096

    /// - Parameter slice: of a value that `JSONScanner` accepted in the same bytes.
    static func value(of slice: JSONSlice, in bytes: UnsafeRawBufferPointer) throws(JSONScanError) -> JSONValue {
        var tree = JSONTree(bytes: bytes, position: slice.range.lowerBound)
        return try tree.value()
    }

    private mutating func value() throws(JSONScanError) -> JSONValue {
        switch bytes[position] {
        case UInt8(ascii: "{"): return try object()
        case UInt8(ascii: "["): return try array()
        case UInt8(ascii: "\""): return .string(text())
        case UInt8(ascii: "t"):
            position += 4
            return .boolean(true)
        case UInt8(ascii: "f"):
            position += 5
            return .boolean(false)
        case UInt8(ascii: "n"):
            position += 4
            return .null
        default: return .number(number())
        }
    }

    private mutating func object() throws(JSONScanError) -> JSONValue {
        position += 1
        var members: [JSONValue.Member] = []
        while true {
            skip()
            guard bytes[position] != UInt8(ascii: "}") else {
                position += 1
                return .object(members)
            }
            guard members.count < Self.members else {
                throw JSONScanError(reason: .tooManyFields, offset: position)
            }
            let name = text()
            skip()
            members.append(JSONValue.Member(name, try value()))
        }
    }

    private mutating func array() throws(JSONScanError) -> JSONValue {
        position += 1
        var elements: [JSONValue] = []
        while true {
            skip()
            guard bytes[position] != UInt8(ascii: "]") else {
                position += 1
                return .array(elements)
            }
            guard elements.count < Self.elements else {
                throw JSONScanError(reason: .tooManyFields, offset: position)
            }
            elements.append(try value())
        }
    }

    /// Space, and what keeps values apart.
    private mutating func skip() {
        while position < bytes.count {
            switch bytes[position] {
            case 0x20, 0x0A, 0x0D, 0x09, UInt8(ascii: ","), UInt8(ascii: ":"): position += 1
            default: return
            }
        }
    }

    private mutating func text() -> String {
        let start = position
        position += 1
        var hasEscapes = false
        while position < bytes.count, bytes[position] != UInt8(ascii: "\"") {
            if bytes[position] == UInt8(ascii: "\\") {
                hasEscapes = true
                position += 2
            } else {
                position = JSONScanner.plainEnd(of: bytes, from: position + 1, before: bytes.count)
            }
        }
        position += 1
        guard hasEscapes else {
            return String(decoding: UnsafeRawBufferPointer(rebasing: bytes[start + 1..<position - 1]), as: UTF8.self)
        }
        return JSONText.string(JSONSlice(kind: .string, range: start..<position, hasEscapes: true), in: bytes)
    }

    private mutating func number() -> String {
        let start = position
        while position < bytes.count {
            switch bytes[position] {
            case 0x30...0x39, UInt8(ascii: "-"), UInt8(ascii: "+"), UInt8(ascii: "."), UInt8(ascii: "e"),
                UInt8(ascii: "E"):
                position += 1
                continue
            default: break
            }
            break
        }
        return String(decoding: UnsafeRawBufferPointer(rebasing: bytes[start..<position]), as: UTF8.self)
    }
}
