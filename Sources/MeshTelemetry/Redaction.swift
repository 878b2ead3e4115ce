import MeshModel

/// Takes secrets out of texts that are about to be written down. The rule of this project is that none gets there in
/// the first place; this is the net below it.
package enum Redaction {
    package static let replacement = "[redacted]"

    /// `text` with everything that looks like a registration token, an API key, a bearer credential or a PASETO token
    /// replaced. The prefix stays, so that a reader sees what stood there.
    package static func redacted(_ text: String) -> String {
        let bytes = Array(text.utf8)
        var output: [UInt8] = []
        output.reserveCapacity(bytes.count)
        var index = 0
        while index < bytes.count {
            guard let length = marks.firstResult({ matched($0, in: bytes, at: index) }) else {
                output.append(bytes[index])
                index += 1
                continue
            }
            output += bytes[index..<(index + length)]
            index += length
            let secret = bytes[index...].prefix(while: isTokenByte)
            if !secret.isEmpty { output += Array(replacement.utf8) }
            index += secret.count
        }
        return String(decoding: output, as: UTF8.self)
    }

    /// Lower case; compared without regard to case.
    private static let marks: [[UInt8]] = ["aisbf_reg_", "sk-", "bearer ", "basic ", "v4.public.", "v4.local."]
        .map { Array($0.utf8) }

    /// The length of `mark` when it stands at `start` and no word runs into it ("task-", "forbearer ").
    private static func matched(_ mark: [UInt8], in bytes: [UInt8], at start: Int) -> Int? {
        guard start + mark.count <= bytes.count else { return nil }
        for (offset, wanted) in mark.enumerated() where lowerCase(bytes[start + offset]) != wanted { return nil }
        if start > 0, isLetterOrDigit(bytes[start - 1]) {
            // The project's own prefixes are distinctive enough to be found inside any text.
            let ownPrefix =
                bytes[start...].starts(with: Array("aisbf_reg_".utf8))
                || bytes[start...].starts(with: Array("sk-aisbf-".utf8))
            return ownPrefix ? mark.count : nil
        }
        return mark.count
    }

    private static func lowerCase(_ byte: UInt8) -> UInt8 { (0x41...0x5A).contains(byte) ? byte + 32 : byte }

    private static func isLetterOrDigit(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
        default: false
        }
    }

    /// RFC 6750's b64token and what the text forms of keys use.
    private static func isTokenByte(_ byte: UInt8) -> Bool {
        isLetterOrDigit(byte) || [0x2D, 0x2E, 0x5F, 0x7E, 0x2B, 0x2F, 0x3D].contains(byte)
    }
}
