import MeshModel

/// RFC 3986 percent-encoding, as far as paths and queries need it.
package enum PercentEncoding {
    /// Nil for a broken escape, for bytes that are no UTF-8 and for control characters.
    package static func decode(_ text: some StringProtocol, plusIsSpace: Bool = false) -> String? {
        let input = Array(text.utf8)
        var output: [UInt8] = []
        var index = 0
        while index < input.count {
            switch input[index] {
            case UInt8(ascii: "%"):
                guard index + 2 < input.count, let high = hexValue(input[index + 1]),
                    let low = hexValue(input[index + 2])
                else { return nil }
                output.append(high << 4 | low)
                index += 3
            case UInt8(ascii: "+") where plusIsSpace:
                output.append(0x20)
                index += 1
            case let byte:
                output.append(byte)
                index += 1
            }
        }
        guard output.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) else { return nil }
        return String(validating: output, as: UTF8.self)
    }

    /// `text` as it may stand in a header: printable ASCII without `%`, everything else escaped. What goes beyond `limit`
    /// bytes of UTF-8 is left out.
    package static func encode(_ text: String, limit: Int) -> String {
        var output: [UInt8] = []
        let digits = Array("0123456789ABCDEF".utf8)
        var count = 0
        for character in text.unicodeScalars {
            let bytes = Array(String(character).utf8)
            count += bytes.count
            guard count <= limit else { break }
            for byte in bytes {
                if (0x20..<0x7F).contains(byte), byte != UInt8(ascii: "%") {
                    output.append(byte)
                } else {
                    output += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
                }
            }
        }
        return String(decoding: output, as: UTF8.self)
    }

    /// `text` itself, unless it holds control characters: for names that may have a `%` of their own.
    package static func plain(_ text: some StringProtocol) -> String? {
        text.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F } ? String(text) : nil
    }

    /// The pairs of a query string, at most 64; broken ones are left out.
    package static func query(_ text: String) -> [(name: String, value: String)] {
        text.split(separator: "&").prefix(64).compactMap { pair in
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = decode(parts[0], plusIsSpace: true) else { return nil }
            guard let value = decode(parts.count == 2 ? parts[1] : "", plusIsSpace: true) else { return nil }
            return (name, value)
        }
    }
}
