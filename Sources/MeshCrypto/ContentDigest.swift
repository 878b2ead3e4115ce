import MeshModel

/// RFC 9530 `Content-Digest`, with the one algorithm the mesh uses.
package enum ContentDigest {
    /// `sha-256=:base64:` of `body`.
    package static func value(of body: some ContiguousBytesCollection) -> String {
        value(sha256: Sodium.shared.sha256(body))
    }

    package static func value(sha256 digest: [UInt8]) -> String {
        HTTPMessageSignature.member("sha-256", digest)
    }

    /// The 32 digest bytes; nil for anything but exactly one sha-256 member.
    package static func parse(_ value: String) -> [UInt8]? {
        let prefix = "sha-256=:"
        guard value.utf8.count == prefix.utf8.count + 45, value.hasPrefix(prefix), value.utf8.last == 0x3A
        else { return nil }
        let digest = Base64.bytes(value.utf8.dropFirst(prefix.utf8.count).dropLast())
        return digest?.count == 32 ? digest : nil
    }
}
