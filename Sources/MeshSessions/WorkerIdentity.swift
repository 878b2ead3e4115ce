package import MeshModel

/// Who a worker is, settled at the handshake; nothing it sends later changes it.
package struct WorkerIdentity: Hashable, Sendable {
    /// Record key of the provider's advert: names owner and provider id at once.
    package var provider: RecordKey
    package var providerID: String
    package var scope: OwnerScope
    package var clientID: String

    package init(provider: RecordKey, providerID: String, scope: OwnerScope, clientID: String) {
        self.provider = provider
        self.providerID = providerID
        self.scope = scope
        self.clientID = clientID
    }

    /// The client id of a worker that presents `text`: the text itself where it is plain and has at most
    /// `Limits.workerClientIDBytes`, else what is readable of it, `~` and its hash, so that two different texts never
    /// become one id. Nil for an empty text.
    /// - Parameter hash: 32 hexadecimal digits of a cryptographic hash.
    package static func clientID(presented text: String, hash: ([UInt8]) -> String) -> String? {
        if text.isEmpty { return nil }
        let readable = String(String.UnicodeScalarView(text.unicodeScalars.filter(isReadable)))
        let isPlain = text.utf8.elementsEqual(readable.utf8) && text.utf8.count <= Limits.workerClientIDBytes
        if isPlain, !hasHash(text) { return text }
        return readable.cut(toUTF8Bytes: Limits.workerClientIDBytes - hashBytes - 1) + "~" + hash(Array(text.utf8))
    }

    private static let hashBytes = 32

    /// Whether a text ends like the id of another one, which it must not be taken for.
    private static func hasHash(_ text: String) -> Bool {
        let end = Array(text.utf8.suffix(hashBytes + 1))
        return end.count == hashBytes + 1 && end[0] == UInt8(ascii: "~")
            && end.dropFirst().allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
    }

    /// Nothing that moves a terminal's cursor, breaks a line, or shows as nothing or as something else; and not what
    /// stands for bytes that were no UTF-8.
    private static func isReadable(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .privateUse, .unassigned: false
        default: scalar != "\u{FFFD}"
        }
    }
}
