import MeshCrypto
import MeshModel

/// The key of an upstream at rest, as three lines of text: what it is, the key, its checksum.
enum UpstreamKeyFile {
    static let header = "aisbf-mesh upstream key, version 1; secret, keep it to yourself"

    /// The key in the file at `path`, nil when there is no file.
    /// - Throws: `StoreError.readableByOthers`, `.damagedKey`, `.unusable`.
    static func load(_ path: String) throws(StoreError) -> String? {
        guard let content = try SecretFile.read(path) else { return nil }
        let lines = String(decoding: content, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
        guard lines.count >= 3, lines[0] == header, lines[1].hasPrefix("key "), lines[2].hasPrefix("crc32 ") else {
            throw .damagedKey(path: path, reason: "it is not the key file of an upstream")
        }
        let key = String(lines[1].dropFirst(4))
        guard !key.isEmpty, bytesOfHex(lines[2].dropFirst(6)) == checksum(key) else {
            throw .damagedKey(path: path, reason: "it is incomplete, or its checksum does not match")
        }
        return key
    }

    /// Writes `key`, one line of text, replacing what is there in one step.
    static func save(_ key: String, to path: String) throws(StoreError) {
        guard !key.isEmpty, key.utf8.count <= Limits.upstreamKeyBytes, !key.contains(where: \.isNewline) else {
            throw .invalid("the key of an upstream is one line of at most \(Limits.upstreamKeyBytes) bytes")
        }
        let text = "\(header)\nkey \(key)\ncrc32 \(hexText(checksum(key)))\n"
        try SecretFile.write(Array(text.utf8), to: path)
    }

    private static func checksum(_ key: String) -> [UInt8] {
        CRC32.checksum(Array("upstream".utf8) + Array(key.utf8)).bigEndianBytes
    }
}
