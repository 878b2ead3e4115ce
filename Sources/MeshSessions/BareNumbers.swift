import MeshModel
package import MeshWire

/// Python's `json.dumps` writes floats that are no numbers as bare `NaN`, `Infinity` and `-Infinity`, which JSON does
/// not have. A worker whose sensor fails must not lose its session for that.
package enum BareNumbers {
    /// `bytes` with `null` in place of each of those words outside of strings; nil when there is none, or more than
    /// `Limits.workerRegisterBytes` to read. What comes out is scanned like anything else: nothing here judges it.
    package static func mended(_ bytes: UnsafeRawBufferPointer) -> [UInt8]? {
        guard bytes.count <= Limits.workerRegisterBytes else { return nil }
        var output: [UInt8] = []
        var copied = 0
        var position = 0
        var isInString = false
        while position < bytes.count {
            let byte = bytes[position]
            if isInString {
                if byte == UInt8(ascii: "\"") { isInString = false }
                position += byte == UInt8(ascii: "\\") ? 2 : 1
                continue
            }
            if byte == UInt8(ascii: "\"") { isInString = true }
            let length = wordLength(bytes, at: position)
            guard length > 0 else {
                position += 1
                continue
            }
            output.append(contentsOf: UnsafeRawBufferPointer(rebasing: bytes[copied..<position]))
            output += Array("null".utf8)
            position += length
            copied = position
        }
        guard copied > 0 else { return nil }
        output.append(contentsOf: UnsafeRawBufferPointer(rebasing: bytes[copied...]))
        return output
    }

    /// A worker's document as a tree, mended where it has to be; nil when it is none even so.
    package static func parse(_ bytes: [UInt8]) -> JSONValue? {
        if let value = try? JSONValue.parse(bytes) { return value }
        return bytes.withUnsafeBytes { mended($0) }.flatMap { try? JSONValue.parse($0) }
    }

    private static func wordLength(_ bytes: UnsafeRawBufferPointer, at position: Int) -> Int {
        switch bytes[position] {
        case UInt8(ascii: "N"): length(of: "NaN", in: bytes, at: position)
        case UInt8(ascii: "I"): length(of: "Infinity", in: bytes, at: position)
        case UInt8(ascii: "-"): length(of: "-Infinity", in: bytes, at: position)
        default: 0
        }
    }

    private static func length(of word: StaticString, in bytes: UnsafeRawBufferPointer, at position: Int) -> Int {
        let count = word.utf8CodeUnitCount
        guard bytes.count - position >= count else { return 0 }
        for offset in 0..<count where bytes[position + offset] != word.utf8Start[offset] { return 0 }
        return count
    }
}
