/// Who or what a quota is about, written `kind/name`.
package struct QuotaSubject: Hashable, Comparable, Sendable, CustomStringConvertible {
    package enum Kind: String, CaseIterable, Hashable, Sendable {
        /// An API key, by the id that people know it by.
        case key
        /// All keys of a user together.
        case user
        /// What a provider's workers answer at this node, whoever asks: `owner/provider` at its home, else its full name.
        case provider
        /// A rotation of this node, as `owner/name`.
        case rotation
        /// A policy of this node, as `owner/name`.
        case policy
        /// Another node, by its id: what it asks of this one for its buyers.
        case peer
    }

    package let kind: Kind
    package let name: String

    package init(_ kind: Kind, _ name: String) {
        self.kind = kind
        self.name = name
    }

    /// Nil for what is no `kind/name`.
    package init?(_ text: String) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, let kind = Kind(rawValue: String(parts[0])), Self.isName(parts[1].utf8) else {
            return nil
        }
        self.init(kind, String(parts[1]))
    }

    /// Letters, digits and what stands between them in names and ids.
    private static func isName(_ name: Substring.UTF8View) -> Bool {
        guard (1...160).contains(name.count) else { return false }
        return name.allSatisfy { byte in
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: "/"), UInt8(ascii: "@"):
                true
            default: false
            }
        }
    }

    package var description: String { "\(kind.rawValue)/\(name)" }

    package static func < (left: Self, right: Self) -> Bool {
        (left.kind.rawValue, left.name) < (right.kind.rawValue, right.name)
    }
}
