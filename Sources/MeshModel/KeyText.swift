/// How keys and secrets are written for people: a prefix that names the kind, the bytes in base32, and a
/// checksum, so that half a key or a key of another kind is refused with a message that says which it is.
package enum KeyText: String, CaseIterable, Sendable {
    case node = "aisbf_node_"
    case operatorKey = "aisbf_op_"
    case owner = "aisbf_owner_"
    /// The seed of an attach key: what a seller's worker presents. Secret.
    case registrationToken = "aisbf_reg_"
    /// The seed of an API key, after a four-byte hint of its home node. Secret.
    case apiKey = "sk-aisbf-"

    /// Bytes before the checksum.
    package var payloadLength: Int { self == .apiKey ? 36 : 32 }

    package var meaning: String {
        switch self {
        case .node: "a node id"
        case .operatorKey: "an operator id"
        case .owner: "an owner id"
        case .registrationToken: "a registration token"
        case .apiKey: "an API key"
        }
    }

    package enum ParseError: Error, Equatable, Sendable {
        case otherKind(KeyText)
        case unknownPrefix
        case damaged

        /// What to tell the person who pasted it; never contains the text itself.
        package func message(expected: KeyText) -> String {
            switch self {
            case .otherKind(let kind): "this is \(kind.meaning), but \(expected.meaning) is needed here"
            case .unknownPrefix: "\(expected.meaning) starts with '\(expected.rawValue)'"
            case .damaged: "\(expected.meaning) is incomplete or mistyped: its checksum does not match"
            }
        }
    }

    /// The text form of `payload`, which must have `payloadLength` bytes.
    package func text(_ payload: [UInt8]) -> String {
        precondition(payload.count == payloadLength, "\(meaning) has \(payloadLength) bytes")
        let checksum = CRC32.checksum(Array(rawValue.utf8) + payload).bigEndianBytes
        return rawValue + Base32.text(payload + checksum)
    }

    /// The payload that `text` carries, after prefix and checksum were checked.
    package func parse(_ text: String) -> Result<[UInt8], ParseError> {
        guard text.hasPrefix(rawValue) else {
            let other = KeyText.allCases.first { text.hasPrefix($0.rawValue) }
            return .failure(other.map(ParseError.otherKind) ?? .unknownPrefix)
        }
        guard let bytes = Base32.bytes(text.utf8.dropFirst(rawValue.utf8.count)), bytes.count == payloadLength + 4
        else { return .failure(.damaged) }
        let payload = Array(bytes.prefix(payloadLength))
        guard CRC32.checksum(Array(rawValue.utf8) + payload).bigEndianBytes == Array(bytes.suffix(4))
        else { return .failure(.damaged) }
        return .success(payload)
    }
}

/// RFC 4648 base32 in lower case without padding: survives double-click selection, URLs and case folding.
package enum Base32 {
    private static let alphabet = Array("abcdefghijklmnopqrstuvwxyz234567".utf8)

    package static func text(_ bytes: [UInt8]) -> String {
        var output: [UInt8] = []
        output.reserveCapacity((bytes.count * 8 + 4) / 5)
        var buffer: UInt32 = 0
        var bits = 0
        for byte in bytes {
            buffer = buffer << 8 | UInt32(byte)
            bits += 8
            while bits >= 5 {
                bits -= 5
                output.append(alphabet[Int(buffer >> UInt32(bits)) & 31])
            }
            buffer &= (1 << UInt32(bits)) - 1
        }
        if bits > 0 { output.append(alphabet[Int(buffer << UInt32(5 - bits)) & 31]) }
        return String(decoding: output, as: UTF8.self)
    }

    /// Nil for a character outside the alphabet or for stray bits at the end.
    package static func bytes(_ text: some Sequence<UInt8>) -> [UInt8]? {
        var output: [UInt8] = []
        var buffer: UInt32 = 0
        var bits = 0
        for character in text {
            let value: UInt8
            switch character {
            case 0x61...0x7A: value = character - 0x61
            case 0x32...0x37: value = character - 0x32 + 26
            default: return nil
            }
            buffer = buffer << 5 | UInt32(value)
            bits += 5
            if bits >= 8 {
                bits -= 8
                output.append(UInt8(truncatingIfNeeded: buffer >> UInt32(bits)))
                buffer &= (1 << UInt32(bits)) - 1
            }
        }
        return bits < 5 && buffer == 0 ? output : nil
    }
}

/// CRC-32 (ISO 3309): finds typing errors in key texts; it protects nothing.
package enum CRC32 {
    package static func checksum(_ bytes: some Sequence<UInt8>) -> UInt32 {
        var crc: UInt32 = 0xFFFF_FFFF
        for byte in bytes {
            crc ^= UInt32(byte)
            for _ in 0..<8 { crc = crc & 1 == 1 ? crc >> 1 ^ 0xEDB8_8320 : crc >> 1 }
        }
        return crc ^ 0xFFFF_FFFF
    }
}
