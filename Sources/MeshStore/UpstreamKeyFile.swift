import MeshCrypto
import MeshModel

/// What an upstream is asked with, at rest as lines of text: what it is, the keys, fields of requests, their checksum. One
/// key alone is written as the first release wrote it.
enum UpstreamKeyFile {
    static let header = "aisbf-mesh upstream key, version 1; secret, keep it to yourself"
    static let headerOfSeveral = "aisbf-mesh upstream keys, version 2; secret, keep it to yourself"

    /// What is in the file at `path`, nil when there is no file.
    /// - Throws: `StoreError.readableByOthers`, `.damagedKey`, `.unusable`.
    static func load(_ path: String) throws(StoreError) -> UpstreamSecrets? {
        guard let content = try SecretFile.read(path) else { return nil }
        let lines = String(decoding: content, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
        guard lines.count >= 3, lines[0] == header || lines[0] == headerOfSeveral,
            let last = lines.firstIndex(where: { $0.hasPrefix("crc32 ") }), last > 1
        else { throw .damagedKey(path: path, reason: "it is not the key file of an upstream") }
        let body = lines[1..<last]
        var secrets = UpstreamSecrets()
        for line in body {
            if line.hasPrefix("key "), line.utf8.count > 4 {
                secrets.keys.append(String(line.dropFirst(4)))
            } else if line.hasPrefix("header "), let colon = line.firstIndex(of: ":") {
                secrets.headers.append(
                    .init(
                        name: String(line[..<colon].dropFirst(7)),
                        value: String(line[line.index(after: colon)...].drop { $0 == " " })))
            } else {
                throw .damagedKey(path: path, reason: "it is not the key file of an upstream")
            }
        }
        guard lines[0] != header || body.count == 1 else {
            throw .damagedKey(path: path, reason: "it is not the key file of an upstream")
        }
        let expected =
            lines[0] == header ? checksum(secrets.keys.first ?? "") : checksum(body.joined(separator: "\n"))
        guard bytesOfHex(lines[last].dropFirst(6)) == expected else {
            throw .damagedKey(path: path, reason: "it is incomplete, or its checksum does not match")
        }
        return secrets
    }

    /// Writes `secrets`, each a line of text, replacing what is there in one step.
    static func save(_ secrets: UpstreamSecrets, to path: String) throws(StoreError) {
        guard !secrets.isEmpty, secrets.keys.count <= Limits.upstreamKeys,
            secrets.headers.count <= Limits.upstreamHeaders,
            secrets.keys.allSatisfy({ !$0.isEmpty && $0.utf8.count <= Limits.upstreamKeyBytes && isLine($0) }),
            secrets.headers.allSatisfy({ isLine($0.name) && isLine($0.value) && !$0.name.contains(":") })
        else { throw .invalid("a key of an upstream is one line of at most \(Limits.upstreamKeyBytes) bytes") }
        if secrets.keys.count == 1, secrets.headers.isEmpty {
            let text = "\(header)\nkey \(secrets.keys[0])\ncrc32 \(hexText(checksum(secrets.keys[0])))\n"
            return try SecretFile.write(Array(text.utf8), to: path)
        }
        let body = secrets.keys.map { "key \($0)" } + secrets.headers.map { "header \($0.name): \($0.value)" }
        let joined = body.joined(separator: "\n")
        let text = "\(headerOfSeveral)\n\(joined)\ncrc32 \(hexText(checksum(joined)))\n"
        guard text.utf8.count <= Limits.keyFileBytes else {
            throw .invalid("the keys and headers of an upstream may have \(Limits.keyFileBytes) bytes together")
        }
        try SecretFile.write(Array(text.utf8), to: path)
    }

    private static func isLine(_ text: String) -> Bool { !text.contains(where: \.isNewline) }

    private static func checksum(_ text: String) -> [UInt8] {
        CRC32.checksum(Array("upstream".utf8) + Array(text.utf8)).bigEndianBytes
    }
}
