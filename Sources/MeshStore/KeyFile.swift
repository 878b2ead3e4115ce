package import MeshCrypto
import MeshModel

/// A signing key at rest, as three lines of text: what it is, its seed, its checksum. The first line names the kind,
/// so that a key copied to another key's place is refused.
package enum KeyFile: String, CaseIterable, Sendable {
    case node
    case operatorKey = "operator"
    case owner

    var header: String { "aisbf-mesh \(rawValue) key, version 1; secret, keep it to yourself" }

    /// The key in the file at `path`, nil when there is no file.
    /// - Throws: `StoreError.readableByOthers`, `.damagedKey`, `.unusable`.
    package func load(_ path: String) throws(StoreError) -> SigningKey? {
        guard let content = try SecretFile.read(path) else { return nil }
        let lines = String(decoding: content, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
        guard let first = lines.first, first == header else {
            let other = KeyFile.allCases.first { $0.header == lines.first ?? "" }
            let reason = other.map { "it holds the \($0.rawValue) key, not the \(rawValue) key" }
            throw .damagedKey(path: path, reason: reason ?? "its first line is not that of a key file")
        }
        guard lines.count >= 3, let seed = field("seed ", lines[1]), let checksum = field("crc32 ", lines[2]),
            seed.count == 32, checksum == self.checksum(seed), let key = SigningKey(seed: seed)
        else { throw .damagedKey(path: path, reason: "it is incomplete, or its checksum does not match") }
        return key
    }

    /// Writes `key` to `path`, replacing what is there in one step.
    package func save(_ key: SigningKey, to path: String) throws(StoreError) {
        let text = "\(header)\nseed \(hexText(key.seed))\ncrc32 \(hexText(checksum(key.seed)))\n"
        try SecretFile.write(Array(text.utf8), to: path)
    }

    private func checksum(_ seed: [UInt8]) -> [UInt8] {
        CRC32.checksum(Array(rawValue.utf8) + seed).bigEndianBytes
    }

    private func field(_ name: String, _ line: Substring) -> [UInt8]? {
        line.hasPrefix(name) ? bytesOfHex(line.dropFirst(name.count)) : nil
    }
}
