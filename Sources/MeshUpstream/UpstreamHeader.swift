package import MeshModel

/// A field that every request to an upstream has beside the usual ones.
package enum UpstreamHeader {
    /// What is wrong with one, by its name; nil when nothing is. The value is never repeated.
    package static func problem(_ field: UpstreamSecrets.Field) -> String? {
        let name = field.name.lowercased()
        guard !name.isEmpty, name.utf8.count <= Limits.upstreamHeaderNameBytes, name.utf8.allSatisfy(isToken) else {
            return "is no name of a header"
        }
        let value = field.value.utf8
        guard !value.isEmpty, value.count <= Limits.upstreamHeaderBytes,
            value.allSatisfy({ $0 >= 0x20 && $0 < 0x7F }), value.first != 0x20, value.last != 0x20
        else { return "needs a value of at most \(Limits.upstreamHeaderBytes) printable ASCII characters" }
        if name == "authorization" { return "is written by this node with the upstream's key: give that as the key" }
        guard !refused.contains(name), !refusedBeginnings.contains(where: name.hasPrefix) else {
            return "cannot be set: it belongs to the connection, to the body or to this node"
        }
        return nil
    }

    /// RFC 9110, section 5.6.2.
    private static func isToken(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
        default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
        }
    }

    private static let refused: Set<String> = [
        "connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "host", "expect", "accept",
        "accept-encoding", "range", "if-range", "cookie", "forwarded", "via", "date", "origin", "referer",
    ]
    /// Hop by hop, of the body, of proxies on the way, and this mesh's own.
    private static let refusedBeginnings = ["proxy-", "content-", "x-forwarded-", "aisbf-", ":"]
}
