import MeshModel

extension MultipartForm {
    /// A field or file to write.
    package struct Item: Hashable, Sendable {
        package var name: String
        /// Nil for a field.
        package var filename: String?
        package var contentType: String?
        package var bytes: [UInt8]

        package init(name: String, filename: String? = nil, contentType: String? = nil, bytes: [UInt8]) {
            self.name = name
            self.filename = filename
            self.contentType = contentType
            self.bytes = bytes
        }
    }

    /// The body that holds `items`, in their order.
    ///
    /// `parts(of:boundary:)` reads the same items again, with two exceptions: a control character in a name comes
    /// out percent-encoded, and `%22` in a name is read as a quote. A content type with control characters is left out.
    /// - Parameter boundary: one that no content holds, such as `boundary(for:seed:)` finds.
    package static func body(_ items: [Item], boundary: [UInt8]) -> [UInt8] {
        var output: [UInt8] = []
        output.reserveCapacity(items.reduce(boundary.count + 8) { $0 + $1.bytes.count + boundary.count + 256 })
        for item in items {
            output += [0x2D, 0x2D]
            output += boundary
            output += Array("\r\ncontent-disposition: form-data; name=".utf8)
            appendQuoted(item.name, to: &output)
            if let filename = item.filename {
                output += Array("; filename=".utf8)
                appendQuoted(filename, to: &output)
            }
            if let type = item.contentType, type.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) {
                output += Array("\r\ncontent-type: ".utf8)
                output += Array(type.utf8)
            }
            output += [0x0D, 0x0A, 0x0D, 0x0A]
            output += item.bytes
            output += [0x0D, 0x0A]
        }
        output += [0x2D, 0x2D]
        output += boundary
        output += [0x2D, 0x2D, 0x0D, 0x0A]
        return output
    }

    /// A boundary that stands in none of the contents.
    /// - Parameter seed: anything; the same one gives the same boundary for the same items.
    package static func boundary(for items: [Item], seed: UInt64) -> [UInt8] {
        var generator = SeededGenerator(seed: seed)
        while true {
            let candidate = Array("aisbf-\(hexText(Bytes16(high: generator.next(), low: generator.next()).bytes))".utf8)
            let delimiter = MultipartDelimiter(candidate)
            let isFree = items.allSatisfy { item in
                item.bytes.withUnsafeBytes { delimiter.first(in: $0) == nil }
            }
            if isFree { return candidate }
        }
    }

    private static func appendQuoted(_ text: String, to output: inout [UInt8]) {
        output.append(UInt8(ascii: "\""))
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): output += [UInt8(ascii: "\\"), byte]
            case 0..<0x20, 0x7F: output += Array("%\(hexText([byte]))".utf8)
            default: output.append(byte)
            }
        }
        output.append(UInt8(ascii: "\""))
    }
}
